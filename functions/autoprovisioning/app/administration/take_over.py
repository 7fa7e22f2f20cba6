"""Take over accounts that nobody provisions: from then on they are deprovisioned like their owners'.

Only what the last report offers can be taken over; an account's owner comes from there too, never from the request.
Nothing is written to Keeper: the run that follows plans what is due, with the timers from the directory's own time, and
passes it through the volume guard.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from autoprovisioning.app.administration.find_connection import staying
from autoprovisioning.app.administration.find_report import existing_report
from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.app.provisioning.claiming import claim
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import SERVING, Connection, State
from autoprovisioning.domain.entry import Entry, Status, Timer, Trigger
from autoprovisioning.domain.errors import BadInput, WrongState
from autoprovisioning.domain.events import Actor, Event, Stamp, not_taken_over, taken_over
from autoprovisioning.domain.holds import decided_since
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.unprovisioned import Offer, Unprovisioned
from autoprovisioning.domain.words import TAKEN_OVER_BY, counted

CLAIMS_AT_ONCE = 16
SLICE = 1_000  # accounts, each claimed, recorded and claimed again before the next


def take_over(services: Services, connection_id: str, accounts: Collection[str] | None, actor: Actor) -> int:
    """Take over these accounts (SCIM ids); None: all offered together and not ignored. Returns how many.

    Raises:
        NotFound: there is no such connection, or no drift run has listed Keeper yet.
        WrongState: the connection is neither on nor paused, or it is a pilot.
        BadInput: it names none, or one that the report does not offer.
    """
    connection = staying(services, connection_id)
    if connection.state not in SERVING or not connection.begun:
        raise WrongState("Autoprovisioning is not on, so nothing would be done with them. Turn it on first.")
    if connection.pilot is not None:
        raise WrongState("In a pilot nothing would be done with them. Turn autoprovisioning on for everybody first.")
    report = existing_report(services, connection_id)
    ignored = services.unprovisioned.ignored(connection_id)
    rows = [row for row in report.without(ignored) if row.offer is Offer.ALL]
    if accounts is not None:
        rows = _chosen({row.scim_id: row for row in report.accounts if row.offer is not Offer.NONE}, accounts)
    held = {entry.scim_id for entry in services.roster.load(connection).values()}
    taken = _record(services, connection, [row for row in rows if row.scim_id not in held], actor)
    if taken and connection.state is State.ON:
        services.queue.request_run(RunKind.FULL)
    return taken


def _chosen(offered: Mapping[str, Unprovisioned], accounts: Collection[str]) -> list[Unprovisioned]:
    wanted = dict.fromkeys(accounts)
    if not wanted:
        raise BadInput("accounts", "none is selected", "Choose from those offered.")
    unknown = [scim_id for scim_id in wanted if scim_id not in offered]
    if unknown:
        problem = f"not offered: {counted(len(unknown), 'account')} of those chosen"
        raise BadInput("accounts", problem, "Choose accounts from the list, which may have changed.")
    chosen = [offered[scim_id] for scim_id in wanted]
    if len({row.user_id for row in chosen}) < len(chosen):
        raise BadInput("accounts", "two of them belong to one user", "Choose one, and lock the other one in Keeper.")
    return chosen


def _record(services: Services, connection: Connection, rows: Sequence[Unprovisioned], actor: Actor) -> int:
    """Put them on the roster, each with its line in the audit; users who got an account meanwhile are left out.

    So is an account that is being adopted at this moment: it is claimed first, as by a worker. Without a mark that
    claim can be lost until the roster has the account, so it is made again then, and a user who lost it is put back.
    """
    ids = {row.user_id: services.new_id() for row in rows}

    def ours(row: Unprovisioned) -> bool:
        return claim(services, connection, row.scim_id, Claim(user_id=row.user_id, change_id=ids[row.user_id]))

    def claimed(rows: Sequence[Unprovisioned]) -> list[bool]:
        return list(services.executor.each(ours, rows, CLAIMS_AT_ONCE))

    taken = 0
    for start in range(0, len(rows), SLICE):
        part = rows[start : start + SLICE]
        free = {row.user_id: row for row, free in zip(part, claimed(part), strict=True) if free}
        before = _put(services, connection, free, ids, actor)
        recorded = [free[user_id] for user_id in before]
        lost = [row for row, kept in zip(recorded, claimed(recorded), strict=True) if not kept]
        _put_back(services, connection, {row.user_id: before[row.user_id] for row in lost}, ids, actor)
        taken += len(recorded) - len(lost)
    return taken


def _put(
    services: Services,
    connection: Connection,
    rows: Mapping[str, Unprovisioned],
    ids: Mapping[str, str],
    actor: Actor,
) -> dict[str, Entry | None]:
    """Record the accounts; returns the previous entries of those that were recorded."""
    decided = decided_since(services.holds.standing(connection.id))

    def timers(row: Unprovisioned, known: Entry) -> Mapping[Trigger, Timer]:
        """Return the timers as decisions name them: where the directory does not say since when, nobody else does."""
        if known.timers or row.since is not None:
            return known.timers
        begun = decided.get(row.user_id, {})
        return {name: Timer(since=at, running_since=connection.clock.at(at)) for name, at in begun.items()}

    def edit(part: Sequence[str], entries: Mapping[str, Entry]) -> tuple[Edit, dict[str, Entry | None]]:
        taken: dict[str, Entry | None] = {}
        events: list[Event] = []
        for user_id in part:
            row, known = rows[user_id], entries.get(user_id) or Entry(user_id=user_id)
            if known.status is not Status.NONE or known.mark is not None:
                continue
            taken[user_id] = replace(
                known,
                version=known.version + 1,
                email=row.user_name,
                scim_id=row.scim_id,
                status=Status.ACTIVE,
                pending=False,
                failure=None,
                timers=timers(row, known),
                applied_by=ids[user_id],
                taken_over=True,
            )
            reason = f"Taken over to be deprovisioned: {TAKEN_OVER_BY[row.by]}. Nothing was changed in Keeper."
            stamp = Stamp(id=ids[user_id], at=services.clock(), by=actor)
            events.append(taken_over(stamp, user_id, row.user_name, reason))
        return Edit(entries=taken, events=events), {user_id: entries.get(user_id) for user_id in taken}

    parts = services.roster.commit_in_parts(connection, rows, edit)
    return {user_id: entry for before in parts for user_id, entry in before.items()}


def _put_back(
    services: Services,
    connection: Connection,
    before: Mapping[str, Entry | None],
    ids: Mapping[str, str],
    actor: Actor,
) -> None:
    """Undo what was recorded of accounts that another user got meanwhile, unless something came after it."""
    stamps = {user_id: services.stamp(actor) for user_id in before}

    def edit(_part: Sequence[str], entries: Mapping[str, Entry]) -> tuple[Edit, None]:
        held = {
            user_id: entry
            for user_id, entry in entries.items()
            if entry.applied_by == ids[user_id] and entry.mark is None and entry.taken_over
        }
        back = {user_id: _as_before(before[user_id], entry) for user_id, entry in held.items()}
        return Edit(
            entries=back,
            events=[not_taken_over(stamps[user_id], user_id, entry.email) for user_id, entry in held.items()],
        ), None

    services.roster.commit_in_parts(connection, before, edit)


def _as_before(before: Entry | None, now: Entry) -> Entry | None:
    return replace(before, version=now.version + 1) if before is not None else None
