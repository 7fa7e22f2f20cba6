"""Confirm adoptions that a preview listed as in doubt, or accounts that it found under aliases.

Only what the preview says can be confirmed: which account would be whose comes from its stored lines, never from the
request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from autoprovisioning.app.administration.find_connection import staying
from autoprovisioning.app.administration.requests import existing
from autoprovisioning.app.ports.adoptions import Pair
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.entry import Status
from autoprovisioning.domain.errors import BadInput, WrongState
from autoprovisioning.domain.events import Actor, configured
from autoprovisioning.domain.requests import PREVIEW, Line, Preview, RequestState, Would
from autoprovisioning.domain.runs import RunKind

LINES_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """How many adoptions were confirmed, and whether a run that carries them out was asked for."""

    count: int
    run: bool


def confirm_adoptions(
    services: Services, connection_id: str, preview_id: str, users: Collection[str] | None, actor: Actor
) -> Confirmation:
    """Confirm the adoptions of these users (directory ids); None: of all who are in doubt, except under aliases.

    Raises:
        NotFound: there is no such connection, or no such preview (any more).
        WrongState: the preview is not done.
        BadInput: it names nobody, or somebody for whom the preview offers nothing to confirm (any more).
    """
    connection = staying(services, connection_id)
    preview = existing(services, PREVIEW, connection_id, preview_id)
    if preview.state is not RequestState.DONE:
        raise WrongState("The preview is not ready. Wait until it is, or request another one.")
    in_doubt = {line.user_id: line.scim_id for line in _lines(services, preview, Would.DOUBT)}
    if users is None:
        pairs: tuple[Pair, ...] = tuple(in_doubt.items())
    else:
        pairs = _chosen(services, preview, in_doubt, users)
        _still_without(services, connection, [user_id for user_id, _ in pairs if user_id not in in_doubt])
    if not pairs:
        return Confirmation(count=0, run=False)
    stamp = services.stamp(actor)
    doubtful = sum(user_id in in_doubt for user_id, _ in pairs)
    what = f"Confirmed adoptions: {doubtful} in doubt, {len(pairs) - doubtful} of accounts under an alias"
    services.adoptions.confirm(connection_id, pairs, actor.address, stamp.at, configured(stamp, what))
    run = connection.state is State.ON
    if run:
        services.queue.request_run(RunKind.FULL)
    return Confirmation(count=len(pairs), run=run)


def _chosen(services: Services, preview: Preview, in_doubt: dict[str, str], users: Collection[str]) -> tuple[Pair, ...]:
    wanted = dict.fromkeys(users)
    if not wanted:
        raise BadInput("users", "nobody is selected", "Choose users whom the preview lists under To be confirmed.")
    offered = dict(in_doubt)
    if not wanted.keys() <= offered.keys():
        offered |= {line.user_id: line.scim_id for line in _lines(services, preview, Would.CREATE) if line.scim_id}
    unknown = [user_id for user_id in wanted if user_id not in offered]
    if unknown:
        problem = f"for {len(unknown)} of them the preview offers no account to confirm"
        raise BadInput("users", problem, "Choose users listed with an account to confirm.")
    return tuple((user_id, offered[user_id]) for user_id in wanted)


def _still_without(services: Services, connection: Connection, users: Collection[str]) -> None:
    """Refuse those who have got a new account since: the one under their alias is no longer considered."""
    entries = services.roster.entries(connection, users)
    created = sum(entry.status is not Status.NONE for entry in entries.values())
    if created:
        problem = f"{created} of them got a new account after the preview"
        raise BadInput("users", problem, "Choose others, or request another preview.")


def _lines(services: Services, preview: Preview, would: Would) -> Iterator[Line]:
    cursor = ""
    while True:
        page = services.preview_lines.page(preview, would, cursor, LINES_AT_ONCE)
        yield from page.items
        cursor = page.cursor
        if not cursor:
            return
