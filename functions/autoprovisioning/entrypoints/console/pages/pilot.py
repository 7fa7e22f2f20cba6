"""A pilot: on for chosen people only, who are named by their addresses or selected in a preview."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from flask import Response

from autoprovisioning.app.administration.configure import turn_on_for
from autoprovisioning.app.administration.edits import edits_since
from autoprovisioning.domain.connections import LARGEST_PILOT, Connection, State
from autoprovisioning.domain.errors import BadInput, Forbidden, Stale, Transient
from autoprovisioning.entrypoints.answers import status_of, told
from autoprovisioning.entrypoints.console.pages.activity import changes
from autoprovisioning.entrypoints.console.pages.frame import edition, form, get, go, post, show_of
from autoprovisioning.entrypoints.console.routing import Call, existing

ONE = "/connections/<id:connection_id>/pilot"
Error = BadInput | Transient | Stale | Forbidden | None


def show_pilot(call: Call, connection_id: str) -> Response:
    """Ask for whom to turn on, or show whom the pilot is for."""
    connection = existing(call, connection_id)
    return _shown(call, connection, chosen_people(connection))


def change_pilot(call: Call, connection_id: str) -> Response:
    """Turn on for the people named, or change whom it is for; or take over whom somebody selected in a preview."""
    connection, sent = existing(call, connection_id), form(call)
    if sent.get("do") == "choose":
        return _shown(call, connection, [*chosen_people(connection), *sent.getlist("person")], unsaved=True)
    people = _typed(call)
    try:
        turn_on_for(
            call.parts.services,
            connection_id,
            people,
            call.actor,
            edition=edition(call),
            begins=sent.get("running") != "yes",
        )
    except (BadInput, Transient, Stale) as error:
        told(error)
        return _shown(call, existing(call, connection_id), people, error=error)
    return go(f"/connections/{connection_id}", "pilot")


def _again(call: Call, error: Forbidden, connection_id: str) -> Response:
    connection = existing(call, connection_id)
    if not _possible(connection):
        raise error
    return _shown(call, connection, _typed(call), error=error)


def _possible(connection: Connection) -> bool:
    """Say whether there is a pilot, or may be one: what is on for everybody is turned off first."""
    return connection.state is State.OFF or connection.pilot is not None


def _shown(
    call: Call, connection: Connection, people: Sequence[str], *, unsaved: bool = False, error: Error = None
) -> Response:
    if not _possible(connection):
        return go(f"/connections/{connection.id}")
    kept = isinstance(error, BadInput | Transient | Forbidden)
    stale = isinstance(error, Stale)
    return show_of(
        call,
        connection,
        "pilot.html",
        status_of(error) if error is not None else 200,
        crumbs=[(f"/connections/{connection.id}/pilot", "Pilot")],
        people=list(dict.fromkeys(people)),
        most=LARGEST_PILOT,
        edition=edition(call) if kept else connection.edition,
        edits=edits_since(call.parts.reports, connection, edition(call)) if stale else (),
        changes=changes,
        unsaved=unsaved or error is not None,
        error=error,
    )


def chosen_people(connection: Connection) -> Sequence[str]:
    """Return the people a pilot is for, as they are typed: by address, or by id where two were stored with the same."""
    chosen = connection.pilot or {}
    addresses = Counter(map(str.casefold, chosen.values()))
    return [address if addresses[address.casefold()] == 1 else user_id for user_id, address in chosen.items()]


def as_typed(connection: Connection, user_id: str, address: str) -> str:
    """Return somebody who may be chosen as they are typed: by id where a pilot has the address of somebody else."""
    chosen = connection.pilot or {}
    taken = {known.casefold() for each, known in chosen.items() if each != user_id}
    return user_id if address.casefold() in taken else address or user_id


def _typed(call: Call) -> Sequence[str]:
    """Return the people typed: one a line, or divided by commas, as lists of addresses are copied."""
    text = form(call).get("people", "")
    return [word for line in text.replace(",", "\n").replace(";", "\n").splitlines() if (word := line.strip())]


ROUTES = (get(ONE, show_pilot), post(ONE, change_pilot, again=_again))
