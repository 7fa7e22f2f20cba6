"""Teams between two full runs: what looks and sweeps put people into and take them out of, and what that costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from autoprovisioning.app.administration.approve_removals import approve_removals
from autoprovisioning.app.administration.configure import edit, turn_off
from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.provisioning.teams_of_one import LISTING
from autoprovisioning.app.runs.sweep import sweep_if_due
from autoprovisioning.app.services import ChangeSources
from autoprovisioning.domain.causes import Cause
from autoprovisioning.domain.entry import Status
from autoprovisioning.domain.errors import AddressTaken, Rejected
from autoprovisioning.domain.events import Actor, EventName
from autoprovisioning.domain.holds import HoldState
from autoprovisioning.domain.runs import Evidence, Look, RunKind
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.teams import TeamChoice
from tests.support.builders import DAY, MINUTE
from tests.support.scenario import ADDRESSES, GROUP, LATER, USERS, Scenario
from tests.support.scenario import sweep as sweep_once
from tests.support.settings import with_settings
from tests.support.teams import ENGINEERS, NESTED, TEAM, hire, inside, join, leave, run, with_teams


@pytest.fixture
def teams(scenario: Scenario) -> Scenario:
    """Three provisioned people, and a group that is a team, with another one in it; the directory counts requests."""
    with_teams(scenario, ENGINEERS, NESTED).directory.nested["g7"].add("g8")
    run(scenario)
    run(scenario)
    scenario.sent.clear()
    return scenario


@pytest.fixture
def asked(teams: Scenario, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what the directory is asked about groups."""
    counts: Counter[str] = Counter()
    for name in ("is_member", "members", "groups_of"):
        monkeypatch.setattr(teams.directory, name, counting(counts, name, getattr(teams.directory, name)))
    return counts


def counting(counts: Counter[str], name: str, ask):
    def asks(*args):
        if args[0] != GROUP.id:
            counts[name] += 1
        return ask(*args)

    return asks


def put_in(scenario: Scenario, *users: str) -> None:
    """Have these people in the team."""
    join(scenario, *users)
    run(scenario)
    scenario.sent.clear()
    assert inside(scenario) >= set(users)


def crowd(scenario: Scenario, number: int) -> list[str]:
    users = hire(scenario, number)
    run(scenario)
    put_in(scenario, *users)
    run(scenario)
    return users


def look(scenario: Scenario, user_id: str, *groups: Group, event: str = "") -> None:
    """Deliver a look about groups, as the audit log's `event` about the first of them asks for it."""
    now = scenario.fakes.clock.now
    cause = Cause(at=now, event=event, group=groups[0].email) if event else None
    scenario.deliver(Look(user_id=user_id, asked_at=now, cause=cause, groups=tuple(group.id for group in groups)))
    scenario.work_off()


def window(scenario: Scenario) -> tuple[str, ...]:
    removals = scenario.services.teams.get("c1")["g7"].removals
    return removals.users if removals is not None else ()


def test_a_look_about_a_group_puts_a_member_into_the_team_and_takes_out_who_left(teams, asked):
    join(teams, "u1")
    join(teams, "u2", group=NESTED)
    for user_id in ("u1", "u2", "u3"):
        look(teams, user_id, ENGINEERS)
    assert inside(teams) == {"u1", "u2"}
    assert teams.entry("u1").teams == (TEAM,)
    leave(teams, "u1")
    look(teams, "u1", ENGINEERS, event="REMOVE_GROUP_MEMBER")
    assert (inside(teams), teams.entry("u1").teams, window(teams)) == ({"u2"}, (), ("u1",))
    assert run(teams).planned == {}, "nothing is left to a run"


def test_a_look_for_another_reason_asks_nothing_about_groups_and_changes_no_membership(teams, asked):
    put_in(teams, "u1")
    join(teams, "u2")
    leave(teams, "u1")
    asked.clear()
    for user_id in ("u1", "u2"):
        teams.rename(user_id, "Other")
    for each in teams.sent:
        teams.deliver(each)
    teams.suspend("u1")
    teams.deliver(teams.sent[-1])
    assert (inside(teams), asked) == ({"u1"}, {})


