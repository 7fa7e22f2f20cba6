"""Make a failing history smaller: fewer steps, fewer strikes, a simpler setting, while the same law is broken."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TypeVar

from tests.simulation.history import EVEN, History, Leaning, generate
from tests.simulation.world import Ending, World

T = TypeVar("T")
LINES = 40


def shrunk(seed: int, leaning: Leaning = EVEN, also: Collection[str] = ()) -> str:
    """Return the shortest history found that breaks what the one of a seed breaks, step by step."""
    history = generate(seed, leaning, also)
    first = World(history).run()
    if not first.law:
        return f"Seed {seed}: every law holds ({first.calls} calls)."
    keys: Sequence[str] = [strike.key for strike in first.struck]

    def breaks(tried: History, only: Sequence[str]) -> bool:
        return World(tried, frozenset(only)).run().law == first.law

    def without(steps: Sequence[object]) -> History:
        return replace(history, steps=tuple(steps))  # type: ignore[arg-type]

    if breaks(history, ()):
        keys = ()
    while True:
        size = (len(history.steps), len(keys))
        history = without(_fewer(history.steps, lambda steps, keys=keys: breaks(without(steps), keys)))
        keys = _fewer(keys, lambda some, history=history: breaks(history, some))
        if size == (len(history.steps), len(keys)):
            break
    simpler = ("firestore", False), ("skewed", False), ("normalises", False), ("rough_start", False)
    for change in ({name: value} for name, value in (*simpler, ("connections", 1), ("policy", 0))):
        tried = replace(history, setting=replace(history.setting, **change))  # type: ignore[arg-type]
        if breaks(tried, keys):
            history = tried
    trace: list[str] = []
    ending = World(history, frozenset(keys), trace).run()
    return told(seed, history, ending, trace)


def told(seed: int, history: History, ending: Ending, trace: Sequence[str]) -> str:
    """Tell a history, what struck it, and its last calls."""
    struck = [
        f"{strike.at:%d %H:%M:%S}  {strike.kind} strikes {strike.call} [{strike.key}]" for strike in ending.struck
    ]
    parts = [f"Seed {seed} breaks: {ending.law}", ending.told, "", history.told(), *struck, "", *trace[-LINES:]]
    return "\n".join(parts)


def _fewer(items: Sequence[T], still: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """Leave out as many items as possible, ever smaller parts at a time (Zeller's ddmin)."""
    part = max(1, len(items) // 2)
    while items:
        start = 0
        while start < len(items):
            fewer = [*items[:start], *items[start + part :]]
            if still(fewer):
                items = fewer
            else:
                start += part
        if part == 1:
            break
        part //= 2
    return items
