"""Why? What the directory says about one user, what we know of their account, and what would be done now.

It reads a handful of documents and asks the directory a handful of questions. Keeper is not asked, and no access token
is read: `inquire` lets a worker do that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from autoprovisioning.app.administration.explain_teams import TeamsTold, explain_teams
from autoprovisioning.app.ports.reports import EventReports
from autoprovisioning.app.provisioning.adoption_grounds import confirmed_for
from autoprovisioning.app.provisioning.placement import AskedOneByOne, is_member, located, place
from autoprovisioning.app.provisioning.read_user import NOT_PROVEN, entry_of, read_user
from autoprovisioning.app.provisioning.volume_guard import standing_of
from autoprovisioning.app.services import Services
from autoprovisioning.domain import holds
from autoprovisioning.domain import scope as rule
from autoprovisioning.domain.accounts import Value, changed_attributes
from autoprovisioning.domain.causes import Cause
from autoprovisioning.domain.connections import SERVING, Connection, State
from autoprovisioning.domain.decision import Decision, Do, Observed, decide
from autoprovisioning.domain.deprovisioning import NEVER, due
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Action, Entry, Status, Trigger
from autoprovisioning.domain.errors import MappingFailure, NotFound
from autoprovisioning.domain.event_search import Filters
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.explanation import in_words
from autoprovisioning.domain.mapping import AttributeMapping, Row
from autoprovisioning.domain.observation import observed, rules_of
from autoprovisioning.domain.runs import Look
from autoprovisioning.domain.scope import Group, Located
from autoprovisioning.domain.texts import USER_ID
from autoprovisioning.domain.words import missing_unit

HISTORY = 20  # events


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeTold:
    """How the user relates to the provisioning scope; `in_scope` is None if not known.

    `groups` are the chosen ones that the user is a member of, nested membership included, `unit` the chosen one that
    holds the user; `owner` is the other connection that the user belongs to, `moving` says that it has not let them in
    yet, `outdated` that the account was active on another one since it was suspended here.
    """

    in_scope: bool | None
    words: str
    groups: tuple[Group, ...] = ()
    unit: str = ""
    owner: Connection | None = None
    moving: bool = False
    outdated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedValue:
    """One row of the mapping for this user: its value, or why it has none that could be sent."""

    target: str
    source: str
    value: Value
    mandatory: bool
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A deprovisioning trigger: seen since when, and when it makes what due; None is never."""

    trigger: Trigger
    since: datetime
    suspend: datetime | None
    delete: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything that decides about one user on one connection, as of `at`.

    `user` is as the directory shows them: of a deleted one there is only the address, and one whom the directory does
    not show has presence "unknown". `entry` is the roster's. `applied` is what was written last, empty if that is
    not known. `to_write` are the attributes in which the account, as last written, is not what the directory says; all
    of them if there is no account. `standing_still` says why timers do not run, empty while they do.
    """

    at: datetime
    connection: Connection
    user_id: str
    email: str
    user: DirectoryUser
    standing: ScopeTold
    mapped: tuple[MappedValue, ...]
    entry: Entry | None
    timers: tuple[Timer, ...]
    standing_still: str
    decision: Decision
    words: str
    held: holds.Standing | None  # what the held plans have decided about the change
    applied: Mapping[str, Value]
    to_write: Mapping[str, Value]
    teams: TeamsTold
    events: tuple[Event, ...]

    @property
    def action(self) -> Action | None:
        """What is to be done, None if nothing is."""
        return self.decision.action if isinstance(self.decision, Do) else None

    @property
    def cause(self) -> Cause | None:
        """What Google reported before the latest change, None if that had no cause of this kind."""
        return self.events[0].cause if self.events else None


def explain(services: Services, reports: EventReports, connection: Connection, user_id: str) -> Explanation:
    """Explain the state of one user, and what would be done now.

    On a connection that is off or a draft it is what would be done if it were turned on now.

    Raises:
        NotFound: neither the directory nor the roster nor the audit knows the id.
        Transient, ConfigurationRefused: the directory could not be asked.
    """
    if not USER_ID.fullmatch(user_id):
        raise NotFound("That is not a directory id. Search for the user by name or address.")
    now = services.clock()
    serving = _as_if_on(connection, now)
    entry = entry_of(services, connection, user_id)
    user = read_user(services.directory, Look(user_id=user_id), now, now)
    events = reports.events(connection.id, Filters(user=user_id), "", HISTORY).items
    if user.presence is Presence.UNKNOWN and not user.profile and entry is None and not events:
        why = "" if user.untold == NOT_PROVEN else f" {user.untold}"
        raise NotFound(f"Neither the directory nor this connection knows this user.{why} Search by name or address.")
    standing = _standing(services, serving, entry, user)
    seen = observed(serving, user, standing.in_scope, moving=standing.moving, outdated=standing.outdated)
    rules = rules_of(serving, confirmed_for(services, connection, [entry]))
    decision = decide(entry, seen, rules, now)
    held = standing_of(services, connection, decision)
    return Explanation(
        at=now,
        connection=connection,
        user_id=user_id,
        email=user.primary_email or (entry.email if entry is not None else "") or (events[0].email if events else ""),
        user=user,
        standing=standing,
        mapped=mapped_values(connection, user),
        entry=entry,
        timers=_timers(serving, decision.noted or entry, now),
        standing_still=_standing_still(connection, seen),
        decision=decision,
        words=_said(
            replace(serving, state=connection.state), standing, decision, entry=entry, seen=seen, now=now, held=held
        ),
        held=held,
        applied=_applied(services, connection, entry),
        to_write=_to_write(entry, seen),
        teams=explain_teams(services, connection, entry, user, standing.in_scope),
        events=tuple(events),
    )


def _as_if_on(connection: Connection, now: datetime) -> Connection:
    """Return the connection as it would be if it were turned on now: timers go on where they stood."""
    if connection.state in SERVING:
        return connection
    return replace(connection, state=State.ON, clock=connection.clock.started(now))


def _standing(services: Services, connection: Connection, entry: Entry | None, user: DirectoryUser) -> ScopeTold:
    """Determine the scope as a worker does, and why; each chosen group is asked once."""
    if user.presence in (Presence.DELETED, Presence.UNKNOWN):
        gone = user.untold or "The user is deleted in the directory."
        return ScopeTold(in_scope=None, words=f"{gone} There is no membership to judge the scope by.")
    own = _own_standing(services, connection, entry, user)
    connections = [connection if other.id == connection.id else other for other in services.connections.all()]
    entries = {other.id: entry_of(services, other, user.id) for other in connections if other.id != connection.id}
    entries[connection.id] = entry

    def was_in_scope(other: Connection) -> bool:
        known = entries[other.id]
        return known is not None and known.in_scope

    elsewhere = AskedOneByOne(services.directory, was_in_scope, ())

    def in_scope(other: Connection, someone: DirectoryUser) -> bool | None:
        return own.in_scope if other.id == connection.id else elsewhere(other, someone)

    placement = place(connections, user, in_scope, lambda other: entries[other.id])
    owner = next((other for other in connections if other.id == placement.owner != connection.id), None)
    told = placement.in_scope.get(connection.id)
    moving = owner is not None and placement.awaited
    if told is own.in_scope or not connection.operates_on(user.id):
        return replace(own, owner=owner, moving=moving, outdated=connection.id in placement.outdated)
    if owner is not None:
        known = entries[owner.id]
        why = "which comes first" if known is None or known.status is Status.NONE else "where they have their account"
        words = f"The user belongs to the connection {owner.settings.name}, {why}. {own.words}"
        return replace(own, in_scope=told, words=words, owner=owner, moving=moving)
    words = f"Whether the user still belongs to the connection that has their account is not known. {own.words}"
    return replace(own, in_scope=told, words=words)


def _own_standing(services: Services, connection: Connection, entry: Entry | None, user: DirectoryUser) -> ScopeTold:
    """Determine the scope of this connection alone, in words."""
    scope, path = connection.settings.scope, user.org_unit_path
    where = located(services.directory, connection)
    held = where.holds_unit(path)
    asked = () if held is False else scope.groups
    answers = {group: is_member(services.directory, group.id, user.id) for group in asked}
    told = rule.standing(held, answers.values(), unproven=entry is not None and entry.in_scope)
    unit = next((unit.path for unit in where.org_units if unit.listed and unit.holds(path)), "")
    inside = f"At or below the organizational unit {unit}. " if unit else ""
    if held is None:
        inside = f"{_doubt(where, path)} "
    groups = tuple(group for group, answer in answers.items() if answer)
    match told.why:
        case rule.Why.OUTSIDE:
            chosen = ", ".join(unit.path for unit in where.org_units)
            words = f"{path} is not at or below a chosen organizational unit ({chosen})."
        case rule.Why.UNIT:
            words = "" if inside else "Everybody in the organization is in scope."
        case rule.Why.MEMBER:
            words = f"Member of {_named(groups)}, directly or nested."
        case rule.Why.SILENT:
            unread = [group for group, answer in answers.items() if answer is None]
            words = f"The directory does not say whether the user is a member of {_named(unread)}."
        case rule.Why.UNPROVEN:
            words = "The user is in no chosen group now. That counts once a complete listing proves it."
        case rule.Why.NO_MEMBER:
            words = f"Not a member of {_named(scope.groups)}, neither directly nor nested."
    return ScopeTold(in_scope=told.in_scope, words=f"{inside}{words}".strip(), groups=groups, unit=unit)


def _doubt(where: Located, path: str) -> str:
    """Say why the organizational units do not decide."""
    if not where.paths:
        return "The directory did not list the organizational units."
    if where.unlisted:
        return f"{missing_unit(where.unlisted[0])}, so it is not known who is in it."
    if not path:
        chosen = ", ".join(unit.path for unit in where.org_units)
        return f"The directory does not show the user's organizational unit (chosen: {chosen})."
    return f"The directory does not list the user's own organizational unit {path} yet."


def _named(groups: Sequence[Group]) -> str:
    return ", ".join(group.email or group.id for group in groups)


def mapped_values(connection: Connection, user: DirectoryUser) -> tuple[MappedValue, ...]:
    """Map each row separately, so that one that fails does not hide the others."""
    if not user.profile:
        return ()
    return tuple(mapped_value(row, user) for row in connection.settings.mapping.rows)


def mapped_value(row: Row, user: DirectoryUser) -> MappedValue:
    """Map one row."""
    value, problem = None, ""
    try:
        value = AttributeMapping((row,)).apply(user.profile)[row.target]
    except MappingFailure as failure:
        problem = str(failure)
    return MappedValue(target=row.target, source=row.source, value=value, mandatory=row.required, problem=problem)


def _timers(connection: Connection, noted: Entry | None, now: datetime) -> tuple[Timer, ...]:
    timers = noted.timers if noted is not None else {}
    rows = []
    for trigger, timer in sorted(timers.items()):
        when = due(connection.settings.deprovisioning, {trigger: timer}, connection.clock, now)
        suspend, delete = (at if at < NEVER else None for at in (when.suspend, when.delete))
        rows.append(Timer(trigger=trigger, since=timer.since, suspend=suspend, delete=delete))
    return tuple(rows)


def _standing_still(connection: Connection, seen: Observed) -> str:
    if seen.presence is Presence.ARCHIVED and not connection.settings.archived_as_suspended:
        return "The user is archived."
    if not connection.operates_on(seen.user_id):
        return "The user is outside the pilot."
    return "The connection is off." if connection.state is State.OFF else ""


def _said(
    connection: Connection,
    standing: ScopeTold,
    decision: Decision,
    entry: Entry | None,
    seen: Observed,
    now: datetime,
    held: holds.Standing | None,
) -> str:
    owner = standing.owner.settings.name if standing.owner is not None and standing.in_scope is False else ""
    return in_words(decision, entry, seen, connection, now, owner=owner, held=held)


def _applied(services: Services, connection: Connection, entry: Entry | None) -> Mapping[str, Value]:
    if entry is None or not entry.applied_by:
        return {}
    return services.audit.applied(connection.id, [entry.applied_by]).get(entry.applied_by, {})


def _to_write(entry: Entry | None, seen: Observed) -> Mapping[str, Value]:
    if entry is None or entry.status is Status.NONE:
        return {target: value for target, value in seen.desired.items() if value is not None}
    return changed_attributes(entry.fingerprint, seen.desired)
