"""What administrators ask a worker, to read the answer later: runs, previews, questions about one user.

One machine for all of them, since only a worker may use the access token: waiting, running where that takes minutes,
then done or failed. A kind says what its requests are about and what comes of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from .accounts import Account
from .events import Actor
from .runs import RunKind
from .settings import Settings
from .teams import TeamState

S = TypeVar("S")  # what a request is about
R = TypeVar("R")  # what comes of it


class RequestState(StrEnum):
    """How far a request is; the last two are final."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


_SLOWER = (RequestState.DONE, RequestState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKind(Generic[S, R]):
    """A kind of request.

    `kept` is how long its answer is available. Within `patience` its message may still arrive; after that it counts as
    lost, and asking the same again makes a new request.
    """

    name: str
    subject: type[S]
    nothing: R  # the result of a request that has none yet
    kept: timedelta
    patience: timedelta
    unknown: str  # what is said of one that is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkRequest(Generic[S, R]):
    """One request: who asks for what, how far it is, and what came of it; `problem` says why it failed."""

    id: str
    kind: RequestKind[S, R]
    connection_id: str
    subject: S
    result: R
    asked_by: Actor
    asked_at: datetime
    state: RequestState = RequestState.WAITING
    finished: datetime | None = None
    problem: str = ""  # of one that is running: why the last attempt ended

    @property
    def expires(self) -> datetime:
        """Return when it can no longer be found."""
        return self.asked_at + self.kind.kept

    @property
    def under_way(self) -> bool:
        """Say whether an answer is still to come."""
        return self.state in (RequestState.WAITING, RequestState.RUNNING)

    def expected(self, now: datetime) -> bool:
        """Say whether its answer may still come: asking the same now returns this one."""
        return self.under_way and now - self.asked_at < self.kind.patience

    def stands(self, now: datetime) -> bool:
        """Say whether nothing may be stored in its place: an answer is there to be read, or may still come."""
        return self.expected(now) if self.under_way else now < self.expires

    def gives_way_to(self, later: WorkRequest[S, R]) -> bool:
        """Say whether a later state may be stored over this one: a slower worker does not overwrite an answer."""
        return self.under_way or (not later.under_way and (self.state, later.state) != _SLOWER)

    def begun(self) -> WorkRequest[S, R]:
        """Return it as a worker takes it up, be it again."""
        return replace(self, state=RequestState.RUNNING)

    def hindered(self, problem: str) -> WorkRequest[S, R]:
        """Return it with what was wrong with an attempt that is not the last."""
        return replace(self, problem=problem)

    def done(self, now: datetime, result: R) -> WorkRequest[S, R]:
        """Return it with its answer."""
        return replace(self, state=RequestState.DONE, finished=now, result=result, problem="")

    def failed(self, now: datetime, problem: str, result: R | None = None) -> WorkRequest[S, R]:
        """Return it as failed, with what was found nevertheless."""
        found = self.result if result is None else result
        return replace(self, state=RequestState.FAILED, finished=now, result=found, problem=problem)


def question_id(kind: RequestKind[S, R], connection_id: str, subject: S, actor: Actor, after: str = "") -> str:
    """Name what this administrator asks: asking the same again while it waits finds the same document.

    `after` names the answer that they already have, if they ask for another one.
    """
    asked = [kind.name, actor.directory_id or actor.address, connection_id, repr(subject), after]
    return hashlib.blake2b(json.dumps(asked).encode(), digest_size=16).hexdigest()


class Became(StrEnum):
    """What became of a request; all but the first two are final."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    UNSETTLED = "unsettled"
    REFUSED = "refused"
    SUPERSEDED = "superseded"
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Settings that a preview is of.

    `edition` is the connection's when it was asked for, so that saving it is refused if that changed since. It is of a
    pilot's people alone, or of `everybody`, as the pilot's end would have it.
    """

    edition: int
    settings: Settings
    everybody: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamsForeseen:
    """What a preview says of teams: groups by what becomes of them, and memberships of people with access by then.

    `made` have no team yet, `there` have one that carries the group's id, of `taken` another team has the name; `other`
    counts the rest by state. `unread` groups could not be listed; `suspended` are memberships of suspended people that
    are to end; `problem` says why nothing could be foreseen.
    """

    made: int = 0
    there: int = 0
    taken: int = 0
    other: Mapping[TeamState, int] = field(default_factory=dict)
    memberships: int = 0
    unread: int = 0
    problem: str = ""
    suspended: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a preview says; `counts` are by `Would`, and "unchanged"; `held`: all it deprovisions would be held.

    `teams` is None where no group is chosen, or nothing changes about that: each group's members are listed for it.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    held: bool = False
    notes: tuple[str, ...] = ()
    teams: TeamsForeseen | None = None


class Would(StrEnum):
    """What would happen to a user, in the order in which a preview lists it."""

    DELETE = "delete"
    SUSPEND = "suspend"
    UNSUSPEND = "unsuspend"
    CREATE = "create"
    ADOPT = "adopt"
    DOUBT = "doubt"  # an account under their address may be somebody else's: an administrator may confirm it
    UPDATE = "update"
    FAIL = "fail"
    WAIT = "wait"  # a deprovisioning timer would run: suspended or deleted later, by the policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One user of a preview."""

    would: Would
    user_id: str
    email: str
    detail: str = ""  # the attributes that would change, the trigger, or why it would fail
    scim_id: str = ""  # of the account to adopt, of the one in doubt, or of one under an alias that is left alone


class InquiryKind(StrEnum):
    """EXPLAIN: look into Keeper, change nothing. PROVISION: converge the user now, then look."""

    EXPLAIN = "explain"
    PROVISION = "provision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked about one user."""

    user_id: str
    kind: InquiryKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing a worker did for this user."""

    at: datetime
    text: str
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a worker did and found: `account` is the user's in Keeper at the end, None where there is none."""

    steps: tuple[Step, ...] = ()
    account: Account | None = None


# What becomes of a run is read from the run itself, which carries the request's id. A request that is delivered while
# an earlier run is under way is delivered again for as long as its patience lasts.
RUN = RequestKind(
    name="run",
    subject=RunKind,
    nothing=None,
    kept=timedelta(days=1),
    patience=timedelta(minutes=30),
    unknown="No such run was asked for within the last day. Choose one of the runs listed.",
)
# A preview is retried for this long; then its requester learns what is wrong.
PREVIEW = RequestKind(
    name="preview",
    subject=Proposal,
    nothing=Forecast(),
    kept=timedelta(days=1),
    patience=timedelta(minutes=10),
    unknown="There is no such preview: it may have expired. Ask for another one.",
)
# An answer takes seconds. It holds a user's account in Keeper, so it is kept only as long as somebody may look at it.
INQUIRY = RequestKind(
    name="inquiry",
    subject=Question,
    nothing=Findings(),
    kept=timedelta(hours=1),
    patience=timedelta(minutes=5),
    unknown="There is no such inquiry: it may have expired. Ask again.",
)

AnyRequest = WorkRequest[Any, Any]
AskedRun = WorkRequest[RunKind, None]
Preview = WorkRequest[Proposal, Forecast]
Inquiry = WorkRequest[Question, Findings]
