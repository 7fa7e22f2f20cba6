"""The brakes on volume: which changes count, and how many of a kind go out in a rolling 24 hours.

Each kind of change has a budget. A plan is reserved whole or not at all; what becomes of the rest is `domain.holds`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from .accounts import Attributes, Value, changed_attributes, holds, whole_fingerprint
from .entry import Action, Entry, Failure, Trigger
from .errors import AdoptionInDoubt, MappingFailure, NotAdoptable
from .settings import LARGEST_MINIMUM, VolumeLimit

WINDOW = timedelta(hours=24)
ROOM = LARGEST_MINIMUM  # reservations at once: what ten documents hold
NEVER_SENT = frozenset(error.code for error in (MappingFailure, NotAdoptable, AdoptionInDoubt))
GIVEN_AT_LEAST, GIVEN_SHARE = 50, 0.2
FIRST = datetime.fromtimestamp(0, UTC)


class Kind(StrEnum):
    """What is limited. What shares the budget of another kind is held as a separate plan all the same."""

    TAKING = "taking"  # suspensions and deletions
    RECREATING = "recreating"  # accounts that vanished from Keeper
    GIVING = "giving"  # creations and reactivations
    UNLOCKING = "unlocking"  # unlocking what somebody else locked: only if approved
    WIPING = "wiping"  # updates that change a userName or remove a value
    LOCKING = "locking"  # accounts that nobody provisions: only if approved

    @property
    def budget(self) -> Kind:
        """Return the kind whose count it goes into."""
        return _BUDGETS.get(self, self)


_BUDGETS = {Kind.RECREATING: Kind.TAKING, Kind.LOCKING: Kind.TAKING, Kind.UNLOCKING: Kind.GIVING}
_KINDS = {
    Action.SUSPEND.value: Kind.TAKING,
    Action.DELETE.value: Kind.TAKING,
    Action.CREATE.value: Kind.GIVING,
    Action.UNSUSPEND.value: Kind.GIVING,
    Action.UPDATE.value: Kind.WIPING,
    Action.RECREATE.value: Kind.RECREATING,
    Action.UNLOCK.value: Kind.UNLOCKING,
    Action.LOCK.value: Kind.LOCKING,
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Member:
    """One change of a plan, and the key of what is decided about it.

    `resource` is the id of what is changed: a directory user's, or a SCIM id if nobody provisions the account.
    `trigger` is why it is due (of an update: a digest of what it wipes; of a re-creation: the SCIM id that is gone; of
    a lock: the userName that was chosen), `since` when that began, in whole seconds. Members stored by schema 1 have
    neither.

    Nothing says when somebody left a scope: a run and a look see it moments apart. So that time is not part of the key;
    a run that sees the user in scope again strikes the member.
    """

    resource: str
    action: str
    trigger: str = ""
    since: datetime | None = None

    def __eq__(self, other: object) -> bool:
        """Compare what decisions are kept under."""
        return isinstance(other, Member) and self._key == other._key

    def __hash__(self) -> int:
        """Return a number for what decisions are kept under."""
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, str, str, datetime | None]:
        return self.resource, self.action, self.trigger, self.since if self.dated else None

    @property
    def dated(self) -> bool:
        """Say whether `since` is part of what decisions are kept under."""
        return self.trigger != Trigger.APP_OFF.value

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
        return self.resource, self.action, self.trigger, self.since or FIRST


def member_of(action: Action, noted: Entry, trigger: Trigger | None, attributes: Attributes) -> Member:
    """Name the change that a decision asks for; `noted` is the entry with what was noticed on the way."""
    match action:
        case Action.SUSPEND | Action.DELETE if trigger is not None:
            return Member(
                resource=noted.user_id,
                action=action.value,
                trigger=trigger.value,
                since=_whole(noted.timers[trigger].since),
            )
        case Action.UPDATE:
            return Member(
                resource=noted.user_id,
                action=action.value,
                trigger=whole_fingerprint(_wiped(noted, attributes))[:16],
            )
        case Action.UNSUSPEND:
            return Member(resource=noted.user_id, action=action.value, trigger="", since=_whole(_taken_at(noted)))
        case Action.UNLOCK:
            return Member(resource=noted.user_id, action=action.value, trigger="", since=_whole(noted.locked_at))
        case Action.RECREATE if noted.scim_id:
            return Member(resource=noted.user_id, action=action.value, trigger=noted.scim_id)
        case Action.RECREATE:  # on a node without proof, and decided as what it is once there is one
            return Member(resource=noted.user_id, action=Action.CREATE.value)
        case _:
            return Member(resource=noted.user_id, action=action.value)


def _taken_at(entry: Entry) -> datetime | None:
    """Return when we suspended an account; where that was not kept, when we wrote to it last."""
    return entry.locked_at or entry.last_action_at


def _whole(at: datetime | None) -> datetime | None:
    return at.replace(microsecond=0) if at is not None else None


def braked(action: Action, entry: Entry | None, attributes: Attributes, now: datetime) -> bool:
    """Say whether a change counts.

    Giving back access that we took within the last 24 hours is a repair and does not; nor does a creation that was let
    through before, and failed. Of updates, only those count that change the userName or remove a value.
    """
    if action is Action.CREATE:
        return entry is None or not _let_go_before(entry.failure)
    if action is Action.UNSUSPEND:
        taken_at = _taken_at(entry) if entry is not None else None
        return taken_at is None or now - taken_at >= WINDOW
    if action is Action.UPDATE:
        return entry is not None and bool(_wiped(entry, attributes))
    return True


def _let_go_before(failure: Failure | None) -> bool:
    """Say whether a creation failed in Keeper: neither one of which nothing was sent, nor a read of the directory."""
    if failure is None or failure.code in NEVER_SENT:
        return False
    return failure.about.startswith(f"{Action.CREATE.value}:")


def _wiped(entry: Entry, desired: Attributes) -> Attributes:
    """Return what of an update counts: another userName, and the values that it removes."""
    changed = changed_attributes(entry.fingerprint, desired)
    wiped: dict[str, Value] = {
        target: None for target, value in changed.items() if entry.fingerprint and _removes(entry, target, value)
    }
    name = str(changed.get("userName") or "").casefold()
    if name and entry.email and name != entry.email.casefold():
        wiped["userName"] = name
    return wiped


def _removes(entry: Entry, target: str, value: Value) -> bool:
    had_none = holds(entry.fingerprint, target, None) or holds(entry.fingerprint, target, "")
    return value in (None, "") and not had_none


def reservation(*parts: str) -> str:
    """Name one attempt, or anything else, by a digest of 16 hexadecimal digits."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).hexdigest()