def test_a_look_about_a_join_costs_one_request_and_one_about_a_leave_the_listing_of_that_group(teams, asked):
    join(teams, "u1")
    look(teams, "u1", ENGINEERS, event="ADD_GROUP_MEMBER")
    assert asked == {"is_member": 2}, "before the change, and after it"
    asked.clear()
    leave(teams, "u1")
    look(teams, "u1", ENGINEERS, event="REMOVE_GROUP_MEMBER")
    assert asked == {"is_member": 2, "members": 1}


@pytest.mark.parametrize(("event", "member"), [("ADD_GROUP_MEMBER", False), ("REMOVE_GROUP_MEMBER", True)])
def test_what_the_directory_does_not_show_yet_is_asked_again(teams, event, member):
    put_in(teams, *(("u1", "u2", "u3") if member else ("u2", "u3")))
    look(teams, "u1", ENGINEERS, event=event)
    assert len(teams.refused) == 1
    (leave if member else join)(teams, "u1")
    teams.again()
    assert (teams.refused, "u1" in inside(teams)) == ([], not member)


def test_what_the_directory_contradicts_for_long_is_not_believed(teams):
    put_in(teams, "u1", "u2", "u3")
    look(teams, "u1", ENGINEERS, event="REMOVE_GROUP_MEMBER")
    teams.deliver_the_rest()
    assert inside(teams) == {"u1", "u2", "u3"}


def test_nobody_without_access_joins(teams):
    teams.suspend("u1")
    run(teams)
    join(teams, "u1", "u4")
    for user_id in ("u1", "u4"):
        look(teams, user_id, ENGINEERS)
    assert inside(teams) == set()


def test_who_cannot_be_proven_to_have_left_stays(teams):
    put_in(teams, "u1", "u2", "u3")
    leave(teams, "u1")
    teams.directory.unreadable.add("g7")
    look(teams, "u1", ENGINEERS)
    assert inside(teams) == {"u1", "u2", "u3"}
    teams.directory.unreadable.clear()
    look(teams, "u1", ENGINEERS)
    assert inside(teams) == {"u2", "u3"}


def test_a_group_that_takes_too_long_to_list_is_left_to_a_sweep(teams, monkeypatch):
    put_in(teams, "u1", "u2", "u3")
    leave(teams, "u1")
    members = teams.directory.members

    def slow(group_id):
        for page in members(group_id):
            teams.fakes.clock.advance(LISTING)
            yield page

    monkeypatch.setattr(teams.directory, "members", slow)
    look(teams, "u1", ENGINEERS, event="REMOVE_GROUP_MEMBER")
    assert (inside(teams), teams.fakes.queue.runs) == ({"u1", "u2", "u3"}, [RunKind.SWEEP])
    sweep_if_due(teams.services, teams.fakes.clock.now + 4 * MINUTE)
    teams.work_off()
    assert inside(teams) == {"u2", "u3"}


def test_a_denial_that_the_listing_contradicts_takes_nobody_out(teams, monkeypatch):
    put_in(teams, "u1", "u2", "u3")
    monkeypatch.setattr(teams.directory, "is_member", lambda group_id, user_id: group_id == GROUP.id)
    look(teams, "u1", ENGINEERS)
    assert inside(teams) == {"u1", "u2", "u3"}


def test_who_returns_is_taken_out_before_access_is_given_back_and_stays_in_the_rest(teams, asked):
    put_in(teams, "u1", "u2", "u3")
    teams.suspend("u1")
    run(teams)
    leave(teams, "u1")
    teams.restore("u1")
    order = []
    write = teams.keeper.write
    teams.keeper.write = lambda each: (order.append((each.leaves, each.active)), write(each))[1]
    asked.clear()
    teams.deliver(teams.sent[-1])
    assert order == [((TEAM,), None), ((), True)]
    assert (inside(teams), teams.entry("u1").status) == ({"u2", "u3"}, Status.ACTIVE)
    assert asked == {"is_member": 1, "members": 1}
    teams.suspend("u2")
    run(teams)
    teams.restore("u2")
    asked.clear()
    teams.deliver(teams.sent[-1])
    assert (inside(teams), teams.entry("u2").status, asked) == ({"u2", "u3"}, Status.ACTIVE, {"is_member": 1})


