"""What a preview predicts: it plans with the planner of a run, so that what it says is what the next run does.

Nothing is written: no lease, no mark, no reservation, no hold. The directory and Keeper are only read. What only
Keeper's answer to a write would show is not predicted: an address taken in another node, or no free seats.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from autoprovisioning.app.administration.configure import as_edited, for_everybody, turned_on
from autoprovisioning.app.administration.preview_lines import Telling, provisioned
from autoprovisioning.app.administration.preview_matches import match
from autoprovisioning.app.administration.preview_teams import foresee_teams, suspended_by, with_access
from autoprovisioning.app.ports.accounts import Accounts
from autoprovisioning.app.provisioning.adoption_grounds import AdoptionGrounds, confirmed_for, in_doubt
from autoprovisioning.app.provisioning.target import keep_waiting
from autoprovisioning.app.provisioning.volume_guard import is_first
from autoprovisioning.app.runs.brake_plan import foreseen
from autoprovisioning.app.runs.plan_everybody import creations, judge_everybody, remarks
from autoprovisioning.app.services import Services
from autoprovisioning.domain.changes import PlannedChange
from autoprovisioning.domain.connections import SERVING, Connection, State
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Action
from autoprovisioning.domain.errors import AuthorizationRefused, ReauthorizationRequired
from autoprovisioning.domain.guard import Kind
from autoprovisioning.domain.observation import observed, rules_of
from autoprovisioning.domain.plan import Planner
from autoprovisioning.domain.requests import Forecast, Line, Preview
from autoprovisioning.domain.words import BRAKED


def forecast(services: Services, preview: Preview, deadline: datetime) -> tuple[Forecast, list[Line]]:
    """Plan as a run would, and return the plan as lines."""
    now = services.clock()
    connection = as_edited(services, preview.connection_id, preview.subject.settings)
    current = services.connections.get(preview.connection_id)
    accounts = _opened(services, connection)
    turned = turned_on(connection, now)
    if turned is None and preview.subject.everybody:
        turned = for_everybody(connection, now)
    connection = replace(turned or connection, state=State.ON)
    roster = services.roster.load(connection)
    rules = rules_of(connection, confirmed_for(services, connection, roster.values()))
    planner = _Claiming(connection, roster, rules, now)
    neighbours = _neighbours(services, connection)
    survey = judge_everybody(services, neighbours, {connection.id: planner}, {connection.id: roster}, deadline)
    plan = planner.plan
    grounds = AdoptionGrounds(services, connection, lambda: survey.deleted_addresses, {connection.id: roster})
    matched = match(accounts, plan, grounds, planner.doubtful)
    dropped = 0 if survey.whole(connection) else plan.drop_deprovisioning()
    due_now = len(plan.deprovisioning())
    if turned is not None:
        connection = replace(connection, confirmed=creations(plan))  # by the person who turns it on from this preview
    teams = None
    if turned is not None or current is None or current.settings.teams != connection.settings.teams:
        people, suspended = with_access(connection, roster, plan), suspended_by(connection, roster, plan)
        teams = foresee_teams(services, connection, accounts, people=people, suspended=suspended, deadline=deadline)
    held, by_kind = foreseen(services, connection, plan, roster, first=is_first(services, connection))
    telling = Telling(plan=plan, roster=roster, rules=rules, now=now, matched=matched, held=held)
    lines = telling.listed()
    counts = Counter(line.would.value for line in lines)
    counts["unchanged"] = telling.unchanged
    notes = remarks(survey, connection, plan, dropped)
    taking = by_kind[Kind.TAKING]
    if 0 < taking < due_now:
        notes.append(f"Suspensions and deletions that would be held: {taking}; not held: {due_now - taking}")
    notes += [f"{what} that would be held: {by_kind[kind]}" for kind, what in BRAKED.items() if by_kind[kind]]
    notes += _taken(services, connection, neighbours, planner.claimed)
    notes += telling.about_adoptions()
    if telling.unsettled:
        notes.append(f"Users whose last change was interrupted, and who are looked at again first: {telling.unsettled}")
    return Forecast(counts=dict(counts), held=0 < taking == due_now, notes=tuple(notes), teams=teams), lines


def _opened(services: Services, connection: Connection) -> Accounts:
    """Make sure that Keeper accepts the token; a refusal pauses nothing here, the next run does that.

    Raises:
        ReauthorizationRequired: it does not.
    """
    keep_waiting(connection, services.clock())
    token = services.tokens.read(connection.id, connection.token_version)
    accounts = services.accounts_for(connection, token)
    try:
        accounts.probe()
    except AuthorizationRefused as error:
        raise ReauthorizationRequired(
            f"Keeper refuses the access token (HTTP {error.status}). Reauthorize the connection, then ask again."
        ) from None
    return accounts


def _neighbours(services: Services, connection: Connection) -> list[Connection]:
    """Return the connections that a user may belong to, in their order, with this one as it would be."""
    known = (connection if other.id == connection.id else other for other in services.connections.all())
    return [other for other in known if other.state in SERVING]


class _Claiming(Planner):
    """A planner that remembers whose connection this one is, and whose adoption has been in doubt so far."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.claimed: set[str] = set()
        self.doubtful: dict[str, PlannedChange] = {}

    def see(
        self,
        user: DirectoryUser,
        in_scope: bool | None,
        left: Callable[[], tuple[str, ...]] = tuple,
        *,
        moving: bool = False,
        outdated: bool = False,
    ) -> None:
        """Judge one user; those in scope belong to this connection."""
        if in_scope:
            self.claimed.add(user.id)
            self._note_doubt(user)
        super().see(user, in_scope, left, moving=moving, outdated=outdated)

    def _note_doubt(self, user: DirectoryUser) -> None:
        entry = self._roster.get(user.id)
        if entry is None or entry.mark is not None or not in_doubt(entry) or user.presence is not Presence.ACTIVE:
            return
        seen = observed(self._connection, user, in_scope=True)
        if seen.desired:
            self.doubtful[user.id] = PlannedChange(
                user_id=user.id,
                email=seen.email,
                version=entry.version,
                action=Action.CREATE,
                attributes=seen.desired,
                scim_id="",
                aliases=seen.aliases,
                created=seen.created,
            )


def _taken(
    services: Services, connection: Connection, neighbours: Sequence[Connection], claimed: Collection[str]
) -> Iterator[str]:
    """Say how many users of each other connection move to this one; those still in the other one's scope do not."""
    for other in neighbours:
        if other.id == connection.id or not claimed:
            continue
        entries = services.roster.load(other).values()
        count = sum(entry.in_scope and provisioned(entry) and entry.user_id in claimed for entry in entries)
        if count:
            yield (
                f"Users who move here from connection {other.settings.name} ({other.id}), which suspends or deletes "
                f"their accounts by its own policy once those here exist: {count}"
            )
