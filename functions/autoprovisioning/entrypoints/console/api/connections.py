"""Connections in the API: set up, read, edit, try, turn on and off, delete."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated

import msgspec
from flask import Response
from msgspec import UNSET, Meta, UnsetType

from autoprovisioning.app import configure
from autoprovisioning.app.configure import LONGEST_NAME, Settings, settings_of, shown_state
from autoprovisioning.app.tokens import LONGEST_TOKEN, try_out
from autoprovisioning.domain import connections as domain
from autoprovisioning.domain.connections import PatchDialect, State, VolumeLimit
from autoprovisioning.domain.deprovisioning import LONGEST_DAYS, Deprovisioning
from autoprovisioning.domain.deprovisioning import Delays as DelaysSet
from autoprovisioning.domain.errors import BadInput, Busy, NotFound, Stale
from autoprovisioning.domain.guard import HoldState
from autoprovisioning.domain.mapping import AttributeMapping
from autoprovisioning.domain.mapping import Row as MappingRow
from autoprovisioning.entrypoints.answers import PRIVATE, Unconditional
from autoprovisioning.entrypoints.console.api.models import Model, Nothing
from autoprovisioning.entrypoints.console.api.operations import ROOT, Answers, Operation, answer
from autoprovisioning.entrypoints.console.routing import Call

Text = Annotated[str, Meta(max_length=500)]
Days = Annotated[int, Meta(ge=0, le=LONGEST_DAYS)]


class Row(Model):
    """One line of the attribute mapping: `source`, a field of the directory user, to `target`, one of Keeper's."""

    target: Text
    source: Text
    mandatory: bool = False


class Delays(Model):
    """Days until a user is suspended and deleted after a trigger: 0 is within 24 hours, null never."""

    suspend_after: Days | None = 0
    delete_after: Days | None = None


class Policy(Model):
    """Deprovisioning, for each of the three triggers."""

    app_off: Delays = msgspec.field(default_factory=Delays)
    suspended: Delays = msgspec.field(default_factory=Delays)
    deleted: Delays = msgspec.field(default_factory=Delays)


class Limit(Model):
    """Suspensions and deletions allowed within 24 hours: at least `minimum`, else `percent` of the users."""

    minimum: Annotated[int, Meta(ge=1, le=1_000_000)] = 10
    percent: Annotated[float, Meta(gt=0, le=100)] = 5.0


class ScopeGroup(Model):
    """A group of the provisioning scope."""

    id: str
    email: str
    name: str


class Scope(Model):
    """Who is provisioned: members of these groups at or below these organizational units; none means everybody."""

    groups: list[ScopeGroup]
    org_units: list[str]


class Summary(Model):
    """A connection in a list. `shown_state` is the state in the console's words, a held plan included."""

    id: str
    name: str
    state: State
    shown_state: str
    edition: int
    endpoint: str
    token_set: bool
    paused_reason: str
    changed_at: datetime | None


class Connection(Summary):
    """A connection with its settings. The access token is never told, only whether there is one."""

    mapping: list[Row]
    scope: Scope
    deprovisioning: Policy
    limit: Limit
    archived_as_suspended: bool
    patch_dialect: PatchDialect


class Connections(Model):
    """Every connection, in their order."""

    items: list[Summary]
    cursor: str = ""


def existing(call: Call, connection_id: str) -> domain.Connection:
    """Read a connection; raises NotFound."""
    connection = call.parts.services.connections.get(connection_id)
    if connection is None:
        raise NotFound(f"There is no connection {connection_id!r}. Choose one of those listed.")
    return connection


def _held(call: Call, connection: domain.Connection) -> bool:
    holds = call.parts.services.records.holds(connection.id) if connection.state is State.ON else ()
    return any(hold.state is HoldState.WAITING for hold in holds)


def _summary(call: Call, connection: domain.Connection) -> Summary:
    return Summary(
        id=connection.id,
        name=connection.name,
        state=connection.state,
        shown_state=shown_state(connection, held=_held(call, connection)),
        edition=connection.edition,
        endpoint=connection.endpoint,
        token_set=bool(connection.token_version),
        paused_reason=connection.paused_reason,
        changed_at=connection.changed_at,
    )


def list_connections(call: Call) -> Response:
    """List them."""
    return answer(Connections(items=[_summary(call, found) for found in call.parts.services.connections.all()]))


OPERATIONS = (
    Operation(
        "listConnections",
        "GET",
        "/connections",
        "List the connections",
        list_connections,
        {200: Answers("Every connection, in their order", Connections)},
    ),
)