def attempt(member: Member, entry: Entry | None) -> str:
    """Name the reservation of a change: a retry has the same name, the same change made again later has another.

    The trigger is not part of the name: a plan and a look may date it moments apart.
    """
    last = _whole(entry.last_action_at) if entry is not None else None
    return reservation(member.resource, member.action, last.isoformat() if last else "")


Reservations = Mapping[str, datetime]  # name -> when it was made, in whole seconds
APPROVED = "approved"  # approved changes: noted, neither counted nor available for anything else
CONFIRMED = "confirmed"  # what a first run creates: not counted, and free to be tried again
AGAIN = timedelta(hours=1)  # a retry this long after its reservation is another attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardState:
    """The reservations of the last 24 hours by budget, and how many people were active at full runs: (at, count)."""

    reserved: Mapping[str, Reservations] = field(default_factory=dict)
    active: tuple[tuple[datetime, int], ...] = ()

    def current(self, budget: str, now: datetime) -> dict[str, datetime]:
        """Return the reservations of a budget that still count."""
        return {name: at for name, at in self.reserved.get(budget, {}).items() if now - at < WINDOW}

    def base(self, now: datetime) -> int:
        """Return how many were active when the window began, or first within it; 0 until a run has counted anybody."""
        before = [count for at, count in self.active if now - at >= WINDOW]
        within = [count for at, count in self.active if now - at < WINDOW and count]
        return (before[-1] if before else 0) or (within[0] if within else 0)

    def allowed(self, kind: Kind, limit: VolumeLimit, now: datetime, let_in: int = 0) -> int:
        """Return how many changes its budget allows within 24 hours, for a change of this kind.

        `let_in` is how many are active according to the roster, which is used until a run has counted anybody.
        """
        base = self.base(now) or let_in
        match kind:
            case Kind.GIVING:
                return max(GIVEN_AT_LEAST, int(base * GIVEN_SHARE))
            case Kind.TAKING | Kind.LOCKING:
                # Fewer than half of those last counted, too: what was approved meanwhile counts for no limit.
                counted_at, latest = self.active[-1] if self.active else (FIRST, 0)
                more = limit.at_once(latest) if latest else limit.allowed(base)
                return min(
                    limit.taken(base), sum(at < counted_at for at in self.current(kind.budget, now).values()) + more
                )
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
    """Add reservations to a budget, or return None when that would exceed what is allowed: then nothing is reserved.

    A retry needs no room, but after an hour it counts from now on: what was reserved yesterday, and came to nothing,
    may be done today. Within the hour the plan's reservation stands, so that its looks write nothing.
    """
    current, confirmed = state.current(budget, now), state.current(CONFIRMED, now)
    counted = {name for name in names if name not in confirmed}
    fresh = counted - current.keys()
    again = {name for name in counted & current.keys() if now - current[name] >= AGAIN}
    if fresh and len(current) + len(fresh) > min(allowed, ROOM):
        return None
    return _with(state, budget, fresh | again, now) if fresh or again else state


def record(state: GuardState, budget: str, names: Iterable[str], now: datetime) -> GuardState:
    """Note what goes out without being counted; beyond `ROOM` no more is noted."""
    current = state.current(budget, now)
    fresh = {name for name in names if name not in current}
    return _with(state, budget, fresh, now) if fresh and len(current) + len(fresh) <= ROOM else state


def _with(state: GuardState, budget: str, fresh: Iterable[str], now: datetime) -> GuardState:
    at = (now + timedelta(microseconds=999_999)).replace(microsecond=0)  # rounded up: it counts for a whole day
    current = {known: state.current(known, now) for known in {*state.reserved, budget}}
    return replace(state, reserved=current | {budget: current[budget] | dict.fromkeys(fresh, at)})
