"""The Directory port over users, groups, members and channels of the Admin SDK Directory API (directory_v1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from autoprovisioning.adapters.directory.transport import DELEGATION, DirectoryTransport, Refusal, part
from autoprovisioning.app.ports import Channel
from autoprovisioning.domain.errors import BadInput, ConfigurationRefused, Incomplete, Transient
from autoprovisioning.domain.users import DirectoryUser, Group, OrgUnit, Presence

USERS_A_PAGE = 500  # the most that users.list gives
MEMBERS_A_PAGE = 200  # the most that members.list gives
BASE = "/admin/directory/v1"
STOP = "/admin/directory_v1/channels/stop"
KNOWN_FIELDS = (
    "id,primaryEmail,suspended,archived,orgUnitPath,aliases,creationTime,suspensionTime,archivalTime,"
    "isAdmin,isDelegatedAdmin"
)
FOUND_AT_MOST = 20
LONGEST_ID = 256
LONGEST_PATH = 2_000  # a hundred chosen units fit into a connection's document (1 MiB)
# Search operators of the Directory API's guides "Search for users" and "Search for groups"; clauses are joined by AND.
SEARCHED_IN_GROUPS = ("name:", "email:")
ENVELOPE = frozenset({"kind", "etag", "nextPageToken", "trigger_event"})
UNSUPPORTED = frozenset({400, 404, 405, 501})


class GoogleDirectory:
    """Reads one Workspace customer."""

    def __init__(self, transport: DirectoryTransport, customer: str = "my_customer") -> None:
        self._transport = transport
        self._customer = customer

    def user(self, user_id: str) -> DirectoryUser | None:
        """Read one user by id, with every field that could be mapped."""
        answer = self._transport.get(f"{BASE}/users/{part(user_id)}", {"projection": "full"})
        if isinstance(answer, Refusal):
            if answer.status == 404:
                return None
            if answer.status == 403 and "Not Authorized" in answer.message:
                return None  # somebody of another customer, found as an external member of a group
            raise _refused("users.get", answer)
        if str(answer.get("id", "")) != user_id:
            return None
        return _user(answer)

    def by_address(self, address: str) -> DirectoryUser | None:
        """Read one user by primary address or alias."""
        answer = self._transport.get(f"{BASE}/users/{part(address)}", {"projection": "basic"})
        if isinstance(answer, Refusal):
            if answer.status in (403, 404):
                return None
            raise _refused("users.get", answer)
        return _user(answer) if answer.get("id") else None

    def users(self, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        """List every user of the customer."""
        mapped = ",".join(sorted(fields - set(KNOWN_FIELDS.split(","))))
        mask = f"kind,nextPageToken,users({KNOWN_FIELDS}{',' + mapped if mapped else ''})"
        projection = "full" if "customSchemas" in fields else "basic"
        params = {"maxResults": str(USERS_A_PAGE), "fields": mask, "projection": projection}
        for page in self._pages("users.list", f"{BASE}/users", "users", {"customer": self._customer, **params}):
            yield [_user(item) for item in page]

    def deleted_users(self) -> Iterator[Sequence[DirectoryUser]]:
        """List the users deleted in the last 20 days."""
        fields = "kind,nextPageToken,users(id,primaryEmail,deletionTime)"
        params = {"showDeleted": "true", "maxResults": str(USERS_A_PAGE), "fields": fields}
        for page in self._pages("users.list", f"{BASE}/users", "users", {"customer": self._customer, **params}):
            yield [_deleted(item) for item in page]

    def members(self, group_id: str) -> Iterator[Sequence[str]]:
        """List the ids of a group's derived members that are users."""
        path = f"{BASE}/groups/{part(group_id)}/members"
        fields = "kind,nextPageToken,members(id,type)"
        params = {"includeDerivedMembership": "true", "maxResults": str(MEMBERS_A_PAGE), "fields": fields}
        for page in self._pages("members.list", path, "members", params):
            if any(item.get("type") == "CUSTOMER" for item in page):
                raise Incomplete(
                    "A scope group has everybody in the organization as a member, which the directory does not list. "
                    "Choose organizational units instead of that group."
                )
            yield [str(item["id"]) for item in page if item.get("type", "USER") == "USER" and item.get("id")]

    def is_member(self, group_id: str, user_id: str) -> bool:
        """Ask members.hasMember; a server or a member it does not serve is answered from the derived listing."""
        path = f"{BASE}/groups/{part(group_id)}/hasMember/{part(user_id)}"
        answer = self._transport.get(path, {})
        if not isinstance(answer, Refusal) and "isMember" in answer:
            return answer["isMember"] is True
        if isinstance(answer, Refusal) and answer.status not in UNSUPPORTED:
            raise _refused("members.hasMember", answer)
        return any(user_id in page for page in self.members(group_id))

    def group(self, key: str) -> Group | None:
        """Find a group by id or e-mail address; where groups.get knows no addresses, by a query."""
        answer = self._transport.get(f"{BASE}/groups/{part(key)}", {})
        if not isinstance(answer, Refusal) and answer.get("id"):
            return _group(answer)
        if isinstance(answer, Refusal) and answer.status not in (*UNSUPPORTED, 403):
            raise _refused("groups.get", answer)
        if "@" not in key:
            return None
        listed = self._transport.get(f"{BASE}/groups", {"customer": self._customer, "query": f"email={key}"})
        if isinstance(listed, Refusal):
            if listed.status in UNSUPPORTED:
                return None
            raise _refused("groups.list", listed)
        found = [item for item in listed.get("groups", ()) if str(item.get("email", "")).casefold() == key.casefold()]
        return _group(found[0]) if found else None

    def search_users(self, text: str) -> Sequence[DirectoryUser]:
        """Find users whose name or address begins with the text (users.list), or whose id it is (users.get)."""
        text = _searchable(text)
        if not text:
            return ()
        found: dict[str, DirectoryUser] = {}
        if text.isalnum() and any(map(str.isdigit, text)):
            answer = self._transport.get(f"{BASE}/users/{part(text)}", {"projection": "basic"})
            if not isinstance(answer, Refusal) and str(answer.get("id", "")) == text:
                found[text] = _user(answer)
        for query in _user_queries(text):
            params = {"query": query, "maxResults": str(FOUND_AT_MOST), "projection": "basic"}
            fields = {"fields": f"kind,users({KNOWN_FIELDS},name)"}
            listed = self._transport.get(f"{BASE}/users", {"customer": self._customer, **params, **fields})
            if isinstance(listed, Refusal):
                raise _refused("users.list", listed)
            found |= {str(item["id"]): _user(item) for item in listed.get("users", ())}
        return sorted(found.values(), key=lambda user: user.primary_email)[:FOUND_AT_MOST]

    def search_groups(self, letters: str) -> Sequence[Group]:
        """Find groups whose name or address begins with the letters (groups.list)."""
        letters = _searchable(letters)
        found: dict[str, Group] = {}
        for clause in SEARCHED_IN_GROUPS if letters else ():
            params = {"query": f"{clause}'{letters}*'", "maxResults": str(FOUND_AT_MOST)}
            listed = self._transport.get(f"{BASE}/groups", {"customer": self._customer, **params})
            if isinstance(listed, Refusal):
                raise _refused("groups.list", listed)
            found |= {str(item["id"]): _group(item) for item in listed.get("groups", ())}
        return sorted(found.values(), key=lambda group: (group.name.casefold(), group.email))[:FOUND_AT_MOST]

    def org_units(self) -> Sequence[OrgUnit]:
        """Return all organizational units by path (orgunits.list, type all, which leaves out the root)."""
        path = f"{BASE}/customer/{part(self._customer)}/orgunits"
        params = {"type": "all", "fields": "kind,organizationUnits(orgUnitId,orgUnitPath)"}
        pages = self._pages("orgunits.list", path, "organizationUnits", params)
        units = [_org_unit(item) for page in pages for item in page]
        if not len(units) == len({unit.id for unit in units}) == len({unit.path for unit in units}):
            raise Incomplete("orgunits.list answered an organizational unit twice")
        return sorted(units, key=lambda unit: unit.path)

    def probe(self) -> bool:
        """Say whether these credentials read some user of this customer."""
        params = {"customer": self._customer, "maxResults": "1", "fields": "users(id)"}
        answer = self._transport.get(f"{BASE}/users", params)
        return not isinstance(answer, Refusal) and bool(answer.get("users"))

    def watch(self, channel: Channel, event: str) -> Channel:
        """Open a channel; BadInput("event") where the API insists on one."""
        params = {"customer": self._customer} | ({"event": event} if event else {})
        body: dict[str, Any] = {
            "id": channel.id,
            "type": "web_hook",
            "address": channel.address,
            "token": channel.token,
        }
        if channel.expires is not None:
            body["expiration"] = str(int(channel.expires.timestamp() * 1000))
        answer = self._transport.post(f"{BASE}/users/watch", params, body)
        if isinstance(answer, Refusal):
            if answer.status == 400 and not event and "event" in answer.message.lower():
                raise BadInput("event", "the Directory API asks for one", "Open one channel for each event.")
            if answer.reason == "channelIdNotUnique":
                # The answer to our first attempt was lost: the channel is open, but its resource id is not known.
                raise Transient("users.watch opened the channel, but its answer was lost", retry_after=5)
            raise _refused("users.watch", answer)
        granted = _milliseconds(answer.get("expiration")) or channel.expires
        return replace(channel, token="", event=event, expires=granted, resource_id=str(answer.get("resourceId", "")))

    def stop(self, channel: Channel) -> None:
        """Stop a channel; 404 is one that is gone already."""
        answer = self._transport.post(STOP, {}, {"id": channel.id, "resourceId": channel.resource_id})
        if isinstance(answer, Refusal) and answer.status != 404:
            raise _refused("channels.stop", answer)

    def _pages(self, method: str, path: str, key: str, params: Mapping[str, str]) -> Iterator[list[dict[str, Any]]]:
        """Follow nextPageToken to the end; anything that breaks the listing off is Incomplete."""
        token = ""
        seen: set[str] = set()
        while True:
            try:
                answer = self._transport.get(path, {**params, **({"pageToken": token} if token else {})})
            except Transient as error:
                raise Incomplete(f"{method} broke off: {error}") from error
            if isinstance(answer, Refusal):
                if answer.status == 403:
                    raise _refused(method, answer)
                raise Incomplete(f"{method} broke off: HTTP {answer.status} {answer.reason or answer.message}")
            yield _items(method, key, answer, first=not token)
            token = str(answer.get("nextPageToken") or "")
            if not token:
                return
            if token in seen:
                raise Incomplete(f"{method} repeats a page token")
            seen.add(token)


