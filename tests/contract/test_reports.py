"""What the console reads of a connection's past: whole, in order, page by page, and never from the roster."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any, TypeVar

import grpc
import pytest

from autoprovisioning.adapters.firestore import reports as adapter
from autoprovisioning.app.ports.reports import (
    DayUsage,
    Failing,
    FailureCause,
    HeldPlan,
    KeeperAnswers,
    Page,
    WaitingUsers,
)
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.domain.causes import Cause, Source
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Action, Entry, Failure, failed
from autoprovisioning.domain.errors import BadInput, ConfigurationRefused
from autoprovisioning.domain.event_search import EventOrder, Filters, Outcome
from autoprovisioning.domain.events import TEAM, Actor, Event, EventName, Stamp, TeamUsage, of_team
from autoprovisioning.domain.holds import HoldState, Standing
from autoprovisioning.domain.latency import GROWTH
from autoprovisioning.domain.runs import Run, RunKind, RunState
from autoprovisioning.domain.settings import Settings
from tests.contract.state_stores import Firestore, hold
from tests.support.builders import DAY, NOW

T = TypeVar("T")

HOME = Connection(id="c1", roster_layout="64")
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)


@pytest.fixture
def state(firestore: Firestore) -> Firestore:
    return firestore


def event(event_id: str, name: EventName = EventName.CREATED, **changes: Any) -> Event:
    return replace(
        Event(id=event_id, at=NOW, name=name, actor="run r1", user_id="u1", email="ada@example.com"), **changes
    )


def put(state: Firestore, *entries: Entry) -> None:
    edit = Edit(entries={entry.user_id: entry for entry in entries})
    state.roster.commit(HOME, [entry.user_id for entry in entries], lambda _known: (edit, None))


def remove(state: Firestore, user_id: str) -> None:
    state.roster.commit(HOME, [user_id], lambda _known: (Edit(entries={user_id: None}), None))


def paged(page: Callable[[str], Page[T]]) -> list[T]:
    """Follow the cursors to the end."""
    items: list[T] = []
    cursor = ""
    for _ in range(100):
        part = page(cursor)
        items += part.items
        cursor = part.cursor
        if not cursor:
            return items
    raise AssertionError("the pages do not end")


def read(state: Firestore) -> int:
    """Return how many documents were read since this was asked last."""
    return state.reads.pop("firestore_reads", 0)


WHOLE = Event(
    id="x1",
    at=NOW + 250_000 * TICK,
    name=EventName.FAILED,
    actor="notification n1",
    user_id="u1",
    email="ada@example.com",
    attempted=Action.UPDATE,
    changed={"userName": "ada@example.com", "title": None, "emails.primary": True},
    before={"userName": "old@example.com", "title": "Lady", "emails.primary": True},
    after={"userName": "ada@example.com", "title": None, "emails.primary": True, "displayName": "Ada"},
    reason="Keeper says no",
    code="rejected",
    seconds=1.25,
    recovered=True,
    actor_id="u0",
    cause=Cause(at=NOW, event="RENAME_USER", actor="boss@example.com", group="g@example.com"),
    source=Source.EVENT,
    latency=1.75,
)
BARE = Event(id="x2", at=NOW, name=EventName.PAUSED, actor="keeper")


class TestEvents:
    @pytest.mark.parametrize("wanted", [WHOLE, BARE], ids=["whole", "bare"])
    def test_an_event_comes_back_as_it_was_recorded(self, state, wanted):
        state.audit.record("c1", [wanted])
        assert state.reports.events("c1", Filters(), "", 10) == Page(items=(wanted,))

    def test_its_time_is_a_plain_one_that_any_encoder_takes(self, state):
        state.audit.record("c1", [BARE])
        assert type(state.reports.events("c1", Filters(), "", 1).items[0].at) is datetime

    def test_one_of_before_this_version_has_no_attributes_before_and_after(self, state):
        state.audit.record("c1", [WHOLE])
        document = state.client.document("connections/c1/events/x1")
        older = {
            name: value
            for name, value in document.get().to_dict().items()
            if name not in ("before", "after", "actor_id", "cause", "source", "latency")
        }
        document.set(older)
        assert state.reports.events("c1", Filters(), "", 1).items == (
            replace(WHOLE, before=None, after={}, actor_id="", cause=None, source=None, latency=0.0),
        )

    @pytest.mark.parametrize("limit", [1, 4, 23, 50])
    def test_pages_are_complete_and_without_doubles_when_events_share_a_time(self, state, limit):
        events = [event(f"e{number:02d}", at=NOW + number // 9 * TICK) for number in range(23)]
        state.audit.record("c1", events)
        state.audit.record("c2", [event("other")])
        assert paged(lambda cursor: state.reports.events("c1", Filters(), cursor, limit)) == events[::-1]

    def test_what_happens_meanwhile_does_not_shift_the_next_page(self, state):
        events = [event(f"e{number}", at=NOW + number * HOUR) for number in range(4)]
        state.audit.record("c1", events)
        first = state.reports.events("c1", Filters(), "", 2)
        state.audit.record("c1", [event("later", at=NOW + DAY)])
        second = state.reports.events("c1", Filters(), first.cursor, 2)
        assert [item.id for item in (*first.items, *second.items)] == ["e3", "e2", "e1", "e0"]

    def test_a_page_reads_one_document_more_than_it_shows(self, state):
        state.audit.record("c1", [event(f"e{number}") for number in range(9)])
        read(state)
        state.reports.events("c1", Filters(), "", 5)
        assert read(state) == 6

    @pytest.mark.parametrize("size", [0, 1, 5, 6, 12])
    def test_the_stream_equals_the_pages(self, state, monkeypatch, size):
        monkeypatch.setattr(adapter, "STREAMED", 5)
        events = [event(f"e{number:02d}", at=NOW + number // 4 * HOUR, user_id="u2") for number in range(size)]
        if events:
            state.audit.record("c1", events)
        state.audit.record("c1", [event("another")])
        assert list(state.reports.every_event("c1", Filters(user="u2"))) == events[::-1]

    def test_a_stream_holds_no_more_than_one_query_at_a_time(self, state, monkeypatch):
        monkeypatch.setattr(adapter, "STREAMED", 5)
        state.audit.record("c1", [event(f"e{number:02d}") for number in range(12)])
        read(state)
        stream = state.reports.every_event("c1", Filters())
        assert read(state) == 0
        next(stream)
        assert read(state) == 5

    @pytest.mark.parametrize(
        ("filters", "wanted"),
        [
            (Filters(), "gfedcba"),
            (Filters(names=[EventName.UPDATED]), "gc"),
            (Filters(user="u2"), "gd"),
            (Filters(user="bob@example.com"), "fd"),
            (Filters(user="nobody"), ""),
            (Filters(user="x" * 2000), ""),
            (Filters(actor="admin@example.com"), "fb"),
            (Filters(actor="\x00ü"), ""),
            (Filters(since=NOW + 2 * HOUR), "gfedc"),
            (Filters(until=NOW + 2 * HOUR), "ba"),
            (Filters(since=NOW + HOUR, until=NOW + 3 * HOUR), "cb"),
            (Filters(since=NOW + 2 * HOUR + TICK, until=NOW + 3 * HOUR + TICK), "d"),
            (Filters(names=[EventName.UPDATED], user="u1"), "c"),
            (Filters(names=[EventName.UPDATED], actor="admin@example.com"), ""),
            (Filters(names=[EventName.UPDATED, EventName.SUSPENDED]), "gec"),
            (Filters(names=[EventName.UPDATED, EventName.CREATED], user="u2"), "gd"),
            (Filters(outcome=Outcome.FAILED), "f"),
            (Filters(outcome=Outcome.DONE, user="bob@example.com"), "d"),
            (Filters(outcome=Outcome.DONE, names=[EventName.FAILED]), ""),
            (Filters(outcome=Outcome.FAILED, names=[EventName.UPDATED]), "f"),
            (Filters(outcome=Outcome.FAILED, names=[EventName.CREATED]), ""),
            (Filters(person="BOB"), "fd"),
            (Filters(person="nobody by address", people=frozenset({"u2"})), "gd"),
            (Filters(by="Admin@", names=[EventName.FAILED]), "f"),
            (Filters(text="family LOVE"), "c"),
            (Filters(text="bulk no", since=NOW), "f"),
            (
                Filters(
                    names=[EventName.FAILED],
                    user="bob@example.com",
                    actor="admin@example.com",
                    since=NOW,
                    until=NOW + DAY,
                ),
                "f",
            ),
        ],
    )
    def test_filters_alone_and_together(self, state, filters, wanted):
        events = [
            event("a"),
            event("b", EventName.CONFIGURED, actor="admin@example.com", user_id="", email=""),
            event("c", EventName.UPDATED, changed={"name.familyName": "Lovelace"}),
            event("d", user_id="u2", email="bob@example.com"),
            event("e", EventName.SUSPENDED),
            event(
                "f",
                EventName.FAILED,
                user_id="u3",
                email="bob@example.com",
                actor="admin@example.com",
                attempted=Action.UPDATE,
                reason="No Bulk",
            ),
            event("g", EventName.UPDATED, user_id="u2", email="b.renamed@example.com"),
        ]
        state.audit.record("c1", [replace(item, at=NOW + number * HOUR) for number, item in enumerate(events)])
        pages = paged(lambda cursor: state.reports.events("c1", filters, cursor, 2))
        assert [item.id for item in pages] == list(wanted)
        assert list(state.reports.every_event("c1", filters)) == pages
        oldest = state.reports.events("c1", filters, "", 9, order=EventOrder.OLDEST)
        assert oldest.items == tuple(reversed(pages))

    def test_a_search_reads_a_bounded_number_of_events_and_goes_on_from_there(self, state, monkeypatch):
        monkeypatch.setattr(adapter, "SEARCHED", (2, 3))
        events = [event(f"e{number:02d}", at=NOW + number * HOUR) for number in range(12)]
        state.audit.record("c1", events)
        read(state)
        first = state.reports.events("c1", Filters(text="nothing like it"), "", 9)
        assert (first.items, first.looked, first.reached, read(state)) == ((), 5, NOW + 7 * HOUR, 5)
        second = state.reports.events("c1", Filters(text="nothing like it"), first.cursor, 9)
        third = state.reports.events("c1", Filters(text="nothing like it"), second.cursor, 9)
        assert (second.looked, third.looked, third.reached, third.cursor) == (5, 2, NOW, "")

    def test_a_reader_that_follows_is_told_everything_once_and_goes_on_from_there(self, state):
        events = [event(f"e{number}", at=NOW + number // 2 * HOUR) for number in range(7)]
        state.audit.record("c1", events[:5])
        found, cursor = list[Event](), ""
        for _ in range(4):
            page = state.reports.events("c1", Filters(), cursor, 2, order=EventOrder.OLDEST)
            found, cursor = [*found, *page.items], page.cursor
        assert (found, page.items, cursor) == (events[:5], (), cursor)
        state.audit.record("c1", events[5:])
        assert state.reports.events("c1", Filters(), cursor, 9, order=EventOrder.OLDEST).items == tuple(events[5:])
        assert state.reports.events("c2", Filters(), "", 9, order=EventOrder.OLDEST) == Page()


def forged(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense",
        "ü",
        "=",
        "a" * 100_000,
        forged("[]"),
        forged("null"),
        forged("7"),
        forged('["1","e1"]'),
        forged('[1.5,"e1"]'),
        forged('[1,""]'),
        forged('[1,"a/b"]'),
        forged('[1,".."]'),
        forged('[1,"__id__"]'),
        forged('[1,"\\ud800"]'),
        forged('[1,"\\u0000"]'),
        forged(f'[{10**30},"e1"]'),
        forged(f'[-{10**17},"e1"]'),
    ],
)
@pytest.mark.parametrize("list_", ["events", "failures"])
def test_a_cursor_that_we_did_not_make_is_refused(state, list_, cursor):
    asked = {
        "events": lambda: state.reports.events("c1", Filters(), cursor, 5),
        "failures": lambda: state.reports.failures("c1", cursor, 5),
    }
    with pytest.raises(BadInput) as refused:
        asked[list_]()
    assert refused.value.field == "cursor"


class WithoutIndexes(grpc.GenericRpcHandler):
    """What the service answers to a query for which an index is missing; the emulator never does."""

    def service(self, _details: Any) -> grpc.RpcMethodHandler:
        def refuse(_request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "The query requires an index.")
            yield b""

        return grpc.unary_stream_rpc_method_handler(refuse)


@pytest.mark.parametrize("ask", ["events", "waiting"])
def test_a_missing_index_is_told_as_what_it_is(project_id, ask):
    server = grpc.server(ThreadPoolExecutor(1), handlers=[WithoutIndexes()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    state = Firestore(f"127.0.0.1:{port}", project_id)
    asked = {
        "events": lambda: state.reports.events("c1", Filters(), "", 1),
        "waiting": lambda: state.reports.waiting("c1"),
    }
    with pytest.raises(ConfigurationRefused, match="index"):
        asked[ask]()
    state.close()
    server.stop(None)


class TestFailures:
    def test_they_are_listed_latest_first_with_what_to_know_of_each(self, state):
        failure = Failure(
            code="address_taken", text="taken", attempts=3, first=NOW, next_attempt=NOW + HOUR, about="create:abc"
        )
        put(state, Entry(user_id="u1", email="ada@example.com", failure=failure))
        put(state, Entry(user_id="u2", failure=replace(failure, first=NOW + HOUR)), Entry(user_id="u3"))
        shown = state.reports.failures("c1", "", 5)
        wanted = Failing(
            user_id="u1",
            email="ada@example.com",
            code="address_taken",
            reason="taken",
            attempted="create",
            attempts=3,
            first=NOW,
            next_attempt=NOW + HOUR,
        )
        assert shown == Page(items=(replace(wanted, user_id="u2", email="", first=NOW + HOUR), wanted))
        assert type(shown.items[0].first) is datetime

    def test_pages_and_stream_are_complete_when_all_failed_at_once(self, state, monkeypatch):
        monkeypatch.setattr(adapter, "STREAMED", 4)
        failure = Failure(
            code="seats_exhausted", text="no seats", attempts=1, first=NOW, next_attempt=NOW + HOUR, about="create:abc"
        )
        put(state, *(Entry(user_id=f"u{number:02d}", failure=failure) for number in range(11)))
        pages = paged(lambda cursor: state.reports.failures("c1", cursor, 3))
        assert [item.user_id for item in pages] == [f"u{number:02d}" for number in range(10, -1, -1)]
        assert list(state.reports.every_failure("c1")) == pages

    def test_they_are_counted_by_code_and_those_of_one_are_listed(self, state):
        failures = {
            code: Failure(code=code, text=code, attempts=1, first=NOW, next_attempt=NOW + HOUR, about="create:abc")
            for code in ("mapping", "seats_exhausted", "address_taken")
        }
        codes = ["mapping", "seats_exhausted", "mapping", "address_taken", "mapping", "seats_exhausted"]
        put(state, *(Entry(user_id=f"u{number}", failure=failures[code]) for number, code in enumerate(codes)))
        assert state.reports.causes("c1") == [
            FailureCause(code="mapping", users=3),
            FailureCause(code="seats_exhausted", users=2),
            FailureCause(code="address_taken", users=1),
        ]
        pages = paged(lambda cursor: state.reports.failures("c1", cursor, 2, "mapping"))
        assert [failing.user_id for failing in pages] == ["u4", "u2", "u0"]
        assert list(state.reports.every_failure("c1", "mapping")) == pages
        assert state.reports.failures("c1", "", 2, "nothing") == Page()
        assert state.reports.causes("c2") == []

    def test_an_attempt_that_is_made_again_at_once_is_none_yet(self, state):
        tried = failed(None, "keeper_failed", "HTTP 500", "create:abc", NOW, at_once=2)
        put(state, Entry(user_id="u1", failure=tried, pending=True))
        assert state.reports.failures("c1", "", 5) == Page()
        told = replace(tried, attempts=3, next_attempt=NOW + HOUR)
        put(state, Entry(user_id="u1", failure=told))
        assert [item.attempts for item in state.reports.failures("c1", "", 5).items] == [3]
        put(state, Entry(user_id="u1", failure=replace(tried, about="update:abc")))
        assert state.reports.failures("c1", "", 5) == Page()


class TestWaiting:
    def test_nobody_waits(self, state):
        put(state, Entry(user_id="u1"))
        assert state.reports.waiting("c1") == WaitingUsers()

    def test_the_longest_wait_counts_from_when_it_began(self, state):
        put(state, Entry(user_id="u1", pending=True))
        began = state.collection("c1", "pending")["u1"]["since"]
        put(state, Entry(user_id="u2", pending=True))
        put(state, Entry(user_id="u1", version=2, email="renamed@example.com", pending=True))
        assert state.reports.waiting("c1") == WaitingUsers(count=2, oldest=began)

    def test_whoever_no_longer_waits_is_not_counted(self, state):
        put(state, Entry(user_id="u1", pending=True))
        put(state, Entry(user_id="u2", pending=True))
        put(state, Entry(user_id="u3", pending=True))
        second = state.collection("c1", "pending")["u2"]["since"]
        put(state, Entry(user_id="u1"))
        remove(state, "u3")
        assert state.reports.waiting("c1") == WaitingUsers(count=1, oldest=second)

    def test_it_reads_two_documents_however_many_wait(self, state):
        put(state, *(Entry(user_id=f"u{number}", pending=True) for number in range(30)))
        read(state)
        assert state.reports.waiting("c1").count == 30
        assert read(state) == 2


class TestPlansHeld:
    def test_only_those_that_wait_are_counted_and_none_is_read(self, state):
        for standing in set(Standing) - {Standing.WITHDRAWN}:
            state.holds.put("c1", hold([f"u-{standing.name}"], standing, by="boss@example.com"))
        read(state)
        assert state.reports.plans_held("c1") == 1
        assert state.reports.plans_held("c2") == 0
        assert read(state) == 2


class TestUsage:
    TODAY = date(2026, 11, 24)

    def test_every_day_is_there_those_without_events_included(self, state):
        for number in range(12):  # over several of the day's counters
            state.audit.record("c1", [event(f"e{number}"), event(f"f{number}", EventName.FAILED, at=NOW - 2 * DAY)])
        state.audit.record("c1", [event("early", at=NOW - 3 * DAY), event("late", at=NOW + DAY)])
        state.audit.record("c2", [event("elsewhere")])
        assert state.reports.usage("c1", self.TODAY - 2 * DAY, self.TODAY) == [
            DayUsage(day=self.TODAY - 2 * DAY, counts={EventName.FAILED: 12}),
            DayUsage(day=self.TODAY - DAY),
            DayUsage(day=self.TODAY, counts={EventName.CREATED: 12}),
        ]

    def test_what_was_done_about_teams_is_counted_beside_the_events(self, state):
        moved = replace(event("e1", EventName.UPDATED), teams=("t1", "t2"), joined=("A",), left=("B", "C"))
        by = Stamp(id="e3", at=NOW, by=Actor(address="run r1"))
        made, renamed = (
            of_team(by, "made", "t1", {}, {TEAM: "A"}),
            of_team(by, "renamed", "t1", {TEAM: "A"}, {TEAM: "B"}),
        )
        events = [moved, replace(moved, id="e2", left=()), made, replace(renamed, id="e4"), event("e5")]
        state.audit.record("c1", [*events, replace(of_team(by, "approved", "t1"), id="e6")])
        [today] = state.reports.usage("c1", self.TODAY, self.TODAY)
        assert today.teams == {
            TeamUsage.JOINED: 2,
            TeamUsage.LEFT: 2,
            TeamUsage.CREATED: 1,
            TeamUsage.RENAMED: 1,
        }
        assert today.counts == {EventName.UPDATED: 2, EventName.CONFIGURED: 3, EventName.CREATED: 1}

    def test_events_of_a_team_are_found_with_and_without_anything_else(self, state):
        about = [
            replace(event(f"e{number}", at=NOW + number * TICK), teams=("t1",) * (number % 2) + ("t2",))
            for number in range(6)
        ]
        state.audit.record("c1", [*about, replace(about[1], id="f", name=EventName.FAILED), event("e9")])
        found = state.reports.events("c1", Filters(team="t1"), "", 2)
        assert [each.id for each in found.items] == ["e5", "e3"]
        rest = state.reports.events("c1", Filters(team="t1"), found.cursor, 9)
        assert {each.id for each in rest.items} == {"e1", "f"}
        failed = state.reports.events("c1", Filters(team="t1", outcome=Outcome.FAILED), "", 9)
        assert [each.id for each in failed.items] == ["f"]
        assert state.reports.events("c1", Filters(team="t3"), "", 9).items == ()

    def test_a_day_ends_at_midnight_utc(self, state):
        midnight = NOW.replace(hour=0)
        east = timezone(timedelta(hours=5))
        state.audit.record("c1", [event("e1", at=midnight - TICK), event("e2", at=midnight.astimezone(east))])
        days = state.reports.usage("c1", self.TODAY - DAY, self.TODAY)
        assert [sum(day.counts.values()) for day in days] == [1, 1]

    def test_it_reads_the_counters_that_exist_and_no_event(self, state):
        for number in range(60):
            state.audit.record("c1", [event(f"e{number}")])
        read(state)
        state.reports.usage("c1", self.TODAY - 29 * DAY, self.TODAY)
        assert 1 < read(state) <= 8


def answered(event_id: str, name: EventName, hours: float, seconds: float, **changes: Any) -> Event:
    return event(event_id, name, at=NOW + timedelta(hours=hours), seconds=seconds, attempted=Action.UPDATE, **changes)


class TestPace:
    def test_nothing_was_asked_of_keeper(self, state):
        state.audit.record("c1", [event("e1", EventName.CONFIGURED), event("e2", EventName.PAUSED)])
        assert state.reports.pace("c1", NOW - DAY) == KeeperAnswers()

    def test_answers_and_refusals_are_counted_with_their_seconds(self, state):
        events = [answered(f"e{number}", name, 0, 0.5) for number, name in enumerate(list(EventName)[:6])]
        refused = answered("refused", EventName.FAILED, 0, 2.25)
        never_sent = answered("mapping", EventName.FAILED, 0, 0.0)
        unrelated = replace(refused, id="other", attempted=None)
        state.audit.record("c1", [*events, refused, never_sent, unrelated])
        assert state.reports.pace("c1", NOW) == KeeperAnswers(changes=7, failed=1, seconds=5.25, unsent=1)

    def test_it_adds_up_from_the_full_hour_on_over_midnight(self, state):
        for number in range(48):  # NOW is 9:00: the day before from 9:00, that day, and the next until 9:00
            state.audit.record("c1", [answered(f"e{number}", EventName.UPDATED, number - 24, 0.25)])
        since = NOW - timedelta(hours=3, minutes=-20)
        assert state.reports.pace("c1", since) == KeeperAnswers(changes=27, failed=0, seconds=6.75)
        assert state.reports.pace("c1", since.astimezone(timezone(timedelta(hours=-9)))) == KeeperAnswers(
            changes=27, failed=0, seconds=6.75
        )
        assert state.reports.pace("c1", NOW - 5 * DAY) == KeeperAnswers(changes=48, failed=0, seconds=12.0)
        assert state.reports.pace("c1", NOW + 5 * DAY) == KeeperAnswers()

    def test_how_long_changes_took_is_counted_by_source(self, state):
        told = [(Source.EVENT, 0.9), (Source.EVENT, 1.1), (Source.NOTIFICATION, 0.2), (Source.RUN, 400.0)]
        events = [
            answered(f"e{number}", EventName.SUSPENDED, number % 2, 0.5, source=source, latency=latency)
            for number, (source, latency) in enumerate(told)
        ]
        failed = answered("failed", EventName.FAILED, 0, 0.5, source=Source.EVENT, latency=9.0)
        state.audit.record("c1", [*events, failed])
        state.audit.record("c1", [answered("again", EventName.SUSPENDED, 0, 0.5, source=Source.EVENT, latency=0.9)])
        found = state.reports.pace("c1", NOW).latencies
        assert {source: latencies.changes for source, latencies in found.items()} == {
            Source.EVENT: 3,
            Source.NOTIFICATION: 1,
            Source.RUN: 1,
        }
        assert 0.9 <= found[Source.EVENT].percentile(0.5) <= 0.9 * GROWTH
        assert 1.1 <= found[Source.EVENT].percentile(0.95) <= 1.1 * GROWTH
        assert state.reports.pace("c1", NOW + HOUR).latencies.keys() == {Source.EVENT, Source.RUN}

    def test_hours_of_one_day_in_one_commit_are_kept_apart(self, state):
        late = [answered("e1", EventName.CREATED, 0, 1.0), answered("e2", EventName.CREATED, 2, 2.0)]
        state.roster.commit(HOME, [], lambda _known: (Edit(events=late), None))
        assert state.reports.pace("c1", NOW + HOUR) == KeeperAnswers(changes=1, failed=0, seconds=2.0)

    def test_counters_of_before_this_version_say_nothing_of_hours(self, state):
        older = {"day": "2026-11-24", "counts": {EventName.CREATED.value: 3}}
        state.client.document("connections/c1/usage/2026-11-24.0").set(older)
        assert state.reports.pace("c1", NOW) == KeeperAnswers()
        assert state.reports.usage("c1", NOW.date(), NOW.date()) == [
            DayUsage(day=NOW.date(), counts={EventName.CREATED: 3})
        ]


class TestRuns:
    def test_the_latest_come_first(self, state):
        runs = [
            Run(
                id=f"r{number}",
                connection_id="c1",
                kind=RunKind.FULL,
                fence=1,
                started=NOW + number * HOUR,
                state=RunState.DONE,
            )
            for number in range(4)
        ]
        for run in (runs[2], runs[0], runs[3], runs[1]):
            state.runs.put(run)
        state.runs.put(Run(id="other", connection_id="c2", kind=RunKind.FULL, fence=1, started=NOW + DAY))
        read(state)
        page = state.reports.runs("c1", "", 3)
        assert page.items == (runs[3], runs[2], runs[1])
        assert read(state) == 4
        assert state.reports.runs("c1", page.cursor, 3) == Page(items=(runs[0],))
        assert type(page.items[0].started) is datetime


class TestHeldPlans:
    def test_they_are_listed_newest_first_without_those_replaced_and_no_member_is_read(self, state):
        for number in range(4):
            at = NOW + number * HOUR
            for standing, by in ((Standing.RELEASED, ""), (Standing.REJECTED, "boss@example.com")):
                plan = hold([f"u{number}", "v"], standing, at, by, digest=f"{standing.value}{number}")
                state.holds.put("c1", plan)
        state.holds.put("c2", hold(["u1"]))
        read(state)
        first = state.reports.holds("c1", "", 3)
        assert read(state) == 4
        rest = state.reports.holds("c1", first.cursor, 3)
        assert [held.digest for held in (*first.items, *rest.items)] == [f"rejected{number}" for number in (3, 2, 1, 0)]
        assert rest.cursor == ""
        who = "boss@example.com"
        last = HeldPlan(
            digest="rejected0",
            state=HoldState.REJECTED,
            raised_at=NOW,
            reason="too many",
            counts={"suspend": 2},
            decided_by=who,
            decided_at=NOW,
            standings={"rejected": 2},
        )
        assert rest.items == (last,)

    def test_of_decisions_in_force_the_plans_are_told_without_their_members(self, state):
        for standing in Standing:
            state.holds.put("c1", hold([standing.name], standing, by="boss@example.com"))
        read(state)
        assert {plan.state for plan in state.reports.decided("c1")} == {HoldState.APPROVED, HoldState.REJECTED}
        assert read(state) == 4


class TestDeletedConnections:
    def test_they_are_listed_page_by_page_the_latest_first(self, state):
        for name in ("a", "b", "c", "here"):
            state.connections.create(Connection(id=name, settings=Settings(name=f"Keeper {name}")))
        for name in ("b", "a", "c"):
            state.connections.purge(name)
        first = state.reports.deleted("", 2)
        rest = state.reports.deleted(first.cursor, 2)
        assert [(gone.id, gone.name) for gone in (*first.items, *rest.items)] == [
            ("c", "Keeper c"),
            ("a", "Keeper a"),
            ("b", "Keeper b"),
        ]
        assert rest.cursor == ""
        assert list(state.connections.deleted()) == [*first.items, *rest.items]

    @pytest.mark.parametrize("ask", ["runs", "holds", "deleted"])
    def test_a_cursor_of_somebody_else_is_refused(self, state, ask):
        of = () if ask == "deleted" else ("c1",)
        with pytest.raises(BadInput) as refused:
            getattr(state.reports, ask)(*of, "of-somebody-else", 2)
        assert refused.value.field == "cursor"