@pytest.mark.parametrize("how", ["unread", "refused"])
def test_who_returns_gets_access_though_the_group_cannot_be_read_or_keeper_refuses_the_removal(teams, how):
    put_in(teams, "u1", "u2", "u3")
    teams.suspend("u1")
    run(teams)
    leave(teams, "u1")
    teams.restore("u1")
    if how == "unread":
        teams.directory.unreadable.add("g7")
    else:
        teams.keeper.faults.extend([Rejected("400"), None, Rejected("400")])
    teams.deliver(teams.sent[-1])
    assert (teams.entry("u1").status, inside(teams)) == (Status.ACTIVE, {"u1", "u2", "u3"})
    assert (teams.entry("u1").failure is not None) is (how == "refused"), "after access, too"
    teams.directory.unreadable.clear()
    run(teams)
    assert inside(teams) == {"u2", "u3"}


def test_a_new_account_is_created_in_the_teams_of_its_own_groups(teams, asked):
    join(teams, "u4")
    teams.hire("u4", ADDRESSES[3])
    written = []
    write = teams.keeper.write
    teams.keeper.write = lambda each: (written.append((each.kind.value, each.joins)), write(each))[1]
    teams.deliver(teams.sent[-1])
    assert (written, inside(teams), asked) == ([("create", (TEAM,))], {"u4"}, {"groups_of": 1})


def test_the_nested_groups_of_a_new_account_are_found_by_a_sweep_that_is_asked_for_at_once(teams, asked):
    new = [f"n{number}" for number in range(20)]
    for number, user_id in enumerate(new):
        join(teams, user_id, group=NESTED)
        teams.hire(user_id, f"new{number}@example.com")
    for each in list(teams.sent):
        teams.deliver(each)
    assert (inside(teams), teams.fakes.queue.runs) == (set(), [RunKind.SWEEP]), "a crowd asks for one"
    assert asked == {"groups_of": len(new)}
    sweep_if_due(teams.services, teams.fakes.clock.now + 4 * MINUTE)
    teams.work_off()
    assert inside(teams) == set(new)


def test_no_sweep_is_asked_for_where_no_group_is_a_team_or_nobody_gets_access(teams):
    teams.rename("u1", "Other")
    teams.suspend("u2")
    for each in list(teams.sent):
        teams.deliver(each)
    teams.services.connections.change("c1", lambda current: with_settings(current, teams=TeamChoice()))
    teams.hire("u4", ADDRESSES[3])
    teams.deliver(teams.sent[-1])
    assert teams.fakes.queue.runs == []


@pytest.mark.parametrize("direct", [True, False], ids=["of their own groups", "of nested groups"])
def test_whom_an_administrator_unlocks_is_put_right_by_the_same_look_and_a_sweep_at_once(teams, asked, direct):
    put_in(teams, "u1", "u2", "u3")
    other = Group(id="g9", email="keeper-sales@example.com", name="Sales")
    teams.directory.groups["g9"] = other
    run(teams)
    (account,) = teams.keeper.of("u1")
    teams.keeper.accounts[account.scim_id] = replace(account, active=False)
    run(teams, RunKind.DRIFT)
    leave(teams, "u1")
    if direct:
        join(teams, "u1", group=other)
    else:
        teams.directory.nested["g9"].add("g5")
        teams.directory.groups["g5"] = Group(id="g5", email="inner@example.com", name="Inner")
        join(teams, "u1", group=teams.directory.groups["g5"])
    run(teams)
    assert teams.entry("u1").status is Status.LOCKED
    (hold,) = [each for each in teams.services.holds.standing("c1") if each.state is HoldState.WAITING]
    decide_hold(teams.services, "c1", hold.digest, "approve", Actor(address="boss@example.com"))
    asked.clear()
    teams.fakes.queue.runs.clear()
    teams.deliver(Look(user_id="u1", asked_at=teams.fakes.clock.now))
    assert (teams.entry("u1").status, inside(teams)) == (Status.ACTIVE, {"u2", "u3"})
    assert teams.entry("u1").teams == (("t2",) if direct else ())
    assert asked["members"] == 1
    assert asked["is_member"] + asked["groups_of"] <= 4
    assert teams.fakes.queue.runs == [RunKind.SWEEP]
    sweep_if_due(teams.services, teams.fakes.clock.now + 4 * MINUTE)
    teams.work_off()
    assert teams.entry("u1").teams == ("t2",)


