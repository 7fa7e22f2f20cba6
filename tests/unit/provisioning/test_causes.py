"""The cause of a change, from the request to look to the audit: shown, believed by nobody."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autoprovisioning.app.notifications.follow_changes import Followed, Follower, follow
from autoprovisioning.domain.causes import KEPT, Cause, Source
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.runs import Look, RunKind
from autoprovisioning.domain.workspace_changes import ADMIN, AdminEvent, LogEntry
from tests.support.builders import MINUTE, SECOND, active, notice
from tests.support.scenario import ADDRESSES, GROUP, Scenario, sweep
from tests.support.settings import with_settings

BOSS = "boss@example.com"


def events(scenario: Scenario, user_id: str = "u1") -> list[Event]:
    """Return the audit of a user, without the creation, oldest first."""
    found = [event for event in scenario.fakes.store.events["c1"].values() if event.user_id == user_id]
    return sorted((event for event in found if event.name is not EventName.CREATED), key=lambda event: event.at)


def hears(scenario: Scenario, name: str, user_id: str = "u1", *, late: timedelta = SECOND) -> Followed:
    """Let the audit log report a change that was made so long ago."""
    fakes, services = scenario.fakes, scenario.services
    follower = Follower(
        directory=fakes.directory,
        connections=services.connections,
        roster=services.roster,
        teams=services.teams,
        queue=fakes.queue,
        due_runs=services.due_runs,
        clock=fakes.clock,
        lag=MINUTE,
    )
    parameters = {"USER_EMAIL": ADDRESSES[int(user_id[1:]) - 1], "GROUP_EMAIL": GROUP.email}
    now = fakes.clock()
    told = AdminEvent(name=name, parameters=parameters)
    entry = LogEntry(service=ADMIN, method="m", actor=BOSS, at=now - late, events=(told,))
    (outcome,) = follow(follower, entry, now)
    return outcome


def cause(scenario: Scenario, event: str, *, late: timedelta = SECOND, group: str = "") -> Cause:
    return Cause(at=scenario.fakes.clock() - late, event=event, actor=BOSS, group=group)


def test_a_change_of_a_user_names_who_made_it_in_workspace_and_when(scenario):
    scenario.suspend("u1")
    expected = cause(scenario, "SUSPEND_USER")
    assert hears(scenario, "SUSPEND_USER") is Followed.LOOK
    scenario.work_off()
    (event,) = events(scenario)
    assert (event.name, event.cause) == (EventName.SUSPENDED, expected)
    assert event.actor.startswith("notification "), "who reported is not who acted"
    assert (event.source, event.latency) == (Source.EVENT, 1.0)


@pytest.mark.parametrize(
    ("reported", "before", "after", "access"),
    [
        ("SUSPEND_USER", "restore", "suspend", False),
        ("UNSUSPEND_USER", "suspend", "restore", True),
        ("ARCHIVE_USER", "restore", "archive", False),
        ("UNARCHIVE_USER", "archive", "restore", True),
        ("ADD_GROUP_MEMBER", "leave", "join", True),
    ],
)
def test_what_the_directory_does_not_show_yet_is_looked_at_again(scenario, reported, before, after, access):
    """An entry comes half a second after the change; nobody promises that the directory shows it by then."""
    scenario.services.connections.change("c1", lambda current: with_settings(current, archived_as_suspended=True))
    getattr(scenario, before)("u1")
    scenario.run()
    hears(scenario, reported)
    scenario.work_off()
    getattr(scenario, after)("u1")
    scenario.sent.clear()
    scenario.fakes.clock.advance(5 * SECOND)
    scenario.again()
    assert active(scenario, "u1") == [access]


@pytest.mark.parametrize("reported", ["SUSPEND_USER", "ADD_GROUP_MEMBER"])
def test_what_never_shows_is_asked_for_no_longer_than_a_minute(scenario, reported):
    if reported == "ADD_GROUP_MEMBER":
        scenario.leave("u1")
        scenario.run()
    hears(scenario, reported)
    scenario.work_off()
    assert scenario.refused
    scenario.fakes.clock.advance(MINUTE)
    scenario.again()
    assert scenario.refused == []


def test_who_leaves_a_group_is_found_by_a_sweep_that_knows_who_removed_them(scenario):
    scenario.leave("u1")
    scenario.leave("u2")
    expected = cause(scenario, "REMOVE_GROUP_MEMBER", group=GROUP.email)
    assert hears(scenario, "REMOVE_GROUP_MEMBER") is Followed.RUN
    scenario.sweep()
    assert [event.cause for event in events(scenario)] == [expected]
    assert [(event.cause, event.source) for event in events(scenario, "u2")] == [(None, Source.RUN)], "unreported"


def test_every_one_of_a_crowd_that_is_found_by_one_sweep_has_a_cause_of_their_own(scenario):
    for user_id in ("u1", "u2", "u3"):
        scenario.leave(user_id)
        hears(scenario, "REMOVE_GROUP_MEMBER", user_id)
    scenario.sweep()
    for user_id in ("u1", "u2", "u3"):
        (event,) = events(scenario, user_id)
        assert event.cause is not None


def test_a_report_of_long_ago_explains_no_departure_of_now(scenario):
    hears(scenario, "REMOVE_GROUP_MEMBER")
    scenario.sweep()
    scenario.fakes.clock.advance(KEPT)
    scenario.leave("u1")
    scenario.sweep()
    assert [event.cause for event in events(scenario)] == [None]


def test_a_report_of_joining_explains_no_departure(scenario):
    scenario.services.due_runs.add((), scenario.fakes.clock(), {"u1": cause(scenario, "ADD_GROUP_MEMBER")})
    scenario.leave("u1")
    scenario.sweep()
    assert [event.cause for event in events(scenario)] == [None]


def test_what_was_heard_of_by_a_notification_a_run_or_a_sweep_has_no_cause(scenario):
    scenario.suspend("u1")
    scenario.deliver(Look(user_id="u1", event="update", asked_at=scenario.fakes.clock(), channel="n1"))
    scenario.suspend("u2")
    scenario.run()
    scenario.leave("u3")
    sweep(scenario.services)
    scenario.fakes.clock.advance(SECOND)
    scenario.work_off()
    told = [[(event.cause, event.source) for event in events(scenario, user_id)] for user_id in ("u1", "u2", "u3")]
    assert told == [[(None, Source.NOTIFICATION)], [(None, Source.RUN)], [(None, Source.RUN)]]
    assert events(scenario, "u3")[0].latency == 1.0


def test_a_report_of_what_the_directory_does_not_show_leaves_no_trace(scenario):
    hears(scenario, "SUSPEND_USER")
    scenario.work_off()
    assert (active(scenario, "u1"), events(scenario)) == ([True], [])


def test_a_false_actor_changes_nothing_that_is_decided(scenario):
    forged = Cause(at=scenario.fakes.clock(), event="REMOVE_GROUP_MEMBER", actor="root@example.com", group=GROUP.email)
    scenario.deliver(Look(user_id="u1", cause=forged))
    assert (active(scenario, "u1"), events(scenario)) == ([True], [])


def test_what_another_message_asked_for_meanwhile_is_not_blamed_on_this_one(scenario):
    """While a rename is being written, a notification tells of a suspension: the same worker does that, too."""
    scenario.rename("u1", "Renamed")

    def meanwhile() -> None:
        scenario.suspend("u1")
        notice(scenario, "u1")

    scenario.keeper.meanwhile.append(meanwhile)
    hears(scenario, "CHANGE_FIRST_NAME")
    scenario.work_off()
    renamed, suspended = events(scenario)
    assert (renamed.name, suspended.name) == (EventName.UPDATED, EventName.SUSPENDED)
    assert renamed.cause is not None
    assert (suspended.cause, suspended.source) == (None, None)


def test_what_an_administrator_asks_for_has_neither_cause_nor_latency(scenario):
    scenario.rename("u1", "Renamed")
    scenario.deliver(Look(user_id="u1", inquiry="c1/i1", asked_at=scenario.fakes.clock()))
    assert [(event.cause, event.source, event.latency) for event in events(scenario)] == [(None, None, 0.0)]


def test_a_member_of_a_nested_group_whom_a_later_sweep_finds_has_the_cause_of_their_joining(scenario):
    """The scope group did not have them yet when the first look asked."""
    scenario.hire("u4", ADDRESSES[3])
    scenario.leave("u4")
    scenario.work_off()
    added = cause(scenario, "ADD_GROUP_MEMBER", group="team@example.com")
    scenario.services.due_runs.add((), scenario.fakes.clock(), {"u4": added})
    scenario.fakes.clock.advance(5 * MINUTE)
    scenario.join("u4")
    sweep(scenario.services)
    scenario.work_off()
    found = [event for event in scenario.fakes.store.events["c1"].values() if event.user_id == "u4"]
    assert [(event.cause, event.source) for event in found] == [(added, Source.EVENT)]


def test_a_full_run_after_a_lost_report_names_nobody(scenario):
    scenario.leave("u1")
    scenario.reconcile_to_the_end(RunKind.FULL)
    assert {event.cause for event in events(scenario)} == {None}
