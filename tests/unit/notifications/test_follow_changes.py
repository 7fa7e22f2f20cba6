"""Changes that the audit log reports: who is looked at, what waits for a run, what a storm or a stranger can cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoprovisioning.app.notifications.follow_changes import (
    BEHIND,
    COST,
    LAG_ABOVE,
    Followed,
    Follower,
    ask_for_due_runs,
    follow,
)
from autoprovisioning.app.notifications.recent import (
    DIRECTORY_REQUESTS_A_MINUTE,
    KEPT,
    MOST,
    NOTES_A_MINUTE,
    Recent,
)
from autoprovisioning.app.ports.due_runs import NO_CAUSES
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.app.runs.sweep import sweep_if_due
from autoprovisioning.domain.causes import MOST_KEPT
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.due_runs import due, due_now, latest
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import ConfigurationRefused, Incomplete, Transient
from autoprovisioning.domain.runs import Look, RunKind
from autoprovisioning.domain.scope import Group, Scope
from autoprovisioning.domain.teams import GroupTeam, TeamChoice, TeamState
from autoprovisioning.domain.workspace_changes import (
    ADMIN,
    GROUPS,
    UPDATE_MEMBERSHIP,
    AdminEvent,
    LogEntry,
    MembershipDelta,
)
from tests.support.builders import MINUTE, SECOND
from tests.support.in_memory import START, FakeDirectory
from tests.support.scenario import ADDRESSES, GROUP, Scenario, person
from tests.support.settings import with_settings

ADA, EVE = ADDRESSES[0], ADDRESSES[4]
TEAM = Group(id="g2", email="team@example.com")
CLUB = Group(id="g3", email="club@example.com")
LAG = MINUTE
LONG = START + timedelta(days=1)


class CountingDirectory(FakeDirectory):
    """Counts what it is asked for changes; fails on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.fails: dict[str, Exception] = {}

    def by_address(self, address: str) -> DirectoryUser | None:
        self._count("by_address")
        return super().by_address(address)

    def group(self, key: str) -> Group | None:
        self._count("group")
        return super().group(key)

    def groups_of(self, key: str) -> Sequence[Group]:
        self._count("groups_of")
        if key.endswith("@partner.example"):
            raise ConfigurationRefused("groups.list is refused: HTTP 403 Not Authorized to access this resource/api.")
        return super().groups_of(key)

    def deleted_users(self) -> Any:
        self._count("deleted_users")
        return super().deleted_users()

    def _count(self, verb: str) -> None:
        self.asked[verb] += 1
        if verb in self.fails:
            raise self.fails[verb]


