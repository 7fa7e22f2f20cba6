"""Connections in the API: set up, read, edit, try, turn on and off, delete."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from flask import Response
from msgspec import UNSET, Meta, UnsetType

from autoprovisioning.app.administration import configure
from autoprovisioning.app.administration.preview import would_create
from autoprovisioning.app.administration.tokens import try_out
from autoprovisioning.domain import connections as domain
from autoprovisioning.domain.connections import LARGEST_PILOT, State
from autoprovisioning.domain.errors import Stale
from autoprovisioning.domain.keeper import PatchDialect
from autoprovisioning.domain.settings import Settings
from autoprovisioning.domain.words import BEING_DELETED, shown_state
from autoprovisioning.entrypoints.answers import PRIVATE, Unconditional
from autoprovisioning.entrypoints.console.api import settings
from autoprovisioning.entrypoints.console.api.models import Accepted, Model, Nothing, Paging
from autoprovisioning.entrypoints.console.api.operations import JSON, Answers, Operation, answer
from autoprovisioning.entrypoints.console.routing import ROOT, Call, existing

KEEP_AND_ASK = {**PRIVATE, "Cache-Control": "private, no-cache"}


Word = Literal["draft", "on", "pilot", "off", "paused", "deleting"]


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
    """A connection in a list. `shown_state` is the state in the console's words, a held plan included.

    "pilot" is on for chosen people only.
    """

    id: str
    name: str
    state: Word
    shown_state: str
    edition: int
    endpoint: str
    token_set: bool
    paused_reason: str
    changed_at: datetime | None


class Person(Model):
    """Somebody chosen for a pilot, with the address of then."""

    user_id: str
    email: str


class Connection(Summary):
    """A connection with its settings. The access token is never shown, only whether there is one.

    `pilot` are the people chosen for a pilot, be it paused; null where it is for everybody.
    """

    pilot: list[Person] | None
    mapping: list[settings.Row]
    scope: Scope
    deprovisioning: settings.Policy
    limit: settings.Limit
    archived_as_suspended: bool
    patch_dialect: PatchDialect
    repair_drift: bool
    teams: settings.Teams


class TurnOn(Model):
    """The preview that was seen before: a first run creates as many accounts as it says, and without one 50."""

    preview: str = ""


class Pilot(Model):
    """Whom a pilot is for: addresses or directory ids."""

    people: Annotated[list[settings.Text], Meta(min_length=1, max_length=LARGEST_PILOT)]


class Connections(Model):
    """Every connection, in order: one per Keeper node, so few that one page holds them."""

    items: list[Summary]
    cursor: str = ""


class Gone(Model):
    """A connection whose configuration was deleted."""

    id: str
    name: str
    deleted_at: datetime | None


class GoneConnections(Model):
    """A page of the connections whose configuration was deleted, latest first; their audit is still there."""

    items: list[Gone]
    cursor: str


class Attempt(Model):
    """A token to try, and an endpoint, if not the connection's own."""

    token: settings.Token
    endpoint: settings.Endpoint | UnsetType = UNSET


class Accepts(Model):
    """Keeper accepts the token; what the server offers."""

    accepted: bool
    bulk: bool
    max_operations: int
    max_payload: int


class Confirmation(Model):
    """The connection's name, typed by the person who deletes its configuration."""

    confirmation: settings.Text


def edition_meant(call: Call, connection: domain.Connection) -> int:
    """Return the edition that If-Match names (RFC 9110 13.1.1); raises Unconditional, Stale.

    An ETag begins with the edition; the rest covers what changes without an edit, and may have changed since.
    """
    if "If-Match" not in call.request.headers:
        raise Unconditional
    meant = call.request.if_match
    editions = {tag.partition(".")[0] for tag in meant.as_set()}
    if not meant.star_tag and str(connection.edition) not in editions:
        raise Stale("Another administrator has changed this connection. Reload it and make your change again.")
    return connection.edition


