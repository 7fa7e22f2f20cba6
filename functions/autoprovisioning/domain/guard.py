"""The brakes on volume: how many changes of a kind go out in a rolling 24 hours, and what is decided of the rest.

Each kind of change has a budget. A plan is reserved whole or held whole. A held plan is decided member by member, and
an approval authorises one carrying out: it is spent once the member is done, or no longer due.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from .accounts import Attributes, Value, changed_attributes, holds, whole_fingerprint
from .connections import VolumeLimit
from .errors import AdoptionInDoubt, MappingFailure, NotAdoptable
from .roster import Action, Entry, Failure, Status, Trigger

WINDOW = timedelta(hours=24)
ASKED_AGAIN = timedelta(days=30)  # a rejection is no answer for ever
ROOM = 1_000_000  # reservations at once: what ten documents hold
UNSENT = frozenset(error.code for error in (MappingFailure, NotAdoptable, AdoptionInDoubt))
GIVEN_AT_LEAST, GIVEN_SHARE = 50, 0.2
FIRST = datetime.fromtimestamp(0, UTC)


class Kind(StrEnum):
    """What is braked. Re-creations share the budget of what takes access, and are held as a plan of their own."""

    TAKING = "taking"  # suspensions and deletions
    RECREATING = "recreating"  # accounts that vanished from Keeper
    GIVING = "giving"  # creations and reactivations
    UNLOCKING = "unlocking"  # accounts that somebody else locked: done as approved only
    WIPING = "wiping"  # updates that change a userName or remove a value

    @property
    def budget(self) -> Kind:
        """Return the kind whose count it goes into."""
        return {Kind.RECREATING: Kind.TAKING, Kind.UNLOCKING: Kind.GIVING}.get(self, self)


_KINDS = {
    Action.SUSPEND.value: Kind.TAKING,
    Action.DELETE.value: Kind.TAKING,
    Action.CREATE.value: Kind.GIVING,
    Action.UNSUSPEND.value: Kind.GIVING,
    Action.UPDATE.value: Kind.WIPING,
    Action.RECREATE.value: Kind.RECREATING,
    Action.UNLOCK.value: Kind.UNLOCKING,
}


@dataclass(frozen=True, slots=True)
class Member:
    """One change of a plan, and the key of what is decided about it.

    `trigger` is why it is due (of an update: a digest of what it writes; of a re-creation: the SCIM id that is gone),
    `since` when that began, in whole seconds. Members stored by schema 1 have neither.
    """

    user_id: str
    action: str
    trigger: str = ""
    since: datetime | None = None

    @property
    def kind(self) -> Kind:
        """Return the brake that it is subject to."""
        return _KINDS[self.action]

    @property
    def name(self) -> str:
        """Return a digest of the whole."""
        return reservation(*map(str, self.order))

    @property
    def cause(self) -> str:
        """Return why it is due, as far as that groups members: the trigger of a deprovisioning."""
        return self.trigger if self.kind is Kind.TAKING else ""

    @property
    def order(self) -> tuple[str, str, str, datetime]:
        """Return what members are sorted by."""
        return self.user_id, self.action, self.trigger, self.since or FIRST


def member_of(action: Action, noted: Entry, trigger: Trigger | None, attributes: Attributes | None) -> Member:
    """Name the change that a decision asks for; `noted` is the entry with what was noticed on the way."""
    match action:
        case Action.SUSPEND | Action.DELETE if trigger is not None:
            return Member(noted.user_id, action.value, trigger.value, _whole(noted.timers[trigger].since))
        case Action.UPDATE:
            return Member(noted.user_id, action.value, whole_fingerprint(attributes or {})[:16])
        case Action.UNSUSPEND:
            return Member(noted.user_id, action.value, "", _whole(_taken_at(noted)))
        case Action.UNLOCK:
            return Member(noted.user_id, action.value, "", _whole(noted.locked_at))
        case Action.RECREATE:
            return Member(noted.user_id, action.value, noted.scim_id)
        case _:
            return Member(noted.user_id, action.value)


def _taken_at(entry: Entry) -> datetime | None:
    """Return when we suspended an account; where that was not kept, when we wrote to it last."""
    return entry.locked_at or entry.last_action_at


def _whole(at: datetime | None) -> datetime | None:
    return at.replace(microsecond=0) if at is not None else None


def braked(action: Action, entry: Entry | None, attributes: Attributes | None, now: datetime) -> bool:
    """Say whether a change counts.

    What gives back access that we took within the last 24 hours repairs, and so does not; nor does a creation that was
    let go before, and failed. Of updates only those do that change the userName or remove a value.
    """
    if action is Action.CREATE:
        return entry is None or not _let_go_before(entry.failure)
    if action is Action.UNSUSPEND:
        taken_at = _taken_at(entry) if entry is not None else None
        return taken_at is None or now - taken_at >= WINDOW
    if action is Action.UPDATE:
        return entry is not None and _wipes(entry, attributes or {})
    return True


def _let_go_before(failure: Failure | None) -> bool:
    """Say whether a creation failed in Keeper: neither one of which nothing was sent, nor a read of the directory."""
    if failure is None or failure.code in UNSENT:
        return False
    return failure.about.startswith(f"{Action.CREATE.value}:")


def _wipes(entry: Entry, desired: Attributes) -> bool:
    changed = changed_attributes(entry.fingerprint, desired)
    name = str(changed.get("userName") or entry.email)
    if "userName" in changed and entry.email and name.casefold() != entry.email.casefold():
        return True
    return bool(entry.fingerprint) and any(_removes(entry, target, value) for target, value in changed.items())


def _removes(entry: Entry, target: str, value: Value) -> bool:
    had_none = holds(entry.fingerprint, target, None) or holds(entry.fingerprint, target, "")
    return value in (None, "") and not had_none


def reservation(*parts: str) -> str:
    """Name one attempt, or anything else, by a digest of 16 hexadecimal digits."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).hexdigest()


