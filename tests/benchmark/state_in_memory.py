"""How fast the state ports are over the client of simulations: calls a second of CPU, and where the time goes.

PYTHONPATH=functions:. python -m tests.benchmark.state_in_memory [--profile]
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from autoprovisioning.app.ports.roster import Edit, Progress
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.guard import Kind, reservation, reserve
from autoprovisioning.domain.runs import Run, RunKind, RunState
from tests.contract.state_stores import InMemory, State
from tests.support.builders import NOW

CALLS = 20_000
PEOPLE = 16
SMALL = Connection(id="c1", roster_layout="2")
MINUTE = timedelta(minutes=1)


def calls(state: State) -> Mapping[str, Callable[[int], Any]]:
    """Return port calls as a simulation makes them, for a customer of some dozen people."""

    def commit(number: int) -> None:
        user_id = f"u{number % PEOPLE}"
        event = Event(id=f"e{number % 500}", at=NOW, name=EventName.UPDATED, actor="run r1", user_id=user_id)

        def edit(known: Mapping[str, Entry]) -> tuple[Edit, None]:
            entry = replace(known[user_id], version=number)
            return Edit(
                entries={user_id: entry}, events=[event], progress=Progress(run_id="r1", at=NOW, counts={"updated": 1})
            ), None

        state.roster.commit(SMALL, [user_id], edit)

    def mark(number: int) -> None:
        user_id = f"u{number % PEOPLE}"
        state.roster.commit(
            SMALL, [user_id], lambda known: (Edit(entries={user_id: replace(known[user_id], version=number)}), None)
        )

    return {
        "roster.entry": lambda number: state.roster.entry(SMALL, f"u{number % PEOPLE}"),
        "roster.commit, entry alone": mark,
        "roster.commit, with event and progress": commit,
        "roster.load": lambda _number: state.roster.load(SMALL),
        "connections.get": lambda _number: state.connections.get("c1"),
        "connections.all": lambda _number: state.connections.all(),
        "runs.get": lambda _number: state.runs.get("c1", "r1"),
        "runs.open": lambda _number: state.runs.open("c1"),
        "guard.change": lambda number: state.guard.change(
            "c1", lambda known: reserve(known, Kind.TAKING, [reservation(f"n{number % 5}")], 10, NOW)
        ),
        "leases.take": lambda number: state.leases.take("l", "a", NOW + number * MINUTE, MINUTE),
    }


def ready() -> State:
    """Return a state with a connection, a run and a roster."""
    state = InMemory()
    state.connections.create(SMALL)
    state.runs.put(Run(id="r1", connection_id="c1", kind=RunKind.FULL, fence=1, started=NOW, state=RunState.PLANNED))
    everybody: dict[str, Entry | None] = {
        f"u{number}": Entry(
            user_id=f"u{number}",
            version=1,
            email=f"u{number}@example.com",
            scim_id="k" * 22,
            fingerprint="f" * 58,
            in_scope=True,
        )
        for number in range(PEOPLE)
    }
    state.roster.commit(SMALL, list(everybody), lambda _known: (Edit(entries=everybody), None))
    return state


def main() -> None:
    """Print the calls a second of CPU of each kind and of all of them in turn."""
    state = ready()
    kinds = calls(state)
    for name, call in kinds.items():
        began = time.process_time()
        for number in range(CALLS // 10):
            call(number)
        print(f"{CALLS / 10 / (time.process_time() - began):10,.0f} a second  {name}")
    profile = cProfile.Profile()
    if "--profile" in sys.argv:
        profile.enable()
    began = time.process_time()
    for number in range(CALLS // len(kinds)):
        for call in kinds.values():
            call(number)
    print(f"{CALLS / (time.process_time() - began):10,.0f} a second  all of them in turn")
    profile.disable()
    if "--profile" in sys.argv:
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)


if __name__ == "__main__":
    main()