class Office:
    """Three provisioned people, a scope group with a nested team, a club of no connection, and a follower."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        fakes = scenario.fakes
        self.clock, self.queue, self.store = fakes.clock, fakes.queue, fakes.store
        self.directory = CountingDirectory()
        vars(self.directory).update(vars(fakes.directory))  # the same customer
        self.directory.groups |= {TEAM.id: TEAM, CLUB.id: CLUB}
        self.directory.nested[GROUP.id] = {TEAM.id}
        self.directory.live["u9"] = person("u9", EVE, "Eve")
        self.follower = self.another()
        self.queue.looks.clear()
        self.queue.runs.clear()

    def another(self) -> Follower:
        """Return a follower that remembers nothing."""
        services = self.scenario.services
        return Follower(
            directory=self.directory,
            connections=services.connections,
            roster=services.roster,
            teams=services.teams,
            queue=services.queue,
            due_runs=services.due_runs,
            clock=self.clock,
            lag=LAG,
        )

    def hears(self, entry: LogEntry, *, late: timedelta = SECOND / 2) -> Followed:
        """Let the follower hear of a change that was made so long ago."""
        now = self.clock()
        (outcome,) = follow(self.follower, replace(entry, at=now - late), now)
        return outcome

    @property
    def looks(self) -> list[tuple[str, str]]:
        return [(look.user_id, look.event) for look in self.queue.looks]

    @property
    def waits(self) -> set[tuple[RunKind, timedelta]]:
        """What is due later, and in how long."""
        return {(run.kind, run.at - self.clock()) for run in self.store.due_runs if run.at > self.clock()}


@pytest.fixture
def office(scenario: Scenario) -> Office:
    return Office(scenario)


def event(name: str, **parameters: str) -> LogEntry:
    return LogEntry(service=ADMIN, method="m", events=(AdminEvent(name=name, parameters=parameters),))


def member(address: str = ADA, group: Group = GROUP, *, removed: bool = False) -> LogEntry:
    name = "REMOVE_GROUP_MEMBER" if removed else "ADD_GROUP_MEMBER"
    return event(name, USER_EMAIL=address, GROUP_EMAIL=group.email)


def delta(member: str, group: Group = GROUP, *, removes: bool = False) -> LogEntry:
    told = MembershipDelta(group=f"group:{group.email}", member=member, removes=removes)
    return LogEntry(service=GROUPS, method=UPDATE_MEMBERSHIP, membership=told)


def lags(*waits: timedelta) -> set[tuple[RunKind, timedelta]]:
    return {(RunKind.SWEEP, wait) for wait in waits}


# ---- members of groups that are teams


@pytest.fixture
def club(office: Office) -> Office:
    """The club is a team, and has the scope group's nested team in it; Eve is provisioned, too."""
    there = GroupTeam(group_id=CLUB.id, name="Club", email=CLUB.email, state=TeamState.THERE, since=START, team_id="t1")
    gone = replace(there, group_id="g9", email="g9@example.com", state=TeamState.LEFT)
    office.scenario.services.teams.change("c1", lambda _: {CLUB.id: there, "g9": gone})
    office.scenario.services.connections.change(
        "c1", lambda current: with_settings(current, teams=TeamChoice(patterns=("club*",)))
    )
    office.directory.groups["g9"] = Group(id="g9", email="g9@example.com")
    eve = Edit(entries={"u9": Entry(user_id="u9", email=EVE)})
    office.scenario.services.roster.commit(office.scenario.connection, ["u9"], lambda _: (eve, None))
    return office


def asks_about(office: Office) -> list[tuple[str, tuple[str, ...]]]:
    return [(look.user_id, look.groups) for look in office.queue.looks]


@pytest.mark.parametrize("removed", [False, True])
def test_who_joins_or_leaves_a_team_is_looked_at_once_with_the_group_and_no_sweep(club, removed):
    for entry in (member(EVE, CLUB, removed=removed), delta(f"user:{EVE}", CLUB, removes=removed)):
        club.hears(entry)
    assert asks_about(club) == [("u9", (CLUB.id,))]
    assert (club.queue.runs, club.waits) == ([], set())


def test_a_look_that_was_asked_for_another_reason_does_not_see_the_teams(club):
    assert club.hears(event("RENAME_USER", USER_EMAIL=EVE)) is Followed.LOOK
    assert club.hears(member(EVE, CLUB), late=3 * SECOND) is Followed.LOOK
    assert club.hears(event("SUSPEND_USER", USER_EMAIL=EVE), late=3 * SECOND) is Followed.REPEATED
    assert asks_about(club) == [("u9", ()), ("u9", (CLUB.id,))]


def test_a_group_of_the_scope_and_in_a_team_concerns_both(club):
    club.directory.nested[CLUB.id] = {GROUP.id}
    assert club.hears(member(EVE)) is Followed.LOOK
    assert club.hears(member(EVE, removed=True)) is Followed.LOOK
    assert asks_about(club) == [("u9", (CLUB.id,))] * 2
    assert club.queue.runs == [RunKind.SWEEP]
    assert club.waits == lags(*LAG_ABOVE)


def test_a_member_of_a_group_in_a_team_is_looked_at_and_swept_for_later(club):
    club.directory.nested[CLUB.id] = {"g9"}
    assert club.hears(member(EVE, club.directory.groups["g9"], removed=True)) is Followed.LOOK
    assert asks_about(club) == [("u9", (CLUB.id,))]
    assert (club.queue.runs, club.waits) == ([], lags(*LAG_ABOVE))
    assert club.hears(member("team@example.com", CLUB)) is Followed.RUN


