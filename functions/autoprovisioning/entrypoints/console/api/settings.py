"""The settings of a connection as the API takes and gives them; a change is merged field by field (RFC 7396)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from autoprovisioning.app.administration.configure import LONGEST_NAME
from autoprovisioning.app.administration.tokens import LONGEST_TOKEN
from autoprovisioning.decoding import built
from autoprovisioning.domain import deprovisioning as policy
from autoprovisioning.domain import mapping
from autoprovisioning.domain.deprovisioning import LONGEST_DAYS
from autoprovisioning.domain.keeper import PatchDialect
from autoprovisioning.domain.scope import Scope
from autoprovisioning.domain.settings import LARGEST_MINIMUM, Settings, VolumeLimit
from autoprovisioning.domain.teams import MOST_PATTERNS, MOST_PENDING_DAYS, MOST_TEAMS, TeamChoice
from autoprovisioning.entrypoints.console.api.models import Model

T = TypeVar("T")
Text = Annotated[str, Meta(max_length=500)]
Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
Endpoint = Annotated[str, Meta(min_length=1, max_length=500)]
Token = Annotated[str, Meta(min_length=1, max_length=LONGEST_TOKEN, pattern=r"^\s*[!-~]*\s*$")]  # it goes into a header
Days = Annotated[int, Meta(ge=0, le=LONGEST_DAYS)]
# Described here and refused by the domain, in the same words as on a page.
Minimum = Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": LARGEST_MINIMUM})]
Patterns = Annotated[list[Text], Meta(extra_json_schema={"maxItems": MOST_PATTERNS})]
Most = Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": MOST_TEAMS})]
PendingDays = Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": MOST_PENDING_DAYS})]
Percent = Annotated[float, Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": 100})]


class Row(Model):
    """One line of the attribute mapping: `source`, a field of the directory user, to `target`, one of Keeper's."""

    target: Text
    source: Text
    mandatory: bool = False


class Delays(Model):
    """Days until a user is suspended and deleted after a trigger: 0 is within 24 hours, null never."""

    suspend_after: Days | None
    delete_after: Days | None


class Policy(Model):
    """Deprovisioning, for each of the three triggers."""

    app_off: Delays
    suspended: Delays
    deleted: Delays


class Limit(Model):
    """Suspensions and deletions allowed within 24 hours: `minimum`, or `percent` of the users if that is more."""

    minimum: int
    percent: float


class NewDelays(Model):
    """Days until a user is suspended and deleted after a trigger: 0 is within 24 hours, null never."""

    suspend_after: Days | UnsetType | None = UNSET
    delete_after: Days | UnsetType | None = UNSET


class NewPolicy(Model):
    """Deprovisioning, for the triggers that are named."""

    app_off: NewDelays | UnsetType = UNSET
    suspended: NewDelays | UnsetType = UNSET
    deleted: NewDelays | UnsetType = UNSET


class NewLimit(Model):
    """Suspensions and deletions allowed within 24 hours: `minimum`, or `percent` of the users if that is more."""

    minimum: Minimum | UnsetType = UNSET
    percent: Percent | UnsetType = UNSET


class NewScope(Model):
    """Who is provisioned; groups by e-mail address or id, organizational units by path or id."""

    groups: Annotated[list[Text], Meta(max_length=100)] | UnsetType = UNSET
    org_units: Annotated[list[Text], Meta(max_length=100)] | UnsetType = UNSET


class TeamGroup(Model):
    """A group chosen by itself."""

    id: str
    email: str
    name: str


class Teams(Model):
    """Which groups become teams: those named, and those of which a pattern fits name or address, but no exclusion.

    In patterns `*` stands for any text, `?` for one character. Keeper makes roles of names that begin with
    `role_prefix`: that is done only if `roles` is true. No more than `most` teams are made. The team of a group that is
    not chosen any more, or deleted, stays as it is, or is emptied if `empty_left` is true, once that is approved.
    Suspended people keep their memberships, or are taken out of their teams if `remove_suspended` is true. What was
    sent and Keeper does not show is awaited for `pending_days`.
    """

    groups: list[TeamGroup]
    patterns: list[str]
    exclusions: list[str]
    role_prefix: str
    roles: bool
    most: int
    empty_left: bool
    remove_suspended: bool
    pending_days: int


class NewTeams(Model):
    """Which groups become teams; groups by e-mail address or id. What is left out stays as it is."""

    groups: Annotated[list[Text], Meta(max_length=100)] | UnsetType = UNSET
    patterns: Patterns | UnsetType = UNSET
    exclusions: Patterns | UnsetType = UNSET
    role_prefix: Text | UnsetType = UNSET
    roles: bool | UnsetType = UNSET
    most: Most | UnsetType = UNSET
    empty_left: bool | UnsetType = UNSET
    remove_suspended: bool | UnsetType = UNSET
    pending_days: PendingDays | UnsetType = UNSET