def _summary(call: Call, connection: domain.Connection) -> dict[str, Any]:
    held = connection.state is State.ON and call.parts.reports.plans_held(connection.id) > 0
    return {
        "id": connection.id,
        "name": connection.settings.name,
        "state": connection.state_word,
        "shown_state": shown_state(connection, held=held),
        "edition": connection.edition,
        "endpoint": connection.settings.endpoint,
        "token_set": bool(connection.token_version),
        "paused_reason": connection.paused_reason,
        "changed_at": connection.changed_at,
    }


def shown(call: Call, connection: domain.Connection, status: int = 200, **headers: str) -> Response:
    """Return a connection with its settings, and its ETag."""
    chosen = connection.settings
    groups = [ScopeGroup(id=group.id, email=group.email, name=group.name) for group in chosen.scope.groups]
    content = msgspec.json.encode(
        Connection(
            **_summary(call, connection),
            pilot=None
            if connection.pilot is None
            else [Person(user_id=k, email=v) for k, v in connection.pilot.items()],
            mapping=settings.shown_rows(chosen.mapping),
            scope=Scope(groups=groups, org_units=[unit.path for unit in chosen.scope.org_units]),
            deprovisioning=settings.shown_policy(chosen.deprovisioning),
            limit=settings.shown_limit(chosen.limit),
            archived_as_suspended=chosen.archived_as_suspended,
            patch_dialect=chosen.patch_dialect,
            repair_drift=chosen.repair_drift,
            teams=settings.shown_teams(chosen.teams),
        )
    )
    tag = f"{connection.edition}.{hashlib.sha256(content).hexdigest()[:12]}"
    return Response(content, status, {**KEEP_AND_ASK, "ETag": f'"{tag}"', **headers}, content_type=JSON)


def list_connections(call: Call) -> Response:
    """List them."""
    found = call.parts.services.connections.all()
    return answer(Connections(items=[Summary(**_summary(call, connection)) for connection in found]))


def list_deleted(call: Call, query: Paging) -> Response:
    """List those whose configuration was deleted."""
    page = call.parts.reports.deleted(query.cursor, query.limit)
    gone = [Gone(id=each.id, name=each.name, deleted_at=each.at) for each in page.items]
    return answer(GoneConnections(items=gone, cursor=page.cursor))


def set_up(call: Call, body: settings.SetUp, key: str) -> Response:
    """Set one up, a draft."""
    wanted, services, new = settings.merged(Settings(), body), call.parts.services, key[:12]
    known = services.connections.get(new) if new else None
    connection = known or configure.set_up(services, wanted, body.token, call.actor, new)
    return shown(call, connection, 201, Location=_address(connection.id))


def read(call: Call, connection_id: str) -> Response:
    """Read one."""
    return shown(call, existing(call, connection_id))


def edit(call: Call, body: settings.Change, connection_id: str) -> Response:
    """Change the given settings."""
    connection = existing(call, connection_id)
    edition = edition_meant(call, connection)
    wanted = settings.merged(connection.settings, body)
    token = "" if isinstance(body.token, UnsetType) else body.token
    return shown(
        call,
        configure.edit(call.parts.services, connection_id, edition, settings=wanted, actor=call.actor, token=token),
    )


def check(call: Call, body: Attempt, connection_id: str) -> Response:
    """Try a token and an endpoint, and save nothing."""
    connection = existing(call, connection_id)
    if not isinstance(body.endpoint, UnsetType):
        connection = replace(connection, settings=replace(connection.settings, endpoint=body.endpoint))
    found = try_out(call.parts.services, connection, body.token)
    return answer(
        Accepts(accepted=True, bulk=found.bulk, max_operations=found.max_operations, max_payload=found.max_payload)
    )


def finish(call: Call, body: Nothing, connection_id: str) -> Response:  # noqa: ARG001 - an empty object
    """End the set-up."""
    return shown(call, configure.finish(call.parts.services, connection_id, call.actor))


def turn_on(call: Call, body: TurnOn, connection_id: str) -> Response:
    """Turn it on."""
    creates = would_create(call.parts.services, existing(call, connection_id), body.preview)
    return shown(call, configure.turn_on(call.parts.services, connection_id, call.actor, creates=creates))


