"""A held plan that was rejected: not carried out later, and no shield for what it did not speak of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.administration.take_over import take_over
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.domain.accounts import Write
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Entry, Trigger
from autoprovisioning.domain.errors import Rejected
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.holds import HoldState
from autoprovisioning.domain.runs import Run, RunKind
from autoprovisioning.domain.scope import Scope
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.builders import active, notice
from tests.support.in_memory import SALES
from tests.support.scenario import LATER, Scenario
from tests.support.settings import with_settings

ADMIN = Actor(address="admin@example.com", directory_id="u0")


def held_and_rejected() -> Scenario:
    """Eight leavers above the limit of ten a day, whose suspension an administrator rejected."""
    scenario = Scenario()
    for number in range(30):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=10)))
    scenario.run()
    for number in range(4):
        scenario.suspend(f"x{number}")
        notice(scenario, f"x{number}")
    for number in range(10, 18):
        scenario.leave(f"x{number}")
    scenario.run()
    (hold,) = scenario.services.holds.standing("c1")
    decide_hold(scenario.services, "c1", hold.digest, "reject", ADMIN)
    return scenario


def leavers(scenario: Scenario) -> list[bool]:
    return [access for number in range(10, 18) for access in active(scenario, f"x{number}")]


def test_a_rejected_plan_is_not_carried_out_once_there_is_room():
    scenario = held_and_rejected()
    for wait in (timedelta(minutes=20), timedelta(hours=25)):
        scenario.fakes.clock.advance(wait)
        scenario.run()
        notice(scenario, "x10")
        scenario.rename("x11", f"Renamed {wait}")
        notice(scenario, "x11")
        assert leavers(scenario) == [True] * 8


@pytest.mark.parametrize("seen_by", ["a run", "a look"])
def test_whose_suspension_was_rejected_fails_no_longer_for_what_was_refused_before(scenario, monkeypatch, seen_by):
    def refuse(_write: Write) -> None:
        raise Rejected("Keeper refuses this name")

    with monkeypatch.context() as patch:
        patch.setattr(scenario.keeper, "write", refuse)
        scenario.rename("u1", "Other")
        scenario.run()
    assert scenario.entry("u1").failure is not None
    none = VolumeLimit(minimum=0, share=0.0)
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=none))
    scenario.suspend("u1")
    scenario.run()
    (hold,) = scenario.services.holds.standing("c1")
    decide_hold(scenario.services, "c1", hold.digest, "reject", ADMIN)
    scenario.wait()
    if seen_by == "a run":
        scenario.run()
    else:
        notice(scenario, "u1")
    assert (scenario.entry("u1").failure, active(scenario, "u1")) == (None, [True])


def test_a_rejection_says_nothing_about_another_reason():
    scenario = held_and_rejected()
    scenario.fakes.clock.advance(timedelta(hours=25))
    scenario.run()
    scenario.suspend("x10")
    notice(scenario, "x10")
    assert leavers(scenario) == [False] + [True] * 7


def test_a_rejected_user_who_came_back_and_leaves_again_is_judged_anew():
    scenario = held_and_rejected()
    scenario.join("x10")
    scenario.run()
    scenario.leave("x10")
    scenario.fakes.clock.advance(timedelta(hours=25))
    scenario.run()
    assert leavers(scenario) == [False] + [True] * 7


def test_a_rejection_does_not_shield_who_is_deleted_later():
    scenario = Scenario()
    for number in range(10):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    units = Scope(groups=(), org_units=(SALES,))
    scenario.services.connections.change(
        "c1",
        lambda current: with_settings(current, scope=units, limit=VolumeLimit(minimum=5, percent=1.0, share=1000.0)),
    )
    for number in range(10):
        scenario.directory.live[f"x{number}"] = replace(scenario.directory.live[f"x{number}"], org_unit_path="/Sales")
    for user_id in ("u1", "u2", "u3", "admin"):
        scenario.directory.live.pop(user_id, None)
    scenario.fakes.clock.advance(timedelta(days=2))
    scenario.run()
    scenario.fakes.clock.advance(timedelta(days=2))
    for number in range(10):
        scenario.directory.live[f"x{number}"] = replace(scenario.directory.live[f"x{number}"], org_unit_path="/")
        notice(scenario, f"x{number}")
    scenario.run()
    (hold,) = scenario.services.holds.standing("c1")
    decide_hold(scenario.services, "c1", hold.digest, "reject", ADMIN)
    shielded = sorted(member.resource for member in hold.members)[:2]
    scenario.fakes.clock.advance(timedelta(days=2))
    scenario.suspend(shielded[0])
    scenario.delete(shielded[1])
    for _ in range(3):
        scenario.fakes.clock.advance(timedelta(days=1))
        scenario.run()
    assert [active(scenario, user_id) for user_id in shielded] == [[False], [False]]
    assert sum(active(scenario, member.resource) == [True] for member in hold.members) == len(hold.members) - 2


def test_a_set_that_was_rejected_once_is_raised_anew_when_it_happens_again():
    scenario = held_and_rejected()
    scenario.services.connections.change(
        "c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=5, percent=1.0))
    )
    for number in range(10, 18):
        scenario.join(f"x{number}")
    scenario.run()
    scenario.fakes.clock.advance(timedelta(days=100))
    for number in range(10, 18):
        scenario.leave(f"x{number}")
    scenario.run()
    (hold,) = [each for each in scenario.services.holds.standing("c1") if each.state is HoldState.WAITING]
    assert len(hold.members) == 8
    decide_hold(scenario.services, "c1", hold.digest, "approve", ADMIN)
    scenario.run()
    assert leavers(scenario) == [False] * 8


def test_who_waits_in_a_plan_is_not_taken_alone_where_the_timer_it_names_was_not_kept():
    """A worker that had the entry marked meanwhile kept the run from recording the timer: the look begins another."""
    scenario = Scenario(limit=1)
    scenario.run()
    for user_id in ("u1", "u2"):
        scenario.leave(user_id)
    scenario.run()
    scenario.services.roster.commit(scenario.connection, ["u1", "u2"], unrecorded)
    scenario.fakes.clock.advance(timedelta(minutes=1))
    scenario.sweep()
    assert active(scenario, "u1") == [True]


def unrecorded(entries: Mapping[str, Entry]) -> tuple[Edit, None]:
    """Make u1 look as if their leave had not been seen; that of u2 is reported."""
    u1, u2 = entries["u1"], entries["u2"]
    begun = replace(u1, timers={}, in_scope=True, version=u1.version + 1)
    return Edit(entries={"u1": begun, "u2": replace(u2, in_scope=False, version=u2.version + 1)}), None


def test_a_rejection_stands_where_the_timer_it_names_began_anew_between_two_runs():
    """A look that read the group a moment too early had ended it: no run saw anybody in scope since."""
    scenario = held_and_rejected()

    def ended(entries: Mapping[str, Entry]) -> tuple[Edit, None]:
        return Edit(
            entries={each: replace(entry, timers={}, version=entry.version + 1) for each, entry in entries.items()}
        ), None

    scenario.services.roster.commit(scenario.connection, [f"x{number}" for number in range(10, 18)], ended)
    scenario.fakes.clock.advance(timedelta(hours=25))
    scenario.run()
    notice(scenario, "x10")
    assert leavers(scenario) == [True] * 8


@pytest.fixture
def two_leavers() -> Scenario:
    """One may be suspended a day: u1 was, and u2 is suspended too, of whom the directory does not say since when."""
    scenario = Scenario(limit=1)
    scenario.run()
    scenario.suspend("u1")
    notice(scenario, "u1")
    scenario.directory.live["u2"] = replace(scenario.directory.live["u2"], presence=Presence.SUSPENDED, since=None)
    return scenario


def run_while(scenario: Scenario, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> Run:
    """Make a full run; something happens once it has listed everybody, two minutes after it began."""
    users = scenario.directory.users

    def slowly(fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        yield from list(users(fields))
        monkeypatch.undo()
        scenario.fakes.clock.advance(timedelta(minutes=2))
        happens()

    monkeypatch.setattr(scenario.directory, "users", slowly)
    run = scenario.plan()
    scenario.work_off()
    return run


def test_a_held_plan_writes_nothing_over_what_a_look_recorded_while_the_run_was_listing(two_leavers, monkeypatch):
    """The look leaves the version that the plan's own note would have had."""
    scenario = two_leavers
    scenario.services.roster.commit(scenario.connection, ["u2"], waiting)

    def restored() -> None:
        scenario.restore("u2")
        notice(scenario, "u2")

    run_while(scenario, monkeypatch, restored)
    entry = scenario.entry("u2")
    assert entry is not None
    assert entry.timers == {}
    assert scenario.services.holds.standing("c1") == []


