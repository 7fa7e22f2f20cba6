"""What Health says of a connection: nothing while all is well, otherwise what is wrong and what ends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.health import health
from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.app.ports.reports import HeldPlan, KeeperAnswers, Page, WaitingUsers
from autoprovisioning.app.runs.close_run import LEFT_BY_EDIT, OUTAGE
from autoprovisioning.app.services import ChangeSources
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.holds import HoldState
from autoprovisioning.domain.runs import Run, RunKind, RunState
from autoprovisioning.domain.scope import Scope
from autoprovisioning.domain.sources import Feed
from tests.support.in_memory import SALES, START, FakeServices, unit
from tests.support.in_memory_state import FakeChannels
from tests.support.settings import with_settings

MINUTE = timedelta(minutes=1)
ON = Connection(id="c1", state=State.ON, changed_at=START - timedelta(days=3))
JUST_ON = replace(ON, changed_at=START - 15 * MINUTE)
LIVE = Channel(id="n1", address="https://hook", expires=START + timedelta(days=1), proven=True)
GONE = Scope(groups=(), org_units=(replace(SALES, listed=False), unit("/Navy")))
TODAY = ChangeSources()
NEVER: Mapping[Feed, Sequence[timedelta]] = {}
NOBODY, SWIFT = WaitingUsers(), KeeperAnswers(changes=100, failed=0, seconds=5.0)
DONE = Run(
    id="r1",
    connection_id="c1",
    kind=RunKind.FULL,
    fence=1,
    started=START - 20 * MINUTE,
    state=RunState.DONE,
    finished=START - 19 * MINUTE,
)
WAITING = WaitingUsers(count=3, oldest=START - 10 * MINUTE)
FAILS = Run(
    id="r2",
    connection_id="c1",
    kind=RunKind.FULL,
    fence=2,
    started=START - 10 * MINUTE,
    state=RunState.PLANNED,
    batches=1,
    notes=(f"{OUTAGE}HTTP 500",),
)
REFUSED = replace(FAILS, state=RunState.REFUSED, finished=START, notes=("Keeper did not answer (HTTP 500)",))
UNSETTLED = replace(REFUSED, state=RunState.UNSETTLED, planned={"create": 300}, counts={"unsettled": 26}, notes=())


APPROVED = HeldPlan(
    digest="d1",
    state=HoldState.APPROVED,
    raised_at=START,
    reason="too many",
    counts={"suspend": 9},
    decided_by="boss@x.org",
    decided_at=START,
    standings={"approved": 7, "done": 2},
)
REJECTED = HeldPlan(
    digest="d2",
    state=HoldState.REJECTED,
    raised_at=START,
    reason="too many",
    counts={"suspend": 15},
    decided_by="boss@x.org",
    decided_at=START,
    standings={"rejected": 15},
)


@dataclass
class Told:
    """The Reports port, as far as health reads it."""

    latest: Sequence[Run] = (DONE,)
    waits: WaitingUsers = NOBODY
    answers: KeeperAnswers = SWIFT
    held: int = 0
    plans: Sequence[HeldPlan] = ()
    failing: int = 0

    def failing_users(self, connection_id: str) -> int:
        return self.failing

    def runs(self, connection_id: str, cursor: str, limit: int) -> Page[Run]:
        return Page(items=tuple(self.latest[:limit]))

    def waiting(self, connection_id: str) -> WaitingUsers:
        return self.waits

    def plans_held(self, connection_id: str) -> int:
        return self.held

    def decided(self, connection_id: str) -> Sequence[HeldPlan]:
        return self.plans

    def pace(self, connection_id: str, since: object) -> KeeperAnswers:
        return self.answers


def test_archived_people_who_keep_their_access_are_counted():
    assert look(Told(latest=(replace(DONE, counts={"archived": 3}),))).archived == 3
    assert look(Told()).archived == look(Told(latest=())).archived == 0


@pytest.mark.parametrize(
    ("latest", "archived"),
    [
        ((DONE,), 0),  # a count of nobody is not stored
        ((replace(DONE, state=RunState.UNSETTLED),), 0),
        ((replace(DONE, state=RunState.REFUSED),), 3),
        ((replace(DONE, kind=RunKind.DRIFT),), 3),
        ((replace(DONE, state=RunState.PLANNED, finished=None),), 3),
    ],
)
def test_archived_people_are_counted_by_the_last_run_that_looked_at_everybody(latest, archived):
    before = replace(DONE, id="r0", counts={"archived": 3})
    assert look(Told(latest=(*latest, before))).archived == archived


def look(
    told: Told,
    connection: Connection = ON,
    channel: Channel | None = LIVE,
    through: ChangeSources = TODAY,
    heard: Mapping[Feed, Sequence[timedelta]] = NEVER,
):
    fakes = FakeServices(through=through)
    for source, several in heard.items():
        for ago in several:
            fakes.services.sources.hear(source, START - ago, user=True)
    channels = FakeChannels(fakes.store)
    if channel is not None:
        channels.put(channel)
        if channel.proven:
            channels.prove(channel.id, START)
    return health(fakes.services, told, channels, connection)


def test_what_a_rejection_keeps_is_counted_and_no_concern():
    seen = look(Told(plans=(REJECTED, replace(APPROVED, standings={"rejected": 2, "done": 5}))))
    assert (seen.kept, seen.concerns) == (17, ())


@pytest.mark.parametrize("state", [State.PAUSED, State.OFF])
def test_approvals_in_force_are_told_whatever_stops_the_connection(state):
    seen = look(Told(plans=(APPROVED, REJECTED)), replace(ON, state=state))
    assert [concern.what.partition(":")[0] for concern in seen.concerns[1:]] == ["Approved, but not carried out yet"]
    assert seen.kept == 15


def test_there_is_no_concern_while_all_is_well():
    seen = look(Told())

    assert seen.concerns == ()
    assert (seen.last_success, seen.running, seen.oldest_pending) == (DONE, None, None)
    assert seen.live_until == LIVE.expires


@pytest.mark.parametrize(
    ("told", "connection", "channel", "concern"),
    [
        (Told(), replace(ON, state=State.PAUSED, paused_reason="HTTP 401"), LIVE, "Paused: HTTP 401"),
        (Told(), replace(ON, state=State.OFF), LIVE, "is off"),
        (Told(), replace(ON, state=State.DRAFT), LIVE, "not finished"),
        (Told(), replace(ON, state=State.DELETING), LIVE, "is being deleted"),
        (Told(held=1), ON, LIVE, "held as a plan"),
        (Told(plans=(APPROVED,)), ON, LIVE, "not carried out yet: 7 changes. The approval ends by 25 Nov 2026, 09:00"),
        (Told(latest=()), ON, LIVE, "No full run has succeeded for 3 d 0 h"),
        (Told(latest=(replace(DONE, finished=START - 61 * MINUTE),)), ON, LIVE, "succeeded for 1 h 1 min"),
        (Told(waits=WaitingUsers(count=3, oldest=START - 16 * MINUTE)), ON, LIVE, "waiting for 16 min"),
        (Told(), ON, None, "No notification channel"),
        (Told(), ON, replace(LIVE, proven=False), "No notification channel"),
        (Told(), ON, replace(LIVE, expires=START - MINUTE), "No notification channel"),
        (Told(), replace(ON, throttled_until=START + timedelta(seconds=40)), LIVE, "wait 40 s more"),
        (Told(), replace(ON, throttled_until=START + 30 * MINUTE), LIVE, "until 24 Nov 2026, 09:30 UTC"),
        (Told(), replace(ON, throttled_until=START + timedelta(days=20_000)), LIVE, "That is 1 h 0 min more"),
        (
            Told(waits=WAITING, latest=(FAILS, DONE)),
            ON,
            LIVE,
            f"{OUTAGE}HTTP 500: 3 users wait since 24 Nov 2026, 08:50 UTC.",
        ),
        (Told(waits=WAITING, latest=(REFUSED, DONE)), ON, LIVE, "Keeper did not answer (HTTP 500): 3 users wait since"),
        (Told(answers=KeeperAnswers(changes=20, failed=3, seconds=2.0)), ON, LIVE, "3 of 20 changes failed"),
        (
            Told(),
            with_settings(ON, scope=GONE),
            LIVE,
            "The organizational unit /Sales is no longer in the directory",
        ),
        (Told(latest=(replace(DONE, complete=False),)), ON, LIVE, "could not read the directory to its end"),
        (Told(latest=(REFUSED, DONE)), ON, LIVE, "could not be planned, so nothing was changed: Keeper did not answer"),
        (Told(latest=(UNSETTLED, DONE)), ON, LIVE, "left 26 of 300 planned changes unsettled."),
        (Told(latest=(replace(UNSETTLED, state=RunState.SUPERSEDED), DONE)), ON, LIVE, "was closed with work left"),
        (Told(latest=(replace(FAILS, notes=()), REFUSED, DONE)), ON, LIVE, "Keeper did not answer"),  # tried again now
        (Told(failing=1), ON, LIVE, "1 user fails"),
        (
            Told(answers=KeeperAnswers(changes=8, failed=0, seconds=2.0, unsent=12)),
            ON,
            LIVE,
            "12 of 20 changes failed within the last hour, 12 of them before",
        ),
    ],
)
def test_a_concern_says_what_is_wrong_and_what_ends_it(told, connection, channel, concern):
    concerns = look(told, connection, channel).concerns

    assert len(concerns) == 1
    assert concern in concerns[0].what
    assert concerns[0].mend


@pytest.mark.parametrize(("minutes", "mend"), [(29, "takes seconds"), (30, "should have ended by now")])
def test_a_deletion_that_does_not_end_is_not_said_to_take_seconds(minutes, mend):
    connection = replace(ON, state=State.DELETING, changed_at=START - minutes * MINUTE)
    assert mend in look(Told(), connection, LIVE).concerns[0].mend


@pytest.mark.parametrize(
    ("told", "connection"),
    [
        (Told(latest=(replace(DONE, finished=START - 59 * MINUTE),)), ON),
        (Told(latest=()), replace(ON, changed_at=START - 10 * MINUTE)),  # turned on just now
        (Told(waits=WaitingUsers(count=3, oldest=START - 14 * MINUTE)), ON),
        (Told(latest=()), JUST_ON),  # nor is a channel open yet
        (Told(answers=KeeperAnswers(changes=9, failed=9, seconds=2.0)), ON),  # too few to tell
        (Told(), replace(ON, throttled_until=START - MINUTE)),
        (Told(latest=(replace(REFUSED, notes=(LEFT_BY_EDIT,)), DONE)), ON),  # the run after it does it
        (Told(latest=(REFUSED, DONE)), replace(ON, changed_at=START - 9 * MINUTE)),  # turned on since
        (Told(waits=WAITING, latest=(replace(FAILS, notes=("Accounts locked: 3",)), DONE)), ON),
        (Told(waits=WAITING, latest=(replace(DONE, notes=FAILS.notes),)), ON),  # it is over
    ],
)
def test_what_is_usual_is_no_concern(told, connection):
    assert look(told, connection, None if connection is JUST_ON else LIVE).concerns == ()


def test_the_reason_of_runs_that_fail_is_told():
    refused = Run(
        id="r2",
        connection_id="c1",
        kind=RunKind.FULL,
        fence=2,
        started=START,
        state=RunState.REFUSED,
        finished=START,
        notes=("users.list is refused: HTTP 403",),
    )
    seen = look(Told(latest=(refused, replace(DONE, finished=START - timedelta(hours=2)))))

    assert "users.list is refused: HTTP 403" in seen.concerns[0].what


@pytest.mark.parametrize(("failing", "alert"), [(9, ""), (10, "users_failing")])
def test_a_handful_of_failing_users_is_shown_and_more_call_somebody_out(failing, alert):
    (concern,) = look(Told(failing=failing)).concerns
    assert (concern.what.startswith(f"{failing} users fail"), concern.alert) == (True, alert)


def test_a_run_that_did_not_end_as_done_calls_somebody_out_at_once():
    (concern,) = look(Told(latest=(REFUSED, DONE))).concerns
    assert concern.alert == "run_not_done"


def test_a_long_wait_is_called_urgent_with_what_ends_it():
    seen = look(Told(), replace(ON, throttled_until=START + 16 * MINUTE))
    (concern,) = seen.concerns

    assert concern.what.startswith("Urgent: Keeper asked this connection to wait")
    assert "Run now" in concern.mend
    assert "Provision now" in concern.mend
    assert concern.alert == "keeper_throttling"


def test_a_running_reconciliation_shows_how_far_it_is():
    sweep = Run(
        id="r3", connection_id="c1", kind=RunKind.SWEEP, fence=3, started=START, state=RunState.DONE, finished=START
    )
    running = Run(
        id="r2",
        connection_id="c1",
        kind=RunKind.FULL,
        fence=2,
        started=START - MINUTE,
        state=RunState.PLANNED,
        batches=4,
        done={"1": 0, "2": 1},
    )
    seen = look(Told(latest=(sweep, running, DONE)))

    assert seen.running == running
    assert seen.batches_left == 3
    assert seen.last_success == DONE
    assert seen.oldest_pending == START - MINUTE


# ---- sources of changes

SINK = ChangeSources(audit_log=True, sweep_every=60 * MINUTE)
ENTRIES, NOTIFICATIONS = Feed.AUDIT_LOG, Feed.NOTIFICATIONS
LATELY = [MINUTE]
HOURS = [number * 60 * MINUTE for number in range(6)]
LONG_AGO = [10 * 60 * MINUTE]


@pytest.mark.parametrize(
    ("heard", "what", "alert"),
    [
        ({ENTRIES: LATELY, NOTIFICATIONS: LATELY}, "", ""),
        ({ENTRIES: LATELY}, "", ""),
        ({ENTRIES: LONG_AGO}, "", ""),
        ({}, "No entry of Workspace's audit log has arrived yet: ", ""),
        ({NOTIFICATIONS: HOURS}, "has arrived yet, although the directory notifies of changes: ", "source_silent"),
        ({ENTRIES: LONG_AGO, NOTIFICATIONS: HOURS}, ", although the directory notifies of changes: ", "source_silent"),
        ({ENTRIES: HOURS}, "The directory has notified of nothing yet, although the audit log", "source_silent"),
        ({ENTRIES: HOURS, NOTIFICATIONS: LONG_AGO}, "The directory has notified of nothing since", "source_silent"),
        ({ENTRIES: [timedelta(days=4)]}, "has arrived since", "source_silent"),
    ],
)
def test_a_source_that_is_silent_beside_the_other_or_for_days_is_reported(heard, what, alert):
    connection = replace(ON, changed_at=START - timedelta(days=5 if len(heard) == 1 and alert else 1))
    concerns = look(Told(), connection, through=SINK, heard=heard).concerns
    assert [(what in each.what, each.alert) for each in concerns] == ([(True, alert)] if what else [])


def test_without_a_log_sink_no_source_is_compared():
    seen = look(Told(), heard={NOTIFICATIONS: HOURS})
    assert (seen.concerns, seen.heard, seen.sweep_every) == ((), {}, 5 * MINUTE)


def test_it_says_how_often_the_members_of_groups_are_swept():
    assert look(Told(), through=SINK, heard={ENTRIES: LATELY}).sweep_every == 60 * MINUTE
    assert look(Told(), through=SINK, heard={ENTRIES: [timedelta(days=2)]}).sweep_every == 5 * MINUTE


RARELY = replace(SINK, full_run_every=24 * 60 * MINUTE)
DRIFT = replace(DONE, id="d1", kind=RunKind.DRIFT)
SWEPT = {ENTRIES: LATELY, Feed.SWEEP: LATELY}


@pytest.mark.parametrize(
    ("told", "heard", "often"),
    [
        (Told(), SWEPT, ""),
        (Told(latest=(FAILS, DRIFT, DONE)), SWEPT, ""),  # while one is in progress, nothing is known
        (Told(), {Feed.SWEEP: LATELY}, "no entry of the audit log arrives"),
        (Told(), {ENTRIES: LATELY}, ""),  # by the scope of no group
        (Told(latest=(UNSETTLED, DONE)), SWEPT, "the last run is not done"),
        (Told(latest=(replace(DONE, complete=False),)), SWEPT, "the last one could not read everything"),
        (Told(latest=(replace(DONE, edition=7),)), SWEPT, "none was made since the connection was set up or changed"),
        (Told(plans=(APPROVED,)), SWEPT, "a plan is held, or approved and not carried out yet"),
        (Told(plans=(REJECTED,)), SWEPT, ""),
    ],
)
def test_it_says_how_often_everybody_is_looked_at_and_why_more_often_than_is_set(told, heard, often):
    seen = look(told, through=RARELY, heard=heard)
    assert (seen.full_runs_often.startswith(often), bool(seen.full_runs_often)) == (True, bool(often))
    assert seen.full_run_every == (15 * MINUTE if often else 24 * 60 * MINUTE)


def test_without_a_log_sink_everybody_is_looked_at_every_15_minutes():
    seen = look(Told(), through=replace(RARELY, audit_log=False), heard=SWEPT)
    assert (seen.full_run_every, seen.full_runs_often) == (15 * MINUTE, "")


@pytest.mark.parametrize(("through", "hours"), [(SINK, 1), (RARELY, 24.75), (replace(RARELY, audit_log=False), 1)])
def test_a_full_run_is_late_45_minutes_after_it_was_due(through, hours):
    for late in (False, True):
        ended = START - timedelta(hours=hours) - late * MINUTE
        runs = (DRIFT, replace(DONE, started=ended, finished=ended))
        concerns = look(Told(latest=runs), through=through, heard=SWEPT).concerns
        assert [each.alert for each in concerns] == (["no_successful_run"] if late else [])


def test_a_deployment_without_a_webhook_misses_no_channel():
    through = replace(SINK, notifications=False)
    assert look(Told(), channel=None, through=through, heard={ENTRIES: HOURS}).concerns == ()
    assert look(Told(), channel=None, through=SINK, heard={ENTRIES: LATELY}).concerns[0].what == (
        "No notification channel is live: changes of users are told by the audit log alone."
    )
