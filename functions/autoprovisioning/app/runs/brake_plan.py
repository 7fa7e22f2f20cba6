"""Brake a plan: pass what it takes, gives and wipes through the guard, and remove from it what is held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from autoprovisioning.app.provisioning.volume_guard import fits
from autoprovisioning.app.runs import dispatch
from autoprovisioning.app.runs.hold_plan import (
    BY_LISTINGS,
    LOCKED_BY_OTHERS,
    UNPROVEN,
    DueChange,
    admit,
    settle_holds,
    would_hold,
)
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Action, Entry, Trigger
from autoprovisioning.domain.guard import GIVEN_AT_LEAST, Kind, Member, attempt, braked, member_of
from autoprovisioning.domain.holds import Book, Standing
from autoprovisioning.domain.plan import Plan, PlannedLook


def _wanted(
    services: Services, connection: Connection, plan: Plan, roster: Mapping[str, Entry]
) -> Mapping[Kind, Sequence[DueChange]]:
    """Return what of a plan counts, or was decided about, by kind; `roster` is as it was read."""
    wanted: dict[Kind, list[DueChange]] = {kind: [] for kind in Kind if kind is not Kind.LOCKING}
    for user_id, planned in plan.looks.items():
        due = planned.due
        if due is not None and braked(due.action, due.noted, due.attributes, plan.now):
            member = member_of(due.action, due.noted, due.trigger, due.attributes)
            wanted[member.kind].append(
                DueChange(member=member, entry=roster.get(user_id), unproven=_unproven(connection, planned))
            )
    free: list[DueChange] = []
    for change in plan.writes:
        entry, creates = roster.get(change.user_id), change.action is Action.CREATE
        if creates and change.scim_id:
            continue  # it adopts
        member = member_of(change.action, entry or Entry(user_id=change.user_id), None, change.attributes)
        if braked(change.action, entry, change.attributes, plan.now):
            wanted[member.kind].append(DueChange(member=member, entry=entry))
        elif creates:
            free.append(DueChange(member=member, entry=entry))
    if free:  # a creation that failed needs no room, but what was decided about it stands
        book = Book(services.holds.standing(connection.id))
        wanted[Kind.GIVING] += [each for each in free if book.verdict(each.member) is not None]
    return wanted


def _members(wanted: Mapping[Kind, Sequence[DueChange]]) -> frozenset[Member]:
    """Return everything that is planned, also as members of schema 1, which say less."""
    named = {each.member for several in wanted.values() for each in several}
    return frozenset(named | {Member(resource=member.resource, action=member.action) for member in named})


def _unproven(connection: Connection, planned: PlannedLook) -> str:
    if planned.action is Action.RECREATE:
        return UNPROVEN if connection.unproven is not None else ""
    if planned.action is Action.UNLOCK:
        return LOCKED_BY_OTHERS
    return BY_LISTINGS if planned.listed_only else ""


def brake(
    services: Services,
    connection: Connection,
    plan: Plan,
    roster: Mapping[str, Entry],
    *,
    began: datetime,
    whole: bool,
    first: bool,
    overtaken: Collection[str],
    tells_of: Callable[[str], bool],
    in_parts: bool = False,
) -> tuple[Counter[Kind], list[str]]:
    """Remove from the plan what is held; return how much that is, by kind, and the notes for the run's record.

    `began` is when the run did, before it read anything; `first` is a connection's first run. `overtaken` are the users
    whose entry changed since `roster` was read, so that the plan's notes about them were not written. `tells_of` says
    of whom the directory's listings told anything; where they were made `in_parts`, whoever is in none may still be
    gone. A plan that waits for a decision about such people is not all seen, and goes on waiting.
    """
    counted, looks = _wanted(services, connection, plan, roster), plan.looks
    after = {**roster, **{user_id: noted for user_id, (_, noted) in plan.notes.items() if noted is not None}}
    members = _members(counted)
    known = settle_holds(
        services, connection, members, after, whole=whole, began=began, tells_of=tells_of, in_parts=in_parts
    )
    keep = partial(_keep_timers, services, connection, plan, roster, overtaken=overtaken)
    back, notes = Counter[Kind](), []
    for kind, wanted in counted.items():
        confirmed = _confirmed(connection) if first and kind is Kind.GIVING else None
        waits = (member.resource for hold in known if hold.kind is kind for member in hold.those(Standing.WAITING))
        all_seen = whole and not (in_parts and not all(map(tells_of, waits)))
        held, hold = admit(services, connection, kind, wanted, known, whole=all_seen, confirmed=confirmed, keep=keep)
        _take_out(plan, held)
        if kind is Kind.TAKING:
            plan.looks |= _asked_again(services, connection, looks, held, plan.active)
        back[kind] = len(held)
        if hold is not None:
            notes.append(f"Held for approval: {hold.reason}")
        waiting = frozenset(hold.those(Standing.WAITING)) if hold is not None else frozenset[Member]()
        overtook = sum(each.overtaken for each in held)
        kept = sum(each.member not in waiting for each in held) - overtook
        if overtook > 0:
            notes.append(f"Changed while this run was reading, and left to the next one: {overtook}")
        if kept > 0:
            notes.append(f"Rejected, or waiting for another decision: {kept}")
    return back, notes


def _confirmed(connection: Connection) -> int | None:
    """Return how many accounts a first run may create; None if nobody saw a number: it is limited like any."""
    return None if connection.confirmed is None else max(connection.confirmed, GIVEN_AT_LEAST)


def _keep_timers(
    services: Services,
    connection: Connection,
    plan: Plan,
    roster: Mapping[str, Entry],
    held: Sequence[DueChange],
    *,
    overtaken: Collection[str],
) -> list[DueChange]:
    """Record the timers of held users, unless the plan's notes did, and that they no longer wait for anything else.

    Returns what is held under the times that the roster has: where the directory does not say when a trigger began, a
    look supposes another moment than the run, and it may have begun again since the run read it. A decision would be
    kept under a time that no entry has.
    """
    kept: dict[str, tuple[int | None, Entry]] = {}
    dated: dict[Member, Trigger] = {}
    for member in {each.member for each in held}:
        user_id = member.resource
        read, look = roster.get(user_id), plan.looks.get(user_id)
        _, known = plan.notes.get(user_id, (None, read))
        if known is None or read is None:
            continue
        due = look.due if look is not None and member.kind is Kind.TAKING else None
        planned = due.noted if due is not None else known
        if due is not None and due.trigger is not None and member.dated:
            dated[member] = due.trigger
        if user_id not in overtaken and (known.pending or known.timers != planned.timers):
            kept[user_id] = (read.version + (user_id in plan.notes), planned)
        elif member in dated:
            kept[user_id] = (None, planned)
    entries = dispatch.keep_timers(services, connection, kept)
    return [_as_recorded(each, dated.get(each.member), entries) for each in held]


def _as_recorded(wanted: DueChange, trigger: Trigger | None, entries: Mapping[str, Entry]) -> DueChange:
    """Name a deprovisioning by the time that the roster has for its `trigger`."""
    if trigger is None:
        return wanted
    entry = entries.get(wanted.member.resource)
    if entry is None or trigger not in entry.timers:
        return replace(wanted, overtaken=True)
    return replace(wanted, member=member_of(Action(wanted.member.action), entry, trigger, {}))


def _asked_again(
    services: Services, connection: Connection, looks: Mapping[str, PlannedLook], held: Iterable[DueChange], active: int
) -> dict[str, PlannedLook]:
    """Return looks at those whose change only listings support: without an approval they take nothing, but by now the
    directory may answer about them. Not if they are many: looks would take piecemeal what only a plan may.
    """
    untold = [each for each in held if each.unproven]
    names = [attempt(each.member, each.entry) for each in untold]
    if not untold or not fits(services, connection, Kind.TAKING, names, active):
        return {}
    return {each.member.resource: PlannedLook(look=looks[each.member.resource].look) for each in untold}


def _take_out(plan: Plan, held: Iterable[DueChange]) -> None:
    gone = {each.member.resource for each in held}
    if gone:
        plan.looks = {user_id: look for user_id, look in plan.looks.items() if user_id not in gone}
        plan.writes = [change for change in plan.writes if change.user_id not in gone]


def foreseen(
    services: Services, connection: Connection, plan: Plan, roster: Mapping[str, Entry], *, first: bool
) -> tuple[frozenset[str], Counter[Kind]]:
    """Return whom `brake` would hold back, and how many of each kind; nothing is reserved or raised."""
    held, by_kind = frozenset[str](), Counter[Kind]()
    for kind, wanted in _wanted(services, connection, plan, roster).items():
        confirmed = _confirmed(connection) if first and kind is Kind.GIVING else None
        back = would_hold(services, connection, kind, wanted=wanted, active=plan.active, confirmed=confirmed)
        held, by_kind = held | back, by_kind + Counter({kind: len(back)})
    return held, by_kind
