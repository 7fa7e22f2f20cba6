"""The caller, and the directory's users, groups and fields to choose from, in the API."""

from __future__ import annotations

from typing import Annotated

from flask import Response
from msgspec import UNSET, Meta, UnsetType

from autoprovisioning.app.administration.roles import Role
from autoprovisioning.app.administration.sample import sample_values
from autoprovisioning.domain import mapping
from autoprovisioning.domain.directory_fields import SOURCES
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.errors import Forbidden
from autoprovisioning.domain.keeper import MANDATORY
from autoprovisioning.domain.scim_user import ATTRIBUTES
from autoprovisioning.domain.texts import LONGEST_SEARCH
from autoprovisioning.entrypoints.console.api.connections import ScopeGroup
from autoprovisioning.entrypoints.console.api.models import Model
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer
from autoprovisioning.entrypoints.console.api.settings import Row
from autoprovisioning.entrypoints.console.routing import Call, existing


class Me(Model):
    """The caller, and whether they may change things."""

    email: str
    role: Role
    may_write: bool


class Search(Model):
    """What a name or an address begins with, or an id."""

    search: Annotated[str, Meta(min_length=1, max_length=LONGEST_SEARCH)]


class User(Model):
    """A user of the directory."""

    id: str
    email: str
    name: str
    presence: Presence
    org_unit: str


class Users(Model):
    """The first of those found."""

    items: list[User]
    cursor: str = ""


class Groups(Model):
    """The first of those found."""

    items: list[ScopeGroup]
    cursor: str = ""


class OrgUnits(Model):
    """Paths of organizational units."""

    items: list[str]
    cursor: str = ""


class Target(Model):
    """An attribute of Keeper's that can be mapped."""

    target: str
    mandatory: bool


class Choices(Model):
    """The choices of the attribute mapping; other sources can be typed in."""

    targets: list[Target]
    sources: list[str]


class Sampled(Model):
    """Whose values are wanted, and of which rows: the current ones if none are given.

    Rows are for super administrators, and need not be right.
    """

    email: Annotated[str, Meta(min_length=1, max_length=LONGEST_SEARCH)]
    mapping: Annotated[list[Row], Meta(max_length=200)] | UnsetType = UNSET


class SampleValue(Model):
    """What a row gives for the user, or why it gives nothing that could be sent."""

    target: str
    source: str
    value: str | bool | None
    problem: str


class SampleValues(Model):
    """The values of one user, in the order of the rows."""

    user_id: str
    email: str
    items: list[SampleValue]


def me(call: Call) -> Response:
    """Say who the caller is here."""
    return answer(Me(email=call.actor.address, role=call.role, may_write=call.role is Role.SUPER))


def search_users(call: Call, query: Search) -> Response:
    """Find users."""
    found = call.parts.services.directory.search_users(query.search.strip())
    return answer(Users(items=[_user(user) for user in found]))


def search_groups(call: Call, query: Search) -> Response:
    """Find groups."""
    found = call.parts.services.directory.search_groups(query.search.strip())
    return answer(Groups(items=[ScopeGroup(id=group.id, email=group.email, name=group.name) for group in found]))


def list_org_units(call: Call) -> Response:
    """List the organizational units."""
    return answer(OrgUnits(items=[unit.path for unit in call.parts.services.directory.org_units()]))


def mapping_choices(call: Call, connection_id: str) -> Response:
    """List what can be mapped to what."""
    rows = existing(call, connection_id).settings.mapping.rows
    sources = dict.fromkeys((*SOURCES, *sorted(row.source for row in rows)))
    optional = sorted(ATTRIBUTES.keys() - set(MANDATORY))
    targets = [Target(target=target, mandatory=target in MANDATORY) for target in (*MANDATORY, *optional)]
    return answer(Choices(targets=targets, sources=list(sources)))


def _user(user: DirectoryUser) -> User:
    return User(
        id=user.id, email=user.primary_email, name=user.name, presence=user.presence, org_unit=user.org_unit_path
    )


def sample_mapping(call: Call, body: Sampled, connection_id: str) -> Response:
    """Map rows for one user."""
    rows = existing(call, connection_id).settings.mapping.rows
    if not isinstance(body.mapping, UnsetType):
        if call.role is not Role.SUPER:  # rows can name any field, also those that no page shows
            raise Forbidden("Only super administrators may try rows that are not saved. Leave out the mapping.")
        rows = tuple(mapping.Row(target=row.target, source=row.source, mandatory=row.mandatory) for row in body.mapping)
    user, values = sample_values(call.parts.services.directory, rows, body.email.strip())
    shown = [
        SampleValue(
            target=row.target,
            source=row.source,
            value=found.value if found is not None else None,
            problem=found.problem if found is not None else "It is not filled in.",
        )
        for row, found in zip(rows, values, strict=True)
    ]
    return answer(SampleValues(user_id=user.id, email=user.primary_email, items=shown))


OPERATIONS = (
    Operation(
        name="me",
        method="GET",
        path="/me",
        what="Report who is calling",
        act=me,
        answers={200: Answers(what="The caller", model=Me)},
    ),
    Operation(
        name="searchUsers",
        method="GET",
        path="/directory/users",
        what="Find users of the directory",
        act=search_users,
        answers={200: Answers(what="At most 20 users", model=Users)},
        query=Search,
    ),
    Operation(
        name="searchGroups",
        method="GET",
        path="/directory/groups",
        what="Find groups of the directory",
        act=search_groups,
        answers={200: Answers(what="At most 20 groups", model=Groups)},
        query=Search,
    ),
    Operation(
        name="listOrgUnits",
        method="GET",
        path="/directory/org-units",
        what="List the organizational units",
        act=list_org_units,
        answers={200: Answers(what="Their paths", model=OrgUnits)},
    ),
    Operation(
        name="mappingChoices",
        method="GET",
        path="/connections/<id:connection_id>/mapping/choices",
        what="List the choices of the attribute mapping",
        act=mapping_choices,
        answers={200: Answers(what="Keeper's attributes and the directory's fields", model=Choices)},
    ),
    Operation(
        name="sampleMapping",
        method="POST",
        path="/connections/<id:connection_id>/mapping/sample",
        what="Show what rows of the attribute mapping give for a user",
        act=sample_mapping,
        answers={200: Answers(what="The values", model=SampleValues)},
        body=Sampled,
        looks=True,
    ),
)
