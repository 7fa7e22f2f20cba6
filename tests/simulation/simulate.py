"""Run many histories: python -m tests.simulation.simulate --histories 2000 [--from 1] [--jobs 2] [--seed 17]."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from multiprocessing import get_context

from tests.simulation.history import LEFT_OUT, generate
from tests.simulation.world import World


def _run(seeds: range, also: Sequence[str]) -> tuple[int, int, list[tuple[int, str, str]]]:
    calls, found = 0, []
    for seed in seeds:
        ending = World(generate(seed, also=also)).run()
        calls += ending.calls
        if ending.law:
            found.append((seed, ending.law, ending.told))
    return len(seeds), calls, found


def main() -> int:
    """Run the requested histories and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--from", dest="first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing new after so many")
    parser.add_argument("--seed", type=int, help="run this one alone, and make it smaller where it fails")
    parser.add_argument("--also", action="append", default=[], choices=sorted(LEFT_OUT), help="a kind that is left out")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        from tests.simulation.shrink import shrunk

        print(shrunk(chosen.seed, also=chosen.also))
        return 0
    seeds = range(chosen.first, chosen.first + chosen.histories)
    parts = [seeds[start : start + 20] for start in range(0, len(seeds), 20)]
    began, done, calls, found = time.monotonic(), 0, 0, list[tuple[int, str, str]]()
    with get_context("fork").Pool(chosen.jobs) as pool:
        for ran, called, broken in pool.imap(partial(_run, also=chosen.also), parts):
            done += ran
            calls += called
            found += broken
            if time.monotonic() - began >= chosen.seconds:
                break
    seeds = seeds[:done]
    seconds = time.monotonic() - began
    print(f"{len(seeds)} histories, seeds {seeds[0]} to {seeds[-1]}, {calls} calls in {seconds:.0f} s:", end=" ")
    print(f"{len(seeds) / seconds:.1f} histories and {calls / seconds:.0f} calls a second")
    for law, count in Counter(law for _, law, _ in found).most_common():
        some = [f"{seed}" for seed, other, _ in sorted(found) if other == law][:6]
        print(f"{count:6d}  {law}: seeds {', '.join(some)}")
    return 1 if found else 0


if __name__ == "__main__":
    gc.freeze()
    sys.exit(main())
