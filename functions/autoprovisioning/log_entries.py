"""Entries of the audit log as Cloud Logging's sink publishes them: the JSON of google.logging.v2.LogEntry.

Only what is needed is read, and an entry of a service that we do not follow may have any form. Entries hold personal
data (addresses), so they are never logged.

Sources: cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry, google/cloud/audit/audit_log.proto, and public
samples of `addGroupMember` and `UpdateMembership`; the form of their `metadata` is documented nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from autoprovisioning.decoding import built
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.texts import LONGEST_SEARCH
from autoprovisioning.domain.workspace_changes import ADMIN, GROUPS, AdminEvent, LogEntry, MembershipDelta

T = TypeVar("T")

LARGEST_ENTRY = 512 * 1024  # bytes; Cloud Logging takes 256 KB (cloud.google.com/logging/quotas)


class _Caller(msgspec.Struct, frozen=True, rename="camel"):
    principal_email: str = ""


class _AuditLog(msgspec.Struct, rename="camel"):
    service_name: str = ""
    method_name: str = ""
    authentication_info: _Caller = _Caller()
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


class _LogEntry(msgspec.Struct, rename="camel"):
    proto_payload: _AuditLog
    timestamp: str = ""


class _Parameter(msgspec.Struct):
    name: str = ""
    value: Any = ""


class _Event(msgspec.Struct, rename="camel"):
    event_name: str = ""
    parameter: list[_Parameter] = []


class _Activity(msgspec.Struct):
    """ccc_hosted_reporting.ActivityProto, in Admin log entries."""

    event: list[_Event] = []


class _RoleDelta(msgspec.Struct):
    action: str = ""


class _MembershipDelta(msgspec.Struct, frozen=True, rename="camel"):
    member: str = ""
    role_deltas: list[_RoleDelta] = []


class _GroupAudit(msgspec.Struct, rename="camel"):
    """GroupAuditMetadata, in Groups Enterprise entries."""

    group: str = ""
    membership_delta: _MembershipDelta = _MembershipDelta()


def decode_entry(data: bytes) -> LogEntry:
    """Decode an entry.

    Raises:
        BadInput: it is no audit log entry, or one of a service that we follow in a form that we do not know.
    """
    if len(data) > LARGEST_ENTRY:
        raise BadInput("log entry", "it is larger than Cloud Logging stores any", "Publish entries of the sink alone.")
    entry = _decoded(data, _LogEntry)
    payload = entry.proto_payload
    metadata = bytes(payload.metadata)
    return LogEntry(
        service=payload.service_name,
        method=payload.method_name,
        actor=payload.authentication_info.principal_email[:LONGEST_SEARCH],
        at=_time(entry.timestamp),
        events=_events(payload.method_name, metadata) if payload.service_name == ADMIN else (),
        membership=_membership(metadata) if payload.service_name == GROUPS else None,
    )


def _events(method: str, metadata: bytes) -> tuple[AdminEvent, ...]:
    """Return an entry's events. One that is not named is the method's."""
    called = _screaming(method.rpartition(".")[2])
    return tuple(
        AdminEvent(name=event.event_name or called, parameters=_parameters(event.parameter))
        for event in _decoded(metadata, _Activity).event
    )


def _parameters(found: list[_Parameter]) -> Mapping[str, str]:
    return {each.name: each.value for each in found if isinstance(each.value, str)}


def _screaming(name: str) -> str:
    """Return a method's name as its event is called: addGroupMember is ADD_GROUP_MEMBER."""
    return "".join(f"_{char}" if char.isupper() else char for char in name).upper()


def _membership(metadata: bytes) -> MembershipDelta:
    found = _decoded(metadata, _GroupAudit)
    removes = any(role.action == "REMOVE" for role in found.membership_delta.role_deltas)
    return MembershipDelta(group=found.group, member=found.membership_delta.member, removes=removes)


def _time(text: str) -> datetime | None:
    """Read a time of RFC 3339, which has up to nine digits after the second; None if it is none."""
    try:
        time = msgspec.convert(text, built(datetime))
    except msgspec.ValidationError:
        return None
    return time if time.tzinfo is not None else None


def _decoded(data: bytes, as_type: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=built(as_type))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        # msgspec names the path and the types, never the values; a UnicodeError would quote them.
        problem = str(error) if isinstance(error, msgspec.MsgspecError) else "it is not JSON"
        raise BadInput("log entry", problem, "Publish entries of the audit log, as a log sink does.") from None
