"""Carry marked changes out in Keeper: look up, adopt, write, and settle what Keeper answers.

The same code serves one user and a batch of five hundred. It records nothing: each outcome is yielded as soon as it is
known, and the caller commits it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.app.provisioning.adoption_grounds import AdoptionGrounds, deleted_addresses
from autoprovisioning.app.provisioning.claiming import claim
from autoprovisioning.app.provisioning.taken_addresses import TakenAddresses, taken_elsewhere
from autoprovisioning.app.provisioning.target import Keeper
from autoprovisioning.app.services import Services
from autoprovisioning.app.unforeseen import known_or_unforeseen, unforeseen
from autoprovisioning.domain.accounts import Account, Found, Lookup, Written
from autoprovisioning.domain.adoption import choose, locked_by_us
from autoprovisioning.domain.changes import (
    Change,
    Outcome,
    not_moved,
    remembers_lock,
    sends_teams_alone,
    sent_attributes,
    write_for,
    writes_nothing,
)
from autoprovisioning.domain.comparison import aligned, differing
from autoprovisioning.domain.entry import Action, Status
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

CLAIMS_AT_ONCE = 16
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
        deleted = partial(deleted_addresses, services.directory)
        self._grounds = AdoptionGrounds(services, keeper.connection, deleted, {})
        self._taken = TakenAddresses(services, keeper)

    def run(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        changes = self._with_before(changes)
        unknown = [change for change in changes if _needs_lookup(change)]
        ready = [change for change in changes if not _needs_lookup(change)]
        for change in self._already_claimed(ready):
            ready.remove(change)
            yield Outcome(change=change, error=taken_elsewhere(change))
        yield from self._look_up(unknown, ready)
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

    def _already_claimed(self, changes: Sequence[Change]) -> list[Change]:
        """Claim the accounts that the plan chose for adoption; returns the changes that came too late."""
        adopting = [change for change in changes if change.adopts]
        claimed = self._services.executor.each(self._claim, adopting, CLAIMS_AT_ONCE)
        return [change for change, ours in zip(adopting, claimed, strict=True) if not ours]

    def _claim(self, change: Change) -> bool:
        ours = Claim(user_id=change.user_id, change_id=change.id)
        return claim(self._services, self._keeper.connection, change.scim_id, ours)

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

    def _look_up(self, changes: Sequence[Change], ready: list[Change]) -> Iterator[Outcome]:
        """Search Keeper; changes with a known answer join `ready`, the rest are outcomes already."""
        for change, found in self._keeper.through(_by_id(changes), self._search):
            try:
                ready.append(self._matched(change, found))
            except ProvisioningError as error:
                yield Outcome(change=change, error=error)

    def _search(self, changes: Sequence[Change]) -> Iterator[Found]:
        return self._keeper.accounts().find(
            [Lookup(key=change.id, external_id=change.user_id, user_names=_names_to_ask(change)) for change in changes]
        )

    def _second_look(self, taken: Sequence[Change], gone: Sequence[Change]) -> Iterator[Outcome]:
        """Settle a 409 on creation and a 404 on a known id: look again, then adopt or give up.

        The teams of an account that is gone say nothing of another one, which the next run puts into its own. If it is
        there after all, and teams were all that was sent, then one of these is gone.
        """
        found: list[Change] = []
        writing: list[Change] = []
        known = _by_id(gone)
        yield from self._look_up([*taken, *(replace(change, scim_id="", teams=None) for change in gone)], found)
        for change in found:
            lost = known.get(change.id)
            if lost is not None and lost.team_changes and lost.scim_id == change.scim_id:
                yield Outcome(change=lost, error=Rejected(TEAM_GONE))
            elif change.scim_id:
                writing.append(change)
            elif lost is not None:
                yield _vanished(change)
            else:
                yield Outcome(change=change, error=self._taken.for_creation(change))
        yield from self._write(writing)

    def _matched(self, change: Change, found: Found) -> Change:
        """Return the change with the account found for it, of which it may become the owner, or with none.

        Raises:
            ProvisioningError: that cannot be told, or the account is somebody else's.
        """
        if found.error is not None:
            raise known_or_unforeseen(found.error)
        choice = choose(found.accounts, change.seeker(), self._grounds)
        account = choice.account
        if account is None:
            return replace(change, beside=choice.beside)
        ours, wanted = account.external_id == change.user_id, change.attributes
        leaves: Status | None = None
        if account.active and change.action is Action.UPDATE and change.entry.status is Status.SUSPENDED:
            leaves = Status.ACTIVE
        elif not account.active and _stays_locked(change, account):
            own = (ours and remembers_lock(change.entry)) or locked_by_us(account, change.user_id, self._grounds.locks)
            leaves = Status.SUSPENDED if own else Status.LOCKED
        matched = replace(
            change,
            scim_id=account.scim_id,
            adopts=True,
            before=(differing(account, wanted) if ours else aligned(account, wanted)) if wanted else {},
            ours=ours,
            confirmed=choice.confirmed,
            beside=(),
        ).finds(leaves)
        if not self._claim(matched):
            raise taken_elsewhere(change)
        return matched


def _by_id(changes: Iterable[Change]) -> dict[str, Change]:
    return {change.id: change for change in changes}


def _names_to_ask(change: Change) -> tuple[str, ...]:
    """Return the addresses to look under; none for somebody who has no access any more: there may be a newcomer."""
    leaver = change.action.deprovisions or (change.action is Action.UPDATE and change.entry.status is not Status.ACTIVE)
    return () if leaver else change.seeker().names


def _stays_locked(change: Change, account: Account) -> bool:
    """Say whether an inactive account that was found stays so, and is not the one that we had suspended."""
    if change.action in (Action.UNSUSPEND, Action.UNLOCK):
        return account.external_id != change.user_id
    return change.action is Action.CREATE or (change.action is Action.UPDATE and change.entry.status is Status.ACTIVE)


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
