"""Firestore under contention, with lost answers, silent and gone: nothing lost, nothing twice, bounded in time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoprovisioning.adapters.firestore.roster import shard_of
from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.app.ports.roster import Edit, Progress
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.entry import Action, Entry, Failure, Mark, Status, Timer, Trigger
from autoprovisioning.domain.errors import Permanent, Stale, Transient
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.guard import Kind, reservation, reserve
from autoprovisioning.domain.runs import Run, RunKind, RunState
from autoprovisioning.domain.settings import Settings
from infra.local.processes import free_port
from tests.contract.state_stores import IN_FIRESTORE, Firestore, Wire, wire
from tests.support.builders import NOW

pytestmark = pytest.mark.emulator

ONE_SHARD = Connection(id="c1", roster_layout="1")
HOUR = timedelta(hours=1)
both = pytest.mark.parametrize("state", IN_FIRESTORE, indirect=True)
SHORT = timedelta(seconds=1)
PATIENCE = 6.0  # seconds: longer than a bounded call takes


@pytest.fixture
def address(backing: Any) -> int:
    return int(backing.ports["firestore"])


@pytest.fixture
def state(request: pytest.FixtureRequest) -> Firestore:
    """The emulator, and for the tests that ask for both the client of simulations."""
    return request.getfixturevalue(getattr(request, "param", "emulated"))


@pytest.fixture
def relay(address: int) -> Iterator[Wire]:
    with wire(address) as running:
        yield running


@pytest.fixture
def far(relay: Wire, project_id: str) -> Iterator[Firestore]:
    """The same project as `state`, over the relay."""
    stores = Firestore(relay.host, project_id)
    yield stores
    stores.close()


def at_once(work: Callable[[int], Any], writers: int) -> list[Any]:
    """Do the work in as many threads at once."""
    with ThreadPoolExecutor(max_workers=writers) as pool:
        return list(pool.map(work, range(writers)))


def event(event_id: str) -> Event:
    return Event(id=event_id, at=NOW, name=EventName.CREATED, actor="run r1", user_id="u1")


def roster_entry(user_id: str, version: int) -> Entry:
    return Entry(
        user_id=user_id,
        version=version,
        email=f"{user_id}@example.com",
        scim_id="s" * 32,
        fingerprint="f" * 58,
        status=Status.ACTIVE,
        in_scope=True,
    )


class TestContention:
    @both
    def test_many_writers_of_one_shard_lose_nothing(self, state):
        state.runs.put(
            Run(id="r1", connection_id="c1", kind=RunKind.FULL, fence=1, started=NOW, state=RunState.PLANNED)
        )

        def write(writer: int) -> None:
            for number in range(5):
                user_id = f"u{writer}-{number}"

                def edit(known: Mapping[str, Entry], user_id: str = user_id) -> tuple[Edit, None]:
                    common = known.get("common", Entry(user_id="common"))
                    entries = {user_id: Entry(user_id=user_id), "common": replace(common, version=common.version + 1)}
                    return Edit(
                        entries=entries,
                        events=[event(user_id)],
                        progress=Progress(run_id="r1", at=NOW, counts={"created": 1}),
                    ), None

                state.roster.commit(ONE_SHARD, [user_id, "common"], edit)

        at_once(write, 12)
        roster = state.roster.load(ONE_SHARD)
        assert roster["common"].version == 60
        assert len(roster) == 61
        assert len(state.audited("c1")) == 60
        assert state.runs.get("c1", "r1").counts["created"] == 60
        assert state.usage("c1") == {"2026-11-24": {EventName.CREATED.value: 60}}

    @both
    def test_writers_of_several_shards_at_once_do_not_block_each_other(self, state):
        wide = Connection(id="c1", roster_layout="4")
        users = [f"u{number}" for number in range(12)]

        def write(_writer: int) -> None:
            def edit(known: Mapping[str, Entry]) -> tuple[Edit, None]:
                grown = {
                    user: replace(
                        known.get(user, Entry(user_id=user)), version=known[user].version + 1 if user in known else 1
                    )
                    for user in users
                }
                return Edit(entries=grown), None

            state.roster.commit(wide, users, edit)

        at_once(write, 8)
        assert {entry.version for entry in state.roster.load(wide).values()} == {8}

    def test_what_is_only_appended_waits_for_others_who_hold_its_documents(self, state):
        told = Event(id="e1", at=NOW, name=EventName.CONFIGURED, actor="admin@example.com")
        state.audit.record("c1", [told])
        client = state.leases._database.client
        [counter] = [found.reference for found in client.collection("connections/c1/usage").stream()]
        holder = client.transaction()
        holder._begin()
        counter.get(transaction=holder)
        with ThreadPoolExecutor(max_workers=1) as pool:
            recorded = pool.submit(state.audit.record, "c1", [replace(told, id="e10")])  # the same counter
            with pytest.raises(TimeoutError):
                recorded.result(2.5)  # the emulator gives up on a lock after two seconds
            holder._rollback()
            recorded.result()
        assert state.usage("c1") == {"2026-11-24": {EventName.CONFIGURED.value: 2}}

    @both
    def test_reservations_made_at_once_never_exceed_the_limit(self, state):
        def take(writer: int) -> bool:
            name = reservation(f"n{writer}")
            granted = state.guard.change("c1", lambda known: reserve(known, Kind.TAKING, [name], 5, NOW))
            return granted is not None

        assert sum(at_once(take, 16)) == 5
        assert len(state.guard.change("c1", lambda known: known).current(Kind.TAKING, NOW)) == 5

    @both
    def test_one_of_many_gets_the_lease_and_the_next_fence_is_higher(self, state):
        fences = at_once(lambda writer: state.leases.take("l", f"w{writer}", NOW, HOUR), 12)
        assert sorted(filter(None, fences)) == [1]
        later = at_once(lambda writer: state.leases.take("l", f"x{writer}", NOW + HOUR, HOUR), 12)
        assert sorted(filter(None, later)) == [2]

    @both
    def test_one_of_many_claims_an_account(self, state):
        wanted = [Claim(user_id=f"u{writer}", change_id="x") for writer in range(12)]
        told = at_once(lambda writer: state.claims.claim("c1", "k1", wanted[writer]), 12)
        assert len(set(told)) == 1
        assert told[0] in wanted

    @both
    def test_one_of_many_takes_a_claim_over(self, state):
        old = Claim(user_id="gone", change_id="x")
        state.claims.claim("c1", "k1", old)
        wanted = [Claim(user_id=f"u{writer}", change_id="x") for writer in range(8)]
        told = at_once(lambda writer: state.claims.claim("c1", "k1", wanted[writer], old), 8)
        assert len(set(told)) == 1
        assert told[0] in wanted
        assert state.claims.claim("c1", "k1", old) == told[0]

    @both
    def test_a_claim_made_anew_and_taken_over_at_once_is_one_of_the_two(self, state):
        for number in range(6):
            name, old = f"k{number}", Claim(user_id="a", change_id="x")
            state.claims.claim("c1", name, old)
            steps = [
                lambda name=name: state.claims.claim("c1", name, Claim(user_id="a", change_id="y")),
                lambda name=name, old=old: state.claims.claim("c1", name, Claim(user_id="b", change_id="z"), old),
            ]
            told = at_once(lambda writer, steps=steps: steps[writer](), 2)
            assert told in ([Claim(user_id="a", change_id="y")] * 2, [Claim(user_id="b", change_id="z")] * 2)

    @both
    def test_one_of_many_creates_a_connection(self, state):
        def create(writer: int) -> bool:
            try:
                state.connections.create(Connection(id="c1", settings=Settings(name=f"by {writer}")))
            except Stale:
                return False
            return True

        assert sum(at_once(create, 8)) == 1

    @both
    def test_edits_of_a_connection_made_at_once_all_count(self, state):
        state.connections.create(ONE_SHARD)

        def edit(_writer: int) -> None:
            state.connections.change("c1", lambda current: replace(current, order=current.order + 1))

        at_once(edit, 10)
        connection = state.connections.get("c1")
        assert (connection.order, connection.revision) == (10, 10)


class LostAnswer:
    """Calls a change of state whose answer is lost: the write is done, then the connection breaks."""

    def __init__(self, relay: Wire) -> None:
        self._relay = relay
        self._armed = False

    def arm(self) -> None:
        """Lose the answer of the next write; called between its read and its write, the first time only."""
        if not self._armed:
            self._armed = True
            self._relay.swallow_answers()

    def during(self, act: Callable[[], Any], written: Callable[[], bool], writing_with: Firestore | None = None) -> Any:
        """Run `act`; once the write is there, break the connection, so that the client sends it again.

        With `writing_with` the answer is lost from the first write through these stores on.
        """
        if writing_with is not None:
            writing_with.before_writing(self.arm)
        with ThreadPoolExecutor(max_workers=1) as pool:
            running = pool.submit(act)
            until = time.monotonic() + PATIENCE
            while not written():
                assert time.monotonic() < until, "the write never arrived"
                time.sleep(0.02)
            self._relay.cut()
            return running.result(timeout=20)


class TestOwnWriteWhoseAnswerWasLost:
    def test_a_roster_commit_is_recorded_once_and_its_result_stands(self, state, far, relay):
        state.runs.put(
            Run(id="r1", connection_id="c1", kind=RunKind.FULL, fence=1, started=NOW, state=RunState.PLANNED)
        )
        lost = LostAnswer(relay)
        started = NOW + timedelta(microseconds=123_456)  # timers are kept to the second

        def edit(known: Mapping[str, Entry]) -> tuple[Edit, str]:
            lost.arm()
            entry = known.get("u1", Entry(user_id="u1"))
            mark = Mark(change_id="c", message_id="m", action=Action.CREATE, until=started)
            fresh = replace(
                entry,
                version=entry.version + 1,
                timers={Trigger.APP_OFF: Timer(since=started, running_since=started)},
                mark=mark,
            )
            progress = Progress(run_id="r1", at=NOW, counts={"created": 1}, done="1")
            return Edit(entries={"u1": fresh}, events=[event("e1")], progress=progress), f"version {fresh.version}"

        result = lost.during(
            lambda: far.roster.commit(ONE_SHARD, ["u1"], edit),
            lambda: state.roster.entry(ONE_SHARD, "u1") is not None,
        )
        assert result == "version 1"
        assert state.roster.entry(ONE_SHARD, "u1").version == 1
        assert state.runs.get("c1", "r1").counts["created"] == 1
        assert state.usage("c1") == {"2026-11-24": {EventName.CREATED.value: 1}}

    def test_a_commit_that_another_writer_beat_is_decided_anew(self, state, far):
        """The same check must not take somebody else's write for our own."""

        def edit(known: Mapping[str, Entry]) -> tuple[Edit, int]:
            entry = known.get("u1", Entry(user_id="u1"))
            if entry.version == 0:
                other = Edit(entries={"u1": Entry(user_id="u1", version=5), "u2": Entry(user_id="u2")})
                state.roster.commit(ONE_SHARD, ["u1", "u2"], lambda _known: (other, None))
            fresh = replace(entry, version=entry.version + 1)
            return Edit(entries={"u1": fresh}, events=[event(f"e{fresh.version}")]), fresh.version

        assert far.roster.commit(ONE_SHARD, ["u1"], edit) == 6
        assert state.audited("c1") == {"e6"}

    def test_a_connection_is_changed_once_and_the_change_returned(self, state, far, relay):
        state.connections.create(replace(ONE_SHARD, state=State.ON))
        lost = LostAnswer(relay)
        ids = iter(("e1", "e2"))

        def pause(current: Connection) -> Connection | None:
            lost.arm()
            return replace(current, state=State.PAUSED) if current.state is State.ON else None

        def tell(_was: Connection, _becomes: Connection) -> Event:
            return Event(id=next(ids), at=NOW, name=EventName.PAUSED, actor="keeper")

        paused = lost.during(
            lambda: far.connections.change("c1", pause, tell),
            lambda: state.connections.get("c1").state is State.PAUSED,
        )
        assert (paused.state, paused.revision) == (State.PAUSED, 1)
        assert state.connections.get("c1").revision == 1
        assert state.audited("c1") == {"e1"}

    def test_a_created_connection_is_not_refused_as_used_before(self, state, far, relay):
        far.connections.get("c1")  # connects
        lost = LostAnswer(relay)
        lost.arm()
        lost.during(lambda: far.connections.create(ONE_SHARD), lambda: state.connections.get("c1") is not None)
        assert state.connections.get("c1") == ONE_SHARD

    def test_a_lease_taken_is_held(self, state, far, relay):
        assert far.leases.take("l", "before", NOW - HOUR, HOUR) == 1
        fence = LostAnswer(relay).during(
            lambda: far.leases.take("l", "a", NOW, HOUR),
            lambda: state.client.document("leases/l").get().get("holder") == "a",
            writing_with=far,
        )
        assert fence == 2

    def test_a_claim_won_is_won(self, state, far, relay):
        claimed = LostAnswer(relay).during(
            lambda: far.claims.claim("c1", "k1", Claim(user_id="u1", change_id="x")),
            lambda: bool(state.collection("c1", "claims")),
            writing_with=far,
        )
        assert claimed == Claim(user_id="u1", change_id="x")