def test_whom_nobody_provisions_and_what_is_no_team_any_more_concern_no_team(club):
    club.directory.live["u8"] = person("u8", "fay@example.com", "Fay")
    assert club.hears(member("fay@example.com", CLUB)) is Followed.OUTSIDE
    assert club.hears(member(EVE, club.directory.groups["g9"])) is Followed.OUTSIDE
    assert asks_about(club) == []


def test_teams_alone_are_followed_where_the_scope_names_no_group(club):
    club.scenario.services.connections.change("c1", lambda current: with_settings(current, scope=Scope()))
    assert club.hears(member(EVE, CLUB)) is Followed.LOOK
    assert club.hears(event("GROUP_MEMBER_BULK_UPLOAD")) is Followed.RUN


# ---- members of groups


@pytest.mark.parametrize("entry", [member(EVE), delta(f"user:{EVE}")])
def test_a_new_member_of_a_scope_group_is_looked_at(office, entry):
    assert office.hears(entry) is Followed.LOOK
    assert [replace(look, cause=None) for look in office.queue.looks] == [Look(user_id="u9", asked_at=office.clock())]
    assert (office.queue.runs, office.waits) == ([], set())


def test_both_shapes_of_a_change_cost_one_look(office):
    assert [office.hears(member(EVE)), office.hears(delta(f"user:{EVE}"))] == [Followed.LOOK, Followed.REPEATED]
    assert office.looks == [("u9", "")]


def test_a_change_after_the_look_was_asked_for_is_looked_at_again(office):
    office.hears(member(EVE))
    office.clock.advance(SECOND)
    assert office.hears(member(EVE), late=SECOND / 2) is Followed.LOOK
    assert office.hears(member(EVE), late=2 * SECOND) is Followed.REPEATED, "an older one, delivered late"


def test_a_change_right_before_the_look_was_asked_for_is_looked_at_again(office):
    """What that look read of the directory may be a second or two old."""
    office.hears(event("SUSPEND_USER", USER_EMAIL=ADA), late=SECOND)
    assert office.hears(event("UNSUSPEND_USER", USER_EMAIL=ADA), late=SECOND / 2) is Followed.LOOK
    assert office.hears(event("SUSPEND_USER", USER_EMAIL=ADA), late=SECOND / 4) is Followed.LOOK, "suspended once more"
    assert office.hears(event("SUSPEND_USER", USER_EMAIL=ADA), late=SECOND / 4) is Followed.REPEATED, "delivered twice"
    assert office.hears(event("RENAME_USER", USER_EMAIL=ADA), late=BEHIND) is Followed.REPEATED


def test_the_other_shape_of_a_change_may_have_another_time(office):
    assert office.hears(member(EVE), late=SECOND) is Followed.LOOK
    assert office.hears(delta(f"user:{EVE}"), late=SECOND * 0.9) is Followed.REPEATED
    assert office.hears(delta(f"user:{EVE}", TEAM), late=SECOND * 0.9) is Followed.LOOK, "another group"


@pytest.mark.parametrize("entry", [member(removed=True), delta(f"user:{ADA}", removes=True)])
def test_a_removal_asks_for_a_sweep_now_and_in_a_minute(office, entry):
    assert office.hears(entry) is Followed.RUN
    assert (office.looks, office.queue.runs) == ([], [RunKind.SWEEP])
    assert office.waits == lags(MINUTE)
    assert RunKind.SWEEP in {run.kind for run in office.store.due_runs if run.at <= office.clock()}


def test_a_crowd_of_removals_asks_for_one_sweep(office):
    outcomes = Counter(office.hears(member(removed=True)) for _ in range(50))
    assert outcomes == {Followed.RUN: 1, Followed.REPEATED: 49}
    office.clock.advance(SECOND)
    assert office.hears(member(removed=True)) is Followed.RUN
    assert office.queue.runs == [RunKind.SWEEP] * 2


