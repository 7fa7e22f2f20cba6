"""Have accounts locked that nobody provisions: choose them, see what would happen, and undo what was done.

Choosing locks nothing. The accounts go into a held plan, and the run that follows its approval looks at each again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from autoprovisioning.app.administration.find_connection import staying
from autoprovisioning.app.administration.find_report import existing_report
from autoprovisioning.app.administration.ignore_accounts import MOST_SAID
from autoprovisioning.app.provisioning.owner_of_account import owner_of
from autoprovisioning.app.runs.lock_accounts import hold_chosen
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import SERVING, Connection
from autoprovisioning.domain.errors import BadInput, Stale, WrongState
from autoprovisioning.domain.events import Actor, Event, configured
from autoprovisioning.domain.holds import Hold
from autoprovisioning.domain.locks import ENTITLED, Lock, Locks, Owner, kept, still_active
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.unprovisioned import Unprovisioned
from autoprovisioning.domain.words import counted

MOST_AT_ONCE = 100  # the directory is asked about each
MOST_KEPT = 1_000
READ_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """An account that would be locked, and whose it may be by what the directory says now."""

    account: Unprovisioned
    owner: Owner


def foresee(services: Services, connection_id: str, accounts: Collection[str]) -> Sequence[Chosen]:
    """Say whose these accounts (SCIM ids) may be; nothing is done.

    Raises:
        NotFound: there is no such connection, or no drift run has listed Keeper yet.
        WrongState: the connection is neither on nor paused, or it is a pilot.
        BadInput: it names none, too many, or one that is not listed, or ignored.
    """
    _serving(services, connection_id)
    wanted = dict.fromkeys(accounts)
    if not wanted:
        raise BadInput("accounts", "none is selected", "Choose from those listed.")
    if len(wanted) > MOST_AT_ONCE:
        raise BadInput("accounts", f"more than {MOST_AT_ONCE} are selected", "Choose some, then the others.")
    report = existing_report(services, connection_id)
    ignored, locks = services.unprovisioned.ignored(connection_id), services.unprovisioned.locks(connection_id)
    listed = {row.scim_id: row for row in still_active(report, ignored, locks)}
    unknown = len(wanted.keys() - listed.keys())
    if unknown:
        problem = f"not listed, or ignored: {counted(unknown, 'account')} of those chosen"
        raise BadInput("accounts", problem, "Choose accounts from the list, which may have changed.")
    rows, others = [listed[scim_id] for scim_id in wanted], services.connections.all()
    asked = partial(owner_of, services, others)
    owners = services.executor.each(asked, rows, READ_AT_ONCE)
    return [Chosen(account=row, owner=owner) for row, owner in zip(rows, owners, strict=True)]


def choose(
    services: Services, connection_id: str, accounts: Collection[str], actor: Actor, *, number: int | None = None
) -> Hold:
    """Have these accounts stand in a held plan, to be locked once that is approved; returns the plan.

    Those that wait already stay as they are, so that sending it again changes nothing. `number` is how many it is to be
    about.

    Raises:
        NotFound, WrongState, BadInput: as `foresee`; also if the directory entitles the owner of one to access.
        Stale: it would be about another number of accounts.
    """
    connection = _serving(services, connection_id)
    found = foresee(services, connection_id, accounts)
    entitled = [each.account.user_name for each in found if each.owner.entitled]
    if entitled:
        raise BadInput("accounts", f"{entitled[0]}: {ENTITLED}", "Leave it out: a run adopts it, or says why not.")
    if number is not None and number != len(found):
        raise Stale(f"This would be about {counted(len(found), 'account')}, not {number}. Look at it again.")
    stamp = services.stamp(actor)
    added = [
        Lock(account=each.account, by=actor.address, at=stamp.at, administrator=each.owner.administrator)
        for each in found
    ]

    def edit(known: Locks) -> tuple[Locks, Sequence[Event]]:
        fresh = [lock for lock in added if lock.key not in known or not known[lock.key].waits]
        wanted = kept([*known.values(), *fresh], MOST_KEPT)
        if len(wanted) > MOST_KEPT:
            raise BadInput("accounts", f"more than {MOST_KEPT} would wait", "Decide about those that wait first.")
        names = ", ".join(sorted(lock.account.user_name for lock in fresh))
        what = f"Chose {counted(len(fresh), 'account')} that nobody provisions to be locked, once approved: {names}"
        return wanted, [configured(stamp, what[:MOST_SAID])] if fresh else []

    services.unprovisioned.change_locks(connection_id, edit)
    hold = hold_chosen(services, connection)
    if hold is None:  # somebody decided about them at the same moment
        raise Stale("These accounts do not wait for a decision any more. Look at the list again.")
    return hold


def unlock(services: Services, connection_id: str, scim_id: str, actor: Actor) -> None:
    """Have an account unlocked that was locked so: approved with this, and done by the run that follows.

    Raises:
        NotFound: there is no such connection.
        WrongState: the connection is neither on nor paused, or it is a pilot.
        BadInput: the account was not locked so, or is being unlocked already.
    """
    _serving(services, connection_id)
    stamp = services.stamp(actor)

    def edit(known: Locks) -> tuple[Locks, Sequence[Event]]:
        lock = known.get(scim_id)
        if lock is None or lock.locked_at is None or lock.returns:
            raise BadInput("account", "it is not locked by this connection", "Choose from those listed as locked.")
        what = f"Asked to unlock {lock.account.user_name}, which nobody provisions, again"
        return {**known, scim_id: replace(lock, unlock_by=actor.address)}, [configured(stamp, what)]

    services.unprovisioned.change_locks(connection_id, edit)
    services.queue.request_run(RunKind.FULL)


def _serving(services: Services, connection_id: str) -> Connection:
    connection = staying(services, connection_id)
    if connection.state not in SERVING or not connection.begun:
        raise WrongState("Autoprovisioning is not on, so nothing would be done with them. Turn it on first.")
    if connection.pilot is not None:
        raise WrongState("In a pilot nothing would be done with them. Turn autoprovisioning on for everybody first.")
    return connection
