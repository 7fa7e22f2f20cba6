"""Faults: which calls are struck, by what, and how long every call takes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from autoprovisioning.domain.errors import Transient
from tests.simulation.scheduler import Killed, Scheduler

T = TypeVar("T")

PROCESS = ("crash before", "crash after", "stall")  # of every call
STATE = (*PROCESS, "unavailable", "ambiguous")
STALL = 200.0  # seconds: longer than a user's mark and most deadlines
FAST = 0.02  # seconds of a call once the weather is fair
KINDS = frozenset(
    "crash before|crash after|stall|unavailable|ambiguous|failed|stale|forbidden|not found|says no|breaks off|lacks|"
    "untold|throttled|refused|rejected|seats|lost, done|lost, not done|contradicted|not as written|made otherwise|"
    "message lost|message twice|message late|notification lost|notification late".split("|")
)
# A complete listing that lacks somebody, and the user's own answer, are two witnesses: they never lie at once.
WITNESSES = (frozenset({"lacks"}), frozenset({"not found", "says no"}))


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault that struck: `key` names the call, so that a history can be run again without it."""

    at: datetime
    key: str
    kind: str
    call: str


@dataclass
class Weather:
    """Strikes calls by chance; `only` (keys) leaves all other strikes out, for making a history smaller."""

    scheduler: Scheduler
    rate: float
    kinds: Collection[str]
    only: Collection[str] | None = None
    fair: bool = False
    struck: list[Strike] = field(default_factory=list)
    trace: list[str] | None = None  # every call, where somebody wants to read it

    def before(self, call: str, kinds: tuple[str, ...]) -> str:
        """Let a call take its time, and return what strikes it, or ""; may be the end of the process."""
        scheduler, task = self.scheduler, self.scheduler.current
        if task is None:
            return ""
        if self.fair or task.process.quiet:
            scheduler.pause(FAST)
            self._tell(call)
            return ""
        draw, kind = task.chance.random(), ""
        if draw < self.rate:
            chosen = kinds[int(draw / self.rate * len(kinds))]
            kind = chosen if self.strikes(f"{task.process.name}#{task.process.calls}", chosen, call) else ""
        scheduler.pause(STALL + 600 * task.chance.random() if kind == "stall" else _length(task.chance.random()))
        self._tell(call, kind)
        if kind == "crash before":
            task.process.dead = True
            raise Killed
        if kind == "unavailable":
            raise Transient("The database does not answer (Firestore: ServiceUnavailable)")
        return kind

    def after(self, kind: str) -> None:
        """Strike a call that took effect."""
        if kind == "crash after":
            task = self.scheduler.current
            assert task is not None
            task.process.dead = True
            raise Killed
        if kind == "ambiguous":
            raise Transient("The database does not answer (Firestore: DeadlineExceeded)")

    def strikes(self, key: str, kind: str, call: str) -> bool:
        """Say whether a strike that chance wants happens in this history."""
        if self.fair or kind not in self.kinds or (self.only is not None and key not in self.only):
            return False
        self.struck.append(Strike(self.scheduler.now, key, kind, call))
        return True

    def around(self, call: str, work: Callable[..., T], kinds: tuple[str, ...] = STATE) -> Callable[..., T]:
        """Return a function as a call to the outside."""

        def called(*arguments: Any, **named: Any) -> T:
            kind = self.before(call, kinds)
            result = work(*arguments, **named)
            if kind:
                self.after(kind)
            return result

        return called

    def _tell(self, call: str, kind: str = "") -> None:
        if self.trace is not None:
            task = self.scheduler.current
            assert task is not None
            struck = f"  <- {kind}" if kind else ""
            self.trace.append(f"{self.scheduler.now:%d %H:%M:%S.%f} {task.process.name}: {call}{struck}")


class Fair:
    """Strikes nothing: of what is no call to the outside by itself."""

    def around(self, call: str, work: Callable[..., T], kinds: tuple[str, ...] = STATE) -> Callable[..., T]:
        return work


def _length(draw: float) -> float:
    """Return how long a call takes: mostly some hundredths of a second, at times seconds."""
    return 0.01 + 4 * draw**6