def _calls(stores: Firestore) -> dict[str, Callable[[], Any]]:
    return {
        "roster.entry": lambda: stores.roster.entry(ONE_SHARD, "u1"),
        "roster.load": lambda: stores.roster.load(Connection(id="c1", roster_layout="64")),
        "roster.commit": lambda: stores.roster.commit(
            ONE_SHARD, ["u1"], lambda _known: (Edit(entries={"u1": None}), None)
        ),
        "events alone": lambda: stores.audit.record("c1", [event("e1")]),
        "connections.all": lambda: stores.connections.all(),
        "connections.change": lambda: stores.connections.change("c1", lambda current: current),
        "runs.open": lambda: stores.runs.open("c1"),
        "leases.take": lambda: stores.leases.take("l", "a", NOW, HOUR),
        "claims.claim": lambda: stores.claims.claim("c1", "k1", Claim(user_id="u1", change_id="x")),
        "channels.all": lambda: stores.channels.all(),
    }


def _all_transient_in_time(stores: Firestore) -> None:
    calls = _calls(stores)
    slow: dict[str, float] = {}

    def call(name: str) -> None:
        started = time.monotonic()
        with pytest.raises(Transient):
            calls[name]()
        slow[name] = time.monotonic() - started

    with ThreadPoolExecutor(max_workers=len(calls)) as pool:
        list(pool.map(call, calls))
    assert {name: seconds for name, seconds in slow.items() if seconds > PATIENCE} == {}
    assert set(slow) == set(calls)