def _items(method: str, key: str, answer: Mapping[str, Any], *, first: bool) -> list[dict[str, Any]]:
    """Return a page's items; raises Incomplete for an answer that is no listing.

    An empty listing leaves the list out. What is left says that it is one; on the first page nothing may be left.
    """
    items = answer.get(key, [])
    is_listing = key in answer or (set(answer) <= ENVELOPE and (first or bool(answer)))
    whole = isinstance(items, list) and all(isinstance(item, dict) for item in items)
    if is_listing and whole and (key != "users" or all(item.get("id") for item in items)):
        return list(items)
    raise Incomplete(f"{method} answered something that is no listing")


def _user_queries(text: str) -> list[str]:
    """Return the queries whose answers together are the users meant: clauses of one query must all hold."""
    queries = [f"{field}:'{text}*'" for field in ("email", "givenName", "familyName")]
    given, _, family = text.partition(" ")
    if family:
        queries.append(f"givenName:'{given}*' familyName:'{family.strip()}*'")
    return queries


def _searchable(text: str) -> str:
    """Return the text without what would end the quotes of a query."""
    return "".join(char for char in text.strip() if char not in "'\"*\\").strip()[:100]


def _refused(method: str, refusal: Refusal) -> ConfigurationRefused:
    mend = DELEGATION if refusal.status == 403 else "Check the directory settings of this deployment."
    text = refusal.message or refusal.reason
    return ConfigurationRefused(f"{method} is refused: HTTP {refusal.status} {text}. {mend}")


