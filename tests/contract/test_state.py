"""The contract of the state ports: the fakes and Firestore keep the same promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.app.ports.roster import Edit, Progress
from autoprovisioning.domain.causes import Cause
from autoprovisioning.domain.connections import Connection, RetiredToken, State
from autoprovisioning.domain.deprovisioning import Clock, Delays, Deprovisioning
from autoprovisioning.domain.due_runs import due, due_now
from autoprovisioning.domain.entry import Action, Entry, Failure, Mark, Status, Timer, Trigger
from autoprovisioning.domain.errors import Stale, Transient
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.guard import GuardState, Kind, reservation
from autoprovisioning.domain.keeper import PatchDialect
from autoprovisioning.domain.listing_parts import Listings
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from autoprovisioning.domain.runs import Run, RunKind, RunState
from autoprovisioning.domain.scope import ROOT, Group, OrgUnit, Scope
from autoprovisioning.domain.settings import Settings, VolumeLimit
from autoprovisioning.domain.sources import NOTHING, Feed, Heard, heard
from tests.contract.state_stores import HOME, HOUR, event, hold, write
from tests.contract.state_stores import State as Stores
from tests.support.builders import DAY, MINUTE, NOW
from tests.support.settings import with_settings


def put(state: Stores, *entries: Entry, connection: Connection = HOME) -> None:
    """Write entries, whatever is there."""
    edit = Edit(entries={entry.user_id: entry for entry in entries})
    state.roster.commit(connection, [entry.user_id for entry in entries], lambda _known: (edit, None))


FAILURE = Failure(
    code="address_taken", text="taken", attempts=2, first=NOW - DAY, next_attempt=NOW + HOUR, about="create:abc"
)
FULL = Entry(
    user_id="u1",
    version=7,
    email="ada@example.com",
    scim_id="k1",
    fingerprint="f" * 58,
    status=Status.SUSPENDED,
    in_scope=True,
    timers={
        Trigger.APP_OFF: Timer(since=NOW - DAY, accrued=HOUR, running_since=NOW),
        Trigger.DELETED: Timer(since=NOW, accrued=DAY),
    },
    mark=Mark(
        change_id="change",
        message_id="message",
        action=Action.UNSUSPEND,
        until=NOW + timedelta(seconds=90, microseconds=250_000),
    ),
    again=True,
    pending=True,
    failure=FAILURE,
    last_action_at=NOW,
    gone=True,
    applied_by="change 1",
    deleted=True,
    locked_at=NOW,
)


class TestRoster:
    @pytest.mark.parametrize("entry", [Entry(user_id="u1"), FULL], ids=["empty", "full"])
    def test_an_entry_comes_back_as_it_was_written(self, state, entry):
        put(state, entry)
        assert state.roster.entry(HOME, "u1") == entry
        assert state.roster.load(HOME) == {"u1": entry}

    def test_an_unknown_user_has_no_entry(self, state):
        assert state.roster.entry(HOME, "nobody") is None
        assert state.roster.load(HOME) == {}

    def test_a_roster_that_was_not_begun_has_nobody(self, state):
        put(state, Entry(user_id="u1"))
        before = Connection(id="c1")
        assert state.roster.entry(before, "u1") is None
        assert state.roster.entries(before, ["u1"]) == {}
        assert state.roster.load(before) == {}

    def test_a_roster_is_begun_once(self, state):
        state.connections.create(Connection(id="c1"))
        known = state.connections.change("c1", lambda current: with_settings(current, name="Edited meanwhile"))
        begun = state.roster.begin(Connection(id="c1"), 2)
        assert begun == replace(known, roster_layout=begun.roster_layout, revision=2)
        assert begun.begun
        assert state.connections.get("c1") == begun
        assert state.roster.begin(Connection(id="c1"), 0) == begun
        assert state.roster.begin(begun, 0) == begun
        assert state.connections.get("c1") == begun

    def test_the_roster_of_a_connection_that_is_gone_is_begun_for_nobody_else(self, state):
        assert state.roster.begin(Connection(id="c1"), 1).begun
        assert state.connections.get("c1") is None

    def test_those_who_are_stored_together_come_together(self, state):
        users = [f"u{number}" for number in range(500)]
        ordered = state.roster.as_stored(HOME, users)
        assert sorted(ordered) == sorted(users)
        assert ordered != users
        some = users[::3]
        assert state.roster.as_stored(HOME, some) == [user_id for user_id in ordered if user_id in some]

    def test_an_edit_sees_the_users_named_that_exist_and_no_others(self, state):
        small = replace(HOME, roster_layout="1")
        put(state, Entry(user_id="u1"), Entry(user_id="u2"), connection=small)
        seen = state.roster.commit(small, ["u1", "u3"], lambda known: (Edit(), dict(known)))
        assert seen == {"u1": Entry(user_id="u1")}

    def test_a_commit_keeps_its_neighbours_and_removes_what_it_says(self, state):
        small = replace(HOME, roster_layout="1")
        put(state, Entry(user_id="u1"), Entry(user_id="u2"), Entry(user_id="u3"), connection=small)
        edit = Edit(entries={"u1": Entry(user_id="u1", version=2), "u2": None})
        state.roster.commit(small, ["u1", "u2"], lambda _known: (edit, None))
        assert state.roster.load(small) == {"u1": Entry(user_id="u1", version=2), "u3": Entry(user_id="u3")}

    def test_in_parts_each_user_is_decided_once_from_their_entry(self, state):
        known = [Entry(user_id=f"u{number}") for number in range(0, 40, 2)]
        put(state, *known)
        everybody = [f"u{number}" for number in range(40)]

        def edit(part: Sequence[str], entries: Mapping[str, Entry]) -> tuple[Edit, list[tuple[str, Entry | None]]]:
            grown = {user_id: replace(entries.get(user_id, Entry(user_id=user_id)), version=9) for user_id in part}
            return Edit(entries=grown), [(user_id, entries.get(user_id)) for user_id in part]

        seen = [item for part in state.roster.commit_in_parts(HOME, everybody, edit) for item in part]
        assert sorted(user_id for user_id, _entry in seen) == sorted(everybody)
        assert {user_id: entry for user_id, entry in seen if entry is not None} == {one.user_id: one for one in known}
        assert state.roster.load(HOME) == {user_id: Entry(user_id=user_id, version=9) for user_id in everybody}
        assert state.roster.commit_in_parts(HOME, [], edit) == []

    def test_connections_do_not_see_each_others_entries(self, state):
        put(state, Entry(user_id="u1"))
        assert state.roster.load(Connection(id="c2", roster_layout="64")) == {}

    def test_the_entries_of_some_are_read_at_once(self, state):
        everybody = [f"u{number}" for number in range(200)]
        put(state, *(Entry(user_id=user_id) for user_id in everybody))
        wanted = [*everybody[:100], "nobody"]
        assert state.roster.entries(HOME, wanted) == {user_id: Entry(user_id=user_id) for user_id in everybody[:100]}
        assert state.roster.entries(HOME, []) == {}

    def test_a_shard_may_grow_to_two_thousand_users(self, state):
        small = replace(HOME, roster_layout="1")
        everybody = [
            replace(FULL, user_id=str(10**20 + number), failure=replace(FAILURE, text="x" * 200))
            for number in range(2000)
        ]
        for start in range(0, 2000, 250):
            put(state, *everybody[start : start + 250], connection=small)
        assert len(state.roster.load(small)) == 2000

    def test_outcome_events_and_run_progress_are_one_commit(self, state):
        state.runs.put(
            Run(id="r1", connection_id="c1", kind=RunKind.FULL, fence=1, started=NOW, state=RunState.PLANNED, batches=2)
        )
        progress = Progress(
            run_id="r1", at=NOW + HOUR, counts={"created": 2, "failed": 0}, done="1", continued=1, seats_exhausted=True
        )
        write(state, entries={"u1": Entry(user_id="u1")}, events=[event("e1"), event("e2")], progress=progress)
        run = state.runs.get("c1", "r1")
        assert (dict(run.done), run.counts["created"], run.seats_exhausted) == ({"1": 1}, 2, True)
        assert run.last_progress == NOW + HOUR
        assert state.roster.entry(HOME, "u1") == Entry(user_id="u1")
        assert state.audited("c1") == {"e1", "e2"}

    def test_a_commit_that_cannot_be_written_whole_writes_nothing(self, state):
        with pytest.raises(Transient):
            write(
                state,
                entries={"u1": Entry(user_id="u1")},
                events=[event("e1")],
                progress=Progress(run_id="no such run", at=NOW),
            )
        assert state.roster.entry(HOME, "u1") is None
        assert state.audited("c1") == set()
        assert state.usage("c1") == {}

    def test_an_edit_that_raises_writes_nothing(self, state):
        def edit(_known: Mapping[str, Entry]) -> tuple[Edit, None]:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            state.roster.commit(HOME, ["u1"], edit)
        assert state.roster.load(HOME) == {}

    def test_counts_add_up_over_commits_and_batches_with_plus_signs_are_kept_apart(self, state):
        state.runs.put(
            Run(id="r1", connection_id="c1", kind=RunKind.FULL, fence=1, started=NOW, state=RunState.PLANNED, batches=1)
        )
        for done, continued in (("1", 1), ("1+", 1), ("1++", 0)):
            write(state, progress=Progress(run_id="r1", at=NOW, counts={"created": 1}, done=done, continued=continued))
        run = state.runs.get("c1", "r1")
        assert (run.counts["created"], dict(run.done)) == (3, {"1": 1, "1+": 1, "1++": 0})
        assert run.batches_left == 0

    def test_progress_alone_needs_no_user(self, state):
        state.runs.put(Run(id="r1", connection_id="c1", kind=RunKind.FULL, fence=1, started=NOW))
        write(state, progress=Progress(run_id="r1", at=NOW, counts={"unchanged": 5}))
        assert state.runs.get("c1", "r1").counts["unchanged"] == 5

    def test_a_failure_is_mirrored_while_it_lasts(self, state):
        put(state, replace(FULL, failure=None))
        assert state.failures("c1") == {}
        put(state, FULL)
        assert state.failures("c1") == {"u1": ("ada@example.com", "address_taken", 2)}
        put(state, replace(FULL, failure=replace(FAILURE, attempts=3)))
        assert state.failures("c1") == {"u1": ("ada@example.com", "address_taken", 3)}
        put(state, replace(FULL, failure=None))
        assert state.failures("c1") == {}

    def test_a_mirrored_failure_goes_with_its_entry(self, state):
        put(state, FULL)
        write(state, entries={"u1": None})
        assert state.failures("c1") == {}
        assert state.roster.entry(HOME, "u1") is None

    def test_usage_counts_events_by_day_and_name(self, state):
        write(state, events=[event("e1"), event("e2"), event("e3", EventName.FAILED, at=NOW + DAY)])
        state.audit.record("c1", [event("e4", EventName.CONFIGURED)])
        assert state.usage("c1") == {
            "2026-11-24": {EventName.CREATED.value: 2, EventName.CONFIGURED.value: 1},
            "2026-11-25": {EventName.FAILED.value: 1},
        }
        assert state.audited("c1") == {"e1", "e2", "e3", "e4"}

    def test_an_event_that_is_there_already_is_neither_recorded_nor_counted_again(self, state):
        """Who finishes a deletion that was cut short, or that another finishes, too, gives its event one name."""
        for _ in range(2):
            state.audit.record("c1", [event("deleted", EventName.CONFIGURED)])
        assert state.usage("c1") == {"2026-11-24": {EventName.CONFIGURED.value: 1}}
        assert state.audited("c1") == {"deleted"}


EVERYTHING = Connection(
    id="c1",
    order=3,
    settings=Settings(
        name="Keeper EU",
        endpoint="https://keepersecurity.eu/api/rest/scim/v2/1",
        mapping=AttributeMapping(
            (*DEFAULT_ROWS, Row(target="title", source="organizations[primary].title", mandatory=True))
        ),
        scope=Scope(
            groups=(Group(id="g1", email="a@example.com", name="A"),),
            org_units=(OrgUnit(id="id:1", path="/Sales"), OrgUnit(id="id:2", path="/R&D", listed=False), ROOT),
        ),
        deprovisioning=Deprovisioning(
            app_off=Delays(suspend_after=7, delete_after=30),
            suspended=Delays(suspend_after=None, delete_after=None),
            deleted=Delays(suspend_after=0, delete_after=1),
        ),
        limit=VolumeLimit(minimum=25, percent=2.5),
        archived_as_suspended=True,
        patch_dialect=PatchDialect.KEEPER,
        repair_drift=False,
    ),
    revision=0,
    edition=6,
    state=State.PAUSED,
    token_version="4",
    roster_layout="128",
    throttled_until=NOW,
    paused_reason="the token is refused",
    changed_at=NOW,
    clock=Clock(stood=5 * DAY, last=(NOW - DAY, NOW), off_since=NOW + HOUR),
    retired_tokens=(RetiredToken(version="3", at=NOW),),
)


class TestConnections:
    def test_a_connection_comes_back_as_it_was_stored(self, state):
        state.connections.create(EVERYTHING)
        assert state.connections.get("c1") == EVERYTHING
        assert list(state.connections.all()) == [EVERYTHING]

    def test_they_come_in_their_order(self, state):
        for connection_id, order in (("b", 2), ("a", 2), ("z", 1)):
            state.connections.create(Connection(id=connection_id, order=order))
        assert [connection.id for connection in state.connections.all()] == ["z", "a", "b"]

    def test_a_change_grows_the_revision(self, state):
        state.connections.create(HOME)
        changed = state.connections.change("c1", lambda current: with_settings(current, name="New"))
        assert (changed.settings.name, changed.revision) == ("New", 1)
        assert state.connections.get("c1") == changed

    def test_a_change_that_declines_leaves_everything(self, state):
        state.connections.create(HOME)
        assert state.connections.change("c1", lambda _current: None) is None
        assert state.connections.get("c1") == HOME

    def test_a_refused_change_is_raised_and_writes_nothing(self, state):
        def refuse(_current: Connection) -> Connection:
            raise Stale("older revision")

        state.connections.create(HOME)
        with pytest.raises(Stale):
            state.connections.change("c1", refuse)
        assert state.connections.get("c1") == HOME

    def test_what_is_told_of_a_change_is_stored_with_it(self, state):
        state.connections.create(HOME, event("e1", EventName.CONFIGURED))

        def tell(was: Connection, becomes: Connection) -> Event:
            return event(f"{was.settings.name} to {becomes.settings.name}", EventName.CONFIGURED)

        state.connections.change("c1", lambda current: with_settings(current, name="Vault"), tell)
        assert state.audited("c1") == {"e1", "Keeper to Vault"}

    def test_nothing_is_told_of_what_was_not_done(self, state):
        def tell(_was: Connection, _becomes: Connection) -> Event:
            return event("told")

        def refuse(_current: Connection) -> Connection:
            raise Stale("older revision")

        state.connections.create(HOME)
        state.connections.change("c1", lambda _current: None, tell)
        with pytest.raises(Stale):
            state.connections.change("c1", refuse, tell)
        with pytest.raises(Stale):
            state.connections.create(HOME, event("told"))
        assert state.audited("c1") == set()

    def test_an_unknown_connection_is_not_changed(self, state):
        assert state.connections.get("none") is None
        assert state.connections.change("none", lambda current: current) is None

    def test_purging_forgets_the_state_keeps_the_audit_and_the_id_is_never_used_again(self, state):
        state.connections.create(HOME)
        state.runs.put(Run(id="r1", connection_id="c1", kind=RunKind.FULL, fence=1, started=NOW))
        state.holds.put("c1", hold([("u1", "suspend")]))
        state.guard.change(
            "c1", lambda _state: GuardState(reserved={Kind.TAKING: {reservation("x"): NOW}}, active=((NOW, 5),))
        )
        assert state.claims.claim("c1", "k1", Claim(user_id="u1", change_id="x1")) == Claim(
            user_id="u1", change_id="x1"
        )
        state.sweeps.put("c1", frozenset({"x"}))
        write(state, entries={"u1": FULL}, events=[event("e1")])

        state.connections.purge("c1")

        assert state.connections.get("c1") is None
        assert list(state.connections.all()) == []
        assert [(gone.id, gone.name) for gone in state.connections.deleted()] == [("c1", HOME.settings.name)]
        assert state.connections.change("c1", lambda current: current) is None
        assert state.roster.load(HOME) == {}
        assert state.failures("c1") == {}
        assert state.runs.get("c1", "r1") is None
        assert list(state.holds.standing("c1")) == []
        assert state.guard.change("c1", lambda known: known if known == GuardState() else None) is not None
        assert state.claims.claim("c1", "k1", Claim(user_id="u2", change_id="x2")) == Claim(
            user_id="u2", change_id="x2"
        )
        assert state.sweeps.get("c1") == frozenset()
        assert state.audited("c1") == {"e1"}
        with pytest.raises(Stale):
            state.connections.create(HOME)

    def test_what_a_sweep_published_is_remembered_whole(self, state):
        assert state.sweeps.get("c1") == frozenset()
        for names in (frozenset({"a", "b"}), frozenset({"c"}), frozenset[str]()):
            state.sweeps.put("c1", names)
            assert state.sweeps.get("c1") == names

    def test_what_listings_showed_is_kept_as_a_whole(self, state):
        assert state.listings.get() == Listings()
        for shown in (
            Listings(sizes={"a": 7, "s.": 0, "@": 2}, whole_at=NOW, waited=MINUTE),
            Listings(doubted_at=NOW, unread=("s.", "a")),
        ):
            state.listings.put(shown)
            assert state.listings.get() == shown

    def test_runs_that_are_due_are_kept_until_they_are_made(self, state):
        assert set(state.due_runs.all()) == set()
        later = due(RunKind.SWEEP, NOW, MINUTE, 5 * MINUTE) | due(RunKind.FULL, NOW, MINUTE)
        for _ in range(2):
            state.due_runs.add(later, NOW)
        assert set(state.due_runs.all()) == later
        now = NOW + 2 * MINUTE
        state.due_runs.add(due_now(RunKind.SWEEP, now), now)
        assert set(state.due_runs.all()) == later - due(RunKind.SWEEP, NOW, MINUTE) | due_now(RunKind.SWEEP, now)
        state.due_runs.strike(RunKind.SWEEP, now)
        assert set(state.due_runs.all()) == later - due(RunKind.SWEEP, NOW, MINUTE)

    def test_what_was_reported_of_users_is_kept_beside_the_runs_that_find_them(self, state):
        assert state.due_runs.causes() == {}
        left = Cause(at=NOW, event="REMOVE_GROUP_MEMBER", actor="boss@example.com", group="g@example.com")
        later = replace(left, at=NOW + MINUTE, actor="Google System")
        runs = due_now(RunKind.SWEEP, NOW)
        state.due_runs.add(runs, NOW, {"u1": left, "u2": later})
        state.due_runs.add((), NOW, {"u1": later, "u2": left})
        assert (state.due_runs.causes(), set(state.due_runs.all())) == ({"u1": later, "u2": later}, runs)
        state.due_runs.strike(RunKind.SWEEP, NOW)
        assert (len(state.due_runs.causes()), set(state.due_runs.all())) == (2, set())
        state.due_runs.add((), NOW + 30 * MINUTE, {"u3": replace(left, at=NOW + 30 * MINUTE)})
        assert state.due_runs.causes().keys() == {"u3"}

    def test_of_many_who_ask_for_due_runs_nobody_is_forgotten(self, state):
        waits = [minutes * MINUTE for minutes in range(1, 13)]
        with ThreadPoolExecutor(4) as several:
            list(several.map(lambda wait: state.due_runs.add(due(RunKind.SWEEP, NOW, wait), NOW), waits))
        assert set(state.due_runs.all()) == due(RunKind.SWEEP, NOW, *waits)

    def test_what_was_heard_of_each_source_is_kept(self, state):
        assert state.sources.all() == {}
        expected = NOTHING
        for at, user in ((NOW, True), (NOW + MINUTE, False), (NOW - HOUR, True), (NOW, True)):
            state.sources.hear(Feed.AUDIT_LOG, at, user=user)
            expected = heard(expected, at, user=user)
        state.sources.hear(Feed.SWEEP, NOW, user=False)
        assert state.sources.all() == {Feed.AUDIT_LOG: expected, Feed.SWEEP: Heard(latest=NOW)}

    def test_of_many_who_hear_at_once_no_hour_is_forgotten(self, state):
        hours = [NOW + number * HOUR for number in range(12)]
        with ThreadPoolExecutor(4) as several:
            list(several.map(lambda at: state.sources.hear(Feed.NOTIFICATIONS, at, user=True), hours))
        assert len(state.sources.all()[Feed.NOTIFICATIONS].hours) == len(hours)

    def test_an_id_in_use_is_refused(self, state):
        state.connections.create(HOME)
        with pytest.raises(Stale):
            state.connections.create(with_settings(HOME, name="Another"))
        assert state.connections.get("c1") == HOME


class TestChannels:
    def test_a_channel_comes_back_without_its_token(self, state):
        channel = Channel(
            id="ch1",
            address="https://x.org",
            token="secret",
            event="add",
            expires=NOW + DAY,
            resource_id="r1",
            opened=NOW,
            fingerprint="c0ffee00",
        )
        state.channels.put(channel)
        assert list(state.channels.all()) == [replace(channel, token="")]

    @pytest.mark.parametrize("sync_first", [True, False])
    def test_its_proof_counts_whether_it_comes_before_or_after(self, state, sync_first):
        channel = Channel(
            id="ch1", address="https://x.org", token="", event="", expires=NOW + DAY, resource_id="r1", opened=NOW
        )
        steps: list[Callable[[], None]] = [
            lambda: state.channels.prove("ch1", NOW - HOUR),
            lambda: state.channels.put(channel),
        ]
        for step in steps if sync_first else reversed(steps):
            step()
        assert list(state.channels.all()) == [replace(channel, proven=True)]

    def test_a_channel_only_heard_of_has_no_address_and_three_days(self, state):
        state.channels.prove("unknown", NOW)
        state.channels.prove("unknown", NOW + DAY)
        assert list(state.channels.all()) == [Channel(id="unknown", address="", expires=NOW + 3 * DAY, proven=True)]

    def test_a_late_proof_of_a_removed_channel_expires_too(self, state):
        state.channels.put(Channel(id="ch1", address="https://x.org", expires=NOW))
        state.channels.remove("ch1")
        state.channels.prove("ch1", NOW)
        assert list(state.channels.all()) == [Channel(id="ch1", address="", expires=NOW + 3 * DAY, proven=True)]

    def test_a_removed_channel_is_forgotten(self, state):
        state.channels.put(Channel(id="ch1", address="https://x.org", expires=NOW))
        state.channels.remove("ch1")
        state.channels.remove("never there")
        assert list(state.channels.all()) == []
