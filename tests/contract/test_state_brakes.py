"""The contract of the guard and of held plans: room for everybody, decisions member by member, older documents."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from google.api_core import exceptions

from autoprovisioning.domain.errors import Stale, Transient, Unforeseen
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.guard import FIRST, GuardState, Kind, Member, reservation, reserve
from autoprovisioning.domain.holds import Hold, HoldState, Standing, Verdict
from tests.contract.state_stores import event, hold
from tests.support.builders import NOW

HOUR = timedelta(hours=1)
A, B = reservation("a"), reservation("b")
HOLD = hold([f"u{number}" for number in range(7)])


class TestGuard:
    def test_reservations_are_kept_by_budget_with_the_people_active(self, state):
        wanted = GuardState(
            reserved={Kind.TAKING: {A: NOW, B: NOW - HOUR}, "approved": {A: NOW}}, active=((NOW - HOUR, 200), (NOW, 0))
        )
        assert state.guard.change("c1", lambda _state: wanted) == wanted
        assert state.guard.change("c1", lambda known: known) == wanted
        assert state.guard.change("c2", lambda known: known) == GuardState()

    def test_a_declined_reservation_changes_nothing(self, state):
        first = GuardState(reserved={Kind.TAKING: {A: NOW}})
        state.guard.change("c1", lambda _state: first)
        assert state.guard.change("c1", lambda known: reserve(known, Kind.TAKING, [B], 1, NOW)) is None
        assert state.guard.change("c1", lambda known: known) == first

    def test_it_has_room_for_a_hundred_thousand_and_counts_them_all(self, state):
        names = [reservation(str(number)) for number in range(100_000)]
        spread = {name: NOW + timedelta(seconds=number % 80_000) for number, name in enumerate(names)}
        state.guard.change("c1", lambda known: replace(known, reserved={Kind.TAKING: spread}))
        full = state.guard.change("c1", lambda known: reserve(known, Kind.TAKING, [A], 100_001, NOW))
        assert full is not None
        assert state.guard.change("c1", lambda known: reserve(known, Kind.TAKING, [B], 100_001, NOW)) is None
        assert state.guard.change("c1", lambda known: known) == full
        assert len(full.current(Kind.TAKING, NOW)) == 100_001
        later = NOW + timedelta(days=3)
        emptied = state.guard.change("c1", lambda known: reserve(known, Kind.TAKING, [B], 1, later))
        assert state.guard.change("c1", lambda known: known) == emptied

    def test_of_many_who_reserve_at_once_no_more_get_through_than_may(self, state):
        large = {reservation(str(number)): NOW for number in range(120_000)}
        state.guard.change("c1", lambda known: replace(known, reserved={"approved": large}))

        def one(number: int) -> bool:
            names = [reservation(f"x{number}")]
            return state.guard.change("c1", lambda known: reserve(known, Kind.TAKING, names, 5, NOW)) is not None

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(one, range(8))) == 5


class TestHolds:
    @pytest.mark.parametrize("size", [1, 5001])
    def test_a_plan_comes_back_with_its_members_and_what_stands_decided_about_each(self, state, size):
        wanted = hold([f"u{number}" for number in range(size)], Standing.REJECTED, by="a@x.org")
        state.holds.put("c1", wanted)
        assert state.holds.get("c1", wanted.digest) == wanted
        chosen = wanted.members[:1]
        mixed = state.holds.change(
            "c1",
            wanted.digest,
            lambda known: known.moved(
                lambda member, _: Standing.APPROVED if member in chosen else None, NOW, "b@x.org"
            ),
        )
        assert state.holds.get("c1", wanted.digest) == mixed
        assert mixed.verdicts[0] == Verdict(standing=Standing.APPROVED, at=NOW, by="b@x.org")
        assert state.holds.get("c1", "none") is None

    def test_only_those_of_which_something_is_to_come_are_listed_newest_first(self, state):
        for age, standing in enumerate(Standing):
            state.holds.put("c1", hold([standing.name], standing, NOW - age * HOUR, by="a@x.org"))
        listed = [item.state for item in state.holds.standing("c1")]
        assert listed == [HoldState.WAITING, HoldState.WAITING, HoldState.APPROVED, HoldState.REJECTED]

    def test_no_number_of_later_plans_makes_one_forgotten(self, state):
        kept = [hold([f"u{number}"], Standing.REJECTED, NOW - number * HOUR, by="a@x.org") for number in (70, 80)]
        for number in range(60):
            state.holds.put("c1", hold([f"v{number}"], Standing.RELEASED, NOW))
            state.holds.put("c1", hold([f"w{number}"], Standing.DONE, NOW - number * HOUR, by="a@x.org"))
        for one in kept:
            state.holds.put("c1", one)
        assert list(state.holds.standing("c1")) == kept

    def test_what_was_decided_is_told_with_it_where_there_is_something_to_tell(self, state):
        def approve(current: Hold) -> Hold | None:
            return (
                current.moved(lambda *_: Standing.APPROVED, NOW, "a@x.org") if current.those(Standing.WAITING) else None
            )

        def tell(was: Hold, becomes: Hold) -> Event | None:
            return event(f"{was.state} to {becomes.state}") if becomes.state is HoldState.APPROVED else None

        state.holds.put("c1", HOLD, event("held", EventName.HELD))
        for _ in range(2):
            state.holds.change("c1", HOLD.digest, approve, tell)
        state.holds.change("c1", HOLD.digest, lambda known: known.moved(lambda *_: Standing.DONE, NOW), tell)
        assert state.audited("c1") == {"held", "waiting to approved"}
        assert state.holds.get("c1", HOLD.digest).state is HoldState.CLOSED

    def test_a_decision_never_changes_who_is_concerned_nor_when_it_was_raised(self, state):
        state.holds.put("c1", HOLD)
        state.holds.change("c1", HOLD.digest, lambda known: replace(known, raised_at=NOW + HOUR))
        assert state.holds.get("c1", HOLD.digest) == HOLD

    def test_a_declined_or_refused_decision_changes_nothing(self, state):
        def refuse(_hold: Hold) -> Hold:
            raise Stale("decided already")

        state.holds.put("c1", HOLD)
        assert state.holds.change("c1", HOLD.digest, lambda _hold: None) is None
        with pytest.raises(Stale):
            state.holds.change("c1", HOLD.digest, refuse)
        assert state.holds.get("c1", HOLD.digest) == HOLD

    @pytest.mark.parametrize("digest", ["none", "", "a/b", "__id__"])
    def test_a_plan_that_is_not_there_is_not_decided(self, state, digest):
        state.holds.put("c1", HOLD)
        assert state.holds.change("c1", digest, lambda known: known) is None
        assert state.holds.get("c1", digest) is None

    def test_of_many_who_decide_at_once_about_others_each_is_heard(self, state):
        state.holds.put("c1", HOLD)

        def decide(member: Member) -> None:
            state.holds.change(
                "c1",
                HOLD.digest,
                lambda known: known.moved(
                    lambda each, _: Standing.REJECTED if each == member else None, NOW, member.resource
                ),
            )

        with ThreadPoolExecutor(7) as pool:
            list(pool.map(decide, HOLD.members))
        kept = state.holds.get("c1", HOLD.digest)
        assert [verdict.by for verdict in kept.verdicts] == [member.resource for member in HOLD.members]


# As written before schema 2: one reservation at the beginning of 2026, and two members.
OLD_GUARD = {"reserved": b"\x81\xb0f8f9a49c1bf839a1\xcbA\xdaUn@\x00\x00\x00", "count": 1, "roster_size": 220}
OLD_MEMBERS = b"\x92\x92\xa2u1\xa7suspend\x92\xa2u2\xa6delete"


@pytest.mark.emulator
class TestSchema1:
    def old_hold(self, firestore, state: str, decided_at: datetime | None) -> Hold:
        document = firestore.client.document("connections/c1/holds/old")
        document.collection("members").document("0000").set({"members": OLD_MEMBERS, "expires": NOW})
        decided = {"decided_by": "a@x.org" if decided_at else "", "decided_at": decided_at, "honoured": None}
        document.set(
            {"raised_at": NOW, "counts": {"suspend": 1, "delete": 1}, "chunks": 1, "reason": "too many",
             "state": state, "expires": NOW, **decided}
        )  # fmt: skip
        return firestore.holds.get("c1", "old")

    def test_a_guard_keeps_its_reservations_and_takes_the_roster_for_the_people_active(self, firestore):
        document = firestore.client.document("connections/c1/guard/state")
        document.set(OLD_GUARD)
        read = firestore.guard.change("c1", lambda known: known)
        at = datetime(2026, 1, 1, tzinfo=UTC)
        assert read == GuardState(reserved={Kind.TAKING: {"f8f9a49c1bf839a1": at}}, active=((FIRST, 220),))
        assert document.get().get("schema") == 2
        written = firestore.guard.change("c1", lambda known: reserve(known, Kind.TAKING, [A], 9, at))
        assert firestore.guard.change("c1", lambda known: known) == written
        assert document.get().get("schema") == 2

    @pytest.mark.parametrize(
        ("old", "standing"),
        [
            ("waiting", Standing.WAITING),
            ("approved", Standing.APPROVED),
            ("rejected", Standing.REJECTED),
            ("superseded", Standing.RELEASED),
        ],
    )
    def test_every_member_of_a_plan_has_the_verdict_of_the_whole(self, firestore, old, standing):
        read = self.old_hold(firestore, old, None if old == "waiting" else NOW)
        assert read.members == (Member(resource="u1", action="suspend"), Member(resource="u2", action="delete"))
        assert [verdict.standing for verdict in read.verdicts] == [standing] * 2
        assert read.state.value == (old if old != "superseded" else "closed")
        stored = firestore.client.document("connections/c1/holds/old").get().to_dict()
        assert (stored["schema"], stored["expires"]) == (2, NOW)
        assert firestore.holds.get("c1", "old") == read
        moved = firestore.holds.change("c1", "old", lambda known: replace(known, reason="once more"))
        assert firestore.holds.get("c1", "old") == moved

    def test_a_plan_that_stands_is_migrated_when_a_run_reads_it(self, firestore):
        self.old_hold(firestore, "waiting", None)
        document = firestore.client.document("connections/c1/holds/old")
        old = {name: value for name, value in document.get().to_dict().items() if name not in ("schema", "verdicts")}
        document.set(old)
        (read,) = firestore.holds.standing("c1")
        assert document.get().get("schema") == 2
        assert list(firestore.holds.standing("c1")) == [read]


@pytest.mark.emulator
@pytest.mark.parametrize("kind", [exceptions.InvalidArgument, exceptions.OutOfRange, exceptions.MethodNotImplemented])
def test_what_firestore_refuses_is_no_outage(firestore, monkeypatch, kind):
    def refuse(*_args, **_more):
        raise kind("too large")

    monkeypatch.setattr(firestore.client.batch().__class__, "commit", refuse)
    with pytest.raises(Unforeseen) as refused:
        firestore.guard.change("c1", lambda known: reserve(known, Kind.TAKING, [A], 9, NOW))
    assert not isinstance(refused.value, Transient)
    assert "could not be reached" not in str(refused.value)