def waiting(entries: Mapping[str, Entry]) -> tuple[Edit, None]:
    """Make everybody wait for a token."""
    return Edit(
        entries={each: replace(entry, pending=True, version=entry.version + 1) for each, entry in entries.items()}
    ), None


@pytest.mark.parametrize("deleted", [False, True], ids=["suspended", "deleted"])
def test_a_rejection_stands_where_a_look_dated_the_trigger_while_the_run_that_held_it_was_listing(
    two_leavers, monkeypatch, deleted
):
    """The directory tells no time: the run supposes its own beginning, the look a later moment."""
    scenario = two_leavers
    if deleted:
        scenario.delete("u2")
        scenario.directory.removed["u2"] = replace(scenario.directory.removed["u2"], since=None)
    run_while(scenario, monkeypatch, lambda: notice(scenario, "u2"))
    (hold,) = scenario.services.holds.standing("c1")
    decide_hold(scenario.services, "c1", hold.digest, "reject", ADMIN)
    for wait in (timedelta(minutes=20), timedelta(hours=25)):
        scenario.fakes.clock.advance(wait)
        scenario.run()
        notice(scenario, "u2")
        assert active(scenario, "u2") == [True]


def test_a_rejection_stands_where_the_trigger_began_again_while_the_run_that_held_it_was_listing(
    two_leavers, monkeypatch
):
    scenario = two_leavers
    scenario.suspend("u2")
    notice(scenario, "u2")
    scenario.fakes.clock.advance(timedelta(minutes=20))

    def again() -> None:
        scenario.suspend("u2")  # nobody saw them back
        notice(scenario, "u2")

    run_while(scenario, monkeypatch, again)
    (hold,) = scenario.services.holds.standing("c1")
    decide_hold(scenario.services, "c1", hold.digest, "reject", ADMIN)
    for wait in (timedelta(minutes=20), timedelta(hours=25)):
        scenario.fakes.clock.advance(wait)
        scenario.run()
        notice(scenario, "u2")
        assert active(scenario, "u2") == [True]


