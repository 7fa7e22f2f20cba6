"""Match the creations of a preview with Keeper's accounts: who would be created, adopted, in doubt or refused."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from autoprovisioning.app.ports.accounts import Accounts
from autoprovisioning.app.provisioning.adoption_grounds import AdoptionGrounds
from autoprovisioning.app.provisioning.target import fails_for_everybody, refusal_of_one
from autoprovisioning.app.runs.plan_everybody import LOOKUPS_ONE_BY_ONE, creations
from autoprovisioning.app.unforeseen import known_or_unforeseen
from autoprovisioning.domain.accounts import Account, Lookup
from autoprovisioning.domain.changes import PlannedChange
from autoprovisioning.domain.entry import Action
from autoprovisioning.domain.errors import (
    AdoptionInDoubt,
    AuthorizationRefused,
    Permanent,
    ReauthorizationRequired,
    Throttled,
    Transient,
)
from autoprovisioning.domain.mapping import addresses
from autoprovisioning.domain.matching import match_accounts
from autoprovisioning.domain.plan import Plan

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Matched:
    """What Keeper said: userNames of the accounts to adopt, by SCIM id, and whose lookup it refused, and why."""

    names: Mapping[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def match(accounts: Accounts, plan: Plan, grounds: AdoptionGrounds, doubtful: Mapping[str, PlannedChange]) -> Matched:
    """Distinguish creations from adoptions and refusals.

    Few creations are looked up one by one, as the workers of a run do: a node may have many more accounts. Many are
    matched with one listing, as a run matches them, or also one by one if Keeper cannot be listed.

    Those `doubtful` whose failure would keep a run from looking are looked up too: an administrator may confirm them.
    """
    matched = Matched()
    waiting = doubtful.keys() - {change.user_id for change in plan.writes if change.action is Action.CREATE}
    plan.writes += [doubtful[user_id] for user_id in sorted(waiting)]
    count = creations(plan)
    if not count:
        return matched
    names: Mapping[str, str] | None = None
    try:
        if count > LOOKUPS_ONE_BY_ONE:
            names = _match_listed(accounts, plan, grounds)
        if names is None:
            names = match_accounts(plan, _looked_up(accounts, plan, matched.refused), grounds)
    except AuthorizationRefused as error:
        raise ReauthorizationRequired(
            f"Keeper does not show its accounts (HTTP {error.status}). Check what the access token may do."
        ) from None
    matched.names = names
    _leave_doubtful(plan, waiting)
    return matched


def _match_listed(accounts: Accounts, plan: Plan, grounds: AdoptionGrounds) -> Mapping[str, str] | None:
    """Match with one listing of Keeper; None if Keeper cannot be listed: then nothing of the plan has changed."""
    try:
        return match_accounts(plan, accounts.list(), grounds)
    except Throttled:
        raise
    except (Transient, Permanent) as error:
        log.warning("Keeper could not be listed: %s", type(error).__name__)
        return None


def _leave_doubtful(plan: Plan, waiting: Collection[str]) -> None:
    """For those who were looked up only because of their doubt, keep what is left of it, not what was planned."""
    left = {refusal.user_id for refusal in plan.refusals if isinstance(refusal.error, AdoptionInDoubt)} & {*waiting}
    plan.refusals = [each for each in plan.refusals if each.user_id in left or each.user_id not in waiting]
    plan.writes = [
        change
        for change in plan.writes
        if change.user_id not in left and not (change.user_id in waiting and change.action is Action.CREATE)
    ]
    plan.backing_off = [user_id for user_id in plan.backing_off if user_id not in left]
    plan.looks = {user_id: look for user_id, look in plan.looks.items() if user_id not in left}


def _looked_up(accounts: Accounts, plan: Plan, refused: dict[str, str]) -> Iterator[tuple[Account, ...]]:
    lookups = [
        Lookup(
            key=change.user_id,
            external_id=change.user_id,
            user_names=addresses(change.aliases, change.email, change.attributes),
        )
        for change in plan.writes
        if change.action is Action.CREATE
    ]
    for found in accounts.find(lookups):
        if isinstance(found.error, AuthorizationRefused):
            refused[found.key] = str(refusal_of_one())  # the token was accepted a moment ago
        elif found.error is not None:
            error = known_or_unforeseen(found.error)
            if isinstance(error, Throttled) or fails_for_everybody(error):
                raise error  # it is not about this user
            refused[found.key] = str(error)
        yield found.accounts