def attempt(member: Member, entry: Entry | None) -> str:
    """Name the reservation of a change: a retry has the same, the same change once more after it was done has not.

    Nor does it say why: a trigger that a plan and a look see first is told a moment apart.
    """
    last = _whole(entry.last_action_at) if entry is not None else None
    return reservation(member.user_id, member.action, last.isoformat() if last else "")


Reservations = Mapping[str, datetime]  # name -> when it was made, in whole seconds
APPROVED = "approved"  # what goes out by an approval: noted, and neither counted nor free for anything else
CONFIRMED = "confirmed"  # what a first run creates: not counted, and free to be tried again


@dataclass(frozen=True, slots=True)
class GuardState:
    """The reservations of the last 24 hours by budget, and how many people were active at full runs: (at, count)."""

    reserved: Mapping[str, Reservations] = field(default_factory=dict)
    active: tuple[tuple[datetime, int], ...] = ()

    def current(self, budget: str, now: datetime) -> dict[str, datetime]:
        """Return the reservations of a budget that still count."""
        return {name: at for name, at in self.reserved.get(budget, {}).items() if now - at < WINDOW}

    def base(self, now: datetime) -> int:
        """Return how many were active when the window began, or first within it; 0 where nobody is known to be.

        Until a run has counted anybody, those count who are let in: the next one is minutes away.
        """
        before = [count for at, count in self.active if now - at >= WINDOW]
        within = [count for at, count in self.active if now - at < WINDOW and count]
        let_in = sum(len(self.current(budget, now)) for budget in (CONFIRMED, Kind.GIVING))
        return (before[-1] if before else 0) or (within[0] if within else let_in)

    def allowed(self, kind: Kind, limit: VolumeLimit, now: datetime) -> int:
        """Return how many changes its budget may have within 24 hours for one of this kind to go out."""
        base = self.base(now)
        match kind:
            case Kind.GIVING:
                return max(GIVEN_AT_LEAST, int(base * GIVEN_SHARE))
            case Kind.TAKING:
                return limit.taken(base)
            case _:
                return limit.allowed(base)


def seen_active(state: GuardState, count: int, now: datetime) -> GuardState:
    """Remember how many people are active now, and forget what no window can begin with any more."""
    samples = (*state.active, (now.replace(microsecond=0), count))
    if state.active and state.active[-1][1] == count:
        samples = state.active
    kept = tuple(sample for sample, after in pairwise(samples) if now - after[0] < WINDOW)
    return replace(state, active=(*kept, samples[-1]))


def reserve(state: GuardState, budget: str, names: Collection[str], allowed: int, now: datetime) -> GuardState | None:
    """Add reservations to a budget, or return None when that would exceed what is allowed: then nothing is reserved."""
    current, confirmed = state.current(budget, now), state.current(CONFIRMED, now)
    fresh = {name for name in names if name not in current and name not in confirmed}
    if not fresh:
        return state
    if len(current) + len(fresh) > min(allowed, ROOM):
        return None
    return _with(state, budget, fresh, now)


def record(state: GuardState, budget: str, names: Iterable[str], now: datetime) -> GuardState:
    """Note what goes out without being counted; beyond `ROOM` no more is noted."""
    current = state.current(budget, now)
    fresh = {name for name in names if name not in current}
    return _with(state, budget, fresh, now) if fresh and len(current) + len(fresh) <= ROOM else state