def test_who_is_deleted_while_everybody_is_listed_is_held_under_the_directorys_own_time(two_leavers, monkeypatch):
    """They are in neither listing: not deleted when deleted users were listed, and not there any more afterwards."""
    scenario = two_leavers
    scenario.restore("u2")
    scenario.run()
    users = scenario.directory.users

    def late(fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        scenario.delete("u2")
        scenario.fakes.clock.advance(timedelta(minutes=7))
        return users(fields)

    monkeypatch.setattr(scenario.directory, "users", late)
    scenario.plan()
    (hold,) = scenario.services.holds.standing("c1")
    entry = scenario.entry("u2")
    assert entry is not None
    assert [member.since for member in hold.members] == [timer.since for timer in entry.timers.values()]
    assert entry.timers[Trigger.DELETED].since == scenario.directory.removed["u2"].since


def test_a_plan_asks_about_nobody_whose_trigger_is_not_recorded(two_leavers, monkeypatch):
    """A decision would be kept under the run's time, and whoever records the suspension later has another one."""
    scenario = two_leavers
    suspended = scenario.directory.live["u2"]

    def seen_active() -> None:
        scenario.restore("u2")
        scenario.rename("u2", "Renamed")
        notice(scenario, "u2")
        scenario.directory.live["u2"] = suspended

    run = run_while(scenario, monkeypatch, seen_active)
    assert scenario.services.holds.standing("c1") == []
    assert active(scenario, "u2") == [True]
    assert "Changed while this run was reading, and left to the next one: 1" in run.notes
    scenario.fakes.clock.advance(timedelta(minutes=20))
    scenario.run()
    (hold,) = scenario.services.holds.standing("c1")
    entry = scenario.entry("u2")
    assert entry is not None
    assert [member.since for member in hold.members] == [timer.since for timer in entry.timers.values()]


def test_a_run_that_was_overtaken_ends_no_rejection_that_came_after_it_had_read(two_leavers, monkeypatch):
    """It lists u2 as active, and is held up. Another run takes its place, and holds their suspension."""
    scenario = two_leavers
    scenario.restore("u2")
    scenario.run()

    def held_and_rejected() -> None:
        scenario.suspend("u2")
        scenario.run()
        (hold,) = scenario.services.holds.standing("c1")
        decide_hold(scenario.services, "c1", hold.digest, "reject", ADMIN)

    run_while(scenario, monkeypatch, held_and_rejected)
    for wait in (timedelta(minutes=20), timedelta(hours=25)):
        scenario.fakes.clock.advance(wait)
        scenario.run()
        notice(scenario, "u2")
        assert active(scenario, "u2") == [True]


# ---- the roster is lost

REJECTED_LONG_AGO = timedelta(days=31)


def rejected_and_lost(verb: str = "reject") -> Scenario:
    """Two leavers of ten whose plan somebody decided about, then a higher limit, and no roster any more."""
    scenario = Scenario()
    for number in range(2, 11):
        scenario.hire(f"u{number}", f"p{number}@example.com")
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=1)))
    scenario.run()
    for user_id in ("u1", "u2"):
        scenario.suspend(user_id)
    scenario.fakes.clock.advance(timedelta(minutes=20))
    scenario.run()
    (hold,) = scenario.services.holds.standing("c1")
    for decision in ("reject", *(["withdraw"] if verb == "withdraw" else [])):
        decide_hold(scenario.services, "c1", hold.digest, decision, ADMIN)
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=9)))
    scenario.fakes.store.shards.clear()
    return scenario


