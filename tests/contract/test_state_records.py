"""The contract of the small documents: runs, the guard and its held plans, claims and leases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.app.ports.roster import Progress
from autoprovisioning.domain.runs import Run, RunKind, RunState
from tests.contract.state_stores import HOUR, write
from tests.support.builders import NOW


class TestRuns:
    def test_a_run_comes_back_as_it_was_stored(self, state):
        run = Run(
            id="r1",
            connection_id="c1",
            kind=RunKind.DRIFT,
            fence=5,
            started=NOW,
            state=RunState.REFUSED,
            finished=NOW + HOUR,
            batches=3,
            planned={"create": 2},
            complete=False,
            notes=("a", "b"),
            last_progress=NOW,
            edition=7,
            request="a1",
        )
        state.runs.put(run)
        assert state.runs.get("c1", "r1") == run
        assert state.runs.get("c1", "none") is None

    @pytest.mark.parametrize("touch", ["put", "change"])
    def test_writing_a_run_never_undoes_what_commits_added(self, state, touch):
        run = Run(
            id="r1", connection_id="c1", kind=RunKind.FULL, fence=1, started=NOW, state=RunState.PLANNED, batches=1
        )
        state.runs.put(run)
        write(
            state,
            progress=Progress(run_id="r1", at=NOW, counts={"created": 1}, done="1", continued=0, seats_exhausted=True),
        )
        closed = replace(run, state=RunState.DONE, finished=NOW)
        if touch == "put":
            state.runs.put(closed)
        else:
            state.runs.change("c1", "r1", lambda current: replace(current, state=RunState.DONE))
        stored = state.runs.get("c1", "r1")
        assert (stored.state, dict(stored.done), stored.counts["created"]) == (RunState.DONE, {"1": 0}, 1)
        assert stored.seats_exhausted

    def test_open_runs_are_those_observing_or_planned_on_that_connection(self, state):
        for number, run_state in enumerate(RunState):
            state.runs.put(
                Run(id=f"r{number}", connection_id="c1", kind=RunKind.FULL, fence=1, started=NOW, state=run_state)
            )
        state.runs.put(Run(id="other", connection_id="c2", kind=RunKind.FULL, fence=1, started=NOW))
        assert {run.state for run in state.runs.open("c1")} == {RunState.OBSERVING, RunState.PLANNED}

    def test_the_latest_runs_of_a_connection_come_newest_first(self, state):
        for number in (2, 4, 1, 3):
            started = NOW + number * HOUR
            state.runs.put(Run(id=f"r{number}", connection_id="c1", kind=RunKind.FULL, fence=1, started=started))
        state.runs.put(Run(id="other", connection_id="c2", kind=RunKind.FULL, fence=1, started=NOW + 9 * HOUR))
        assert [run.id for run in state.runs.latest("c1", 3)] == ["r4", "r3", "r2"]
        assert state.runs.latest("c3", 3) == []

    def test_a_run_is_not_changed_where_the_edit_declines_or_there_is_none(self, state):
        state.runs.put(Run(id="r1", connection_id="c1", kind=RunKind.FULL, fence=1, started=NOW))
        assert state.runs.change("c1", "r1", lambda _run: None) is None
        assert state.runs.change("c1", "none", lambda run: run) is None
        assert state.runs.get("c1", "r1").state is RunState.OBSERVING


class TestRunsAskedFor:
    def test_a_request_is_answered_by_the_first_run_opened_because_of_it(self, state):
        runs = [
            Run(id=f"r{n}", connection_id="c1", kind=RunKind.FULL, fence=n, started=NOW + n * HOUR, request="a1")
            for n in (2, 1, 3)
        ]
        for run in (
            *runs,
            Run(id="r0", connection_id="c1", kind=RunKind.FULL, fence=1, started=NOW),
            Run(id="r4", connection_id="c2", kind=RunKind.FULL, fence=1, started=NOW, request="a1"),
        ):
            state.runs.put(run)
        assert state.runs.asked_for("c1", "a1") == runs[1]
        assert state.runs.asked_for("c1", "a2") is None


class TestClaimsAndLeases:
    def test_the_first_claim_of_an_account_stands(self, state):
        first, second = Claim(user_id="u1", change_id="x1"), Claim(user_id="u2", change_id="x2")
        assert state.claims.claim("c1", "k/1 ü", first) == first
        assert state.claims.claim("c1", "k/1 ü", first) == first
        assert state.claims.claim("c1", "k/1 ü", second) == first
        assert state.claims.claim("c1", "k2", second) == second

    def test_a_claim_is_taken_over_from_the_one_that_was_seen(self, state):
        first, second = Claim(user_id="u1", change_id="x1"), Claim(user_id="u2", change_id="x2")
        state.claims.claim("c1", "k1", first)
        assert state.claims.claim("c1", "k1", second, instead_of=first) == second
        assert state.claims.claim("c1", "k1", first) == second

    def test_a_claim_made_anew_by_its_user_is_not_taken_over(self, state):
        first, again = Claim(user_id="u1", change_id="x1"), Claim(user_id="u1", change_id="x3")
        state.claims.claim("c1", "k1", first)
        assert state.claims.claim("c1", "k1", again) == again
        assert state.claims.claim("c1", "k1", Claim(user_id="u2", change_id="x2"), instead_of=first) == again

    def test_a_lease_is_one_holders_until_it_expires(self, state):
        assert state.leases.take("l", "a", NOW, HOUR) == 1
        assert state.leases.take("l", "b", NOW + HOUR - timedelta(seconds=1), HOUR) is None
        assert state.leases.take("l", "b", NOW + HOUR, HOUR) == 2
        assert state.leases.take("l", "a", NOW + HOUR, HOUR) is None

    def test_its_holder_prolongs_it_under_the_same_fence(self, state):
        state.leases.take("l", "a", NOW, HOUR)
        assert state.leases.take("l", "a", NOW + HOUR / 2, HOUR) == 1
        assert state.leases.take("l", "b", NOW + HOUR, HOUR) is None

    def test_a_lease_given_back_is_free_at_once_and_the_fence_still_grows(self, state):
        state.leases.take("l", "a", NOW, HOUR)
        state.leases.release("l", "b")
        assert state.leases.take("l", "b", NOW, HOUR) is None
        state.leases.release("l", "a")
        assert state.leases.take("l", "a", NOW, HOUR) == 2
        assert state.leases.take("other", "b", NOW, HOUR) == 1

    def test_giving_back_what_was_never_taken_is_harmless(self, state):
        state.leases.release("never", "a")
        assert state.leases.take("never", "a", NOW, HOUR) == 1