class Adjustment(Model):
    """Settings that can be tried in a preview; what is left out stays as it is."""

    name: Name | UnsetType = UNSET
    mapping: Annotated[list[Row], Meta(max_length=200)] | UnsetType = UNSET
    scope: NewScope | UnsetType = UNSET
    deprovisioning: NewPolicy | UnsetType = UNSET
    limit: NewLimit | UnsetType = UNSET
    archived_as_suspended: bool | UnsetType = UNSET
    patch_dialect: PatchDialect | UnsetType = UNSET
    repair_drift: bool | UnsetType = UNSET
    teams: NewTeams | UnsetType = UNSET


class Change(Adjustment):
    """A change of the settings; what is left out stays as it is. A new endpoint needs its own token."""

    endpoint: Endpoint | UnsetType = UNSET
    token: Token | UnsetType = UNSET


class SetUp(Adjustment, kw_only=True):
    """A new connection; what is left out is as Google sets it up for Keeper."""

    name: Name
    endpoint: Endpoint
    token: Token


def merged(settings: Settings, change: Adjustment) -> Settings:
    """Return the settings with the change."""
    scope = NewScope() if change.scope is UNSET else change.scope
    limit = NewLimit() if change.limit is UNSET else change.limit
    endpoint = change.endpoint if isinstance(change, Change | SetUp) else UNSET
    return Settings(
        name=_or(change.name, settings.name),
        endpoint=_or(endpoint, settings.endpoint),
        mapping=settings.mapping if change.mapping is UNSET else _rows(change.mapping),
        scope=Scope(
            groups=settings.scope.groups if scope.groups is UNSET else Scope.named(groups=scope.groups).groups,
            org_units=(
                settings.scope.org_units
                if scope.org_units is UNSET
                else Scope.named(org_units=scope.org_units).org_units
            ),
        ),
        deprovisioning=_policy(settings.deprovisioning, change.deprovisioning),
        limit=VolumeLimit(
            minimum=_or(limit.minimum, settings.limit.minimum), percent=_or(limit.percent, settings.limit.percent)
        ),
        archived_as_suspended=_or(change.archived_as_suspended, settings.archived_as_suspended),
        patch_dialect=_or(change.patch_dialect, settings.patch_dialect),
        repair_drift=_or(change.repair_drift, settings.repair_drift),
        teams=settings.teams if isinstance(change.teams, UnsetType) else _teams(settings.teams, change.teams),
    )


def _teams(current: TeamChoice, change: NewTeams) -> TeamChoice:
    groups = change.groups
    return TeamChoice(
        groups=current.groups if isinstance(groups, UnsetType) else Scope.named(groups=groups).groups,
        patterns=tuple(_or(change.patterns, [*current.patterns])),
        exclusions=tuple(_or(change.exclusions, [*current.exclusions])),
        role_prefix=_or(change.role_prefix, current.role_prefix),
        roles=_or(change.roles, current.roles),
        most=_or(change.most, current.most),
        empty_left=_or(change.empty_left, current.empty_left),
        remove_suspended=_or(change.remove_suspended, current.remove_suspended),
        pending_days=_or(change.pending_days, current.pending_days),
    )


def _or(value: T | UnsetType, otherwise: T) -> T:
    return otherwise if isinstance(value, UnsetType) else value


def _rows(rows: list[Row]) -> mapping.AttributeMapping:
    return mapping.AttributeMapping(
        tuple(mapping.Row(target=row.target, source=row.source, mandatory=row.mandatory) for row in rows)
    )


def _policy(current: policy.Deprovisioning, change: NewPolicy | UnsetType) -> policy.Deprovisioning:
    if isinstance(change, UnsetType):
        return current
    return policy.Deprovisioning(
        app_off=_delays(current.app_off, change.app_off),
        suspended=_delays(current.suspended, change.suspended),
        deleted=_delays(current.deleted, change.deleted),
    )


def _delays(current: policy.Delays, change: NewDelays | UnsetType) -> policy.Delays:
    if isinstance(change, UnsetType):
        return current
    suspend, delete = change.suspend_after, change.delete_after
    return replace(
        current,
        suspend_after=current.suspend_after if isinstance(suspend, UnsetType) else suspend,
        delete_after=current.delete_after if isinstance(delete, UnsetType) else delete,
    )


def shown_rows(shown: mapping.AttributeMapping) -> list[Row]:
    """Return the attribute mapping."""
    return [Row(target=row.target, source=row.source, mandatory=row.mandatory) for row in shown.rows]


def shown_policy(shown: policy.Deprovisioning) -> Policy:
    """Return the deprovisioning."""
    return msgspec.convert(shown, built(Policy), from_attributes=True)


def shown_teams(shown: TeamChoice) -> Teams:
    """Return which groups become teams."""
    return msgspec.convert(shown, built(Teams), from_attributes=True)


def shown_limit(shown: VolumeLimit) -> Limit:
    """Return the volume limit."""
    return Limit(minimum=shown.minimum, percent=shown.percent)