def refused(scenario: Scenario, user_id: str) -> list[str]:
    """Return the failure of somebody whose membership is refused."""
    failure = scenario.entry(user_id).failure
    return [failure.text] if failure is not None else []


@pytest.mark.parametrize("change", ["nothing", "attributes", "attributes, by a run"])
def test_a_look_for_another_reason_leaves_the_failure_of_a_refused_membership(teams, asked, change):
    write = teams.keeper.write

    def refusing(each):
        if each.joins:
            raise Rejected("no membership")
        return write(each)

    teams.keeper.write = refusing
    join(teams, "u1")
    run(teams)
    run(teams)
    before = teams.entry("u1").failure
    assert refused(teams, "u1") == ["no membership"]
    asked.clear()
    if change == "nothing":
        teams.deliver(Look(user_id="u1", asked_at=teams.fakes.clock.now))
    else:
        teams.rename("u1", "Other")
        (run(teams) if "run" in change else teams.deliver(teams.sent[-1]))
    assert asked["is_member"] == {"nothing": 1, "attributes": 2}.get(change, 0)
    assert refused(teams, "u1") == ["no membership"]
    assert change != "nothing" or teams.entry("u1").failure == before, "it was not tried again"
    teams.keeper.write = write
    teams.fakes.clock.advance(DAY)
    run(teams)
    assert (refused(teams, "u1"), inside(teams)) == ([], {"u1"})


def test_an_account_whose_creation_a_team_keeps_from_being_made_is_made_without_it_and_joins_then(teams):
    write, answered = teams.keeper.write, []

    def conflicting(each):
        answered.append((each.kind.value, each.joins))
        if each.kind.value == "create" and each.joins:
            raise AddressTaken("Keeper refuses creating this account (HTTP 409: Conflict)")
        return write(each)

    teams.keeper.write = conflicting
    join(teams, "u4")
    teams.hire("u4", ADDRESSES[3])
    teams.deliver(teams.sent[-1])
    assert answered == [("create", (TEAM,)), ("create", ())]
    sweep_if_due(teams.services, teams.fakes.clock.now + 4 * MINUTE)
    teams.work_off()
    assert answered[2:] == [("patch", (TEAM,))]
    assert (teams.entry("u4").status, teams.entry("u4").failure, inside(teams)) == (Status.ACTIVE, None, {"u4"})


def test_who_gets_another_address_meanwhile_is_created_in_their_own_teams(teams, monkeypatch):
    join(teams, "u1")
    teams.hire("u4", ADDRESSES[3])
    groups_of = teams.directory.groups_of

    def swapping(key: str):
        for user_id, address in (("u4", "other@example.com"), ("u1", ADDRESSES[3])):
            teams.readdress(user_id, address)
        return groups_of(key)

    monkeypatch.setattr(teams.directory, "groups_of", swapping)
    teams.deliver(next(look for look in teams.sent if look.user_id == "u4"))
    assert (teams.entry("u4").status, teams.entry("u4").sent_teams) == (Status.ACTIVE, ())


@pytest.mark.parametrize("leaves", [False, True])
def test_a_team_that_somebody_deleted_is_asked_for_once_until_a_run_finds_that_out(teams, leaves):
    if leaves:
        put_in(teams, "u1", "u2", "u3")
    del teams.keeper.teams[TEAM]
    (leave if leaves else join)(teams, "u1")
    written, write = [], teams.keeper.write
    teams.keeper.write = lambda each: (written.append(each), write(each))[1]
    look(teams, "u1", ENGINEERS)
    for _ in range(3):
        teams.sweep()
    assert (len(written), teams.refused) == (1, [])
    told = [event.name for event in teams.fakes.store.events["c1"].values() if event.user_id == "u1"]
    assert (told[-1], teams.entry("u1").failure is None) == (EventName.FAILED, False)
    run(teams)
    assert (len(written), teams.entry("u1").failure) == (1, None)


