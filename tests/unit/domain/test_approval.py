"""A held plan as it is reviewed: titles, shares, causes, units, and who is found."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.domain.approval import Approval, Selection, approving, keeping
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Action, Entry, Status
from autoprovisioning.domain.guard import Member
from autoprovisioning.domain.holds import Hold, Standing, Verdict
from autoprovisioning.domain.people import Lines, Listed, Roll, in_order, line_of, person_of
from autoprovisioning.domain.requests import Forecast
from autoprovisioning.domain.words import DUE_BECAUSE, EFFECTS, KEPT, saving
from tests.support.builders import NOW


def roll(units: dict[str, str], status: Status = Status.ACTIVE) -> Roll:
    people = (
        person_of(
            Entry(user_id=name, email=f"{name}@example.com", status=status),
            Listed("", name.title(), Presence.ACTIVE, unit),
        )
        for name, unit in units.items()
    )
    return Roll(at=NOW, lines=Lines(sorted(map(line_of, people), key=in_order)))


def plan(*members: Member) -> Hold:
    return Hold(digest="d", raised_at=NOW, members=members)


def suspends(*names: str) -> Hold:
    return plan(*(Member(resource=name, action="suspend", trigger="app_off") for name in names))


@pytest.mark.parametrize(
    ("counts", "title", "button", "kept"),
    [
        ({"suspend": 1}, "1 person would lose access", "Suspend 1 person", "Keep their access"),
        ({"suspend": 1200}, "1,200 people would lose access", "Suspend 1,200 people", "Keep their access"),
        ({"delete": 2, "suspend": 3}, "3 people would lose access and 2 accounts would be deleted",
         "Suspend 3 people, Delete 2 accounts", "Leave them as they are"),
        ({"create": 60}, "60 accounts would be created", "Create 60 accounts", "Create none of them"),
        ({"unlock": 1}, "1 account that somebody locked would be unlocked", "Unlock 1 account", "Leave them locked"),
    ],
)  # fmt: skip
def test_title_and_buttons_say_what_happens_to_how_many(counts, title, button, kept):
    members = [Member(resource=f"{action}{n}", action=action) for action, count in counts.items() for n in range(count)]
    approval = Approval(plan(*members), roll({}))
    assert (approval.title, approving(approval.waiting), keeping(approval.waiting)) == (title, button, kept)


@pytest.mark.parametrize(
    ("counts", "held", "state", "button"),
    [
        ({"suspend": 4}, False, State.ON, "Save and suspend 4 people"),
        ({"suspend": 1, "create": 2, "update": 9}, False, State.ON, "Save, create 2 accounts, suspend 1 person"),
        ({"suspend": 900, "create": 1}, True, State.ON, "Save and create 1 account"),
        ({"update": 9}, False, State.ON, "Save"),
        ({"suspend": 4}, False, State.OFF, "Save"),
    ],
)
def test_saving_says_what_it_does_next(counts, held, state, button):
    assert saving(Forecast(counts=counts, held=held), state) == button


def test_every_change_that_is_held_has_its_words():
    assert {*EFFECTS} == {*KEPT} == {*Action} <= {*DUE_BECAUSE}


def test_the_share_is_of_those_who_have_access_and_would_lose_it():
    everybody = roll({f"u{number}": "/" for number in range(3000)})
    assert Approval(suspends("u1", "u2", "gone"), everybody).share == (
        "less than 0.1 percent of the 3,000 people with access"
    )
    assert Approval(suspends("u1"), roll({"u1": "/", "u2": "/", "u3": "/"})).share.startswith("33.3 percent")
    assert Approval(suspends("u1"), roll({"u1": "/"}, Status.SUSPENDED)).share == ""
    assert Approval(plan(Member(resource="u1", action="create")), everybody).share == ""


def test_units_are_told_apart_as_far_as_a_handful_of_them_goes():
    few = {"a": "/Sales/EMEA", "b": "/Sales/EMEA", "c": "/Sales", "d": "/"}
    assert [group[::2] for group in Approval(suspends(*few, "e"), roll(few)).units()] == [
        ("/Sales/EMEA", 2),
        ("/Sales", 1),
        ("/", 1),
        ("unlisted", 1),
    ]
    many = {f"u{number}": f"/{'Sales' if number % 2 else 'Support'}/Team {number}" for number in range(20)}
    approval = Approval(suspends(*many), roll(many))
    assert sorted(group[::2] for group in approval.units()) == [("/Sales", 10), ("/Support", 10)]
    for key, _, number in approval.units():
        assert len(approval.found(Selection(unit=key))) == number


def test_who_was_never_listed_is_not_counted_as_no_administrator():
    everybody = roll({"ada": "/", "boss": "/", "new": "", "root": ""})
    people = [line.person._replace(administers=line.user_id in ("boss", "root")) for line in everybody.lines.all]
    everybody = replace(everybody, lines=Lines(map(line_of, people)))
    approval = Approval(suspends("ada", "boss", "new", "root", "stranger"), everybody)
    assert [group[::2] for group in approval.administrators()] == [("yes", 2), ("unknown", 2)]
    found = {key: approval.found(Selection(administrators=key)) for key in ("yes", "unknown", "")}
    assert {each.member.resource for each in found["yes"]} == {"boss", "root"}
    assert {each.member.resource for each in found["unknown"]} == {"new", "stranger"}
    assert len(found[""]) == 5
    assert Approval(suspends("ada"), everybody).administrators() == []


def test_people_are_found_by_every_word_in_the_order_of_their_names():
    approval = Approval(suspends("zoe", "ada", "unknown1"), roll({"ada": "/", "zoe": "/"}))
    assert [each.member.resource for each in approval.everybody] == ["ada", "zoe", "unknown1"]
    for search, found in {"ADA": 1, "example": 2, "ada zoe": 0, "unknown1": 1, "unknown": 0, "": 3}.items():
        assert len(approval.found(Selection(search=search))) == found, search


def test_when_it_ends_is_told_by_the_last_approval_and_the_first_rejection():
    hour = timedelta(hours=1)
    held = suspends("a", "b", "c", "d")
    verdicts = (
        Verdict(standing=Standing.APPROVED, at=NOW, by="x"),
        Verdict(standing=Standing.APPROVED, at=NOW + hour, by="x"),
        Verdict(standing=Standing.REJECTED, at=NOW, by="x"),
        Verdict(standing=Standing.REJECTED, at=NOW + hour, by="x"),
    )
    approval = Approval(replace(held, verdicts=verdicts), roll({}))
    assert approval.ends() == (NOW + 25 * hour, NOW + timedelta(days=30))
    assert approval.title == "2 approved, 2 rejected"
    assert Approval(held, roll({})).ends() == (None, None)
