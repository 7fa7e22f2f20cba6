"""Entries of the audit log: what is read of them, and that anything else is refused without harm."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.workspace_changes import (
    ENTER,
    FIELD_CHANGED,
    OTHERS,
    UPDATE_MEMBERSHIP,
    LogEntry,
    ManyChanged,
    MemberChanged,
    MemberType,
    UserChanged,
    changes_of,
)
from autoprovisioning.domain.workspace_changes import MANY as MANY_CHANGED
from autoprovisioning.domain.workspace_changes import MEMBERS as MEMBERS_OF_GROUPS
from autoprovisioning.log_entries import LARGEST_ENTRY, decode_entry
from infra.gcp import sink
from infra.local.directory import audit_log
from tests.support.log_entries import ADMIN, GROUPS, UPDATE, admin_entry, encoded, entry, groups_entry

GROUP, ADA = "keeper@example.com", "ada@example.com"


def told(sent: dict[str, Any]) -> tuple[object, ...]:
    return changes_of(decode_entry(encoded(sent)))


def member(name: str = "", *, removed: bool = False, kind: MemberType = MemberType.UNTOLD) -> MemberChanged:
    name = name or ("REMOVE_GROUP_MEMBER" if removed else "ADD_GROUP_MEMBER")
    return MemberChanged(name=name, group=GROUP, member=ADA, type=kind, removed=removed)


def user(name: str, *addresses: str, event: str = "update", may_enter: bool = False) -> UserChanged:
    return UserChanged(name=name, addresses=addresses or (ADA,), event=event, may_enter=may_enter)


MEMBERS = [
    (admin_entry("ADD_GROUP_MEMBER", USER_EMAIL=ADA, GROUP_EMAIL=GROUP), member()),
    (admin_entry("UPDATE_GROUP_MEMBER", USER_EMAIL=ADA, GROUP_EMAIL=GROUP), member("UPDATE_GROUP_MEMBER")),
    (admin_entry("REMOVE_GROUP_MEMBER", USER_EMAIL="Ada@Example.com ", GROUP_EMAIL=GROUP), member(removed=True)),
    (groups_entry(GROUP, f"user:{ADA}"), member(kind=MemberType.USER)),
    (groups_entry(GROUP, f"user:{ADA}", "REMOVE"), member(kind=MemberType.USER, removed=True)),
    (groups_entry(GROUP, f"group:{ADA}", role="OWNER"), member(kind=MemberType.GROUP)),
]
USERS = [
    (admin_entry("CREATE_USER", USER_EMAIL=ADA), user("CREATE_USER", event="add", may_enter=True)),
    (admin_entry("UNDELETE_USER", USER_EMAIL=ADA), user("UNDELETE_USER", event="undelete", may_enter=True)),
    (
        admin_entry("MOVE_USER_TO_ORG_UNIT", USER_EMAIL=ADA, NEW_VALUE="/Sales"),
        user("MOVE_USER_TO_ORG_UNIT", may_enter=True),
    ),
    (admin_entry("UNSUSPEND_USER", USER_EMAIL=ADA), user("UNSUSPEND_USER", may_enter=True)),
    (admin_entry("UNARCHIVE_USER", USER_EMAIL=ADA), user("UNARCHIVE_USER", may_enter=True)),
    (admin_entry("DELETE_USER", USER_EMAIL=ADA), user("DELETE_USER", event="delete")),
    (admin_entry("SUSPEND_USER", USER_EMAIL=ADA), user("SUSPEND_USER")),
    (admin_entry("ARCHIVE_USER", USER_EMAIL=ADA), user("ARCHIVE_USER")),
    (admin_entry("CHANGE_USER_CUSTOM_FIELD", USER_EMAIL=ADA), user("CHANGE_USER_CUSTOM_FIELD")),
    (admin_entry("CHANGE_FIRST_NAME", USER_EMAIL=ADA, NEW_VALUE="bob@example.com"), user("CHANGE_FIRST_NAME")),
    (
        admin_entry("RENAME_USER", USER_EMAIL="old@example.com", NEW_VALUE=ADA),
        user("RENAME_USER", ADA, "old@example.com"),
    ),
    (admin_entry("RENAME_USER", USER_EMAIL=ADA, NEW_VALUE="nonsense"), user("RENAME_USER")),
]
MANY = [
    (
        admin_entry("GROUP_MEMBER_BULK_UPLOAD", GROUP_MEMBER_BULK_UPLOAD_TOTAL_NUMBER="7"),
        ManyChanged(finds=RunKind.SWEEP),
    ),
    (admin_entry("DELETE_GROUP", GROUP_EMAIL=GROUP), ManyChanged(finds=RunKind.SWEEP)),
    (admin_entry("USERS_BULK_UPLOAD"), ManyChanged(finds=RunKind.FULL)),
]


@pytest.mark.parametrize(("sent", "change"), [*MEMBERS, *USERS, *MANY])
def test_what_an_entry_reports(sent, change):
    assert told(sent) == (change,)


def test_an_event_without_a_name_is_the_one_that_its_method_is_called_after():
    sent = admin_entry("", "google.admin.AdminService.addGroupMember", USER_EMAIL=ADA, GROUP_EMAIL=GROUP)
    assert told(sent) == (member(),)


def test_who_and_when_are_kept_as_reported():
    read = decode_entry(encoded(groups_entry(GROUP, f"user:{ADA}", at="2026-11-24T09:00:00.439766009Z")))
    assert (read.actor, read.at) == ("boss@example.com", datetime(2026, 11, 24, 9, 0, 0, 439766, UTC))


@pytest.mark.parametrize("at", ["", "yesterday", "2026-11-24T09:00:00", "2026-99-24T09:00:00Z"])
def test_a_time_that_is_none_is_not_known(at):
    assert decode_entry(encoded(admin_entry("CREATE_USER", at=at))).at is None


def test_several_events_of_an_entry_are_all_read():
    sent = admin_entry("CREATE_USER", USER_EMAIL=ADA)
    sent["protoPayload"]["metadata"]["event"] *= 2
    assert told(sent) == (user("CREATE_USER", event="add", may_enter=True),) * 2


SAYING_NOTHING = [
    admin_entry("CHANGE_PASSWORD", USER_EMAIL=ADA),
    admin_entry("TOGGLE_SERVICE_ENABLED", USER_EMAIL=ADA),
    admin_entry("CREATE_USER"),
    admin_entry("CREATE_USER", USER_EMAIL=7),
    admin_entry("CREATE_USER", USER_EMAIL="nobody"),
    admin_entry("CREATE_USER", USER_EMAIL="a b@example.com"),
    admin_entry("CREATE_USER", USER_EMAIL=f"{'a' * 400}@example.com"),
    admin_entry("CREATE_USER", USER_EMAIL="a\u2028b@example.com"),
    admin_entry("ADD_GROUP_MEMBER", USER_EMAIL=ADA),
    groups_entry(GROUP, ADA),
    groups_entry(GROUP, "serviceAccount:x@example.com"),
    groups_entry("", f"user:{ADA}"),
    entry(GROUPS, "google.apps.cloudidentity.groups.v1.GroupsService.UpdateGroup", {"group": f"group:{GROUP}"}),
    entry("login.googleapis.com", "google.login.LoginService.loginSuccess", {"event": "of any form"}),
    entry("iam.googleapis.com", UPDATE, [1, 2]),
    {"protoPayload": {}},
]


@pytest.mark.parametrize("sent", SAYING_NOTHING, ids=range(len(SAYING_NOTHING)))
def test_an_entry_that_reports_nothing_of_ours_is_read_as_that(sent):
    assert told(sent) == ()


DEEP = b'{"a":' * 50_000 + b"1" + b"}" * 50_000
UNREADABLE = [
    b"",
    b"null",
    b"[]",
    b"{",
    b"\xff\xfe",
    b'{"textPayload": "hello"}',
    b'{"protoPayload": "x"}',
    b"[" * 100_000,
    b'{"protoPayload": {"metadata": ' + DEEP + b"}}",
    b'{"protoPayload": {"serviceName": "admin.googleapis.com", "metadata": {"event": [{"parameter": ' + DEEP + b"}]}}}",
    encoded(entry(ADMIN, "x", {"event": {"eventName": "CREATE_USER"}})),
    encoded(entry(GROUPS, UPDATE, {"group": 7})),
    encoded(entry(GROUPS, UPDATE, {"membershipDelta": {"roleDeltas": "ADD"}})),
    encoded(admin_entry("CREATE_USER", USER_EMAIL="x" * LARGEST_ENTRY)),
]


@pytest.mark.parametrize("data", UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_is_no_entry_is_refused_and_never_quoted(data):
    with pytest.raises(BadInput) as caught:
        decode_entry(data)
    assert caught.value.field == "log entry"
    assert ADA not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    JSON, st.sampled_from(["timestamp", "protoPayload", "serviceName", "methodName", "metadata", "authenticationInfo"])
)
def test_no_value_in_any_field_does_any_harm(value, where):
    for sent in (admin_entry("CREATE_USER", USER_EMAIL=ADA), groups_entry(GROUP, f"user:{ADA}")):
        (sent if where in sent else sent["protoPayload"])[where] = value
        try:
            read = decode_entry(encoded(sent))
        except BadInput:
            continue
        assert isinstance(read, LogEntry)
        assert all(isinstance(change, MemberChanged | UserChanged | ManyChanged) for change in changes_of(read))


# ---- against the published message types


SIMULATED = [
    *audit_log.member_changed(GROUP, {"email": ADA, "type": "USER", "role": "MEMBER"}, removed=True),
    *audit_log.member_changed(GROUP, {"email": ADA, "type": "GROUP"}, removed=False),
    audit_log.user_event("CREATE_USER", ADA),
    *audit_log.user_changed(
        {"primaryEmail": "old@example.com", "name": {"givenName": "A"}},
        {"primaryEmail": ADA, "name": {"givenName": "B"}, "suspended": True, "orgUnitPath": "/Sales"},
    ),
]


@pytest.mark.parametrize("sent", [*(sent for sent, _ in MEMBERS + USERS + MANY), *SIMULATED])
def test_samples_and_what_the_simulator_writes_fit_the_published_types(sent):
    """google.logging.v2.LogEntry with google.cloud.audit.AuditLog: an unknown field or another type is refused."""
    from google.cloud.audit import audit_log_pb2
    from google.cloud.logging_v2.types import LogEntry as Published
    from google.logging.type import log_severity_pb2
    from google.protobuf import json_format

    message = json_format.ParseDict(json.loads(encoded(sent)), Published.pb()())
    payload = audit_log_pb2.AuditLog()
    assert message.proto_payload.Unpack(payload)
    assert (payload.service_name, message.severity) == (sent["protoPayload"]["serviceName"], log_severity_pb2.NOTICE)
    assert json_format.MessageToDict(payload.metadata) == sent["protoPayload"]["metadata"]


def test_the_simulator_writes_what_is_read():
    joined, same = audit_log.member_changed(GROUP, {"email": ADA, "type": "USER"}, removed=False)
    assert told(joined) == (member(),)
    assert told(same) == (member(kind=MemberType.USER),)
    assert joined["protoPayload"]["methodName"] == "google.admin.AdminService.addGroupMember"
    assert told(audit_log.user_event("UNDELETE_USER", ADA)) == (
        user("UNDELETE_USER", event="undelete", may_enter=True),
    )


def test_the_filter_of_the_sink_lets_out_what_is_read_and_nothing_else():
    text = sink.entries("123456789012")
    (pattern,) = re.findall(r'protoPayload.methodName=~"(AdminService[^"]+)"', text)
    assert f'protoPayload.methodName="{UPDATE_MEMBERSHIP}"' in text
    assert 'logName="organizations/123456789012/logs/cloudaudit.googleapis.com%2Factivity"' in text

    def let_out(event: str) -> bool:
        method = audit_log.admin_event("USER_SETTINGS", event)["protoPayload"]["methodName"]
        return re.search(pattern, method) is not None

    read = (*ENTER, *OTHERS, *MEMBERS_OF_GROUPS, *MANY_CHANGED, f"{FIELD_CHANGED}PHONE_NUMBER")
    assert [event for event in read if not let_out(event)] == []
    others = ("CHANGE_PASSWORD", "ADD_PRIVILEGE", "CREATE_GROUP", "USER_LICENSE_ASSIGNMENT", "DELETE_USER_PHOTO")
    assert [event for event in others if let_out(event)] == []
