"""What every page does: show itself in the frame, accept a form, say what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from flask import Response
from werkzeug.datastructures import MultiDict

from autoprovisioning.app.administration.csrf import form_token, genuine
from autoprovisioning.app.administration.held_plans import FOLLOWS
from autoprovisioning.app.administration.roles import Role
from autoprovisioning.domain.connections import SERVING, Connection, State
from autoprovisioning.domain.errors import (
    BadInput,
    Forbidden,
    NotFound,
    ProvisioningError,
    ReauthorizationRequired,
    Stale,
    Transient,
    Unindexed,
    WrongState,
)
from autoprovisioning.domain.runs import Run, RunKind
from autoprovisioning.domain.texts import LONGEST_SEARCH
from autoprovisioning.domain.words import BEING_DELETED, shown_state
from autoprovisioning.entrypoints import notices
from autoprovisioning.entrypoints.answers import PRIVATE, body_of, status_of, told, told_beside
from autoprovisioning.entrypoints.console.routing import ROOT, Act, Call, Route
from autoprovisioning.entrypoints.pages import page, page_alone

T = TypeVar("T")

LARGEST_FORM = 256 * 1024
Crumbs = Sequence[tuple[str, str]]  # address and text
Again = Callable[..., Response]  # (call, error, **arguments of the path)

# What a page says once after a form was taken.
NOTICES: Mapping[str, str] = {
    "saved": "Saved.",
    "saved-run": "Saved. A reconciliation has been requested and will carry it out.",
    "on": "Autoprovisioning is on. A reconciliation has been requested.",
    "pilot": "Autoprovisioning is on for the chosen people only. A reconciliation has been requested.",
    "everybody": "Autoprovisioning is on for everybody. A reconciliation has been requested.",
    "off": "Autoprovisioning is off. The configuration stays; no changes are made.",
    "run": "A reconciliation has been requested. Health shows its progress.",
    "connected": "Keeper accepts the access token and the endpoint URL. They are saved as a draft.",
    "connected-bulk": "Keeper accepts the access token and the endpoint URL, and takes many changes at once (Bulk). "
    "They are saved as a draft.",
    "connected-single": "Keeper accepts the access token and the endpoint URL; it takes changes one by one (no Bulk). "
    "They are saved as a draft.",
    "finished": "The set-up is finished.",
    "deleting": f"{BEING_DELETED} Keeper accounts stay as they are.",
    "approved": f"Approved: {FOLLOWS}.",
    "retried": "Another attempt was requested. Those for whom it works leave this list within seconds.",
    "retried-run": "Another attempt was requested: a reconciliation tries everybody who is failing.",
    "confirmed": "Confirmed. These accounts are adopted once autoprovisioning is on. A new preview lists them as "
    "adopted.",
    "confirmed-run": "Confirmed. A reconciliation has been requested and adopts these accounts. A new preview lists "
    "them as adopted.",
    "rejected": "Rejected: these accounts stay as they are. You are asked again after 30 days.",
    "withdrawn": "The decision was withdrawn. Changes still due wait for another one.",
    "ignored": "Ignored: these accounts stay as they are, and are counted no more.",
    "not-ignored": "The account is counted again.",
    "chosen": "These accounts wait for approval. Nothing is locked before that.",
    "unlocking": "A reconciliation has been requested and unlocks the account.",
    "removals-approved": "Approved. A reconciliation has been requested, which takes them out of the team.",
    "team-adopted": "Confirmed. A reconciliation has been requested, which makes the team the group's.",
    "team-retried": "A reconciliation has been requested, which asks for the team again.",
    "taken-over": "Taken over. A reconciliation has been requested: what is due is carried out, or held as one plan.",
}
TITLES: tuple[tuple[type[ProvisioningError], str], ...] = (
    (Stale, "Changed in the meantime"),
    (NotFound, "Not found"),
    (Forbidden, "No access"),
    (Transient, "Not available just now"),
    (ReauthorizationRequired, "Needs reauthorization"),
    (WrongState, "Not possible just now"),
    (BadInput, "Not accepted"),
)


def get(path: str, act: Act) -> Route:
    """Return the route of a page."""
    return Route(method="GET", path=path, act=_telling(act))


def post(path: str, act: Act, *, looks: bool = False, again: Again | None = None) -> Route:
    """Return the route of a form: it is accepted only with the secret that our page gave it.

    That of a form that was open for too long has expired: `again` shows it with what was entered, for another attempt.
    """

    def taken(call: Call, **arguments: str) -> Response:
        try:
            _check_form(call)
        except Forbidden as error:
            if again is None:
                raise
            told(error)
            reloaded = Forbidden("The form was out of date and has been reloaded with what you entered. Send it again.")
            return again(call, reloaded, **arguments)
        return act(call, **arguments)

    return Route(method="POST", path=path, act=_telling(taken), looks=looks)


def show(call: Call, template: str, status: int = 200, *, crumbs: Crumbs = (), **values: Any) -> Response:
    """Return a page in the frame of the console."""
    parts = call.parts
    shown = page(
        template,
        status,
        actor=call.actor.address,
        role=call.role.value,
        may_change=call.role is Role.SUPER,
        csrf=form_token(parts.form_key, call.actor.address, parts.services.clock()),
        notice=notices.left(call.request).among(NOTICES),
        now=parts.services.clock(),
        here=call.request.path.rstrip("/") or "/",  # links are made from it by adding a slash and more
        api=ROOT,
        longest_search=LONGEST_SEARCH,
        **{"crumbs": [("/", "Apps"), *crumbs], "error": None, "connection": None, "badges": {}, **values},
    )
    return notices.said(shown, call.request)


def show_of(call: Call, connection: Connection, template: str, status: int = 200, **values: Any) -> Response:
    """Return a page about a connection, below it in the breadcrumbs."""
    home = f"/connections/{connection.id}"
    crumbs = [(home, connection.settings.name), *values.pop("crumbs", ())]
    held, failing, unread = values.pop("held", None), values.pop("failing", None), values.pop("nothing_else", False)
    if held is None:
        held = waiting_holds(call, connection)
    if failing is None:
        failing = call.parts.reports.failing_users(connection.id) if connection.begun else 0
    about = {"connection": connection, "state": shown_state(connection, held=held > 0), "held": held, "home": home}
    about["under_way"] = None if unread else under_way(call, connection)
    badges = {"failures": failing, "holds": held}
    return show(call, template, status, crumbs=crumbs, badges=badges, **about, **values)


def indexed(ask: Callable[[], T]) -> T | None:
    """Return what Firestore answers; None while it lacks the index for that, so that the rest of a page is shown."""
    try:
        return ask()
    except Unindexed as error:
        told(error)
        return None


def waiting_holds(call: Call, connection: Connection) -> int:
    """Count the held plans that wait for approval."""
    return call.parts.reports.plans_held(connection.id) if connection.state is State.ON else 0


def under_way(call: Call, connection: Connection) -> Run | None:
    """Return the run that looks at everybody just now, or at who was changed in Keeper; None where none does."""
    if connection.state not in SERVING:
        return None
    runs = [run for run in call.parts.services.runs.open(connection.id) if run.kind is not RunKind.SWEEP]
    return max(runs, key=lambda run: run.started, default=None)


def form(call: Call) -> MultiDict[str, str]:
    """Return the fields of the form."""
    return call.request.form


def sought(text: str | None) -> str:
    """Return what was typed into the search field, without the blanks around it."""
    return (text or "").strip()[:LONGEST_SEARCH]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Generic[T]):
    """The page of a list that is asked for: its rows, which one of how many pages it is, and the first row's number."""

    rows: Sequence[T]
    number: int
    pages: int
    first: int


