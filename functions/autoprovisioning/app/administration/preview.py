"""Preview what a connection would do with certain settings, before they are saved or it is turned on.

Asked for by an administrator, computed by `reconcile`, which alone may read the access token, and with the planner of
a run, so that what a preview says is what the next run does. Nothing is written but the preview: no lease, no mark, no
reservation, no hold. The directory and Keeper are only read.

What only Keeper's answer to a write would tell is not foreseen: an address taken in another node, or no free seats.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from autoprovisioning.app.administration.configure import as_edited, edit, needs_token, turned_on
from autoprovisioning.app.ports.accounts import Accounts
from autoprovisioning.app.ports.requests import Line, Preview, Previews, PreviewState, Would, question_id
from autoprovisioning.app.provisioning.adoption_grounds import AdoptionGrounds, confirmed_for, in_doubt
from autoprovisioning.app.provisioning.target import fails_for_everybody, keep_waiting, refusal_of_one
from autoprovisioning.app.provisioning.volume_guard import is_first
from autoprovisioning.app.runs.brake_plan import foreseen
from autoprovisioning.app.runs.close_run import beside_note
from autoprovisioning.app.runs.plan_everybody import LOOKUPS_ONE_BY_ONE, creations, judge_everybody, remarks
from autoprovisioning.app.services import Services
from autoprovisioning.app.unforeseen import unforeseen
from autoprovisioning.domain.accounts import Account, Lookup, changed_attributes
from autoprovisioning.domain.adoption import DELETED_HAD_IT
from autoprovisioning.domain.changes import told_beside
from autoprovisioning.domain.connections import SERVING, Connection, State
from autoprovisioning.domain.decision import Observed, Rules, decide
from autoprovisioning.domain.deprovisioning import Due, due
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Action, Entry, Status, Trigger
from autoprovisioning.domain.errors import (
    AdoptionInDoubt,
    AuthorizationRefused,
    NotFound,
    Permanent,
    ProvisioningError,
    ReauthorizationRequired,
    Throttled,
    Transient,
)
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.guard import Kind
from autoprovisioning.domain.mapping import addresses
from autoprovisioning.domain.observation import observed, rules_of
from autoprovisioning.domain.plan import Plan, PlannedLook, Planner, Refusal, match_accounts
from autoprovisioning.domain.runs import PlannedChange
from autoprovisioning.domain.settings import Settings

log = logging.getLogger(__name__)

KEPT = timedelta(hours=24)
PATIENCE = timedelta(minutes=10)  # so long a preview is tried again; then whoever asked for it hears what is wrong

ORDER: Mapping[Would, int] = {would: number for number, would in enumerate(Would)}
WOULD: Mapping[Action, Would] = {
    Action.DELETE: Would.DELETE,
    Action.SUSPEND: Would.SUSPEND,
    Action.UNSUSPEND: Would.UNSUSPEND,
    Action.RECREATE: Would.CREATE,
    Action.UNLOCK: Would.UNSUSPEND,
}
BECAUSE: Mapping[Trigger | None, str] = {
    Trigger.APP_OFF: "the app is turned off for them (not in scope)",
    Trigger.SUSPENDED: "suspended in the directory",
    Trigger.DELETED: "deleted in the directory",
    None: "",
}

UNPLANNED: Mapping[Action | None, str] = {
    Action.RECREATE: "the account vanished from Keeper",
    Action.UNLOCK: "locked in Keeper by someone else",
}
HELD = "; held for approval, or rejected before"
BRAKED = {
    Kind.GIVING: "Creations and reactivations",
    Kind.WIPING: "Changes of userNames and removals of values",
}


def ask_preview(
    services: Services, previews: Previews, connection_id: str, edition: int, settings: Settings, actor: Actor
) -> Preview:
    """Store a preview of these settings as waiting, and ask for it to be computed.

    Whoever asks again while it waits, or is computed, gets the same one: each reads the whole directory. One that has
    been shown is left as it is: what is confirmed or saved by its id is what was seen.

    Raises:
        NotFound, Stale: no such connection, or an administrator changed it since `edition`.
        BadInput: naming the field that an edit would be refused for, or "token" where there is none yet.
        Transient: it could not be asked for.
    """
    wanted = as_edited(services, connection_id, settings, edition)
    needs_token(wanted)
    # By id: what is saved is what was previewed, though a path be another unit's by then.
    settings = replace(settings, scope=replace(settings.scope, org_units=wanted.settings.scope.org_units))
    now = services.clock()
    name = question_id(actor, connection_id, str(edition), repr(settings))
    while (known := previews.get(connection_id, name)) is not None and known.finished is not None:
        name = question_id(actor, name, known.finished.isoformat())
    preview = Preview(
        id=name,
        connection_id=connection_id,
        edition=edition,
        settings=settings,
        asked_by=actor.address,
        asked_at=now,
        expires=now + KEPT,
    )
    opened = previews.open(preview, now - PATIENCE)
    if opened is not preview:
        return opened
    try:
        services.queue.request_preview(connection_id, preview.id)
    except ProvisioningError as error:
        _fail(services, previews, preview, str(error))  # or it would wait for a message that never comes
        raise
    return preview


def save_preview(
    services: Services, previews: Previews, connection_id: str, preview_id: str, actor: Actor
) -> Connection:
    """Save the settings that a preview was made of.

    Raises:
        NotFound: there is no such preview (any more), or no such connection.
        Stale, BadInput: as `configure.edit` raises them.
    """
    preview = previews.get(connection_id, preview_id)
    if preview is None:
        raise NotFound("There is no such preview: it may have expired. Ask for another one.")
    return edit(services, connection_id, preview.edition, preview.settings, actor)


def would_create(previews: Previews, connection: Connection, preview_id: str) -> int | None:
    """Return how many accounts a preview of the settings in force would create; None where there is no such preview."""
    preview = previews.get(connection.id, preview_id) if preview_id else None
    if preview is None or preview.state is not PreviewState.DONE or preview.settings != connection.settings:
        return None
    return preview.counts.get(Would.CREATE.value, 0)


def compute_preview(
    services: Services, previews: Previews, connection_id: str, preview_id: str, deadline: datetime
) -> None:
    """Compute a preview that waits, or whose computation was cut short; anything else is done with.

    A connection that was edited meanwhile is previewed all the same: what is refused then is saving it.

    Raises:
        Transient: ask again. A preview older than `PATIENCE` fails instead, with what was wrong the last time.
    """
    preview = previews.get(connection_id, preview_id)
    if preview is None or preview.state in (PreviewState.DONE, PreviewState.FAILED):
        return
    if not _exists(services, connection_id):
        return
    if services.clock() - preview.asked_at >= PATIENCE:
        problem = preview.problem or "It took too long."
        _fail(services, previews, preview, f"It could not be computed in time. {problem}")
        return
    running = replace(preview, state=PreviewState.RUNNING)
    previews.put(running)
    try:
        done, lines = _computed(services, running, deadline)
    except Transient as error:
        previews.put(replace(running, problem=str(error)))
        raise
    except ProvisioningError as error:
        _fail(services, previews, running, str(error))
        return
    if _exists(services, connection_id):  # what is stored below one that is deleted nobody forgets
        previews.fill(done, lines)


def _exists(services: Services, connection_id: str) -> bool:
    connection = services.connections.get(connection_id)
    return connection is not None and connection.state is not State.DELETING


def _fail(services: Services, previews: Previews, preview: Preview, problem: str) -> None:
    log.warning("A preview failed: %s", problem, extra={"json_fields": {"connection": preview.connection_id}})
    previews.put(replace(preview, state=PreviewState.FAILED, finished=services.clock(), problem=problem))


def _computed(services: Services, preview: Preview, deadline: datetime) -> tuple[Preview, list[Line]]:
    """Plan as a run would, and tell the plan as lines."""
    now = services.clock()
    connection = as_edited(services, preview.connection_id, preview.settings)
    accounts = _opened(services, connection)
    turned = turned_on(connection, now)
    connection = turned or replace(connection, state=State.ON)
    roster = services.roster.load(connection)
    rules = rules_of(connection, confirmed_for(services, connection, roster.values()))
    planner = _Claiming(connection, roster, rules, now)
    neighbours = _neighbours(services, connection)
    survey = judge_everybody(services, neighbours, {connection.id: planner}, {connection.id: roster}, deadline)
    plan = planner.plan
    grounds = AdoptionGrounds(services, connection, lambda: survey.deleted_addresses, {connection.id: roster})
    keeper = _match(accounts, plan, grounds, planner.doubtful)
    dropped = 0 if survey.whole(connection) else plan.drop_deprovisioning()
    due_now = len(plan.deprovisioning())
    if turned is not None:
        connection = replace(connection, confirmed=creations(plan))  # by whoever turns it on from this preview
    held, by_kind = foreseen(services, connection, plan, roster, first=is_first(services, connection))
    telling = _Telling(plan=plan, roster=roster, rules=rules, now=now, keeper=keeper, held=held)
    lines = sorted(telling.lines(), key=lambda line: (ORDER[line.would], line.email.casefold(), line.user_id))
    counts = Counter(line.would.value for line in lines)
    counts["unchanged"] = telling.unchanged
    notes = remarks(survey, connection, plan, dropped)
    taking = by_kind[Kind.TAKING]
    if 0 < taking < due_now:
        notes.append(f"Suspensions and deletions that would be held: {taking}; that go on: {due_now - taking}")
    notes += [f"{what} that would be held: {by_kind[kind]}" for kind, what in BRAKED.items() if by_kind[kind]]
    notes += _taken(services, connection, neighbours, planner.claimed)
    notes += telling.about_adoptions()
    if telling.unsettled:
        notes.append(f"Users whose last change was cut short, and who are looked at again first: {telling.unsettled}")
    done = replace(
        preview,
        state=PreviewState.DONE,
        finished=services.clock(),
        counts=dict(counts),
        held=0 < taking == due_now,
        notes=tuple(notes),
        problem="",
    )
    return done, lines


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
        if seen.desired is not None:
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


def _provisioned(entry: Entry) -> bool:
    return entry.status is not Status.NONE and not entry.deleted


def _taken(
    services: Services, connection: Connection, neighbours: Sequence[Connection], claimed: Collection[str]
) -> Iterator[str]:
    """Tell how many users of each other connection move to this one; who stays in the other one's scope does not."""
    for other in neighbours:
        if other.id == connection.id or not claimed:
            continue
        entries = services.roster.load(other).values()
        count = sum(entry.in_scope and _provisioned(entry) and entry.user_id in claimed for entry in entries)
        if count:
            yield (
                f"Users who move here from connection {other.settings.name} ({other.id}), which suspends or deletes "
                f"their accounts by its own policy once those here are made: {count}"
            )


