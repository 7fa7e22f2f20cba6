"""Carry marked changes out in Keeper: look up, adopt, write, and settle what Keeper answers.

The same code serves one user and a batch of five hundred. It records nothing: each outcome is yielded as soon as it is
known, and the caller commits it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from autoprovisioning.app.provisioning.find_accounts import AccountSearch
from autoprovisioning.app.provisioning.taken_addresses import TakenAddresses, taken_elsewhere
from autoprovisioning.app.provisioning.target import Keeper
from autoprovisioning.app.services import Services
from autoprovisioning.app.unforeseen import unforeseen
from autoprovisioning.domain.accounts import Written
from autoprovisioning.domain.changes import (
    Change,
    Outcome,
    not_moved,
    sends_teams_alone,
    sent_attributes,
    write_for,
    writes_nothing,
)
from autoprovisioning.domain.entry import Action
from autoprovisioning.domain.errors import (
    AccountGone,
    AddressTaken,
    Contradicted,
    NotAsWritten,
    NotSent,
    ProvisioningError,
    Rejected,
    Unresolved,
    Vanished,
)

log = logging.getLogger(__name__)

TEAM_GONE = "Keeper has this account, but not one of its teams (HTTP 404). The next full run sees which are there."
VANISHED = "The account vanished from Keeper. It is created again, or held if too many vanished."


def carry_out(services: Services, keeper: Keeper, changes: Sequence[Change], deadline: datetime) -> Iterator[Outcome]:
    """Carry the changes out and yield what became of each, in no particular order.

    What vanished from Keeper is not created again here: whether it may be is decided as for any other change.
    """
    settled: set[str] = set()
    try:
        for outcome in _Work(services, keeper, deadline).run(changes):
            keeper.throttle(outcome.error)
            settled.add(outcome.change.id)
            yield outcome
    except ProvisioningError as error:
        rest = error if error.defers else NotSent(f"Not carried out: {error}")  # it is not about any one account
    except Exception as error:  # noqa: BLE001 - whom it concerns is not known: each account is fetched first
        rest = _unknown(error)
    else:
        return
    keeper.throttle(rest)
    yield from (Outcome(change=change, error=rest) for change in changes if change.id not in settled)


class _Work:
    def __init__(self, services: Services, keeper: Keeper, deadline: datetime) -> None:
        self._services = services
        self._keeper = keeper
        self._deadline = deadline
        self._accounts = AccountSearch(services, keeper)
        self._taken = TakenAddresses(services, keeper)

    def run(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        changes = self._with_before(changes)
        unknown = [change for change in changes if _needs_lookup(change)]
        ready = [change for change in changes if not _needs_lookup(change)]
        for change in self._accounts.unclaimed(ready):
            ready.remove(change)
            yield Outcome(change=change, error=taken_elsewhere(change))
        yield from self._accounts.look_up(unknown, ready)
        taken: list[Change] = []
        gone = [change for change in ready if change.handed]
        for outcome in self._write([change for change in ready if not change.handed]):
            match outcome.error:
                case AddressTaken() if not outcome.change.scim_id:
                    taken.append(outcome.change)
                case AccountGone() if not outcome.change.adopts:
                    gone.append(outcome.change)
                case AddressTaken():
                    yield self._taken.for_update(outcome)
                case _:
                    yield outcome
        yield from self._second_look(taken, gone)

    def _with_before(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Tell the updates what their accounts had: what Keeper's listing showed, else what we wrote last.

        Each takes a document of the audit; all are read at once. An update of teams alone needs none.
        """
        updates = [change for change in changes if change.action is Action.UPDATE and sent_attributes(change)]
        applied = self._services.audit.applied(
            self._keeper.connection.id, [change.entry.applied_by for change in updates]
        )
        known = [(change, applied.get(change.entry.applied_by, {})) for change in changes]
        return [replace(change, before={**written, **change.before}, written=written) for change, written in known]

    def _write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        yield from (Outcome(change=change, scim_id=change.scim_id) for change in changes if writes_nothing(change))
        writing = [change for change in changes if not writes_nothing(change)]
        without_teams: list[Change] = []
        for change, written in self._keeper.through(_by_id(writing), self._send):
            outcome = _outcome(change, written)
            if change.team_changes.may_explain(outcome.error) and not sends_teams_alone(change):
                # The account is worth more than its memberships: those are then asked for alone, and fail alone.
                without_teams.append(replace(change, teams=None))
                continue
            if isinstance(outcome.error, Contradicted | NotAsWritten):
                told = {
                    "alert": "keeper_contradicts",
                    "connection": self._keeper.connection.id,
                    "change": change.id,
                    "action": change.action.value,
                }
                log.error("Keeper answered a write with success, but shows something else", extra={"json_fields": told})
            yield outcome
        if without_teams:
            yield from self._write(without_teams)

    def _send(self, changes: Sequence[Change]) -> Iterator[Written]:
        return self._keeper.accounts().write([write_for(change) for change in changes], self._deadline)

    def _second_look(self, taken: Sequence[Change], gone: Sequence[Change]) -> Iterator[Outcome]:
        """Settle a 409 on creation and a 404 on a known id: look again, then adopt or give up.

        The teams of an account that is gone say nothing of another one, which the next run puts into its own. If it is
        there after all, and teams were all that was sent, then one of these is gone.
        """
        found: list[Change] = []
        writing: list[Change] = []
        lost_ones = _by_id(gone)
        again = [*taken, *(replace(change, scim_id="", teams=None) for change in gone)]
        yield from self._accounts.look_up(again, found)
        for change in found:
            lost = lost_ones.get(change.id)
            if lost is not None and lost.team_changes and lost.scim_id == change.scim_id:
                yield Outcome(change=lost, error=Rejected(TEAM_GONE))
            elif change.scim_id:
                writing.append(change)
            elif lost is not None:
                yield _vanished(change)
            else:
                yield Outcome(change=change, error=self._taken.for_creation(change))
        yield from self._write(writing)


def _by_id(changes: Iterable[Change]) -> dict[str, Change]:
    return {change.id: change for change in changes}


def _vanished(change: Change) -> Outcome:
    """Return the outcome of a change whose account is gone and was not found again."""
    if change.handed:
        return Outcome(change=change)  # the other connection's roster has it
    if change.action.deprovisions or not change.entry.entitled:
        return Outcome(change=change, scim_id=change.entry.scim_id, gone=True)
    return Outcome(change=change, error=Vanished(VANISHED))


def _needs_lookup(change: Change) -> bool:
    return change.action is Action.CREATE and not change.scim_id and not change.looked_up


def _outcome(change: Change, written: Written) -> Outcome:
    if written.error is not None:
        error = written.error if isinstance(written.error, ProvisioningError) else _unknown(written.error)
        made = written.scim_id or (change.scim_id if change.ours else "")
        return Outcome(change=change, error=error, seconds=written.seconds, made=made)
    sent, shown = sent_attributes(change), written.shown
    contradiction = not_moved(change, sent, shown or {})
    if contradiction is not None:
        return Outcome(change=change, error=contradiction, seconds=written.seconds)
    scim_id, teams = written.scim_id or change.scim_id, change.teams_by_us
    return Outcome(change=change, scim_id=scim_id, seconds=written.seconds, sent=sent, shown=shown, teams=teams)


def _unknown(error: Exception) -> Unresolved:
    """Return the outcome of a write that ended in an unforeseen exception: it may have arrived."""
    return Unresolved(f"The outcome of this write is not known. {unforeseen(error)}")
