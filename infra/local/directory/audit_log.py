"""What changes leave in the organization's audit log, and the sink that publishes it to a Pub/Sub topic.

A change of a group's members leaves two entries, as Google does: one of admin.googleapis.com, one of
cloudidentity.googleapis.com. Their shapes are those of public samples (GoogleCloudPlatform/professional-services
audit-log-examples, panther-labs GCP.User.Added.To.Privileged.Group, salrashid123 time-limited groups), where entries
arrived 0.5 to 0.7 s after the change. On demand they are lost, doubled, delayed, reordered or held.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp

from infra.local.directory.customer import User

ORGANIZATION = "organizations/123456789012"
ADMIN = "admin.googleapis.com"
GROUPS = "cloudidentity.googleapis.com"
UPDATE_MEMBERSHIP = "google.apps.cloudidentity.groups.v1.MembershipsService.UpdateMembership"
ACTOR = "admin@example.com"
PUBLISHED_AT_ONCE = 100  # entries of one request
Entry = dict[str, Any]

# Events of the Reports API's appendix "User Settings", by the field that changes.
FLAGS = {"suspended": ("SUSPEND_USER", "UNSUSPEND_USER"), "archived": ("ARCHIVE_USER", "UNARCHIVE_USER")}
NAMES = {"givenName": "CHANGE_FIRST_NAME", "familyName": "CHANGE_LAST_NAME"}
FIELDS = {
    "phones": "CHANGE_USER_PHONE_NUMBER",
    "organizations": "CHANGE_USER_ORGANIZATION",
    "externalIds": "CHANGE_USER_EXTERNAL_ID",
    "customSchemas": "CHANGE_USER_CUSTOM_FIELD",
}


@dataclass(slots=True, kw_only=True)
class Lag:
    """What happens to entries on their way; every so many-th is lost (`lose_every`, 1: all of them)."""

    lose_every: int = 0
    duplicate: int = 0
    delay: float = 0.6
    reorder: bool = False
    hold: bool = False


@dataclass(slots=True, kw_only=True)
class LogSink:
    """Publishes to the topic of `url` (projects.topics.publish); without one nobody follows the log."""

    url: str = ""
    lag: Lag = field(default_factory=Lag)
    published: int = 0
    lost: int = 0
    _held: list[Entry] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _session: aiohttp.ClientSession | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def write(self, *entries: Entry) -> None:
        """Let the sink publish entries, as it pleases `lag`."""
        for entry in entries if self.url else ():
            if self.lag.lose_every and next(self._numbers) % self.lag.lose_every == 0:
                self.lost += 1
            else:
                self._held += [entry] * (1 + self.lag.duplicate)
        if self._held and not self.lag.hold:
            self.release()

    def release(self) -> None:
        """Publish what was held, the newest first if reordering."""
        held, self._held = self._held, []
        task = asyncio.get_running_loop().create_task(self._publish(held[::-1] if self.lag.reorder else held))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _publish(self, entries: list[Entry]) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        await asyncio.sleep(self.lag.delay)
        arrived = {"receiveTimestamp": _now()}
        messages = [{"data": base64.b64encode(json.dumps(entry | arrived).encode()).decode()} for entry in entries]
        for start in range(0, len(messages), PUBLISHED_AT_ONCE):
            some = messages[start : start + PUBLISHED_AT_ONCE]
            async with self._session.post(self.url, json={"messages": some}) as response:
                response.raise_for_status()
            self.published += len(some)


def member_changed(group: str, member: dict[str, Any], *, removed: bool) -> list[Entry]:
    """Return both entries of a member who was added to a group or removed from it."""
    name = "REMOVE_GROUP_MEMBER" if removed else "ADD_GROUP_MEMBER"
    kind = "group" if member.get("type") == "GROUP" else "user"
    delta = {
        "member": f"{kind}:{member['email']}",
        "roleDeltas": [{"action": "REMOVE" if removed else "ADD", "role": member.get("role", "MEMBER")}],
    }
    metadata = {
        "@type": "type.googleapis.com/google.apps.cloudidentity.groups.v1.GroupAuditMetadata",
        "group": f"group:{group}",
        "membershipDelta": delta,
    }
    return [
        admin_event("GROUP_SETTINGS", name, USER_EMAIL=member["email"], GROUP_EMAIL=group),
        _entry(GROUPS, UPDATE_MEMBERSHIP, f"groups/{group}", metadata),
    ]


def user_event(name: str, address: str, **parameters: str) -> Entry:
    """Return the entry of an event of one user."""
    return admin_event("USER_SETTINGS", name, USER_EMAIL=address, **parameters)


def user_changed(old: User, new: User) -> list[Entry]:
    """Return the entries of an edit of a user, one for each thing that changed."""
    address = old["primaryEmail"]
    entries = [
        user_event(events[0] if new.get(flag) else events[1], address)
        for flag, events in FLAGS.items()
        if bool(old.get(flag)) != bool(new.get(flag))
    ]
    if new["primaryEmail"] != address:
        entries.append(user_event("RENAME_USER", address, NEW_VALUE=new["primaryEmail"]))
    before, after = old.get("orgUnitPath", "/"), new.get("orgUnitPath", "/")
    if before != after:
        entries.append(user_event("MOVE_USER_TO_ORG_UNIT", address, ORG_UNIT_NAME=before, NEW_VALUE=after))
    for part, event in NAMES.items():
        one, other = (str(user.get("name", {}).get(part, "")) for user in (old, new))
        if one != other:
            entries.append(user_event(event, address, OLD_VALUE=one, NEW_VALUE=other))
    return entries + [user_event(event, address) for part, event in FIELDS.items() if old.get(part) != new.get(part)]


def admin_event(kind: str, name: str, **parameters: str) -> Entry:
    """Return an entry of the Admin log with one event; its method is called as the event, in camel case."""
    first, *others = name.lower().split("_")
    method = f"google.admin.AdminService.{first}{''.join(map(str.title, others))}"
    told = [
        {"label": "LABEL_OPTIONAL", "type": "TYPE_STRING", "name": each, "value": value}
        for each, value in parameters.items()
    ]
    metadata = {
        "@type": "type.googleapis.com/ccc_hosted_reporting.ActivityProto",
        "activityId": {
            "timeUsec": str(int(datetime.now(UTC).timestamp() * 1_000_000)),
            "uniqQualifier": str(uuid.uuid4().int >> 65),
        },
        "event": [{"eventName": name, "eventType": kind, "parameter": told}],
    }
    resource = "groupSettings" if kind == "GROUP_SETTINGS" else "userSettings"
    return _entry(ADMIN, method, f"{ORGANIZATION}/{resource}", metadata)


def _entry(service: str, method: str, resource: str, metadata: dict[str, Any]) -> Entry:
    return {
        "logName": f"{ORGANIZATION}/logs/cloudaudit.googleapis.com%2Factivity",
        "insertId": uuid.uuid4().hex[:12],
        "severity": "NOTICE",
        "timestamp": _now(),
        "resource": {"type": "audited_resource", "labels": {"method": method, "service": service}},
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "serviceName": service,
            "methodName": method,
            "resourceName": resource,
            "authenticationInfo": {"principalEmail": ACTOR},
            "requestMetadata": {"requestAttributes": {}, "destinationAttributes": {}},
            "metadata": metadata,
        },
    }


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