def _with(state: GuardState, budget: str, fresh: Iterable[str], now: datetime) -> GuardState:
    at = (now + timedelta(microseconds=999_999)).replace(microsecond=0)  # rounded up: it counts for a whole day
    current = {known: state.current(known, now) for known in {*state.reserved, budget}}
    return replace(state, reserved=current | {budget: current[budget] | dict.fromkeys(fresh, at)})


class Standing(StrEnum):
    """What became of a member of a held plan."""

    WAITING = "waiting"
    WITHDRAWN = "withdrawn"  # a decision was taken back, or is 30 days old: it waits for another one, whatever the room
    APPROVED = "approved"
    REJECTED = "rejected"
    DONE = "done"
    NOT_DUE = "no longer due"
    EXPIRED = "expired"  # approved, and not done within 24 hours
    RELEASED = "released"  # there is room for it by now, or a later plan holds it


OPEN = frozenset({Standing.WAITING, Standing.WITHDRAWN})  # to be decided
STANDS = OPEN | {Standing.APPROVED, Standing.REJECTED}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a member stands at, since when, and by whose decision."""

    standing: Standing = Standing.WAITING
    at: datetime | None = None
    by: str = ""

    def authorises(self, entry: Entry | None, now: datetime) -> bool:
        """Say whether it lets the change go: approved within 24 hours, and nothing was done to the user since."""
        if self.standing is not Standing.APPROVED or self.at is None or now - self.at >= WINDOW:
            return False
        return entry is None or entry.last_action_at is None or entry.last_action_at < self.at


UNDECIDED = Verdict()


class HoldState(StrEnum):
    """What a held plan as a whole stands at: what of its members is still to come."""

    WAITING = "waiting"
    APPROVED = "approved"  # being carried out
    REJECTED = "rejected"  # nothing of it is to come but what a rejection keeps
    CLOSED = "closed"
    SUPERSEDED = "superseded"  # it ended by itself, undecided


@dataclass(frozen=True, slots=True)
class Hold:
    """A held plan: who is affected, what tripped, and what was decided of each; `digest` names it.

    `verdicts` are those of the members, in their order.
    """

    digest: str
    raised_at: datetime
    members: tuple[Member, ...]
    reason: str = ""
    verdicts: tuple[Verdict, ...] = ()
    decided_by: str = ""  # the administrator who decided last
    decided_at: datetime | None = None

    def __post_init__(self) -> None:
        """Let whoever nobody decided about wait."""
        if len(self.verdicts) != len(self.members):
            known = self.verdicts[: len(self.members)]
            object.__setattr__(self, "verdicts", (*known, *[UNDECIDED] * (len(self.members) - len(known))))

    @property
    def kind(self) -> Kind:
        """Return which brake holds it."""
        return self.members[0].kind if self.members else Kind.TAKING

    @property
    def state(self) -> HoldState:
        """Return what is still to come."""
        standing = {verdict.standing for verdict in self.verdicts}
        if standing & OPEN:
            return HoldState.WAITING
        if Standing.APPROVED in standing:
            return HoldState.APPROVED
        if Standing.REJECTED in standing:
            return HoldState.REJECTED
        return HoldState.CLOSED if self.decided_by else HoldState.SUPERSEDED

    def counts(self) -> dict[str, int]:
        """Count the members by action."""
        return dict(Counter(member.action for member in self.members))

    def standings(self) -> dict[str, int]:
        """Count the members by what became of them."""
        return dict(Counter(verdict.standing.value for verdict in self.verdicts))

    def those(self, *standing: Standing) -> list[Member]:
        """Return the members that stand at one of these."""
        return [member for member, verdict in self.each() if verdict.standing in standing]

    def each(self) -> Iterable[tuple[Member, Verdict]]:
        """Return the members, each with its verdict."""
        return zip(self.members, self.verdicts, strict=True)

    def moved(self, becomes: Callable[[Member, Verdict], Standing | None], at: datetime, by: str = "") -> Hold:
        """Return the hold with other verdicts, by an administrator or else by the run; None leaves a member's."""
        fresh: dict[Standing, Verdict] = {}
        verdicts: list[Verdict] = []
        for member, verdict in self.each():
            standing = becomes(member, verdict)
            moves = standing is not None and standing is not verdict.standing
            verdicts.append(fresh.setdefault(standing, Verdict(standing, at, by)) if moves and standing else verdict)
        if not fresh:
            return self
        moved = replace(self, verdicts=tuple(verdicts))
        return replace(moved, decided_by=by, decided_at=at) if by else moved