def test_what_became_of_a_lost_answer_is_settled_by_the_next_sweep(teams):
    join(teams, "u1", "u2")
    teams.keeper.faults.extend(["lost", "lost"])
    for user_id in ("u1", "u2"):
        look(teams, user_id, ENGINEERS)
    leave(teams, "u1")
    for _ in range(3):
        teams.fakes.clock.advance(LATER)
        teams.again()
        teams.sweep()
    assert inside(teams) == {"u2"}
    assert [teams.entry(user_id).sent_teams for user_id in ("u1", "u2")] == [(), (TEAM,)]


def test_whom_an_administrator_has_provisioned_is_put_right_at_once(teams, asked):
    put_in(teams, "u1", "u2", "u3")
    other = Group(id="g9", email="keeper-sales@example.com", name="Sales")
    teams.directory.groups["g9"] = other
    run(teams)
    leave(teams, "u1")
    join(teams, "u1", group=other)
    asked.clear()
    teams.deliver(Look(user_id="u1", event="provision", inquiry="c1/i1", asked_at=teams.fakes.clock.now))
    assert (inside(teams), teams.entry("u1").teams) == ({"u2", "u3"}, ("t2",))
    assert asked == {"is_member": 2, "groups_of": 2, "members": 1}


def test_looks_one_by_one_take_no_more_people_out_than_a_run_may(teams):
    users = crowd(teams, 40)
    leave(teams, *users[:30])
    for user_id in users[:30]:
        look(teams, user_id, ENGINEERS, event="REMOVE_GROUP_MEMBER")
    assert len(inside(teams)) == 21, "half of a team is never taken out"
    run(teams)
    team = teams.services.teams.get("c1")["g7"]
    assert (len(inside(teams)), team.held) == (21, 11)
    approve_removals(teams.services, "c1", "g7", team.held_digest, Actor(address="boss@example.com"))
    run(teams)
    assert len(inside(teams)) == 10


def test_whom_a_listing_holds_no_look_lets_go(teams):
    put_in(teams, *USERS[:3])
    teams.directory.memberships["g7"].clear()
    assert sweep_once(teams.services) == 0
    assert teams.services.teams.get("c1")["g7"].held == 3
    look(teams, "u1", ENGINEERS, event="REMOVE_GROUP_MEMBER")
    teams.suspend("u2")
    run(teams)
    teams.restore("u2")
    teams.deliver(teams.sent[-1])
    assert (inside(teams), teams.entry("u2").status) == ({"u1", "u2", "u3"}, Status.ACTIVE)


def test_looks_after_a_sweep_take_no_more_people_out_than_a_run_may(teams):
    users = crowd(teams, 10)
    leave(teams, *users[:4])
    teams.sweep()
    assert len(inside(teams)) == 6
    leave(teams, *users[4:])
    for user_id in users[4:]:
        look(teams, user_id, ENGINEERS, event="REMOVE_GROUP_MEMBER")
    assert len(inside(teams)) == 6, "the fifth would be half of ten"


def test_whom_a_listing_holds_stays_held_while_the_group_cannot_be_read(teams):
    put_in(teams, *USERS[:3])
    leave(teams, "u1", "u2")
    teams.sweep()
    held = teams.services.teams.get("c1")["g7"]
    teams.directory.unreadable.add("g7")
    teams.sweep()
    teams.directory.unreadable.clear()
    unread = teams.services.teams.get("c1")["g7"]
    assert (held.held, unread.held, unread.held_digest) == (2, 2, held.held_digest)
    look(teams, "u1", ENGINEERS, event="REMOVE_GROUP_MEMBER")
    assert inside(teams) == {"u1", "u2", "u3"}


def test_removals_whose_answers_were_lost_are_not_held_for_being_too_many(teams):
    users = crowd(teams, 10)
    leave(teams, *users[:4])
    teams.keeper.faults.extend(["lost"] * 4)
    run(teams)
    assert [teams.entry(user_id).asked for user_id in users[:4]] == [(TEAM,)] * 4
    teams.sweep()
    assert teams.services.teams.get("c1")["g7"].held == 0
    teams.fakes.clock.advance(DAY)
    run(teams)
    assert [teams.entry(user_id).sent_teams for user_id in users[:4]] == [()] * 4
    assert len(inside(teams)) == 6