def part_of(call: Call, rows: Sequence[T], size: int) -> Part[T]:
    """Return the page that is asked for, of so many rows each; the first if there is no such page."""
    pages = max(1, -(-len(rows) // size))
    text = call.request.args.get("page", "1")
    known = text.isascii() and text.isdigit() and len(text) < 7 and int(text) > 0
    number = min(int(text), pages) if known else 1
    start = (number - 1) * size
    return Part(rows=rows[start : start + size], number=number, pages=pages, first=start + 1)


def query_of(asked: Mapping[str, object], **changes: object) -> str:
    """Return what was asked for, with something changed, as the query of an address; what is not said is left out."""
    return urlencode({name: value for name, value in {**asked, **changes}.items() if value})


def edition(call: Call) -> int:
    """Return the edition that the form was shown with; what is not a number never matches the current one."""
    text = form(call).get("edition", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else -1


def go(path: str, done: str = "", **query: str) -> Response:
    """Go on to a page after a form was taken (RFC 9110 15.4.4); `done` is what it says there, once."""
    asked = {name: value for name, value in query.items() if value}
    answer = Response(status=303, headers={**PRIVATE, "Location": path + (f"?{urlencode(asked)}" if asked else "")})
    return notices.leave(answer, path, notices.Notice(word=done)) if done else answer


def _check_form(call: Call) -> None:
    body_of(call.request, LARGEST_FORM)
    parts = call.parts
    if not genuine(parts.form_key, call.actor.address, form(call).get("csrf", ""), parts.services.clock()):
        raise Forbidden("The form is out of date. Go back, reload the page and try again.")


def _telling(act: Act) -> Act:
    """Show what went wrong in the frame, to somebody who was let in."""

    def telling(call: Call, **arguments: str) -> Response:
        try:
            return act(call, **arguments)
        except ProvisioningError as error:
            told(error)
            shown = _told(call, error, arguments.get("connection_id", ""))
            shown.headers.update(told_beside(error))
            return shown

    return telling


def _told(call: Call, error: ProvisioningError, connection_id: str) -> Response:
    """Show an error below the tabs of the connection that it is about; nothing that failed is asked for again."""
    values, status = _error(error, call.request.path), status_of(error)
    connection = call.known.get(connection_id)
    if connection is None and connection_id and not isinstance(error, Transient | NotFound):
        connection = call.parts.services.connections.get(connection_id)
    if connection is None:
        return show(call, "error.html", status, **values)
    if not isinstance(error, Forbidden):
        values["back"] = f"/connections/{connection.id}"
    crumbs = [(call.request.path, values["title"])]
    unread = {"held": 0, "failing": 0, "nothing_else": True} if isinstance(error, Transient) else {}
    return show_of(call, connection, "error.html", status, crumbs=crumbs, **unread, **values)


def refusal(error: ProvisioningError) -> Response:
    """Show an error to somebody who was not let in, and so gets no assets, or who asked for something unknown."""
    told(error)
    status = status_of(error)
    frame = {"actor": "", "role": "", "may_change": False, "csrf": "", "notice": "", "crumbs": [], "connection": None}
    shown = page_alone("error.html", status, here="", now=None, **frame, **_error(error, "/"))
    shown.headers.update(told_beside(error))
    return shown


def _error(error: ProvisioningError, path: str) -> dict[str, Any]:
    title = next((title for kind, title in TITLES if isinstance(error, kind)), "Something went wrong")
    current = "/".join(path.split("/")[:3]) if path.startswith("/connections/") else "/"
    back = "/" if isinstance(error, NotFound | Forbidden) else current
    kinds = {"stale": isinstance(error, Stale), "forbidden": isinstance(error, Forbidden)}
    return {"error": error, "title": title, "back": back, **kinds}