@pytest.mark.parametrize("verb", ["reject", "withdraw"])
def test_a_decision_outlasts_the_roster(verb):
    """The accounts are taken over: that says whose they are, not that their owners may lose access now."""
    scenario = rejected_and_lost(verb)
    for kind in (RunKind.FULL, RunKind.DRIFT):
        scenario.fakes.clock.advance(LATER)
        scenario.plan(kind)
        scenario.work_off()
    assert take_over(scenario.services, "c1", None, ADMIN) == 2
    for wait in (timedelta(minutes=20), timedelta(hours=25)):
        scenario.fakes.clock.advance(wait)
        scenario.run()
        for user_id in ("u1", "u2"):
            notice(scenario, user_id)
            assert active(scenario, user_id) == [True]


@pytest.mark.parametrize(("verb", "months"), [("withdraw", 1), ("reject", 2)])
def test_a_decision_about_accounts_that_the_roster_never_has_again_ends(verb, months):
    """A rejection is to be made again after 30 days, and nobody does."""
    scenario = rejected_and_lost(verb)
    scenario.run()
    assert scenario.services.holds.standing("c1")
    for _ in range(months):
        scenario.fakes.clock.advance(REJECTED_LONG_AGO)
        scenario.run()
    assert scenario.services.holds.standing("c1") == []