def _user(item: dict[str, Any]) -> DirectoryUser:
    if item.get("archived"):
        presence, since = Presence.ARCHIVED, item.get("archivalTime")
    elif item.get("suspended"):
        presence, since = Presence.SUSPENDED, item.get("suspensionTime")
    else:
        presence, since = Presence.ACTIVE, None
    aliases = item.get("aliases")
    return DirectoryUser(
        str(item["id"]),
        item.get("primaryEmail", ""),
        presence,
        path if isinstance(path := item.get("orgUnitPath"), str) else "",
        tuple(aliases) if aliases else (),
        _time(since) if since else None,
        bool(item.get("isAdmin")),
        bool(item.get("isDelegatedAdmin")),
        item,
        _time(item.get("creationTime")),
    )


def _deleted(item: dict[str, Any]) -> DirectoryUser:
    since = _time(item.get("deletionTime"))
    return DirectoryUser(str(item["id"]), item.get("primaryEmail", ""), Presence.DELETED, since=since)


def _org_unit(item: Mapping[str, Any]) -> OrgUnit:
    """Read a unit; raises Incomplete for one without id or path: whose users they are could not be told."""
    unit_id, path = item.get("orgUnitId"), item.get("orgUnitPath")
    if not (isinstance(unit_id, str) and 0 < len(unit_id) <= LONGEST_ID):
        raise Incomplete("orgunits.list answered an organizational unit without a usable orgUnitId")
    if not (isinstance(path, str) and path.startswith("/") and len(path) <= LONGEST_PATH):
        raise Incomplete("orgunits.list answered an organizational unit without a usable orgUnitPath")
    return OrgUnit(unit_id, path)


def _group(item: Mapping[str, Any]) -> Group:
    return Group(str(item["id"]), str(item.get("email", "")), str(item.get("name", "")))


def _time(value: object) -> datetime | None:
    """Read an RFC 3339 time; a nonsensical one is as good as none."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _milliseconds(value: object) -> datetime | None:
    """Read a Unix time in milliseconds, which Google sends as a string or a number."""
    if not isinstance(value, str | int) or not str(value).isdigit():
        return None
    return datetime.fromtimestamp(int(value) / 1000, UTC)