def test_a_minute_of_removals_asks_for_no_more_sweeps_than_the_limit_and_then_for_one(office):
    outcomes: Counter[Followed] = Counter()
    for _ in range(590):
        outcomes[office.hears(member(removed=True), late=timedelta(0))] += 1
        office.clock.advance(SECOND / 10)
    assert outcomes[Followed.RUN] == len(office.queue.runs) <= DIRECTORY_REQUESTS_A_MINUTE / COST
    assert outcomes[Followed.MANY] == 590 - outcomes[Followed.RUN]
    assert len(office.store.due_runs) <= 3


def test_a_member_of_a_nested_group_is_looked_at_and_swept_for_once_the_parent_has_followed(office):
    assert office.hears(member(EVE, TEAM)) is Followed.LOOK
    assert office.looks == [("u9", "")]
    assert office.waits == lags(*LAG_ABOVE)


@pytest.mark.parametrize("entry", [member(CLUB.email), delta(f"group:{CLUB.email}")])
@pytest.mark.parametrize("removed", [False, True])
def test_a_group_as_member_asks_for_sweeps_after_1_5_and_12_minutes(office, entry, removed):
    assert office.hears(entry) is Followed.RUN
    assert (office.looks, office.queue.runs) == ([], [])
    assert office.waits == lags(MINUTE, 5 * MINUTE, 12 * MINUTE)


def test_a_group_that_has_just_been_nested_is_known_as_that(office):
    assert office.hears(member(EVE, CLUB)) is Followed.OUTSIDE
    office.directory.nested[GROUP.id].add(CLUB.id)
    office.hears(member(CLUB.email))
    assert office.hears(member(EVE, CLUB)) is Followed.LOOK


def test_groups_nested_in_a_circle_are_asked_about_once_each(office):
    office.directory.nested[CLUB.id], office.directory.nested["g4"] = {"g4"}, {CLUB.id}
    office.directory.groups["g4"] = Group(id="g4", email="four@example.com")
    assert office.hears(member(EVE, CLUB)) is Followed.OUTSIDE
    assert office.directory.asked["groups_of"] == 2


def test_the_members_of_other_groups_cost_two_requests_in_five_minutes(office):
    for _ in range(20):
        assert office.hears(member(ADA, CLUB)) is Followed.OUTSIDE
    assert office.directory.asked == {"group": 1, "groups_of": 1}
    office.clock.advance(KEPT)
    office.hears(member(ADA, CLUB))
    assert office.directory.asked == {"group": 2, "groups_of": 2}
    assert (office.looks, office.queue.runs, office.waits) == ([], [], set())


def test_a_member_from_outside_and_an_unknown_group_cost_no_look(office):
    assert office.hears(member("guest@elsewhere.example")) is Followed.STRANGER
    assert office.hears(delta("user:guest@elsewhere.example", removes=True)) is Followed.STRANGER
    assert office.hears(member(ADA, Group(id="", email="nowhere@example.com"))) is Followed.OUTSIDE
    assert (office.looks, office.queue.runs, office.waits) == ([], [], set())


def test_groups_that_cannot_be_listed_leave_it_to_a_sweep(office):
    office.directory.fails["groups_of"] = Incomplete("groups.list broke off")
    assert office.hears(member(EVE, CLUB)) is Followed.RUN
    assert (office.looks, office.waits) == ([], lags(MINUTE))


def test_another_organizations_group_above_one_of_ours_is_not_asked_about(office):
    """It is listed, but the directory refuses to say which groups have it as a member."""
    office.directory.groups["g5"] = Group(id="g5", email="all@partner.example")
    office.directory.nested["g5"] = {CLUB.id}
    assert office.hears(member(EVE, CLUB)) is Followed.OUTSIDE
    office.directory.nested["g5"].add(TEAM.id)
    assert office.hears(member(EVE, TEAM)) is Followed.LOOK