def test_a_look_counts_into_what_a_run_plans_meanwhile(teams, monkeypatch):
    users = crowd(teams, 45)
    leave(teams, *users[:21])
    members = teams.directory.members

    def meanwhile(group_id):
        monkeypatch.setattr(teams.directory, "members", members)
        look(teams, users[20], ENGINEERS)
        return members(group_id)

    monkeypatch.setattr(teams.directory, "members", meanwhile)
    run(teams)
    assert len(inside(teams)) == 44
    assert window(teams) == (users[20],)


def test_a_sweep_finds_joins_and_leaves_direct_or_nested(teams, asked):
    put_in(teams, "u1")
    leave(teams, "u1")
    join(teams, "u2")
    join(teams, "u3", group=NESTED)
    asked.clear()
    teams.sweep()
    assert inside(teams) == {"u2", "u3"}
    assert asked["members"] == 1, "what the sweep listed proves that somebody left"
    assert sweep_once(teams.services) == 0
    assert run(teams).planned == {}


def test_where_nothing_changed_the_document_of_teams_is_read_once_and_not_written(teams, monkeypatch):
    put_in(teams, "u1", "u2")
    run(teams)
    reads: list[str] = []
    get = teams.services.teams.get
    monkeypatch.setattr(teams.services.teams, "get", lambda each: (reads.append(each), get(each))[1])
    monkeypatch.setattr(teams.services.teams, "change", None)
    teams.sweep()
    assert reads == ["c1"]
    teams.fakes.clock.advance(LATER)
    teams.plan()
    assert reads == ["c1", "c1"]


def test_a_sweep_publishes_a_difference_once_and_anew_when_it_is_another_one(teams):
    join(teams, "u1")
    assert [sweep_once(teams.services) for _ in range(3)] == [1, 0, 0]
    teams.fakes.queue.looks.clear()
    join(teams, "u2")
    assert sweep_once(teams.services) == 1
    teams.work_off()
    assert inside(teams) == {"u2"}, "the look that was lost is a full run's business"
    run(teams)
    assert inside(teams) == {"u1", "u2"}


def test_where_full_runs_are_rare_each_sweep_publishes_who_left(teams):
    put_in(teams, "u1", "u2", "u3")
    leave(teams, "u1")
    rare = ChangeSources(audit_log=True, full_run_every=DAY)
    teams.services = replace(teams.services, through=rare)
    assert [sweep_once(teams.services) for _ in range(2)] == [1, 1]
    join(teams, "u1")
    assert sweep_once(teams.services) == 0


def test_a_sweep_holds_what_a_run_would_and_takes_nobody_out_of_a_group_it_cannot_read(teams):
    users = crowd(teams, 45)
    leave(teams, *users[:21])
    teams.sweep()
    assert len(inside(teams)) == 45
    assert teams.services.teams.get("c1")["g7"].held == 21
    join(teams, *users[:20])
    teams.directory.unreadable.add("g7")
    teams.sweep()
    assert len(inside(teams)) == 45
    teams.directory.unreadable.clear()
    teams.sweep()
    assert len(inside(teams)) == 44
    assert teams.services.teams.get("c1")["g7"].held == 0


def test_what_was_approved_a_sweep_carries_out_too(teams):
    put_in(teams, *USERS[:3])
    teams.directory.memberships["g7"].clear()
    teams.sweep()
    held = teams.services.teams.get("c1")["g7"]
    assert (held.held, inside(teams)) == (3, {"u1", "u2", "u3"})
    approve_removals(teams.services, "c1", "g7", held.held_digest, Actor(address="boss@example.com"))
    teams.sweep()
    assert inside(teams) == set()