class TestUnavailable:
    def test_a_database_that_is_gone_is_transient_in_bounded_time(self, project_id):
        gone = Firestore(f"127.0.0.1:{free_port()}", project_id, SHORT)
        _all_transient_in_time(gone)
        gone.close()

    def test_a_database_that_hangs_is_transient_in_bounded_time(self, relay, project_id):
        hanging = Firestore(relay.host, project_id, SHORT)
        hanging.connections.all()
        relay.fall_silent()
        _all_transient_in_time(hanging)
        hanging.close()

    def test_a_write_that_hangs_is_transient_and_not_done(self, state, relay, project_id):
        hanging = Firestore(relay.host, project_id, SHORT)

        def edit(_known: Mapping[str, Entry]) -> tuple[Edit, None]:
            relay.fall_silent()
            return Edit(entries={"u1": Entry(user_id="u1")}), None

        started = time.monotonic()
        with pytest.raises(Transient):
            hanging.roster.commit(ONE_SHARD, ["u1"], edit)
        assert time.monotonic() - started < PATIENCE
        assert state.roster.entry(ONE_SHARD, "u1") is None
        hanging.close()

    def test_it_goes_on_once_the_database_answers_again(self, relay, project_id):
        stores = Firestore(relay.host, project_id, SHORT)
        stores.connections.create(ONE_SHARD)
        relay.fall_silent()
        with pytest.raises(Transient):
            stores.connections.get("c1")
        relay.cut()
        assert stores.connections.get("c1") == ONE_SHARD
        stores.close()