def test_a_directory_that_refuses_to_list_the_groups_above_one_of_ours_is_an_error(office):
    office.directory.fails["groups_of"] = ConfigurationRefused("groups.list is refused")
    with pytest.raises(ConfigurationRefused):
        office.hears(member(EVE, CLUB))


# ---- users


def test_who_was_created_moved_or_undeleted_is_looked_at_wherever_they_are(office):
    for name in ("CREATE_USER", "MOVE_USER_TO_ORG_UNIT", "UNDELETE_USER", "UNSUSPEND_USER"):
        assert office.hears(event(name, USER_EMAIL=EVE)) is Followed.LOOK, name
        office.clock.advance(SECOND)
    assert office.looks == [("u9", "add"), ("u9", "update"), ("u9", "undelete"), ("u9", "update")]


def test_any_other_change_of_a_user_costs_a_look_only_if_a_roster_has_them(office):
    for name in ("SUSPEND_USER", "CHANGE_USER_PHONE_NUMBER", "RENAME_USER"):
        assert office.hears(event(name, USER_EMAIL=EVE)) is Followed.OUTSIDE
        assert office.hears(event(name, USER_EMAIL=ADA)) is Followed.LOOK
        office.clock.advance(SECOND)
    assert office.looks == [("u1", "update")] * 3


def test_an_alias_names_its_user(office):
    office.directory.live["u1"] = replace(office.directory.live["u1"], aliases=("lady@example.com",))
    assert office.hears(event("SUSPEND_USER", USER_EMAIL="lady@example.com")) is Followed.LOOK


def test_a_renamed_user_is_found_under_either_address(office):
    for old, new in ((ADA, "gone@example.com"), ("gone@example.com", ADA)):
        assert office.hears(event("RENAME_USER", USER_EMAIL=old, NEW_VALUE=new)) is Followed.LOOK
        office.clock.advance(SECOND)


def test_a_deleted_user_is_found_among_the_deleted_though_somebody_else_has_the_address_by_now(office):
    office.directory.removed["u1"] = office.directory.live.pop("u1")
    office.directory.live["u8"] = person("u8", ADA, "Another")
    assert office.hears(event("DELETE_USER", USER_EMAIL=ADA)) is Followed.LOOK
    assert office.looks == [("u1", "delete")]


def test_many_deletions_list_the_deleted_once(office):
    for user_id in ("u1", "u2", "u3"):
        office.directory.removed[user_id] = office.directory.live.pop(user_id)
    for address in ADDRESSES[:3]:
        assert office.hears(event("DELETE_USER", USER_EMAIL=address)) is Followed.LOOK
    assert office.directory.asked["deleted_users"] == 1


def test_deleted_users_who_cannot_be_listed_are_left_to_a_full_run(office):
    office.directory.removed["u1"] = office.directory.live.pop("u1")
    office.directory.fails["deleted_users"] = Incomplete("users.list answers 400")
    assert office.hears(event("DELETE_USER", USER_EMAIL=ADA)) is Followed.RUN
    assert {kind for kind, _ in office.waits} == {RunKind.FULL}


@pytest.mark.parametrize("name", ["CREATE_USER", "UNDELETE_USER", "DELETE_USER"])
def test_what_the_directory_does_not_show_yet_is_delivered_again_for_a_minute(office, name):
    entry = event(name, USER_EMAIL="new@example.com")
    with pytest.raises(Transient):
        office.hears(entry)
    published = office.clock()
    office.clock.advance(LAG)
    assert list(follow(office.follower, entry, published)) == [Followed.STRANGER]


def test_a_newcomer_who_got_somebodys_address_is_not_taken_for_them(office):
    office.hears(event("SUSPEND_USER", USER_EMAIL=ADA))
    office.directory.live["u1"] = replace(office.directory.live["u1"], primary_email="former@example.com")
    office.directory.live["u8"] = person("u8", ADA, "Another")
    office.hears(event("CREATE_USER", USER_EMAIL=ADA))
    assert office.looks == [("u1", "update"), ("u8", "add")]