def turn_on_for(call: Call, body: Pilot, connection_id: str) -> Response:
    """Turn it on for chosen people only, or change who they are."""
    edition = edition_meant(call, existing(call, connection_id))
    services = call.parts.services
    return shown(call, configure.turn_on_for(services, connection_id, body.people, call.actor, edition=edition))


def turn_off(call: Call, body: Nothing, connection_id: str) -> Response:  # noqa: ARG001 - an empty object
    """Turn it off."""
    return shown(call, configure.turn_off(call.parts.services, connection_id, call.actor))


def delete(call: Call, body: Confirmation, connection_id: str) -> Response:
    """Delete the configuration, as soon as no change is in flight."""
    configure.delete(call.parts.services, connection_id, call.actor, body.confirmation)
    told = f"{BEING_DELETED} Location answers 404 once it is gone."
    return answer(Accepted(detail=told), 202, {"Location": _address(connection_id)})


def _address(connection_id: str) -> str:
    return f"{ROOT}/connections/{connection_id}"


_ONE = "/connections/<id:connection_id>"
_SHOWN = Answers(what="The connection", model=Connection, headers=("ETag",))


def _step(name: str, path: str, what: str, act: Callable[..., Response]) -> Operation:
    return Operation(
        name=name, method="POST", path=f"{_ONE}/{path}", what=what, act=act, answers={200: _SHOWN}, body=Nothing
    )


OPERATIONS = (
    Operation(
        name="listConnections",
        method="GET",
        path="/connections",
        what="List the connections",
        act=list_connections,
        answers={200: Answers(what="Every connection, in their order", model=Connections)},
    ),
    Operation(
        name="listDeletedConnections",
        method="GET",
        path="/deleted-connections",
        what="List the connections whose configuration was deleted",
        act=list_deleted,
        answers={200: Answers(what="A page of them, latest first", model=GoneConnections)},
        query=Paging,
    ),
    Operation(
        name="setUpConnection",
        method="POST",
        path="/connections",
        what="Set up a connection, once Keeper accepts its endpoint and token",
        act=set_up,
        keyed=True,
        answers={201: Answers(what="The connection, a draft", model=Connection, headers=("ETag", "Location"))},
        body=settings.SetUp,
        refusals=(412,),
    ),
    Operation(
        name="readConnection",
        method="GET",
        path=_ONE,
        what="Read a connection with its settings",
        act=read,
        answers={200: _SHOWN},
    ),
    Operation(
        name="editConnection",
        method="PATCH",
        path=_ONE,
        what="Change the given settings; a new token, or endpoint and token, are tried first",
        act=edit,
        answers={200: _SHOWN},
        body=settings.Change,
        if_match=True,
    ),
    Operation(
        name="checkConnection",
        method="POST",
        path=f"{_ONE}/check",
        what="Try a token and an endpoint against Keeper, and save nothing",
        act=check,
        answers={200: Answers(what="Keeper accepts them", model=Accepts)},
        body=Attempt,
    ),
    _step("finishSetUp", "finish", "Finish the set-up: the connection is off and can be turned on", finish),
    Operation(
        name="turnOn",
        method="POST",
        path=f"{_ONE}/turn-on",
        what="Turn autoprovisioning on for everybody, once the set-up is finished; that ends a pilot",
        act=turn_on,
        answers={200: _SHOWN},
        body=TurnOn,
        refusals=(409,),
    ),
    Operation(
        name="turnOnForChosen",
        method="POST",
        path=f"{_ONE}/pilot",
        what="Turn autoprovisioning on for chosen people only, or change whom a pilot is for",
        act=turn_on_for,
        answers={200: _SHOWN},
        body=Pilot,
        if_match=True,
        refusals=(409,),
    ),
    _step("turnOff", "turn-off", "Turn autoprovisioning off: the configuration stays, every change stops", turn_off),
    Operation(
        name="deleteConnection",
        method="DELETE",
        path=_ONE,
        what="Delete the configuration; accounts in Keeper stay as they are",
        act=delete,
        answers={
            202: Answers(
                what="It is being deleted, as soon as no change is in flight", model=Accepted, headers=("Location",)
            ),
        },
        body=Confirmation,
    ),
)
