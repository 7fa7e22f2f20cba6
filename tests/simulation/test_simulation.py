"""The simulation in the suite: as many histories as fit a minute, and the same history from the same seed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autoprovisioning.app.provisioning import volume_guard as guarding
from tests.simulation.history import LEFT_OUT, VERBS, Leaning, generate
from tests.simulation.mutants import MUTANTS, PACKAGE, ROOT, patched, report, tried
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


DIGEST = """
from tests.simulation.history import generate
from tests.simulation.world import World
print([World(generate(seed)).run().digest for seed in (3, 11, 42)])
"""


def test_a_seed_is_one_history():
    """Bit by bit, in whatever process: every write, when it was done, and every fault."""
    told = []
    for hashes in ("1", "2"):  # the order of a set must not matter
        environment = {**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": f"{ROOT / 'functions'}:{ROOT}"}
        command = [sys.executable, "-c", DIGEST]
        told.append(subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout)
    assert told[0] == told[1]
    assert len(told[0]) > 1000


def test_a_failing_history_is_made_smaller(monkeypatch: pytest.MonkeyPatch):
    """A guard that counts nothing is found; the reported history still fails, with nothing but the suspensions."""
    monkeypatch.setattr(guarding, "reserve_all", lambda *_: True)
    leaning = Leaning(verbs=("suspend",), people=5, limit=2, policy=0, connections=1, steps=12, rate=0.01)
    seed = next(seed for seed in range(1, 50) if World(generate(seed, leaning)).run().law)
    told = shrunk(seed, leaning)
    assert "breaks: the volume limit is kept" in told
    assert told.count(" min  suspend ") == told.count(" min  ") == 3


def test_what_is_left_out_is_a_kind_of_event():
    assert set(LEFT_OUT) <= {kind for _, kind in VERBS.values() if kind}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_code(mutant):
    assert (ROOT / PACKAGE / mutant.file).read_text().count(mutant.old) == 1


SILENT = next(mutant for mutant in MUTANTS if mutant.name == "changes write no audit")


def test_a_mutant_is_found_by_a_history_that_breaks_no_law_without_it(capsys: pytest.CaptureFixture[str]):
    trial = tried(SILENT, most=5)
    assert (trial.seed, trial.law, trial.faults) == (1, "each change has its event", [])
    assert report([trial], 5) == 0
    assert capsys.readouterr().out.endswith("1 of 1 mutants found, each within 5 histories\n")


def test_a_history_that_breaks_a_law_anyway_finds_no_mutant(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The source taken for whole lacks the same safeguard: each history is told as a fault, and the search goes on."""
    trial = tried(SILENT, most=2, whole=patched(SILENT, tmp_path))
    assert (trial.seed, [seed for seed, _ in trial.faults]) == (0, [1, 2])
    assert report([trial], 2) == 1
    told = capsys.readouterr().out
    assert told.count("with nothing taken out, this history breaks: each change has its event") == 2
    assert "never  changes write no audit" in told


def test_a_fault_counts_though_the_mutant_is_found_behind_it(capsys: pytest.CaptureFixture[str]):
    trial = tried(SILENT, most=5)
    assert report([replace(trial, seed=2, faults=[(1, "nobody is pending")])], 5) == 1
    assert "1 of 1 mutants found" in capsys.readouterr().out