def test_bulk_uploads_and_a_deleted_group_wait_for_a_run(office):
    assert office.hears(event("GROUP_MEMBER_BULK_UPLOAD")) is Followed.RUN
    assert office.hears(event("DELETE_GROUP", GROUP_EMAIL=TEAM.email)) is Followed.RUN
    assert office.waits == lags(MINUTE)
    assert office.hears(event("USERS_BULK_UPLOAD")) is Followed.RUN
    assert {kind for kind, _ in office.waits} == {RunKind.SWEEP, RunKind.FULL}


# ---- whom it concerns at all


def test_without_a_connection_nothing_is_asked(office):
    connection = office.scenario.connection
    office.store.connections[connection.id] = replace(connection, state=State.OFF)
    entries = [member(EVE), member(removed=True), event("CREATE_USER", USER_EMAIL=EVE), event("USERS_BULK_UPLOAD")]
    assert {office.hears(entry) for entry in entries} == {Followed.OUTSIDE}
    assert (office.directory.asked, office.looks, office.waits) == ({}, [], set())


def test_without_scope_groups_members_concern_nobody(office):
    connection = office.scenario.connection
    office.store.connections[connection.id] = with_settings(connection, scope=Scope())
    assert office.hears(member(EVE)) is Followed.OUTSIDE
    assert office.hears(event("CREATE_USER", USER_EMAIL=EVE)) is Followed.LOOK
    assert office.directory.asked == {"by_address": 1}


def test_what_reports_nothing_of_ours_is_counted_as_that(office):
    assert office.hears(event("CHANGE_PASSWORD", USER_EMAIL=ADA)) is Followed.OTHER
    assert office.hears(LogEntry(service="login.googleapis.com", method="x")) is Followed.OTHER


# ---- storms


def test_a_storm_of_different_people_is_left_to_runs_once_the_minute_is_spent(office):
    """As a bulk import is: no more requests than the limit, and one run of each kind every few minutes."""
    outcomes: Counter[Followed] = Counter()
    for number in range(2_000):
        office.directory.live[f"v{number}"] = person(f"v{number}", f"v{number}@example.com", "V")
        outcomes[office.hears(member(f"v{number}@example.com"))] += 1
        outcomes[office.hears(event("CREATE_USER", USER_EMAIL=f"v{number}@example.com"))] += 1
    assert outcomes[Followed.LOOK] <= DIRECTORY_REQUESTS_A_MINUTE / COST
    assert outcomes[Followed.LOOK] + outcomes[Followed.MANY] == 4_000
    assert sum(office.directory.asked.values()) <= DIRECTORY_REQUESTS_A_MINUTE
    assert len(office.store.due_runs) == 2
    office.clock.advance(MINUTE)
    assert office.hears(member(EVE)) is Followed.LOOK, "the next minute begins anew"


def test_a_storm_of_unknown_groups_is_limited_too(office):
    for number in range(2_000):
        office.hears(member(ADA, Group(id="", email=f"g{number}@example.com")))
    assert sum(office.directory.asked.values()) <= DIRECTORY_REQUESTS_A_MINUTE
    assert office.waits == lags(MINUTE)


def test_what_the_directory_does_not_know_is_counted_with_the_second_request_that_it_costs(office):
    """groups.get is followed by a query, and a refused users.get by a probe."""
    office.directory.by_address = lambda _address: DirectoryUser(  # type: ignore[method-assign]
        id="", primary_email="", presence=Presence.UNKNOWN
    )
    for number in range(2_000):
        office.hears(member(f"guest{number}@elsewhere.example"))
    guests = office.directory.asked["group"] - 1  # each is asked for as a user and as a group; the scope group once
    assert 100 < guests <= DIRECTORY_REQUESTS_A_MINUTE / 4


