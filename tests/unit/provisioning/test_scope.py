"""Scope: who belongs to which connection, and what may be told from listings, single answers and their absence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.provisioning.adoption_grounds import deleted_addresses
from autoprovisioning.app.provisioning.placement import AskedOneByOne, place
from autoprovisioning.app.provisioning.read_user import read_user
from autoprovisioning.app.runs.list_users import Pages, everybody
from autoprovisioning.app.runs.read_directory import begin, list_deleted_again, read_groups
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.errors import ConfigurationRefused, Incomplete, NotSent, Transient
from autoprovisioning.domain.observation import observed, rules_of
from autoprovisioning.domain.runs import Evidence, Look
from autoprovisioning.domain.scope import Group, Scope
from autoprovisioning.domain.settings import Settings
from tests.support.builders import NOW
from tests.support.executors import Inline
from tests.support.in_memory import FakeDirectory, unit
from tests.support.settings import with_settings

A, B = Group(id="ga", email="a@example.com"), Group(id="gb", email="b@example.com")
USER = DirectoryUser(
    id="u1",
    primary_email="ada@example.com",
    presence=Presence.ACTIVE,
    org_unit_path="/Sales/EMEA",
    profile={"primaryEmail": "ada@example.com"},
)
GONE = DirectoryUser(id="u1", primary_email="ada@example.com", presence=Presence.DELETED)
SECOND = timedelta(seconds=1)


@pytest.fixture
def directory() -> FakeDirectory:
    """u1 is a member of A; u2 of none."""
    made = FakeDirectory()
    made.live = {"u1": USER, "u2": replace(USER, id="u2")}
    made.units[unit("/R&D").id] = "/R&D"
    made.memberships["ga"].add("u1")
    return made


UNITS = [
    ((), "/", True),
    (("/",), "/Anything/Below", True),
    (("/Sales",), "/Sales", True),
    (("/Sales",), "/Sales/EMEA", True),
    (("/Sales/",), "/Sales/EMEA", True),
    (("/Sales",), "/Salesforce", False),
    (("/Sales",), "/", False),
    (("/Sales", "/R&D"), "/R&D/Labs", True),
    (("/Sales/EMEA",), "/Sales", False),
]


@pytest.mark.parametrize(("chosen", "path", "inside"), UNITS)
def test_a_unit_holds_itself_and_what_is_below(chosen, path, inside):
    units = tuple(map(unit, chosen))
    assert Scope(org_units=units).located([*units, unit(path)]).holds_unit(path) is inside


def connection(name: str = "c1", *groups: Group, units: tuple[str, ...] = (), state: State = State.ON) -> Connection:
    return Connection(
        id=name, state=state, settings=Settings(scope=Scope(groups=groups, org_units=tuple(map(unit, units))))
    )


LISTED = [
    # groups, units, members read -> in scope
    ((), (), {}, True),
    ((), ("/Sales",), {}, True),
    ((), ("/R&D",), {}, False),
    ((A,), (), {"ga": {"u1"}}, True),
    ((A,), (), {"ga": {"u9"}}, False),
    ((A,), (), {"ga": None}, None),
    ((A,), (), {}, None),
    ((A, B), (), {"ga": None, "gb": {"u1"}}, True),
    ((A, B), (), {"ga": None, "gb": set()}, None),
    ((A,), ("/R&D",), {"ga": {"u1"}}, False),
    ((A,), ("/Sales",), {"ga": {"u1"}}, True),
    ((A,), ("/R&D",), {"ga": None}, False),
]


@pytest.mark.parametrize(("groups", "units", "members", "expected"), LISTED)
def test_scope_from_listings(directory, groups, units, members, expected):
    asked = connection("c1", *groups, units=units)
    survey = begin(directory, [asked], Inline(), 1)
    survey.members = {name: None if ids is None else frozenset(ids) for name, ids in members.items()}
    assert survey.in_scope(asked, USER) is expected
    assert survey.in_scope(asked, GONE) is None


ASKED = [
    # user, was in scope, connections whose complete listings lack them, group unreadable -> in scope
    ("u1", False, (), False, True),
    ("u1", True, ("c1",), False, True),  # a positive answer counts
    ("u2", False, (), False, False),
    ("u2", True, (), False, None),  # hasMember=false alone never counts
    ("u2", True, ("c2",), False, None),  # nor does another connection's proof
    ("u2", True, ("c1",), False, False),
    ("u2", True, ("c1",), True, None),
    ("u2", False, (), True, None),
]


@pytest.mark.parametrize(("user_id", "was", "left", "broken", "expected"), ASKED)
def test_scope_of_one_user_asked_alone(directory, user_id, was, left, broken, expected):
    if broken:
        directory.is_member = _refuse
    ask = AskedOneByOne(directory, lambda _connection: was, left)
    assert ask(connection("c1", A), directory.live[user_id]) is expected


def _refuse(group_id: str, _user_id: str) -> bool:
    raise ConfigurationRefused(f"{group_id} is gone")


def test_a_directory_that_fails_is_no_answer_at_all(directory):
    def fail(_group_id: str, _user_id: str) -> bool:
        raise Transient("503")

    directory.is_member = fail
    with pytest.raises(Transient):
        AskedOneByOne(directory, lambda _connection: True, ("c1",))(connection("c1", A), USER)


def test_units_and_deletion_need_no_question(directory):
    directory.is_member = _refuse
    ask = AskedOneByOne(directory, lambda _connection: True, ())
    assert ask(connection("c1"), USER) is True
    assert ask(connection("c1", A, units=("/R&D",)), USER) is False
    assert ask(connection("c1", A), GONE) is None


@pytest.mark.parametrize(
    ("state", "owner"),
    [(State.ON, "c1"), (State.PAUSED, "c1"), (State.OFF, "c2"), (State.DRAFT, "c2"), (State.DELETING, "c2")],
)
def test_a_paused_connection_keeps_its_users_one_that_is_off_does_not(state, owner):
    both = [connection("c1", state=state), connection("c2")]
    placement = place(both, USER, lambda _connection, _user: True, lambda _connection: None)
    assert [name for name, inside in placement.in_scope.items() if inside] == [owner]


def test_every_group_is_read_once_and_one_that_breaks_off_is_none(directory):
    directory.memberships["gb"] = {"u1", "u2"}
    directory.unreadable.add("gb")
    members, notes = read_groups(directory, [connection("c1", A, B), connection("c2", A)], Inline(), 1)
    assert members == {"ga": frozenset({"u1"}), "gb": None}
    assert len(notes) == 1
    assert "b@example.com" in notes[0]


def test_everybody_is_met_once_though_pages_overlap(directory):
    class Overlapping(FakeDirectory):
        def users(self, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
            yield [USER]
            yield [USER, replace(USER, id="u2")]

    survey = begin(directory, [], Inline(), 1)
    met = everybody(Pages(directory=Overlapping(), fields=frozenset(), clock=lambda: NOW), survey, NOW + SECOND)
    assert [user.id for user in met] == ["u1", "u2"]
    assert (survey.complete, survey.listed) == (True, 2)


def test_a_listing_that_breaks_off_is_noted_and_not_raised(directory):
    directory.live |= {f"x{number}": replace(USER, id=f"x{number}") for number in range(4)}
    directory.broken_after = 1
    survey = begin(directory, [], Inline(), 1)
    met = list(everybody(Pages(directory=directory, fields=frozenset(), clock=lambda: NOW), survey, NOW + SECOND))
    assert len(met) == 2
    assert (survey.complete, len(survey.notes)) == (False, 1)


def test_a_listing_that_is_refused_from_the_start_ends_the_run(directory):
    def refused(_fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        raise ConfigurationRefused("delegation")

    directory.users = refused
    with pytest.raises(ConfigurationRefused):
        list(
            everybody(
                Pages(directory=directory, fields=frozenset(), clock=lambda: NOW),
                begin(directory, [], Inline(), 1),
                NOW + SECOND,
            )
        )


def test_a_listing_that_takes_too_long_ends_the_run(directory):
    with pytest.raises(NotSent):
        list(
            everybody(
                Pages(directory=directory, fields=frozenset(), clock=lambda: NOW),
                begin(directory, [], Inline(), 1),
                NOW,
            )
        )


@pytest.mark.parametrize("error", [Incomplete("users.list broke off"), ConfigurationRefused("403")])
def test_deleted_users_that_cannot_be_listed_prove_nobody_deleted_and_end_no_run(directory, error):
    directory.removed["u1"] = GONE

    def broken() -> Iterator[Sequence[DirectoryUser]]:
        yield [GONE]
        raise error

    directory.deleted_users = broken
    survey = begin(directory, [], Inline(), 1)
    assert (survey.deleted, survey.deleted_addresses, deleted_addresses(directory)) == ({}, None, None)
    (note,) = survey.notes
    assert (survey.deleted_listed, note.startswith("The deleted users could not be listed")) == (False, True)


def test_a_second_listing_of_deleted_users_that_fails_takes_nothing_back(directory, caplog):
    directory.removed["u1"] = GONE
    survey = begin(directory, [], Inline(), 1)
    known = survey.deleted, survey.deleted_addresses

    def broken() -> Iterator[Sequence[DirectoryUser]]:
        raise Incomplete("users.list broke off")

    directory.deleted_users = broken
    list_deleted_again(directory, survey)
    assert (survey.deleted, survey.deleted_addresses) == known
    assert (survey.deleted_listed, survey.complete) == (True, True)
    told = "Whoever was deleted while this run listed users is left to the next one: users.list broke off"
    assert survey.notes == [told]
    assert [record.levelname for record in caplog.records] == ["WARNING"], "no alert: what was listed first proves"


def test_the_addresses_of_deleted_users_are_told_whole_or_not_at_all(directory):
    directory.removed["u1"] = replace(GONE, primary_email="Ada@Example.com")
    assert begin(directory, [], Inline(), 1).deleted_addresses == deleted_addresses(directory) == {"ada@example.com"}
    directory.removed["u2"] = replace(GONE, id="u2", primary_email="")
    survey = begin(directory, [], Inline(), 1)
    assert (survey.deleted_addresses, deleted_addresses(directory), survey.deleted_listed) == (None, None, True)


READ = [
    # live, among the deleted, event, evidence of a complete listing, young -> presence
    (True, False, "update", False, True, Presence.ACTIVE),
    (True, False, "delete", False, False, Presence.ACTIVE),  # undeleted since
    (False, True, "delete", False, True, Presence.DELETED),
    (False, True, "", False, False, Presence.DELETED),
    (False, False, "", False, False, Presence.UNKNOWN),  # a 404 alone proves nothing
    (False, False, "delete", False, False, Presence.UNKNOWN),
    (False, False, "", True, False, Presence.DELETED),
    (False, False, "add", True, False, Presence.DELETED),
]


@pytest.mark.parametrize(("live", "removed", "event", "missing", "young", "expected"), READ)
def test_what_one_user_is(directory, live, removed, event, missing, young, expected):
    if not live:
        del directory.live["u1"]
    if removed:
        directory.removed["u1"] = GONE
    look = Look(user_id="u1", event=event, evidence=Evidence(missing=missing))
    fresh_until = NOW + SECOND if young else NOW
    assert read_user(directory, look, fresh_until, NOW).presence is expected


def test_missing_is_not_deleted_where_the_credentials_read_nobody(directory):
    directory.live.clear()
    look = Look(user_id="u1", event="", evidence=Evidence(missing=True))
    assert read_user(directory, look, NOW, NOW).presence is Presence.UNKNOWN


CONTRADICTIONS = [(True, "delete"), (False, "add"), (False, "undelete"), (False, "delete")]


@pytest.mark.parametrize(("live", "event"), CONTRADICTIONS)
def test_an_answer_that_contradicts_a_recent_event_is_asked_again(directory, live, event):
    if not live:
        del directory.live["u1"]
    with pytest.raises(Transient):
        read_user(directory, Look(user_id="u1", event=event), NOW + SECOND, NOW)


def test_what_is_observed_is_mapped_or_says_why_not():
    mapped = replace(USER, profile={"primaryEmail": "ada@example.com", "name": {"fullName": "Ada"}})
    assert observed(connection(), mapped, True).desired["displayName"] == "Ada"
    unmapped = observed(connection(), USER, True)
    assert (unmapped.desired, "displayName" in str(unmapped.mapping_failure)) == ({}, True)
    gone = observed(connection(), GONE, None)
    assert (gone.desired, gone.mapping_failure) == ({}, None)


def test_rules_come_from_the_connection():
    assert rules_of(connection("c1", A), {}).by_groups
    assert not rules_of(connection(), {}).by_groups
    assert rules_of(
        with_settings(connection(), archived_as_suspended=True), {}, retry_failures=True
    ).archived_as_suspended
