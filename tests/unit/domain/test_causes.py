"""What made us look: nothing hostile is kept of what was reported, and it is told in words as a report."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprovisioning.domain.causes import (
    GOOGLE,
    KEPT,
    LONGEST_ADDRESS,
    LONGEST_EVENT,
    MOST_KEPT,
    Cause,
    checked,
    kept,
    of_difference,
)
from autoprovisioning.domain.words import reported
from tests.support.builders import MINUTE, NOW, SECOND

GROUP, BOSS = "sales@example.com", "admin@example.com"
LEFT = Cause(at=NOW, event="REMOVE_GROUP_MEMBER", actor=BOSS, group=GROUP)

ACTORS = [
    (BOSS, BOSS),
    (" Admin@Example.com ", BOSS),
    ("o'brien+x@example.com", "o'brien+x@example.com"),
    ("robot@project.iam.gserviceaccount.com", "robot@project.iam.gserviceaccount.com"),
    ("Google System", GOOGLE),
    ("google system", GOOGLE),
    ("", ""),
    ("the boss", ""),
    ("<script>alert(1)</script>@example.com", ""),
    ("a&b@example.com", ""),
    ('"a"@example.com', ""),
    ("=cmd|'/c calc'!A0@example.com", ""),
    ("-1@example.com", ""),
    ("a@example.com\nroot", ""),
    ("a\x1b[31m@example.com", ""),
    ("a\u202egro.live@example.com", ""),
    ("ädmin@example.com", ""),
    ("a@b@example.com", ""),
    (f"{'a' * LONGEST_ADDRESS}@example.com", ""),
    ("https://evil.example/@example.com", ""),
]


@pytest.mark.parametrize(("told", "kept_as"), ACTORS)
def test_who_did_it_is_an_address_or_google_or_left_out(told, kept_as):
    found = checked(replace(LEFT, actor=told, group=told))
    assert found is not None
    assert (found.actor, found.group) == (kept_as, kept_as if kept_as != GOOGLE else "")


@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=100))
def test_nothing_that_was_reported_brings_markup_or_control_characters_along(actor, group, event):
    found = checked(Cause(at=NOW, event=event, actor=actor, group=group))
    assert found is not None
    words = reported(found)
    assert words.isascii()
    assert words.isprintable()
    assert not set(words) & set('<>&"\\=;(){}')
    assert len(words) < 2 * LONGEST_ADDRESS + 100
    assert checked(found) == found


@pytest.mark.parametrize("event", ["", "x", "REMOVE GROUP", "REMOVE<GROUP>", "A" * (LONGEST_EVENT + 1)])
def test_an_event_of_another_form_is_only_told_as_a_change(event):
    found = checked(replace(LEFT, event=event))
    assert found is not None
    assert reported(found).startswith(f"Changed {GROUP} by {BOSS}")


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_without_a_time_that_can_be_shown_in_utc_there_is_no_cause(time):
    assert checked(replace(LEFT, at=datetime.fromisoformat(time))) is None


def test_without_a_time_in_a_time_zone_there_is_no_cause():
    assert checked(None) is None
    assert checked(replace(LEFT, at=NOW.replace(tzinfo=None))) is None


WORDS = [
    (LEFT, f"Removed from group {GROUP} by {BOSS} at 09:00:00 UTC on 24 Nov 2026, as reported by Google"),
    (replace(LEFT, actor=""), f"Removed from group {GROUP} at 09:00:00 UTC on 24 Nov 2026, as reported by Google"),
    (
        Cause(at=NOW + SECOND, event="SUSPEND_USER", actor=GOOGLE),
        "Suspended by Google System at 09:00:01 UTC on 24 Nov 2026, as reported by Google",
    ),
]


@pytest.mark.parametrize(("cause", "words"), WORDS)
def test_a_cause_is_told_as_what_google_reported(cause, words):
    assert reported(cause) == words


def test_of_several_reports_about_a_user_the_latest_is_kept():
    joined = Cause(at=NOW + SECOND, event="ADD_GROUP_MEMBER", group=GROUP)
    assert kept({"u1": LEFT}, {"u1": joined}, NOW + MINUTE) == {"u1": joined}
    assert kept({"u1": joined}, {"u1": LEFT}, NOW + MINUTE) == {"u1": joined}


def test_what_is_kept_is_of_the_last_minutes_and_bounded():
    assert kept({"u1": LEFT}, {}, NOW + KEPT) == {}
    many = {f"u{number:03d}": replace(LEFT, at=NOW + number * SECOND) for number in range(MOST_KEPT + 20)}
    assert kept(many, {}, NOW + MINUTE).keys() == set(sorted(many)[20:])


def test_a_difference_is_explained_only_by_a_report_of_its_kind():
    joined = replace(LEFT, event="ADD_GROUP_MEMBER")
    assert of_difference({"u1": LEFT}, "u1", left=True) == LEFT
    assert of_difference({"u1": joined}, "u1", left=False) == joined
    assert of_difference({"u1": LEFT}, "u1", left=False) is None
    assert of_difference({"u1": joined}, "u1", left=True) is None
    assert of_difference({"u1": LEFT}, "u2", left=True) is None