def test_a_group_that_the_directory_does_not_know_is_asked_about_once_in_a_minute(office):
    nowhere = Group(id="", email="nowhere@example.com")
    for _ in range(20):
        assert office.hears(member(ADA, nowhere)) is Followed.OUTSIDE
    assert office.directory.asked == {"group": 1}
    office.directory.groups["g6"] = replace(nowhere, id="g6")
    office.directory.nested[GROUP.id].add("g6")
    office.clock.advance(MINUTE)
    assert office.hears(member(ADA, nowhere)) is Followed.LOOK


def test_a_cause_that_could_not_be_stored_is_stored_with_the_next_delivery(office):
    add = office.follower.due_runs.add

    def broken(*_: object) -> None:
        raise Transient("Firestore could not be reached")

    office.follower.due_runs.add = broken
    with pytest.raises(Transient):
        office.hears(member(removed=True))
    office.follower.due_runs.add = add
    assert office.hears(member(removed=True)) is Followed.RUN
    assert office.store.causes.keys() == {"u1"}


def test_of_a_storm_of_removals_not_every_cause_is_stored(office):
    """All of them are in one document."""
    stored = []
    add = office.follower.due_runs.add
    office.follower.due_runs.add = lambda runs, now, causes=NO_CAUSES: (stored.extend(causes), add(runs, now, causes))
    for number in range(2 * NOTES_A_MINUTE):
        office.directory.live[f"v{number}"] = person(f"v{number}", f"v{number}@example.com", "V")
        for entry in (
            member(f"v{number}@example.com", removed=True),
            delta(f"user:v{number}@example.com", removes=True),
        ):
            office.hears(entry)
    assert len(stored) == len(set(stored)) == NOTES_A_MINUTE
    assert len(office.store.causes) <= MOST_KEPT


def test_runs_that_are_stored_are_not_stored_again(office):
    office.hears(member(CLUB.email))
    office.store.due_runs = frozenset()
    office.hears(member(CLUB.email))
    assert office.store.due_runs == frozenset(), "the process knows them"
    assert Followed.RUN is follow(office.another(), member(CLUB.email), office.clock())[0]
    assert office.waits == lags(*LAG_ABOVE)


@pytest.mark.parametrize("verb", ["by_address", "group"])
def test_a_directory_that_fails_has_the_entry_delivered_again(office, verb):
    office.directory.fails[verb] = Transient("429", retry_after=9)
    with pytest.raises(Transient):
        office.hears(member(EVE))
    assert office.looks == []
    office.directory.fails.clear()
    assert office.hears(member(EVE)) is Followed.LOOK


def test_what_is_remembered_stays_bounded():
    recent: Recent[int, int] = Recent()
    start = Scenario().fakes.clock()
    for number in range(3 * MOST):
        recent.put(number, number, start)
    assert len(recent._values) <= MOST
    assert recent.get(3 * MOST - 1, start) == 3 * MOST - 1
    assert recent.get(3 * MOST - 1, start + KEPT) is None


# ---- due runs


def test_every_minute_the_runs_that_are_due_are_requested_until_they_are_made(office):
    assert ask_for_due_runs(office.follower) == frozenset()
    office.hears(member(CLUB.email))
    office.clock.advance(MINUTE)
    for _ in range(2):
        assert ask_for_due_runs(office.follower) == {RunKind.SWEEP}
    assert office.queue.runs == [RunKind.SWEEP] * 2
    sweep_if_due(office.scenario.services, LONG)
    assert ask_for_due_runs(office.follower) == frozenset()
    office.clock.advance(4 * MINUTE)
    assert ask_for_due_runs(office.follower) == {RunKind.SWEEP}


def test_a_full_run_is_requested_once(office):
    office.hears(event("USERS_BULK_UPLOAD"))
    office.clock.advance(10 * MINUTE)
    assert ask_for_due_runs(office.follower) == {RunKind.FULL}
    assert ask_for_due_runs(office.follower) == frozenset()


