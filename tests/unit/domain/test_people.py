"""Who has access, in a line each: the states on both sides, one reason, and which list a person is in."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprovisioning.app.administration.people import part
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.deprovisioning import NEVER, Clock, Delays, Deprovisioning, due
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Entry, Failure, Status, Timer, Trigger
from autoprovisioning.domain.guard import Member
from autoprovisioning.domain.holds import Hold, Standing, Verdict
from autoprovisioning.domain.people import (
    InOrder,
    Lines,
    Listed,
    Person,
    Roll,
    again,
    entitled,
    line_of,
    listed_of,
    person_of,
)
from autoprovisioning.domain.review import Decided, InKeeper, Review, Shown, Sort, google, in_keeper
from autoprovisioning.domain.scope import Group, OrgUnit, Scope
from autoprovisioning.domain.settings import Settings
from autoprovisioning.domain.unprovisioned import By, Unprovisioned
from tests.support.builders import DAY, NOW, entry, running

GROUP = Group(id="g1", email="keeper@example.com")
LATER = Deprovisioning(
    app_off=Delays(suspend_after=None, delete_after=None),
    suspended=Delays(suspend_after=0, delete_after=30),
    deleted=Delays(suspend_after=0, delete_after=90),
)
HERE = Connection(id="c1", state=State.ON, settings=Settings(scope=Scope(groups=(GROUP,)), deprovisioning=LATER))
ADA = Listed("ada@example.com", "Ada Lovelace", Presence.ACTIVE)


def ada(status: Status = Status.ACTIVE, **changes: object) -> Person:
    presence = changes.pop("presence", Presence.ACTIVE)
    assert isinstance(presence, Presence)
    return person_of(entry(status, **changes), ADA._replace(presence=presence))


def suspended(since: datetime, status: Status = Status.SUSPENDED, **changes: object) -> Person:
    return ada(status, timers={Trigger.SUSPENDED: running(since)}, **changes)


def review(*people: Person, connection: Connection = HERE, decided: Decided | None = None) -> Review:
    return Review(Roll(at=NOW, lines=Lines(map(line_of, people))), connection, NOW, decided)


def told(person: Person, **given: object) -> tuple[Presence, InKeeper, str]:
    row = review(person, **given).row(person)  # type: ignore[arg-type]
    return row.google, row.keeper, row.why


FAILED = Failure(code="x", text="No seats are left", attempts=3, first=NOW, next_attempt=NOW + DAY, about="create:")


@pytest.mark.parametrize(
    ("person", "wanted"),
    [
        (ada(), (Presence.ACTIVE, InKeeper.ACTIVE, "In keeper@example.com")),
        (
            suspended(NOW - 10 * DAY),
            (Presence.SUSPENDED, InKeeper.SUSPENDED, "Suspended in Google; deletion due on 14 Dec 2026"),
        ),
        (
            suspended(NOW, Status.ACTIVE),
            (Presence.SUSPENDED, InKeeper.ACTIVE, "Suspended in Google; suspension due now"),
        ),
        (
            suspended(NOW - DAY, presence=Presence.ARCHIVED),
            (Presence.ARCHIVED, InKeeper.SUSPENDED, "Suspended in Google; deletion due on 23 Dec 2026"),
        ),
        (suspended(NOW - 40 * DAY, deleted=True), (Presence.SUSPENDED, InKeeper.DELETED, "Suspended in Google")),
        (
            ada(Status.SUSPENDED, gone=True, timers={Trigger.DELETED: running(NOW)}),
            (Presence.DELETED, InKeeper.SUSPENDED, "Deleted in Google; deletion due on 22 Feb 2027"),
        ),
        (
            ada(in_scope=False, timers={Trigger.APP_OFF: running(NOW)}),
            (Presence.ACTIVE, InKeeper.ACTIVE, "Left the provisioning scope"),
        ),
        (ada(Status.LOCKED), (Presence.ACTIVE, InKeeper.LOCKED, "Locked in Keeper by somebody else")),
        (ada(Status.NONE, failure=FAILED), (Presence.ACTIVE, InKeeper.NONE, "No seats are left")),
        (ada(pending=True), (Presence.ACTIVE, InKeeper.ACTIVE, "A change is being retried")),
        (
            ada(missing_since=NOW),
            (Presence.UNKNOWN, InKeeper.ACTIVE, "The directory's listings lack the user"),
        ),
        (
            ada(Status.NONE, presence=Presence.SUSPENDED),
            (Presence.SUSPENDED, InKeeper.NONE, "No account before the return"),
        ),
        (ada(Status.NONE, in_scope=False), (Presence.ACTIVE, InKeeper.NONE, "Not in the provisioning scope")),
        (entitled("u1", ADA), (Presence.ACTIVE, InKeeper.NONE, "In keeper@example.com")),
    ],
    ids=lambda value: value[2] if isinstance(value, tuple) and len(value) == 3 else "",
)
def test_a_person_is_told_in_a_line(person, wanted):
    assert told(person) == wanted


def test_the_roster_is_newer_than_the_listing():
    assert told(ada(presence=Presence.SUSPENDED))[0] is Presence.ACTIVE
    assert told(suspended(NOW, presence=Presence.ACTIVE))[0] is Presence.SUSPENDED


def test_a_failure_that_is_tried_again_at_once_is_told_to_nobody():
    trying = replace(FAILED, attempts=1, next_attempt=NOW)
    assert review(ada(failure=trying)).counts()[Shown.FAILING] == 0


def hold(standing: Standing, since: datetime = NOW) -> Decided:
    member = Member(resource="u1", action="suspend", trigger="suspended", since=since)
    verdict = Verdict(standing=standing, at=NOW, by="boss@example.com")
    return Decided([Hold(digest="d", raised_at=NOW, members=(member,), verdicts=(verdict,))])


@pytest.mark.parametrize(
    ("standing", "why", "held"),
    [
        (Standing.WAITING, "Suspension waits for approval", 1),
        (Standing.WITHDRAWN, "Suspension waits for approval", 1),
        (Standing.REJECTED, "An administrator rejected the suspension", 0),
        (Standing.APPROVED, "Suspended in Google; suspension due now", 0),
    ],
)
def test_what_was_decided_is_the_reason(standing, why, held):
    person = suspended(NOW, Status.ACTIVE)
    decided = hold(standing)
    assert told(person, decided=decided)[2] == why
    assert review(person, decided=decided).counts()[Shown.HELD] == held


def test_a_rejection_is_no_reason_once_its_cause_is_gone():
    assert told(ada(), decided=hold(Standing.REJECTED))[2] == "In keeper@example.com"


@pytest.mark.parametrize("state", [State.OFF, State.DELETING])
def test_nothing_falls_due_while_the_connection_is_off(state):
    off = replace(HERE, state=state)
    assert told(suspended(NOW - DAY), connection=off)[2] == "Suspended in Google"
    assert review(suspended(NOW - DAY), connection=off).counts()[Shown.DUE] == 0


@pytest.mark.parametrize(
    ("scope", "why"),
    [
        (Scope(), "Everybody is in scope"),
        (Scope(org_units=(OrgUnit(id="o1", path="/Sales"),)), "In /Sales"),
        (Scope(groups=(GROUP, Group(id="g2"))), "In the provisioning scope"),
        (Scope(groups=(Group(id="g2"),)), "In g2"),
    ],
)
def test_the_scope_is_the_reason_of_those_in_it(scope, why):
    assert told(ada(), connection=replace(HERE, settings=Settings(scope=scope)))[2] == why


def test_each_list_has_its_people():
    people = (
        ada(user_id="u1"),
        suspended(NOW - DAY, user_id="u2"),
        suspended(NOW - DAY, user_id="u3", deleted=True),
        ada(Status.LOCKED, user_id="u4"),
        ada(Status.NONE, user_id="u5", failure=FAILED),
        ada(user_id="u6", pending=True),
    )
    account = Unprovisioned(scim_id="k9", user_name="stranger@example.com", external_id="")
    reviewed = Review(Roll(at=NOW, lines=Lines(map(line_of, people))), HERE, NOW, None, [account])
    assert {shown.value: [line.person.key for line in reviewed.those(shown)] for shown in Shown} == {
        "active": ["u1", "u6"],
        "suspended": ["u2", "u3"],
        "none": ["u5"],
        "failing": ["u5"],
        "held": [],
        "waiting": ["u6"],
        "due": ["u2"],
        "locked": ["u4"],
        "unprovisioned": ["k9"],
    }
    assert [line.person.key for line in reviewed.lines] == ["u1", "u2", "u3", "u4", "u5", "u6", "k9"]


def test_what_is_due_later_than_in_30_days_is_not_soon():
    far = replace(HERE, settings=Settings(deprovisioning=Deprovisioning(suspended=Delays(delete_after=60))))
    assert review(suspended(NOW), connection=far).counts()[Shown.DUE] == 0
    assert review(suspended(NOW - 31 * DAY), connection=far).counts()[Shown.DUE] == 1


def test_an_account_that_nobody_provisions_is_told_with_its_owner():
    account = Unprovisioned(
        scim_id="k9",
        user_name="old@example.com",
        external_id="u9",
        by=By.EXTERNAL_ID,
        user_id="u9",
        presence=Presence.DELETED,
    )
    reviewed = Review(Roll(at=NOW), HERE, NOW, None, [account])
    [line] = reviewed.found(Shown.UNPROVISIONED, "old@")
    row = reviewed.row(line.person)
    assert (row.google, row.keeper) == (Presence.DELETED, InKeeper.ACTIVE)
    assert row.why == "Nobody provisions it: its externalId is their directory id"


@pytest.mark.parametrize("search", ["LOVE", "ada", "muller ada", "@example", "  Müller "])
def test_a_search_finds_all_its_words_anywhere_in_name_and_address(search):
    person = person_of(entry(), Listed("", "Ada Müller-Lovelace", Presence.ACTIVE))
    assert [line.user_id for line in review(person).found(None, search)] == ["u1"]
    assert review(person).found(None, f"{search} nobody") == []


def test_words_that_are_part_of_another_one_cost_no_search_of_their_own(monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr("autoprovisioning.domain.review._has", lambda line, word: not asked.append(word))  # type: ignore[func-returns-value]
    domain = "@example.com"
    parts = [domain[start:end] for start in range(len(domain)) for end in range(start + 1, len(domain) + 1)]
    assert [line.user_id for line in review(ada()).found(None, " ".join([*parts, *parts]))] == ["u1"]
    assert asked == [domain]


def test_the_best_matches_come_first():
    names = ("Bohr Grace", "Ada Grace Hopper")
    people = [entitled(name, Listed("", name, Presence.ACTIVE)) for name in names]
    assert [line.person.name for line in review(*people).best("grace h")] == ["Ada Grace Hopper", "Bohr Grace"]


@given(st.lists(st.text("ab", max_size=3), max_size=9), st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9))
def test_the_first_lines_are_those_of_the_whole_list(names, start, stop):
    people = [entitled(f"u{number}", Listed("", name, Presence.ACTIVE)) for number, name in enumerate(names)]
    lines = list(map(line_of, people))
    assert list(InOrder(lines)[start:stop]) == sorted(lines)[start:stop]
    assert list(InOrder(lines)) == sorted(lines)


SOME = st.lists(st.sampled_from(["t1", "t2"]), unique=True).map(tuple)


@given(st.lists(st.tuples(SOME, SOME, SOME, SOME, SOME, SOME, st.sampled_from(Status)), max_size=4))
def test_whom_a_team_concerns_is_what_each_persons_memberships_say(given):
    names = ("teams", "asked", "joins", "leaves", "unseen", "ended", "status")
    people = [Person(f"u{number}", "", **dict(zip(names, each, strict=True))) for number, each in enumerate(given)]
    by_team = Lines(map(line_of, people)).by_team
    told = [
        (team_id, membership, line.user_id)
        for team_id, found in by_team.items()
        for membership, lines in found.items()
        for line in lines
    ]
    wanted = [(*pair, person.user_id) for person in people for pair in person.memberships()]
    assert sorted(told) == sorted(wanted)


def test_accounts_that_are_active_and_are_not_plain_are_sorted_by_what_they_are():
    people = (ada(user_id="u1"), ada(user_id="u2", deleted=True), ada(user_id="u3", gone=True))
    reviewed = review(*people, ada(user_id="u4", missing_since=NOW))
    by_google = [google(line.person).value for line in reviewed.sorted(reviewed.lines, Sort.GOOGLE)]
    assert by_google == ["active", "active", "deleted", "unknown"]
    by_keeper = [in_keeper(line.person).value for line in reviewed.sorted(reviewed.lines, Sort.KEEPER)]
    assert by_keeper == ["active", "active", "active", "deleted"]


def test_people_are_sorted_by_what_is_asked_for():
    people = (
        person_of(entry(user_id="u1", email="z@example.com", last_action_at=NOW), ADA._replace(name="A")),
        person_of(entry(Status.SUSPENDED, user_id="u2", email="y@example.com"), ADA._replace(name="B")),
        person_of(entry(user_id="u3", email="x@example.com", last_action_at=NOW - DAY), ADA._replace(name="C")),
    )
    reviewed = review(*people)

    def order(sort: Sort, *, descending: bool = False) -> list[str]:
        return [line.user_id for line in reviewed.sorted(reviewed.lines, sort, descending=descending)]

    assert order(Sort.NAME) == ["u1", "u2", "u3"]
    assert order(Sort.NAME, descending=True) == ["u3", "u2", "u1"]
    assert order(Sort.ADDRESS) == ["u3", "u2", "u1"]
    assert order(Sort.KEEPER) == ["u1", "u3", "u2"]
    assert order(Sort.CHANGE, descending=True) == ["u1", "u3", "u2"]


def test_a_person_follows_the_roster_and_keeps_the_name():
    gone = again(ada(), None)
    assert gone is None
    stays = entitled("u1", ADA)
    assert again(stays, None) == stays
    comes = again(stays, Entry(user_id="u1", email="ada@example.com", status=Status.ACTIVE))
    assert comes is not None
    assert (comes.name, comes.status, comes.on_roster) == ("Ada Lovelace", Status.ACTIVE, True)


def test_half_a_character_in_a_name_or_a_unit_is_replaced():
    user = DirectoryUser(
        id="u1",
        primary_email="a@example.com",
        presence=Presence.ACTIVE,
        org_unit_path="/B\ud800",
        profile={"name": {"fullName": "A\ud800"}},
    )
    assert listed_of(user)[1:4:2] == ("A?", "/B?")


def test_unit_and_role_are_kept_with_the_name_and_followed():
    user = DirectoryUser(id="u1", primary_email="a@example.com", presence=Presence.ACTIVE, org_unit_path="/Sales")
    roles = [
        listed_of(replace(user, **role)).administers for role in ({}, {"is_admin": True}, {"is_delegated_admin": True})
    ]
    assert roles == [False, True, True]
    boss = entitled("u1", listed_of(replace(user, is_admin=True)))
    comes = again(boss, Entry(user_id="u1", email="a@example.com", status=Status.ACTIVE))
    assert comes is not None
    assert (boss.unit, boss.administers) == (comes.unit, comes.administers) == ("/Sales", True)


def test_the_id_is_searched_for_whole():
    person = ada(user_id="12345")
    assert [line.user_id for line in review(person).found(None, "12345")] == ["12345"]
    assert review(person).found(None, "1234") == []


DELAY = st.none() | st.integers(0, 40)
TIMES = st.integers(0, 90 * 86_400).map(lambda seconds: NOW - timedelta(seconds=seconds))
TIMER = st.builds(
    Timer,
    since=TIMES,
    accrued=st.integers(0, 90_000).map(lambda n: timedelta(seconds=n)),
    running_since=st.none() | TIMES,
)


@given(
    timers=st.dictionaries(st.sampled_from(Trigger), TIMER),
    delays=st.tuples(*[st.builds(Delays, suspend_after=DELAY, delete_after=DELAY)] * 3),
    status=st.sampled_from([Status.ACTIVE, Status.SUSPENDED]),
    stood=st.integers(0, 10),
)
def test_what_is_due_when_is_what_is_decided(timers, delays, status, stood):
    policy = Deprovisioning(app_off=delays[0], suspended=delays[1], deleted=delays[2])
    clock = Clock(stood=stood * DAY, last=(NOW - 90 * DAY, NOW - (90 - stood) * DAY))
    connection = replace(HERE, clock=clock, settings=Settings(deprovisioning=policy))
    person = ada(status, timers=timers)
    when = due(policy, timers, clock, NOW)
    at = when.delete if status is Status.SUSPENDED else min(when.suspend, when.delete)
    assert review(person, connection=connection).row(person).due == (at if at < NEVER else None)


def test_accounts_that_nobody_provisions_are_told_part_by_part_each_once():
    names = {"s1": ("zoe", By.EXTERNAL_ID), "s2": ("ada", By.NOTHING), "s3": ("mia", By.NOTHING)}
    accounts = [
        Unprovisioned(scim_id=scim_id, user_name=f"{name}@example.com", external_id="", by=by)
        for scim_id, (name, by) in names.items()
    ]
    reviewed = Review(Roll(at=NOW), HERE, NOW, None, accounts)
    told: list[str] = []
    cursor = ""
    for _ in accounts:
        lines, cursor = part(reviewed.found(Shown.UNPROVISIONED), cursor, 1)
        told += [line.person.account for line in lines]
    assert (told, cursor) == (["s2", "s3", "s1"], "")


TEAMS = st.sets(st.sampled_from(["t1", "t2", "t3", "t4"]))
SENT = st.tuples(TEAMS, TEAMS).map(lambda both: {"teams": tuple(both[0]), "asked": tuple(both[1] - both[0])})


@given(sent=SENT, inside=TEAMS, since=SENT)
def test_a_run_tells_who_joins_and_leaves_and_what_was_sent_since_is_done(sent, inside, since):
    person = person_of(entry(**sent), ADA._replace(teams=tuple(inside)))
    was_sent, is_sent = ({*each["teams"], *each["asked"]} for each in (sent, since))
    assert ({*person.joins}, {*person.leaves}) == (inside - was_sent, was_sent - inside)
    later = again(person, entry(**since))
    assert later is not None
    assert ({*later.joins}, {*later.leaves}) == ({*person.joins} - is_sent, {*person.leaves} & is_sent)
    assert sorted(team_id for team_id, _ in later.memberships()) == sorted({*is_sent, *later.joins})
