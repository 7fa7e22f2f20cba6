"""The simulation in the suite: as many histories as fit a minute, and the same history from the same seed."""

from __future__ import annotations

import os
import time

import pytest

from tests.simulation.history import LEFT_OUT, VERBS, generate
from tests.simulation.mutants import MUTANTS, PACKAGE, ROOT
from tests.simulation.shrink import shrunk
from tests.simulation.world import World

SECONDS = float(os.environ.get("SIMULATION_SECONDS", "60"))


@pytest.mark.timeout(600)  # a failing history is made smaller for some minutes
def test_every_law_holds():
    until = time.monotonic() + SECONDS
    seed = 0
    while time.monotonic() < until:
        seed += 1
        ending = World(generate(seed)).run()
        assert not ending.law, shrunk(seed)
    assert seed > 1


@pytest.mark.parametrize("seed", [3, 11, 42])
def test_a_seed_is_one_history(seed: int):
    """Bit by bit: every write, when it was done, and every fault."""
    first, second = (World(generate(seed)).run() for _ in range(2))
    assert first == second
    assert first.calls > 300


def test_what_is_left_out_is_a_kind_of_event():
    kinds = {kind for _, kind in VERBS.values() if kind}
    others = {"shared addresses", "stale holds", "repeated suspensions", "false recoveries"}
    assert set(LEFT_OUT) <= kinds | others


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_code(mutant):
    assert (ROOT / PACKAGE / mutant.file).read_text().count(mutant.old) == 1
