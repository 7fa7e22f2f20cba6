"""Who has access through a connection, in the API: listed, searched, downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from flask import Response
from msgspec import Meta

from autoprovisioning.app.administration.people import part, review
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.review import InKeeper, Review, Row, Shown
from autoprovisioning.domain.texts import LONGEST_SEARCH
from autoprovisioning.entrypoints.console.api.models import LIMIT, Model
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer, download
from autoprovisioning.entrypoints.console.export import export
from autoprovisioning.entrypoints.console.routing import Call, existing

HEADER = (
    "name",
    "e-mail",
    "in Google",
    "in Keeper",
    "why",
    "due",
    "last change",
    "user id",
    "account nobody provisions",
)


class Wanted(Model):
    """Which people are wanted: those of a state, and those whose name or address contains every word of `search`."""

    state: Shown | None = None
    search: Annotated[str, Meta(max_length=LONGEST_SEARCH)] = ""


class WantedPage(Wanted):
    """Which people are wanted, and which part of the list."""

    cursor: Annotated[str, Meta(max_length=3000)] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = LIMIT


class PersonListed(Model):
    """Somebody with an account, or entitled to one.

    `google` is the state in the directory, `keeper` that of the account. `due` is when access or account is to be
    taken away. `unprovisioned` is the SCIM id of an active account that nobody provisions; then `user_id` is its
    owner's, empty if unknown.
    """

    user_id: str
    email: str
    name: str
    google: Presence
    keeper: InKeeper
    why: str
    due: datetime | None
    last_change: datetime | None
    unprovisioned: str


class PeopleListed(Model):
    """A part of the list, in the order of names; `counts` are of all people of the connection, by state.

    What the roster says is as of `at`, names are as of `names_at`: null before the first full run that kept them.
    """

    at: datetime
    names_at: datetime | None
    total: int
    counts: dict[Shown, int]
    items: list[PersonListed]
    cursor: str


def list_people(call: Call, query: WantedPage, connection_id: str) -> Response:
    """List people."""
    reviewed = review(call.parts.services, existing(call, connection_id))
    found = reviewed.found(query.state, query.search)
    lines, cursor = part(found, query.cursor, query.limit)
    items = [_told(reviewed.row(line.person)) for line in lines]
    roll, counts = reviewed.roll, reviewed.counts()
    listed = PeopleListed(at=roll.at, names_at=roll.listed, total=len(found), counts=counts, items=items, cursor=cursor)
    return answer(listed)


def export_people(call: Call, query: Wanted, connection_id: str) -> Response:
    """Download people."""
    reviewed = review(call.parts.services, existing(call, connection_id))
    return export(f"people-{connection_id}.csv", HEADER, _rows(reviewed, query))


def _rows(reviewed: Review, query: Wanted) -> Iterator[tuple[object, ...]]:
    for line in reviewed.found(query.state, query.search):
        person = line.person
        row = reviewed.row(person)
        times = (at.isoformat() if at is not None else "" for at in (row.due, row.last))
        states = row.google.value, row.keeper.value, row.why
        yield (person.name, person.email, *states, *times, person.user_id, person.account)


def _told(row: Row) -> PersonListed:
    person = row.person
    return PersonListed(
        user_id=person.user_id,
        email=person.email,
        name=person.name,
        google=row.google,
        keeper=row.keeper,
        why=row.why,
        due=row.due,
        last_change=row.last,
        unprovisioned=person.account,
    )


_ONE = "/connections/<id:connection_id>"
OPERATIONS = (
    Operation(
        name="listPeople",
        method="GET",
        path=f"{_ONE}/users",
        what="List who has access, who is entitled to it, and the accounts that nobody provisions",
        act=list_people,
        answers={200: Answers(what="A part of the list, and how many there are of each state", model=PeopleListed)},
        query=WantedPage,
    ),
    Operation(
        name="exportPeople",
        method="GET",
        path=f"{_ONE}/users.csv",
        what="Download that list",
        act=export_people,
        answers=download("All of it"),
        query=Wanted,
    ),
)
