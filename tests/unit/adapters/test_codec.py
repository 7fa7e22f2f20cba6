"""Roster entries as they were stored before: what is no longer known is passed over."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from autoprovisioning.adapters.firestore import schema_1
from autoprovisioning.adapters.firestore.codec import decode, encode, find
from autoprovisioning.domain.entry import Entry, Status, Timer, Trigger
from autoprovisioning.domain.errors import ConfigurationRefused

AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
# One suspended user, whose suspension was flagged as held, by which trigger.
HELD = (
    b"\x91\xdc\x00\x13\xa2u1\x07\xafada@example.com\xa2k1\xa2fp\x01\xc3\x93\xc0\xcek\x05R\x10\xc0\xc0\xc0\xc2\x02\xc0"
    b"\xcek\x05R\x10\xc2\x01\xa2x1\xc0\xa0"
)


def test_a_flag_that_an_action_is_held_is_passed_over():
    wanted = Entry(
        user_id="u1",
        version=7,
        email="ada@example.com",
        scim_id="k1",
        fingerprint="fp",
        status=Status.ACTIVE,
        in_scope=True,
        timers={Trigger.SUSPENDED: Timer(since=AT, running_since=AT)},
        last_action_at=AT,
        applied_by="x1",
        shown="",
    )
    assert schema_1.roster(HELD, ()) == {"u1": wanted}
    assert decode(encode({"u1": wanted})).entries == {"u1": wanted}


@pytest.mark.parametrize("appended", [(), (["later"], 7)])
def test_some_entries_of_a_shard_are_read_as_all_of_them_are(appended):
    known = {
        "u1": Entry(user_id="u1", email="ada@example.com", status=Status.ACTIVE, in_scope=True),
        "u2": Entry(user_id="u2", timers={Trigger.APP_OFF: Timer(since=AT, running_since=AT)}, locked_at=AT),
        "u3": Entry(user_id="u3", drift=("active",), shown=""),
    }
    data = encode(known, dict.fromkeys(known, appended) if appended else {})
    assert find(data, ("u2", "u3", "u9")) == {user_id: decode(data).entries[user_id] for user_id in ("u2", "u3")}
    assert find(data, ()) == {}


def test_an_entry_that_only_a_newer_version_knows_is_refused_where_it_is_asked_for():
    record = [1, "ada@example.com", "k1", ""]
    data = msgspec.msgpack.encode([["u1", *record, 9, True], ["u2", *record, 0, True]])
    assert find(data, ("u2",))["u2"].in_scope
    with pytest.raises(ConfigurationRefused, match="another version"):
        find(data, ("u1",))
