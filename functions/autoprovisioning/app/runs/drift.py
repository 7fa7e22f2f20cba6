"""Drift: compare Keeper's own listing with the roster, and read only the users who differ from the directory.

What an account has is compared with what we wrote last, so users are not read if nothing happened to them in Keeper. If
many differ, or the directory does not show one of them individually, everybody is listed instead, as in a full run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from datetime import timedelta

from autoprovisioning.app.provisioning.read_user import Asked, Round
from autoprovisioning.app.runs.open_run import Side
from autoprovisioning.app.runs.read_directory import Survey
from autoprovisioning.app.services import Services
from autoprovisioning.domain.accounts import holds, remembers, unchanged
from autoprovisioning.domain.changes import made
from autoprovisioning.domain.comparison import aligned
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.decision import Observed
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import ACCOUNT, GROUPS, Entry, Status
from autoprovisioning.domain.errors import ProvisioningError
from autoprovisioning.domain.keeper_changes import keeper_changes, unknown
from autoprovisioning.domain.keeper_listing import Listing, as_found, new_drift
from autoprovisioning.domain.plan import Plan, Planner
from autoprovisioning.domain.runs import Look
from autoprovisioning.domain.teams import names_of
from autoprovisioning.domain.unprovisioned import Offer, OwnerSearch, digest_of, unprovisioned
from autoprovisioning.domain.words import DRIFTED

log = logging.getLogger(__name__)

Notes = dict[str, tuple[Entry | None, Entry | None]]  # as read, as it should be

SEARCHED_ANEW = timedelta(days=1)  # whose accounts they are may have changed in the directory
ONE_BY_ONE = 100  # with more users than this, one listing of the directory replaces individual reads
EVENTS_A_READ = 500  # whose attributes are kept in memory at once
HANDFUL = 5  # accounts that somebody changes by hand within an hour


def judge_differing(services: Services, connections: Sequence[Connection], sides: Sequence[Side]) -> Survey | None:
    """Let each side's planner judge the users whose account is not as we left it, each read individually.

    None: everybody must be listed, and nobody was judged.
    """
    searching = [_begin_search(services, side) for side in sides]
    if any(searching):
        return None
    found: list[tuple[Side, Planner, list[str], Notes]] = []
    for side in sides:
        if side.planner is None or side.planner.listing is None or not side.connection.begun:
            return None
        notes: Notes = {}
        found.append((side, side.planner, sorted(_differing(services, side, side.planner.listing, notes)), notes))
    if sum(len(differing) for _, _, differing, _ in found) > ONE_BY_ONE:
        return None
    seen: list[tuple[Planner, Observed]] = []
    for side, planner, differing, _ in found:
        for user_id in differing:
            alone = _read(services, connections, side, user_id)
            if alone is None:
                return None
            seen.append((planner, alone))
    now = services.clock()
    for planner, alone in seen:
        planner.read_at(now)
        planner.see_alone(alone)
    for side, planner, differing, notes in found:
        planner.plan.notes |= notes
        for user_id, (before, noted) in notes.items():
            if before is not None and noted is not None and (drift := new_drift(before, noted)):
                planner.plan.drifted[user_id], planner.plan.wrote[user_id] = drift, {}
        planner.plan.unchanged += len(side.roster) - len(differing)
    return Survey(members={}, deleted={}, units=None, alone=True)


def _begin_search(services: Services, side: Side) -> bool:
    """Start to look for the owners of accounts that nobody provisions, unless the last report has the same accounts.

    True: this needs a listing of the directory.
    """
    if side.planner is None or side.found is None:
        return False
    accounts = unprovisioned(side.found, side.roster)
    known = services.unprovisioned.get(side.connection.id)
    same = known is not None and known.digest == digest_of(accounts)
    if known is not None and same and (not accounts or services.clock() - known.at < SEARCHED_ANEW):
        return False
    side.planner.search = OwnerSearch(accounts, side.roster, side.connection.settings.archived_as_suspended)
    return bool(accounts)


def report_unprovisioned(services: Services, side: Side, survey: Survey) -> None:
    """Store what was found about the accounts that nobody provisions, and note how many there are and not ignored."""
    if side.found is None:
        return
    search = side.planner.search if side.planner is not None else None
    everybody = survey.whole(side.connection) and survey.proves_missing
    told = everybody and survey.deleted_addresses is not None  # covers every user
    report = services.unprovisioned.get(side.connection.id)
    if search is not None and (told or not search.accounts):
        report = search.report(services.clock(), report)
        services.unprovisioned.put(side.connection.id, report)
    if report is None or not report.accounts:
        return
    counted = report.without(services.unprovisioned.ignored(side.connection.id))
    if counted:
        left = sum(row.offer is Offer.ALL for row in counted)
        count = f"{len(counted)}, {left} of them leavers'"
        side.notes.append(f"Active accounts in Keeper that nobody provisions: {count}")


def _differing(services: Services, side: Side, listing: Listing, notes: Notes) -> Iterator[str]:
    """Yield users whose account is not as we left it.

    If Keeper only spells a value differently, or tells something new of memberships, that is noted: the directory need
    not be asked about it.
    """
    targets = {row.target for row in side.connection.settings.mapping.rows}
    doubtful: list[Entry] = []
    now = services.clock()
    for entry in side.roster.values():
        served = side.connection.operates_on(entry.user_id)
        if not served or entry.status is Status.NONE or entry.mark is not None or made(entry):
            continue
        gone = entry.scim_id not in listing and not entry.deleted
        found = as_found(entry, listing, {}, now, entitled=False)
        changed = found is not entry and found != entry
        if (gone and ACCOUNT not in entry.drift) or (changed and replace(found, unseen=entry.unseen) != entry):
            yield entry.user_id
        elif not _as_written(entry, listing, targets):
            doubtful.append(entry)
        elif changed:
            notes[entry.user_id] = (entry, found)
    for start in range(0, len(doubtful), EVENTS_A_READ):
        some = doubtful[start : start + EVENTS_A_READ]
        applied = services.audit.applied(side.connection.id, [entry.applied_by for entry in some])
        for entry in some:
            written = applied.get(entry.applied_by, {})
            found = as_found(entry, listing, written, now, entitled=False)
            if not written or replace(found, shown=entry.shown, unseen=entry.unseen) != entry:
                yield entry.user_id
            elif found != entry:
                notes[entry.user_id] = (entry, found)


def _as_written(entry: Entry, listing: Listing, targets: Set[str]) -> bool:
    """Say whether every attribute is exactly what we wrote, or what Keeper has been seen to store for it."""
    account = listing.get(entry.scim_id)
    if account is None or entry.gone or entry.taken_over or entry.deleted:
        return True
    if unchanged(entry.fingerprint, aligned(account, dict.fromkeys(targets))):
        return True  # nearly everybody, at a quarter of what one by one takes
    shown = aligned(account, dict.fromkeys(targets & listing.told))
    return all(
        holds(entry.fingerprint, target, value) or remembers(entry.shown, target, value)
        for target, value in shown.items()
    )


def _read(services: Services, connections: Sequence[Connection], side: Side, user_id: str) -> Observed | None:
    """Read one user individually; None if the directory does not show them."""
    now, connection = services.clock(), side.connection
    asked = Asked(
        look=Look(user_id=user_id), message_id=f"run {side.run.id}", published=now - services.timings.contradiction
    )
    try:
        seen = Round(services, connections, asked).seen().at(connection, side.roster[user_id])
    except ProvisioningError as error:
        log.warning("The directory does not show a user individually: everybody is listed. %s", error)
        return None
    return seen if seen.presence is not Presence.UNKNOWN else None


def report_changes(services: Services, side: Side) -> None:
    """Store what somebody else changed in Keeper before it is repaired.

    This comes before what was found is written to the roster: if the run dies in between, the next one stores it again,
    rather than nobody. Where it is only reported, each change is told once, though every drift run finds it.

    Keeper was listed after the roster was read: of an entry that changed meanwhile it may show what we did ourselves.
    The next drift run tells the rest.
    """
    if side.planner is None or side.found is None or not side.planner.plan.drifted:
        return
    plan, connection = side.planner.plan, side.connection
    current = services.roster.entries(connection, plan.drifted)
    plan.drifted = {
        user_id: names for user_id, names in plan.drifted.items() if current.get(user_id) == side.roster[user_id]
    }
    named = any(GROUPS in names for names in plan.drifted.values())
    names = names_of(services.teams.get(connection.id)) if named else {}
    changes = keeper_changes(plan, side.roster, side.found, side.run.id, names)
    if not connection.settings.repair_drift:
        changes = unknown(changes, services.keeper_changes.get(connection.id))
        plan.drifted = {change.user_id: plan.drifted[change.user_id] for change in changes}
    if changes:
        services.keeper_changes.add(connection.id, changes, services.clock())


def tell_drift(side: Side, plan: Plan) -> None:
    """Note in the run's record what somebody else changed in Keeper; more than a handful raise an alert."""
    if not plan.drifted:
        return
    kinds = [{DRIFTED.get(name, "with other values") for name in names} for names in plan.drifted.values()]
    counts = {word: sum(word in kind for kind in kinds) for word in (*DRIFTED.values(), "with other values")}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    side.notes.append(f"Accounts that somebody else changed in Keeper: {len(plan.drifted)} ({told})")
    if len(plan.drifted) > HANDFUL:
        fields = {"alert": "changed_in_keeper", "connection": side.connection.id, "changed": len(plan.drifted)}
        log.error("Somebody else changed many accounts in Keeper", extra={"json_fields": fields})