def digest_of(members: Iterable[Member], at: datetime) -> str:
    """Name a plan raised at a time."""
    lines = "\n".join("\x1f".join(map(str, member.order)) for member in sorted(members, key=lambda each: each.order))
    return hashlib.sha256(f"{at.isoformat()}\n{lines}".encode()).hexdigest()[:32]


class Book:
    """What stands decided on a connection, by member."""

    def __init__(self, holds: Iterable[Hold], user_id: str = "") -> None:
        """Read the held plans, for everybody or one user; of a member in several the one decided last counts."""
        self._verdicts: dict[Member, Verdict] = {}
        self._users: set[str] = set()
        for hold in holds:
            for member, verdict in hold.each():
                if user_id and member.user_id != user_id:
                    continue
                known = self._verdicts.get(member)
                if verdict.standing in STANDS and (known is None or (verdict.at or FIRST) > (known.at or FIRST)):
                    self._verdicts[member] = verdict
                    self._users.add(member.user_id)

    def verdict(self, member: Member) -> Verdict | None:
        """Return what stands about a member, None where no plan holds it.

        What schema 1 stored speaks of every trigger that had begun by then.
        """
        known = self._verdicts.get(member)
        if known is None and member.user_id in self._users:
            older = self._verdicts.get(Member(member.user_id, member.action))
            if older is not None and older.at is not None and (member.since is None or member.since <= older.at):
                return older
        return known


def settled(
    hold: Hold, entries: Mapping[str, Entry], due: Collection[Member] | None, now: datetime, *, stands: bool = True
) -> Hold:
    """Strike what is done, no longer due, or has been approved or rejected for too long.

    What was rejected is kept for as long as its trigger goes on, due at this moment or not (the user is archived, say).
    `due` is what a whole plan would do now; None where there is none: then what the entries show counts. Without
    `stands` nobody is struck as no longer due.
    """

    def becomes(member: Member, verdict: Verdict) -> Standing | None:
        entry = entries.get(member.user_id)
        if verdict.standing is Standing.APPROVED:
            if _done(member, verdict, entry):
                return Standing.DONE
            if stands and not _stands(member, entry, due):
                return Standing.NOT_DUE
            return Standing.EXPIRED if verdict.at is None or now - verdict.at >= WINDOW else None
        decided = verdict.standing in (Standing.REJECTED, Standing.WITHDRAWN)
        rests = decided and entry is not None and member.kind is Kind.TAKING and _goes_on(member, entry)
        if verdict.standing in STANDS and stands and due is not None and not rests and not _stands(member, entry, due):
            return Standing.NOT_DUE
        old = verdict.standing is Standing.REJECTED and verdict.at is not None and now - verdict.at >= ASKED_AGAIN
        return Standing.WITHDRAWN if old else None

    return hold.moved(becomes, now)


def _done(member: Member, verdict: Verdict, entry: Entry | None) -> bool:
    if entry is None or entry.last_action_at is None or verdict.at is None or entry.last_action_at < verdict.at:
        return False
    return member.kind is not Kind.TAKING or entry.status is not Status.ACTIVE


def _stands(member: Member, entry: Entry | None, due: Collection[Member] | None) -> bool:
    """Say whether a member may still come: it is planned, or its trigger goes on while something is in its way."""
    if due is not None and member in due:
        return True
    if entry is not None and (entry.mark is not None or entry.pending or entry.failure is not None):
        return member.kind is not Kind.TAKING or _goes_on(member, entry)
    return due is None and (member.kind is not Kind.TAKING or (entry is not None and _goes_on(member, entry)))


def _goes_on(member: Member, entry: Entry) -> bool:
    if member.since is None:
        return True
    began = {trigger.value: timer.since for trigger, timer in entry.timers.items()}
    return member.trigger in began and _whole(began[member.trigger]) == member.since


def carried_out(hold: Hold) -> str:
    """Say what became of a plan that is over: "carried out: 12 suspended, 3 no longer due"."""
    done = Counter(DONE_WORDS[member.action] for member in hold.those(Standing.DONE))
    other = Counter(hold.standings()) - Counter({Standing.DONE.value: len(hold.members)})
    parts = [f"{count} {what}" for what, count in (*sorted(done.items()), *sorted(other.items()))]
    return f"carried out: {', '.join(parts)}"


DONE_WORDS = {
    Action.SUSPEND.value: "suspended",
    Action.DELETE.value: "deleted",
    Action.CREATE.value: "created",
    Action.UNSUSPEND.value: "reactivated",
    Action.UPDATE.value: "updated",
    Action.RECREATE.value: "created again",
    Action.UNLOCK.value: "unlocked",
}