@dataclass(slots=True, kw_only=True)
class _Keeper:
    """What Keeper said: userNames of the accounts to adopt, by SCIM id, and why it refused whose lookup."""

    names: Mapping[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def _match(accounts: Accounts, plan: Plan, grounds: AdoptionGrounds, doubtful: Mapping[str, PlannedChange]) -> _Keeper:
    """Tell creations from adoptions and refusals.

    Few creations are looked up one by one, as the workers of a run do: a node may have many more accounts. Many are
    matched with one listing, as a run matches them, or one by one as well where Keeper cannot be listed.

    Looked up besides are those `doubtful` whose failure would not let a run look: an administrator may confirm them.
    """
    keeper = _Keeper()
    waiting = doubtful.keys() - {change.user_id for change in plan.writes if change.action is Action.CREATE}
    plan.writes += [doubtful[user_id] for user_id in sorted(waiting)]
    count = creations(plan)
    if not count:
        return keeper
    names: Mapping[str, str] | None = None
    try:
        if count > LOOKUPS_ONE_BY_ONE:
            names = _match_listed(accounts, plan, grounds)
        if names is None:
            names = match_accounts(plan, _looked_up(accounts, plan, keeper.refused), grounds)
    except AuthorizationRefused as error:
        raise ReauthorizationRequired(
            f"Keeper does not show its accounts (HTTP {error.status}). Check what the access token may do."
        ) from None
    keeper.names = names
    _leave_doubtful(plan, waiting)
    return keeper


def _match_listed(accounts: Accounts, plan: Plan, grounds: AdoptionGrounds) -> Mapping[str, str] | None:
    """Match with one listing of Keeper; None where Keeper cannot be listed: nothing of the plan has changed then."""
    try:
        return match_accounts(plan, accounts.list(), grounds)
    except Throttled:
        raise
    except (Transient, Permanent) as error:
        log.warning("Keeper could not be listed: %s", type(error).__name__)
        return None


def _leave_doubtful(plan: Plan, waiting: Collection[str]) -> None:
    """Keep of those who were only looked up for their doubt the doubt that is left, in place of what was planned."""
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
            error = found.error if isinstance(found.error, ProvisioningError) else unforeseen(found.error)
            if isinstance(error, Throttled) or fails_for_everybody(error):
                raise error  # it is not about this user
            refused[found.key] = str(error)
        yield found.accounts


@dataclass(slots=True, kw_only=True)
class _Telling:
    """Tells a plan as lines, and takes it apart meanwhile, so that it and its lines need not be kept both.

    `unchanged` counts the accounts of whom nothing is told, `unsettled` those that a worker must fetch first: what is
    to be done for them cannot be told before.
    """

    plan: Plan
    roster: Mapping[str, Entry]
    rules: Rules
    now: datetime
    keeper: _Keeper
    held: frozenset[str]
    unchanged: int = 0
    unsettled: int = 0
    beside: int = 0
    passed_on: int = 0

    def about_adoptions(self) -> Iterator[str]:
        """Say what an administrator should know of the adoptions; once the lines are told."""
        if self.beside:
            yield beside_note(self.beside)
        if self.passed_on:
            yield f"To be confirmed although a user deleted lately had the address: {self.passed_on}"

    def lines(self) -> Iterator[Line]:
        """Tell each user's action or failure, and each user's timer that runs on."""
        told: set[str] = set()
        for line in self._planned():
            told.add(line.user_id)
            yield line
        for entry in self.roster.values():
            text = self._timer(entry)
            if text:
                yield Line(would=Would.WAIT, user_id=entry.user_id, email=entry.email, detail=text)
            elif entry.user_id not in told and entry.user_id not in self.plan.looks:
                self.unchanged += _provisioned(entry)

    def _planned(self) -> Iterator[Line]:
        while self.plan.writes:
            yield self._written(self.plan.writes.pop())
        for refusal in self.plan.refusals:
            yield self._refused(refusal)
        for user_id in self.plan.backing_off:
            entry = self.roster[user_id]
            yield Line(
                would=Would.FAIL,
                user_id=user_id,
                email=entry.email,
                detail=entry.failure.text if entry.failure is not None else "",
            )
        for user_id, planned in self.plan.looks.items():
            if planned.action is not None:
                email = self.roster[user_id].email
                why = UNPLANNED.get(planned.action) or BECAUSE[planned.trigger]
                detail = why + (HELD if user_id in self.held else "")
                yield Line(would=WOULD[planned.action], user_id=user_id, email=email, detail=detail)

    def _written(self, change: PlannedChange) -> Line:
        held = HELD if change.user_id in self.held else ""
        if change.action is Action.UPDATE:
            changed = changed_attributes(self.roster[change.user_id].fingerprint, change.attributes)
            return Line(
                would=Would.UPDATE, user_id=change.user_id, email=change.email, detail=", ".join(changed) + held
            )
        if change.user_id in self.keeper.refused:
            return Line(
                would=Would.FAIL, user_id=change.user_id, email=change.email, detail=self.keeper.refused[change.user_id]
            )
        if not change.scim_id:
            self.beside += bool(change.beside)
            scim_id = change.beside[0].scim_id if change.beside else ""
            return Line(
                would=Would.CREATE,
                user_id=change.user_id,
                email=change.email,
                detail=told_beside(change.beside) + held,
                scim_id=scim_id,
            )
        lock = " (stays locked)" if change.locked else " (reactivated)" if change.suspended else ""
        remarks = lock + (" (confirmed)" if change.confirmed else "")
        detail = self.keeper.names[change.scim_id] + remarks
        return Line(
            would=Would.ADOPT, user_id=change.user_id, email=change.email, detail=detail, scim_id=change.scim_id
        )

    def _refused(self, refusal: Refusal) -> Line:
        error = refusal.error
        if not isinstance(error, AdoptionInDoubt):
            return Line(would=Would.FAIL, user_id=refusal.user_id, email=refusal.email, detail=str(error))
        self.passed_on += DELETED_HAD_IT in error.detail
        return Line(
            would=Would.DOUBT, user_id=refusal.user_id, email=refusal.email, detail=error.detail, scim_id=error.scim_id
        )

    def _timer(self, entry: Entry) -> str:
        """Say when a user for whom nothing is due yet is suspended or deleted."""
        planned = self.plan.looks.get(entry.user_id)
        if planned is None:
            _, noted = self.plan.notes.get(entry.user_id, (entry, entry))
        else:
            noted = self._looked_at(entry, planned)
        if noted is None or noted.deleted or noted.status not in (Status.ACTIVE, Status.SUSPENDED):
            return ""
        return _dates(due(self.rules.deprovisioning, noted.timers, self.rules.clock, self.now), noted, self.now)

    def _looked_at(self, entry: Entry, planned: PlannedLook) -> Entry | None:
        """Return the entry as it is after the look; None where that cannot be told, or something is done now."""
        if planned.action is not None:
            return None
        if entry.mark is not None:
            self.unsettled += 1
            return None
        gone = Observed(
            user_id=entry.user_id, presence=Presence.DELETED, in_scope=None, email=entry.email
        )  # listed nowhere: the look proves it
        return decide(entry, gone, self.rules, self.now).noted


def _dates(when: Due, entry: Entry, now: datetime) -> str:
    later = [
        f"{what} on {at.date().isoformat()} ({BECAUSE[trigger]})"
        for what, at, trigger in (
            ("suspended", when.suspend if entry.status is Status.ACTIVE else None, when.suspend_by),
            ("deleted", when.delete, when.delete_by),
        )
        if at is not None and at > now
    ]
    return ", ".join(later)