class TestDocumentsRead:
    @both
    def test_loading_a_roster_reads_one_document_a_shard(self, state):
        state.reads.clear()
        state.roster.load(Connection(id="c1", roster_layout="64"))
        assert state.reads["firestore_reads"] == 64

    @both
    def test_an_entry_is_one_document_and_its_commit_one_more(self, state):
        state.reads.clear()
        state.roster.entry(ONE_SHARD, "u1")
        state.roster.commit(ONE_SHARD, ["u1"], lambda _known: (Edit(entries={"u1": Entry(user_id="u1")}), None))
        assert dict(state.reads) == {"firestore_reads": 2, "firestore_writes": 1}


class TestShards:
    @both
    def test_entries_are_spread_over_all_shards(self, state):
        edit = Edit(entries={user_id: Entry(user_id=user_id) for user_id in map(str, range(500))})
        state.roster.commit(Connection(id="c1", roster_layout="64"), list(edit.entries), lambda _known: (edit, None))
        assert set(state.collection("c1", "roster")) == {f"{number:04d}" for number in range(64)}

    @both
    @pytest.mark.parametrize(("users", "shards"), [(0, 64), (19_200, 64), (19_201, 128), (40_000, 256)])
    def test_a_roster_begins_with_at_most_300_users_a_shard_on_average(self, state, users, shards):
        state.connections.create(Connection(id="c1"))
        begun = state.roster.begin(Connection(id="c1"), users)
        assert begun.roster_layout == f"{shards}"
        assert state.client.document("connections/c1").get().get("shards") == shards

    def test_no_shard_gets_many_more_users_than_the_others(self):
        spread = Counter(shard_of(f"1{number:020d}", 64) for number in range(19_200))
        assert max(spread.values()) < 360