def test_however_often_a_sweep_is_requested_it_is_made_once_for_all_that_were_due(office):
    services, directory = office.scenario.services, office.scenario.fakes.directory
    office.hears(member(removed=True))
    directory.memberships[GROUP.id].discard("u1")
    assert sweep_if_due(services, LONG) == 1
    assert [(look.user_id, look.evidence.left) for look in office.queue.looks] == [("u1", ("c1",))]
    directory.memberships[GROUP.id].discard("u2")
    assert sweep_if_due(services, LONG) == 0, "none is due: the next one finds it"
    office.clock.advance(SECOND)
    office.hears(member(ADDRESSES[1], removed=True))
    assert sweep_if_due(services, LONG) == 1


def test_a_sweep_that_fails_is_still_due(office):
    services, directory = office.scenario.services, office.scenario.fakes.directory
    office.hears(member(removed=True))
    before = office.store.due_runs
    directory.memberships[GROUP.id].discard("u1")
    publish, office.queue.look_again = office.queue.look_again, failing
    with pytest.raises(Transient):
        sweep_if_due(services, LONG)
    assert office.store.due_runs == before
    office.queue.look_again = publish
    assert sweep_if_due(services, LONG) == 1
    assert office.store.due_runs == due(RunKind.SWEEP, office.clock(), MINUTE)


def test_a_sweep_that_cannot_list_a_group_to_its_end_is_made_again_in_the_next_minute(office):
    services, directory = office.scenario.services, office.scenario.fakes.directory
    office.hears(member(removed=True))
    directory.memberships[GROUP.id].discard("u1")
    directory.unreadable.add(GROUP.id)
    assert sweep_if_due(services, LONG) == 0
    directory.unreadable.clear()
    office.queue.runs.clear()
    assert ask_for_due_runs(office.follower) == {RunKind.SWEEP}
    assert sweep_if_due(services, LONG) == 1
    assert [look.user_id for look in office.queue.looks] == ["u1"]


def failing(_looks: Sequence[Look]) -> None:
    raise Transient("503")


def test_a_sweep_in_progress_makes_those_that_are_asked_for_meanwhile(office):
    services, directory = office.scenario.services, office.scenario.fakes.directory
    release, members = services.leases.release, directory.members
    waiting = ["u2", "u3"]

    def interrupted(group_id: str) -> Any:
        """Somebody else is asked for a sweep while this one is listing."""
        listed = list(members(group_id))
        if "u2" in waiting:
            leave(waiting.pop(0), ADDRESSES[1])
            assert sweep_if_due(services, LONG) == 0, "left to this one"
        return iter(listed)

    def released(name: str, holder: str) -> None:
        """Another one meets the lease, just before it is released."""
        if waiting:
            leave(waiting.pop(0), ADDRESSES[2])
            assert sweep_if_due(services, LONG) == 0
        release(name, holder)

    def leave(user_id: str, address: str) -> None:
        office.clock.advance(SECOND)
        directory.memberships[GROUP.id].discard(user_id)
        office.hears(member(address, removed=True))

    leave("u1", ADA)
    directory.members, services.leases.release = interrupted, released  # type: ignore[method-assign]
    assert sweep_if_due(services, LONG) == 3
    assert {look.user_id for look in office.queue.looks} == {"u1", "u2", "u3"}


def test_a_clock_that_is_behind_ours_or_ahead_loses_no_sweep(office):
    services, directory = office.scenario.services, office.scenario.fakes.directory
    for user_id, ahead in (("u1", SECOND), ("u2", -SECOND)):
        office.clock.advance(MINUTE)
        directory.memberships[GROUP.id].discard(user_id)
        at = office.clock() + ahead
        services.due_runs.add(due_now(RunKind.SWEEP, at), at)
        assert sweep_if_due(services, LONG) == 1
        assert latest(services.due_runs.all(), RunKind.SWEEP, office.clock()) is None


def test_a_hidden_user_proves_nothing(office):
    office.directory.by_address = lambda _address: DirectoryUser(  # type: ignore[method-assign]
        id="", primary_email="", presence=Presence.UNKNOWN
    )
    assert office.hears(member(EVE)) is Followed.STRANGER
