"""People: who has access now, and why; and finding somebody from anywhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from flask import Response

from autoprovisioning.app.administration.people import review
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.directory_user import DirectoryUser
from autoprovisioning.domain.errors import ProvisioningError
from autoprovisioning.domain.review import Review, Row, Shown, Sort
from autoprovisioning.entrypoints.answers import told
from autoprovisioning.entrypoints.console.pages.frame import get, part_of, query_of, show, show_of, sought
from autoprovisioning.entrypoints.console.routing import Call, existing

ROWS = 50
FOUND = 8  # of each connection
CHIPS: Mapping[Shown, str] = {
    Shown.ACTIVE: "Active",
    Shown.SUSPENDED: "Suspended",
    Shown.NONE: "No account",
    Shown.FAILING: "Failing",
    Shown.HELD: "Held",
    Shown.WAITING: "Waiting",
    Shown.DUE: "Due in 30 days",
    Shown.LOCKED: "Locked in Keeper",
    Shown.UNPROVISIONED: "In Keeper, provisioned by nobody",
}
ALWAYS = (Shown.ACTIVE, Shown.SUSPENDED)  # the others only if there are any
COLUMNS: Mapping[Sort, str] = {
    Sort.NAME: "Person",
    Sort.GOOGLE: "In Google",
    Sort.KEEPER: "In Keeper",
    Sort.CHANGE: "Last change",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked for; an address of the page with something changed asks for the first page of it."""

    q: str = ""
    state: Shown | None = None
    sort: Sort = Sort.NAME
    descending: bool = False

    def query(self, **changes: object) -> str:
        """Return it as the query of an address, what is not said left out."""
        asked = {
            "q": self.q,
            "state": self.state.value if self.state is not None else "",
            "sort": self.sort.value if self.sort is not Sort.NAME else "",
            "order": "desc" if self.descending else "",
        }
        return query_of(asked, **changes)

    def downloaded(self) -> str:
        """Return the query of the same list in the API."""
        return query_of({"state": self.state.value if self.state is not None else "", "search": self.q})


def people(call: Call, connection_id: str) -> Response:
    """List who has access, who is entitled to it, and the accounts that nobody provisions."""
    connection = existing(call, connection_id)
    asked = _asked(call)
    reviewed = review(call.parts.services, connection)
    found = reviewed.found(asked.state, asked.q)
    part = part_of(call, reviewed.sorted(found, asked.sort, descending=asked.descending), ROWS)
    counts = reviewed.counts()
    elsewhere: Sequence[DirectoryUser] = ()
    unread = ""
    if asked.q and asked.state is None and part.number == 1:
        elsewhere, unread = _in_directory(call, asked.q, {line.user_id for line in part.rows})
    return show_of(
        call,
        connection,
        "people.html",
        crumbs=[(call.request.path, "People")],
        asked=asked,
        roll=reviewed.roll,
        total=len(reviewed.lines),
        counts=counts,
        chips=[
            (shown, text) for shown, text in CHIPS.items() if shown in ALWAYS or counts[shown] or shown is asked.state
        ],
        columns=COLUMNS,
        found=len(found),
        rows=[reviewed.row(line.person) for line in part.rows],
        number=part.number,
        pages=part.pages,
        first=part.first,
        elsewhere=elsewhere,
        unread=unread,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """Somebody found on a connection."""

    connection: Connection
    row: Row


def find(call: Call) -> Response:
    """Find somebody on any connection, and in the directory unless only the first `quick` answer is wanted."""
    letters = sought(call.request.args.get("q"))
    quick = call.request.args.get("quick") == "1"
    services = call.parts.services
    begun = [connection for connection in services.connections.all() if connection.begun]
    hits: list[Hit] = []
    more = False
    now = services.clock()
    for connection in begun if letters else ():
        reviewed = Review(services.people.read(connection, now), connection, now)
        found = reviewed.best(letters)
        more = more or len(found) > FOUND
        hits += [Hit(connection=connection, row=reviewed.row(line.person)) for line in found[:FOUND]]
    elsewhere: Sequence[DirectoryUser] = ()
    unread = ""
    if letters and not quick:
        elsewhere, unread = _in_directory(call, letters, {hit.row.person.user_id for hit in hits})
    return show(
        call,
        "find.html",
        crumbs=[("/find", "Find a person")],
        letters=letters,
        hits=hits,
        more=more,
        several=len(begun) > 1,
        first=begun[0] if begun else None,
        elsewhere=elsewhere,
        unread=unread,
        quick=quick,
    )


def _asked(call: Call) -> Asked:
    """Read what is asked for; what is not known counts as not said."""
    given = call.request.args
    state, sort = given.get("state", ""), given.get("sort", "")
    return Asked(
        q=sought(given.get("q")),
        state=Shown(state) if state in set(Shown) else None,
        sort=Sort(sort) if sort in set(Sort) else Sort.NAME,
        descending=given.get("order") == "desc",
    )


def _in_directory(call: Call, letters: str, shown: Collection[str]) -> tuple[Sequence[DirectoryUser], str]:
    """Return those of the directory who are not shown already, and why it could not be asked, if it could not."""
    try:
        found = call.parts.services.directory.search_users(letters)
    except ProvisioningError as error:  # who is provisioned is shown anyway
        told(error)
        return (), str(error)
    return [user for user in found if user.id not in shown], ""


ROUTES = (get("/connections/<id:connection_id>/users", people), get("/find", find))