class TestSizes:
    @both
    def test_a_shard_that_no_document_holds_is_refused_by_name_and_nothing_is_written(self, state):
        failure = Failure(
            code="rejected", text="\N{GRINNING FACE}" * 200, attempts=1, first=NOW, next_attempt=NOW, about="create:x"
        )
        crowd = {f"u{number}": Entry(user_id=f"u{number}", failure=failure) for number in range(1300)}
        with pytest.raises(Permanent, match="outgrown its 1 shards"):
            state.roster.commit(ONE_SHARD, list(crowd), lambda _known: (Edit(entries=crowd), None))
        assert state.roster.load(ONE_SHARD) == {}

    @both
    def test_full_shards_are_changed_in_parts_that_one_commit_holds(self, state):
        """32 shards of 2,000 users: who joined after the shards were fixed. 250 of them, in all shards, are changed."""
        full = Connection(id="c1", roster_layout="32")
        everybody = [f"{10**20 + number}" for number in range(32 * 2000)]

        def write(version: int, users: Sequence[str]) -> list[int]:
            def edit(part: Sequence[str], _known: Mapping[str, Entry]) -> tuple[Edit, int]:
                return Edit(entries={user_id: roster_entry(user_id, version) for user_id in part}), len(part)

            return state.roster.commit_in_parts(full, users, edit)

        assert sum(write(1, everybody)) == len(everybody)
        some = state.roster.as_stored(full, everybody)[::256]
        assert len({shard_of(user_id, 32) for user_id in some}) == 32
        with pytest.raises(Permanent, match="too large"):
            state.roster.commit(
                full, some, lambda known: (Edit(entries={user_id: known[user_id] for user_id in some}), None)
            )
        state.reads.clear()
        parts = write(2, some)
        assert sum(parts) == 250
        assert len(parts) > 1
        assert state.reads["firestore_reads"] <= 32
        roster = state.roster.load(full)
        assert len(roster) == len(everybody)
        assert {user_id for user_id, entry in roster.items() if entry.version == 2} == set(some)

    def test_a_part_that_another_writer_beat_is_decided_anew(self, state, far):
        other = Edit(entries={"u1": Entry(user_id="u1", version=5), "u2": Entry(user_id="u2")})

        def edit(_part: Sequence[str], known: Mapping[str, Entry]) -> tuple[Edit, int]:
            entry = known.get("u1", Entry(user_id="u1"))
            if entry.version == 0:
                state.roster.commit(ONE_SHARD, ["u1", "u2"], lambda _known: (other, None))
            return Edit(entries={"u1": replace(entry, version=entry.version + 1)}), entry.version + 1

        assert far.roster.commit_in_parts(ONE_SHARD, ["u1"], edit) == [6]
        assert state.roster.load(ONE_SHARD) == {"u1": Entry(user_id="u1", version=6), "u2": Entry(user_id="u2")}

    @both
    def test_a_chunk_of_changes_spread_over_all_shards_is_one_commit(self, state):
        """20,000 users, 250 of them changed: some 110 shards of 160 users are read and written at once."""
        wide = Connection(id="c1", roster_layout="110")
        everybody = [f"{10**20 + number}" for number in range(110 * 160)]
        by_shard = state.roster.as_stored(wide, everybody)

        for start in range(0, len(by_shard), 4000):
            chunk = {user_id: roster_entry(user_id, 1) for user_id in by_shard[start : start + 4000]}
            state.roster.commit(wide, list(chunk), lambda _known, chunk=chunk: (Edit(entries=chunk), None))
        changed = {user_id: roster_entry(user_id, 2) for user_id in everybody[:250]}
        state.roster.commit(wide, list(changed), lambda _known: (Edit(entries=changed), None))
        roster = state.roster.load(wide)
        assert len(roster) == len(everybody)
        assert {user_id for user_id, item in roster.items() if item.version == 2} == set(changed)
