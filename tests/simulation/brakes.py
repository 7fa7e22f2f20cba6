"""The brakes: how much goes out within a day without an approval, and that what administrators decide is kept.

What counts is what Keeper was made to do, each time; what a brake exempts is told by the directory, by the writes
before, and by the decisions that administrators took, as they took them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from autoprovisioning.domain.accounts import Account, Write, WriteKind
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Action, Entry, Status, Trigger
from autoprovisioning.domain.events import EventName
from autoprovisioning.domain.guard import Kind, Member, member_of
from autoprovisioning.domain.holds import OPEN, Standing
from autoprovisioning.domain.holds import Hold as HeldPlan
from autoprovisioning.domain.runs import RunKind, RunState
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.state import Archive
from tests.simulation.truth import DAY, Truth

HOUR = timedelta(hours=1)
WINDOW = DAY - HOUR  # a change is reserved when it is planned, and marked once its message has arrived
COUNTED = 9 * HOUR  # how long ago a full run may have counted who is active: there are few in the quiet days
SKEW = timedelta(minutes=2)
LISTING = timedelta(minutes=25)  # by which a trigger seems to have begun sooner: a run lists for so long
KEPT = (*OPEN, Standing.REJECTED)

Broken = Callable[[str, str], None]


@dataclass(slots=True)
class Approval:
    """An administrator's approval of one member of a held plan: good for one carrying out within a day."""

    member: Member
    at: datetime
    ended: datetime | None = None  # withdrawn, or rejected
    spent: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A member that is not to be carried out: it waits, or an administrator rejected it or took an approval back."""

    member: Member
    at: datetime
    raised_at: datetime  # of the plan


class Brakes:
    """Counts what goes out on each connection, and keeps what was decided."""

    def __init__(self, scheduler: Scheduler, truth: Truth, archive: Archive, broken: Broken, given: int) -> None:
        self._scheduler = scheduler
        self._truth = truth
        self._archive = archive
        self._broken = broken
        self._given = given
        self._active: dict[str, set[str]] = {}  # connection -> users whose account is active by its roster
        self._numbers: dict[str, list[tuple[datetime, int]]] = {}  # connection -> how many those were, and since when
        self._known: set[tuple[str, str]] = set()  # connection, user: whose account the roster has had
        self._lost: dict[str, datetime] = {}  # connection -> when its roster was lost last
        self._begun: dict[tuple[str, str, Action], datetime] = {}  # when what is not done yet was first attempted
        self._counted: dict[tuple[str, Kind], list[datetime]] = {}  # by budget
        self._leavers: dict[str, dict[str, datetime]] = {}  # connection -> who lost access, and when
        self._taken_at: dict[str, datetime] = {}  # user -> when their access was last taken, wherever
        self._taken_by: dict[tuple[str, str], str] = {}  # connection, user -> the change that took their access last
        self._approvals: dict[tuple[str, str], list[Approval]] = {}  # connection, digest of the plan
        self._refusals: dict[tuple[str, str], list[Refusal]] = {}
        self.decisions = Counter[str]()  # by connection
        self._made: dict[tuple[str, str, datetime], set[tuple[Member, Standing]]] = {}  # of a plan, at a time

    # ---- what is learnt on the way

    def edited(self, connection: Connection, user_id: str, becomes: Entry | None) -> None:
        """Take over what a commit makes of an entry."""
        active = self._active.setdefault(connection.id, set())
        before = len(active)
        is_active = becomes is not None and becomes.status is Status.ACTIVE
        (active.add if is_active else active.discard)(user_id)
        if len(active) != before:
            self._numbers.setdefault(connection.id, []).append((self._scheduler.now, len(active)))
        if becomes is not None and becomes.scim_id:
            self._known.add((connection.id, user_id))
        if becomes is not None and becomes.mark is not None:
            self._begun.setdefault((connection.id, user_id, becomes.mark.action), self._scheduler.now)

    def lost(self, connection_id: str) -> None:
        """Take over that a roster is gone: of an account that vanishes then nobody knows that there was one."""
        self._known = {each for each in self._known if each[0] != connection_id}
        self._lost[connection_id] = self._scheduler.now

    def decided(self, connection_id: str, plan: HeldPlan) -> None:
        """Take over what an administrator decided, if that is what changed a held plan."""
        now, key = self._scheduler.now, (connection_id, plan.digest)
        if plan.decided_at is not None:
            self._count_decision(connection_id, plan, plan.decided_at)
        approvals, refusals = self._approvals.setdefault(key, []), self._refusals.setdefault(key, [])
        for member, verdict in plan.each():
            if not verdict.by:
                continue
            live = next((each for each in approvals if each.member == member and each.ended is None), None)
            if verdict.standing is Standing.APPROVED:
                refusals[:] = [each for each in refusals if each.member != member]
                if live is None:
                    approvals.append(Approval(member, now))
                continue
            if live is not None:
                live.ended = now
            if all(each.member != member for each in refusals):
                refusals.append(Refusal(member, now, plan.raised_at))

    def _count_decision(self, connection_id: str, plan: HeldPlan, at: datetime) -> None:
        """Count a decision that was not seen yet; another one may have been made at the very same moment."""
        made = {(member, verdict.standing) for member, verdict in plan.each() if verdict.by and verdict.at == at}
        known = self._made.get((connection_id, plan.digest, at))
        if known is None or not made <= known:
            self.decisions[connection_id] += 1
            self._made[connection_id, plan.digest, at] = made | (known or set())

    # ---- the laws

    def write(
        self,
        process: Process,
        connection: Connection,
        user_id: str,
        action: Action,
        write: Write,
        before: Account | None,
    ) -> None:
        """Judge a write right before it takes effect."""
        begun = self._begun.pop((connection.id, user_id, action), self._scheduler.now)
        kind = self._kind(connection, user_id, action, write, before)
        if kind is None:
            return
        told, what = f"{connection.id}/{user_id}: {kind.value}, {write}", _named(kind, write)
        approved = self._spend(process, connection, user_id, kind, what)
        if not approved:
            self._not_refused(process, connection, user_id, kind, what, told)
            self._proven(process, connection, write, told)
        exempt = self._exempt(connection, user_id, kind, write)
        if kind is Kind.TAKING:
            self._taken_at[user_id], self._taken_by[connection.id, user_id] = self._scheduler.now, write.key
        if kind is Kind.UNLOCKING:
            if not approved:
                self._broken("what somebody locked is unlocked as approved only", told)
        elif not approved and not exempt:
            self._counts(connection, kind, begun, told)
            if kind is Kind.TAKING:
                self._half(connection, user_id, told)

    def chosen(self, process: Process, connection: Connection, scim_id: str) -> bool:
        """Say whether the lock of an account that nobody provisions was approved, and spend the approval."""
        return self._spend(process, connection, scim_id, Kind.LOCKING, (Action.LOCK,))

    def _kind(
        self, connection: Connection, user_id: str, action: Action, write: Write, before: Account | None
    ) -> Kind | None:
        """Return which brake a write is subject to, None where it is to none."""
        if write.kind is WriteKind.CREATE:
            return Kind.RECREATING if (connection.id, user_id) in self._known else Kind.GIVING
        if before is None:
            return None
        if write.kind is WriteKind.DELETE or write.active is False:
            return Kind.TAKING if before.active else None
        if write.active and not before.active and action in (Action.UNSUSPEND, Action.UNLOCK):
            return Kind.UNLOCKING if action is Action.UNLOCK else Kind.GIVING
        if action is Action.UPDATE and write.external_id is None and _wipes(write, before):
            return Kind.WIPING
        return None

    def _exempt(self, connection: Connection, user_id: str, kind: Kind, write: Write) -> bool:
        """Say whether it gives access as a first run does, or gives back what was taken within a day.

        Or it takes what nobody knows was taken: a suspension that was not recorded before somebody undid it in Keeper
        cannot be told from one that never arrived, whose retry needs no room.
        """
        if kind is Kind.TAKING:
            before = self._taken_by.get((connection.id, user_id))
            return before is not None and before not in self._archive.events(connection.id)
        if kind is not Kind.GIVING:
            return False
        if write.kind is WriteKind.CREATE:
            return self._of_first_run(connection, user_id)
        since = self._scheduler.now - DAY - HOUR
        adopted = (
            event.at
            for event in self._archive.events(connection.id).values()
            if event.user_id == user_id and event.name is EventName.ADOPTED
        )
        return max([self._taken_at.get(user_id, since), *adopted]) > since

    def _of_first_run(self, connection: Connection, user_id: str) -> bool:
        """Say whether somebody was entitled before a run had seen everybody for the first time."""
        first = min(self._whole_runs(connection), default=self._scheduler.now)
        past = self._truth.standings.get((connection.id, user_id), ())
        return any(not standing.triggers and standing.at <= first for standing in past)

    def _whole_runs(self, connection: Connection) -> list[datetime]:
        """Return when the runs ended, or are under way, that saw everybody."""
        return [
            run.finished or self._scheduler.now
            for run in self._archive.runs(connection.id)
            if run.kind is RunKind.FULL and run.complete and run.state not in (RunState.OBSERVING, RunState.REFUSED)
        ]

    def _counts(self, connection: Connection, kind: Kind, begun: datetime, told: str) -> None:
        self._counted.setdefault((connection.id, kind.budget), []).append(begun)
        number, limit = self.lately(connection.id, kind.budget, WINDOW), self._truth.limit(connection.id)
        if kind is Kind.GIVING:
            limit = max(self._given, int(self._most_active(connection.id) * 0.2))
        if number > limit:
            law = "the volume limit is kept" if kind.budget is Kind.TAKING else f"the limit of {kind.value} is kept"
            self._broken(law, f"{told}: {number} within a day at a limit of {limit}")

    def _half(self, connection: Connection, user_id: str, told: str) -> None:
        """See that fewer than half of the people, or one alone, lose access within a day."""
        leavers, now = self._leavers.setdefault(connection.id, {}), self._scheduler.now
        leavers[user_id] = now
        number, most = sum(now - at < WINDOW for at in leavers.values()), self._most_active(connection.id)
        if len(self._whole_runs(connection)) < 2:  # nobody has counted yet: whom the first run was to let in counts
            most = max(most, sum(self._of_first_run(connection, each) for each in self._truth.people))
        if number > max(1, ceil(most / 2) - 1):
            self._broken("half of the people keep their access", f"{told}: {number} of {most} within a day")

    def lately(self, connection_id: str, budget: Kind, within: timedelta = DAY + COUNTED) -> int:
        """Return how many of a budget went out within so long, none of them approved or exempt."""
        return sum(self._scheduler.now - at < within for at in self._counted.get((connection_id, budget), ()))

    def _most_active(self, connection_id: str) -> int:
        """Return how many people were active at most in the last day, by the roster."""
        numbers, since = self._numbers.get(connection_id, []), self._scheduler.now - DAY - COUNTED
        return max([n for at, n in numbers if at >= since] + [n for at, n in numbers if at < since][-1:], default=0)

    def _spend(self, process: Process, connection: Connection, user_id: str, kind: Kind, what: Collection[str]) -> bool:
        """Say whether an administrator approved this, and spend the approval."""
        now = self._scheduler.now
        for (connection_id, _), approvals in self._approvals.items():
            for each in approvals if connection_id == connection.id else ():
                live = each.ended is None or each.ended > process.began  # it was being carried out
                if each.member.resource != user_id or each.member.action not in what or each.spent or not live:
                    continue
                if now - each.at < DAY + SKEW and (kind is not Kind.TAKING or self._caused(connection, each.member)):
                    each.spent = True
                    return True
        return False

    def _caused(self, connection: Connection, member: Member) -> bool:
        """Say whether the trigger that a member names has been there lately."""
        if member.resource not in self._truth.people:
            return True  # whom an account that was taken over names, and who never was in the directory
        lately = self._truth.lately(connection.id, member.resource, self._truth.patience.looked)
        if any(member.trigger in (*standing.triggers, *standing.ended) for standing in lately):
            return True
        # Of two connections that entitle somebody, one lets them go.
        past = (self._truth.standings.get((other, member.resource), ()) for other in self._truth.connections)
        entitling = sum(bool(standings) and not standings[-1].triggers for standings in past)
        return member.trigger == Trigger.APP_OFF.value and entitling > 1

    def _not_refused(
        self, process: Process, connection: Connection, user_id: str, kind: Kind, what: Collection[str], told: str
    ) -> None:
        """See that nothing is sent that waits in a held plan, or was rejected or taken back, before this began.

        Who is not to be suspended is not to be deleted either.
        """
        what = (*what, Action.SUSPEND) if Action.DELETE in what else what
        members = {
            each.member: each
            for each in (*self._waiting(connection), *self._rejected(connection, kind))
            if each.member.resource == user_id and each.member.action in what and each.at + SKEW < process.began
            if not self._forgotten(connection.id, each)
        }
        if members and self._speak_of_it(connection, user_id, kind, what, members.values()):
            self._broken("what is held is not carried out", f"{told}: {list(members.values())}")

    def _proven(self, process: Process, connection: Connection, write: Write, told: str) -> None:
        since = connection.changed_at
        if (
            write.kind is WriteKind.CREATE
            and connection.unproven
            and since is not None
            and process.began > since + SKEW
        ):
            self._broken("on a node that is not proven nothing is created but as approved", told)

    def _waiting(self, connection: Connection) -> Iterator[Refusal]:
        for hold in self._archive.holds(connection.id):
            for member, verdict in hold.each():
                if verdict.standing in KEPT:
                    yield Refusal(member, verdict.at or hold.raised_at, hold.raised_at)

    def _rejected(self, connection: Connection, kind: Kind) -> Iterator[Refusal]:
        """Yield what was rejected of what takes access: it stays for as long as its trigger goes on."""
        for (connection_id, _), refusals in self._refusals.items():
            if connection_id == connection.id and kind is Kind.TAKING:
                yield from refusals

    def _forgotten(self, connection_id: str, refusal: Refusal) -> bool:
        """Say whether a roster that was lost since alone knew what something that is held is about.

        That is an account that had vanished before, and a time of which the directory tells another one: of who was
        archived in between, nothing says that it is the same suspension.
        """
        member, told = refusal.member, self._truth.told_since(refusal.member.resource)
        if refusal.at >= self._lost.get(connection_id, refusal.at):
            return False
        return member.action == Action.RECREATE or (member.dated and told is not None and told != member.since)

    def _speak_of_it(
        self, connection: Connection, user_id: str, kind: Kind, what: Collection[str], refusals: Collection[Refusal]
    ) -> bool:
        """Say whether what is held is this very change: the same trigger that goes on, the same values, account."""
        named = {each.member.trigger for each in refusals}
        entry = self._archive.entry(connection, user_id)
        match kind:
            case Kind.TAKING:
                return self._cover_every_cause(connection.id, user_id, what, refusals)
            case Kind.WIPING:
                wanted = self._truth.wanted_lately(connection.id, user_id, LISTING)
                known = entry or Entry(user_id=user_id)
                return (
                    bool(wanted) and {member_of(Action.UPDATE, known, None, each).trigger for each in wanted} <= named
                )
            case Kind.RECREATING:
                return entry is not None and entry.scim_id in named
            case Kind.GIVING if Action.UNSUSPEND in what:
                at = entry.locked_at if entry is not None else None
                return at is not None and any(each.member.since == at.replace(microsecond=0) for each in refusals)
            case _:
                return True

    def _cover_every_cause(
        self, connection_id: str, user_id: str, what: Collection[str], refusals: Collection[Refusal]
    ) -> bool:
        delete, found = Action.DELETE in what, False
        for standing in self._truth.lately(connection_id, user_id, self._truth.patience.looked):
            for trigger, since in self._truth.causes(connection_id, standing, delete=delete, slack=SKEW):
                found = True
                if not any(
                    each.member.trigger == trigger.value
                    and since <= each.raised_at
                    and (each.member.since is None or since <= each.member.since + LISTING)
                    for each in refusals
                ):
                    return False
        return found


def _named(kind: Kind, write: Write) -> Collection[str]:
    """Return what held plans call it; on a node that is not proven every creation is one of what vanished."""
    match kind:
        case Kind.TAKING:
            return (Action.DELETE if write.kind is WriteKind.DELETE else Action.SUSPEND,)
        case Kind.GIVING | Kind.RECREATING if write.kind is WriteKind.CREATE:
            return (Action.CREATE, Action.RECREATE)
        case Kind.WIPING:
            return (Action.UPDATE,)
        case Kind.UNLOCKING:
            return (Action.UNLOCK,)
        case _:
            return (Action.UNSUSPEND,)


def _wipes(write: Write, before: Account) -> bool:
    """Say whether an update gives another userName, or takes a value away."""
    name = str(write.attributes.get("userName") or before.user_name)
    taken = (name for name, value in write.attributes.items() if value in (None, "") and before.attributes.get(name))
    return name.casefold() != before.user_name.casefold() or any(True for _ in taken)