def test_an_approval_is_spent_when_a_look_finds_somebody_in_the_group_again(teams):
    put_in(teams, *USERS[:3])
    teams.directory.memberships["g7"].clear()
    teams.sweep()
    digest = teams.services.teams.get("c1")["g7"].held_digest
    approve_removals(teams.services, "c1", "g7", digest, Actor(address="boss@example.com"))
    teams.sweep()
    for user_id in USERS[:3]:
        join(teams, user_id)
        look(teams, user_id, ENGINEERS, event="ADD_GROUP_MEMBER")
    assert inside(teams) == {"u1", "u2", "u3"}
    teams.directory.memberships["g7"].clear()
    for user_id in USERS[:3]:
        look(teams, user_id, ENGINEERS, event="REMOVE_GROUP_MEMBER")
    teams.sweep()
    assert (len(inside(teams)), teams.services.teams.get("c1")["g7"].held) == (2, 2), "one may always go"


def test_many_at_once_are_left_to_a_full_run_that_is_asked_for_once(teams, monkeypatch):
    monkeypatch.setattr("autoprovisioning.app.runs.sweep.ONE_BY_ONE", 2)
    join(teams, "u1", "u2", "u3")
    assert [sweep_once(teams.services) for _ in range(3)] == [0, 0, 0]
    assert teams.fakes.queue.runs == [RunKind.FULL]
    run(teams)
    assert inside(teams) == {"u1", "u2", "u3"}


def test_a_sweep_leaves_teams_alone_while_a_run_is_under_way(teams, asked):
    join(teams, "u1")
    teams.fakes.clock.advance(MINUTE)
    teams.plan()
    asked.clear()
    assert (sweep_once(teams.services), asked) == (0, {})
    teams.work_off()
    assert inside(teams) == {"u1"}


def test_a_connection_whose_scope_names_no_group_is_swept_for_its_teams(teams):
    teams.services.connections.change(
        "c1", lambda current: with_settings(current, scope=type(current.settings.scope)())
    )
    run(teams)
    join(teams, "u1")
    teams.sweep()
    assert inside(teams) == {"u1"}
    assert teams.services.roster.entry(teams.connection, "u2").status is Status.ACTIVE


def test_a_connection_that_is_off_or_has_chosen_no_group_is_not_swept(teams, asked):
    join(teams, "u1")
    teams.services.connections.change("c1", lambda current: with_settings(current, teams=TeamChoice()))
    assert (sweep_once(teams.services), asked) == (0, {})
    look(teams, "u1", ENGINEERS)
    turn_off(teams.services, "c1", Actor(address="boss@example.com"))
    assert (sweep_once(teams.services), asked) == (0, {})
    assert inside(teams) == set()


def test_evidence_of_a_sweep_does_not_outlive_a_return(teams):
    put_in(teams, "u1", "u2", "u3")
    now = teams.fakes.clock.now
    stale = Look(user_id="u1", asked_at=now, groups=("g7",), evidence=Evidence(left_teams=("g7",)))
    teams.deliver(stale)
    assert inside(teams) == {"u1", "u2", "u3"}


def test_the_window_of_looks_ends_after_a_day(teams):
    users = crowd(teams, 45)
    for start in (0, 20):
        part = users[start : start + 20]
        leave(teams, *part)
        for user_id in part:
            look(teams, user_id, ENGINEERS)
        teams.fakes.clock.advance(DAY)
    assert len(inside(teams)) == 45 - 20 - 12


def test_nobody_joins_the_team_of_a_group_that_an_edit_has_left_out_before_a_run_follows(teams):
    connection = teams.connection
    others = replace(connection.settings, teams=TeamChoice(patterns=("other-*",)))
    edit(teams.services, "c1", connection.edition, others, Actor(address="boss@example.com"), run=False)
    join(teams, "u1")
    look(teams, "u1", ENGINEERS)
    sweep_once(teams.services)
    teams.work_off()
    assert inside(teams) == set()


@pytest.mark.parametrize("by", ["look", "run"])
def test_nobody_joins_whose_account_is_adopted_locked(teams, by):
    teams.hire("u4", "new@example.com")
    account = teams.keeper.seed("new@example.com", external_id="u4")
    teams.keeper.accounts[account.scim_id] = replace(account, active=False)
    join(teams, "u4")
    if by == "look":
        look(teams, "u4", ENGINEERS)
    else:
        run(teams)
    assert teams.entry("u4").scim_id == account.scim_id
    assert (inside(teams), teams.entry("u4").teams) == (set(), ())
