"""Previews in the API: what a connection would do with other settings, computed before they are saved."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from flask import Response
from msgspec import Meta

from autoprovisioning.app.administration import requests
from autoprovisioning.app.administration.confirm_adoptions import confirm_adoptions
from autoprovisioning.app.administration.preview import ask_preview, save_preview
from autoprovisioning.domain import requests as domain
from autoprovisioning.domain.errors import BadInput, WrongState
from autoprovisioning.domain.requests import PREVIEW, RequestState, Would
from autoprovisioning.domain.teams import TeamState
from autoprovisioning.domain.words import teams_foreseen
from autoprovisioning.entrypoints.console.api import settings
from autoprovisioning.entrypoints.console.api.connections import Connection, edition_meant, shown
from autoprovisioning.entrypoints.console.api.models import LIMIT, Model, Nothing
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer, download
from autoprovisioning.entrypoints.console.api.requests import accepted, polled
from autoprovisioning.entrypoints.console.api.requests import shown as shown_request
from autoprovisioning.entrypoints.console.export import export
from autoprovisioning.entrypoints.console.routing import Call, existing


class TeamsForeseen(Model):
    """What would become of the groups that are chosen to be teams, and how many memberships of people with access.

    `made` have no team yet, `there` have one that carries the group's id, of `taken` another team has the name; `other`
    counts the rest by state. `unread` groups could not be listed, and their members are not counted; `suspended` are
    memberships of suspended people that are to end; `problem` says why nothing could be foreseen. `words` say it all in
    a sentence.
    """

    made: int
    there: int
    taken: int
    other: dict[TeamState, int]
    memberships: int
    unread: int
    suspended: int
    problem: str
    words: str


class Preview(Model):
    """What a connection would do: `counts` by `would`, and unchanged; `held` says that a guard would hold it.

    `everybody` says that a pilot would be over. `teams` is null where no group is chosen to be one, where a connection
    that is on would have the same choice, and before the preview is done. `problem` says why it failed. It expires
    automatically.
    """

    id: str
    state: RequestState
    edition: int
    everybody: bool
    asked_by: str
    asked_at: datetime
    expires: datetime
    finished: datetime | None
    counts: dict[str, int]
    held: bool
    notes: list[str]
    teams: TeamsForeseen | None
    problem: str


class Wanted(settings.Adjustment):
    """Settings to preview. That of a pilot is of the people chosen, or of what turning on for everybody would do."""

    everybody: bool = False


class WantsLines(Model):
    """Which users of a preview are wanted, and which part of the list."""

    would: Would | None = None
    cursor: Annotated[str, Meta(max_length=500)] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = LIMIT


class Line(Model):
    """One user of a preview, and why, or which attributes would change.

    `scim_id` is that of the account to adopt, of the one in doubt, or of one under an alias beside which a new one
    would be created; empty otherwise.
    """

    would: Would
    user_id: str
    email: str
    detail: str
    scim_id: str


class Adoptions(Model):
    """Whose adoptions are confirmed: directory ids of this preview's users, or all that are in doubt."""

    users: list[str] | None = None
    all: bool = False


class Confirmed(Model):
    """How many adoptions were confirmed, and whether a run was requested that carries them out."""

    confirmed: int
    run_requested: bool


class Lines(Model):
    """Users of a preview."""

    items: list[Line]
    cursor: str


def ask(call: Call, body: Wanted, key: str, connection_id: str) -> Response:
    """Ask for a preview of these settings."""
    connection = existing(call, connection_id)
    edition = edition_meant(call, connection)
    wanted, parts = settings.merged(connection.settings, body), call.parts
    preview = ask_preview(parts.services, connection.id, edition, wanted, call.actor, key=key, everybody=body.everybody)
    return accepted(_told(preview), preview, "previews")


def read(call: Call, connection_id: str, preview_id: str) -> Response:
    """Report how far it is, and what would happen."""
    preview = _existing(call, connection_id, preview_id)
    return polled(_told(preview), under_way=preview.under_way)


def list_lines(call: Call, query: WantsLines, connection_id: str, preview_id: str) -> Response:
    """List its users."""
    preview = _done(call, connection_id, preview_id)
    page = call.parts.services.preview_lines.page(preview, query.would, query.cursor, query.limit)
    return answer(Lines(items=list(map(_line, page.items)), cursor=page.cursor))


def export_lines(call: Call, connection_id: str, preview_id: str) -> Response:
    """Download its users."""
    preview = _done(call, connection_id, preview_id)
    header = ("would", "user id", "e-mail", "detail", "SCIM id")
    return export(f"preview-{connection_id}.csv", header, _rows(call, preview))


def save(call: Call, body: Nothing, connection_id: str, preview_id: str) -> Response:  # noqa: ARG001 - an empty object
    """Save the settings it was made of."""
    preview = _done(call, connection_id, preview_id)
    return shown(call, save_preview(call.parts.services, connection_id, preview.id, call.actor))


def confirm(call: Call, body: Adoptions, connection_id: str, preview_id: str) -> Response:
    """Confirm adoptions that it lists."""
    if body.all is (body.users is not None):
        raise BadInput("users", "it must have either users or all", 'Send {"users": [...]} or {"all": true}.')
    preview, parts = _done(call, connection_id, preview_id), call.parts
    done = confirm_adoptions(parts.services, connection_id, preview.id, body.users, call.actor)
    return answer(Confirmed(confirmed=done.count, run_requested=done.run))


def _existing(call: Call, connection_id: str, preview_id: str) -> domain.Preview:
    return requests.existing(call.parts.services, PREVIEW, existing(call, connection_id).id, preview_id)


def _done(call: Call, connection_id: str, preview_id: str) -> domain.Preview:
    preview = _existing(call, connection_id, preview_id)
    if preview.state is RequestState.FAILED:
        raise WrongState(f"The preview failed: {preview.problem}")
    if preview.state is not RequestState.DONE:
        raise WrongState("The preview is still being computed. Check its state first.")
    return preview


def _line(line: domain.Line) -> Line:
    return Line(would=line.would, user_id=line.user_id, email=line.email, detail=line.detail, scim_id=line.scim_id)


def _told(preview: domain.Preview) -> Preview:
    told = preview.result
    return shown_request(
        Preview,
        preview,
        edition=preview.subject.edition,
        everybody=preview.subject.everybody,
        counts=dict(told.counts),
        held=told.held,
        notes=list(told.notes),
        teams=_teams(told.teams),
    )


def _teams(found: domain.TeamsForeseen | None) -> TeamsForeseen | None:
    if found is None:
        return None
    return TeamsForeseen(
        made=found.made,
        there=found.there,
        taken=found.taken,
        other=dict(found.other),
        memberships=found.memberships,
        unread=found.unread,
        suspended=found.suspended,
        problem=found.problem,
        words=teams_foreseen(found),
    )


def _rows(call: Call, preview: domain.Preview) -> Iterator[tuple[object, ...]]:
    for line in call.parts.services.preview_lines.every(preview):
        yield line.would.value, line.user_id, line.email, line.detail, line.scim_id


_ALL = "/connections/<id:connection_id>/previews"
_ONE = f"{_ALL}/<id:preview_id>"
OPERATIONS = (
    Operation(
        name="askPreview",
        method="POST",
        path=_ALL,
        what="Compute what a connection would do with these settings; nothing is changed",
        act=ask,
        keyed=True,
        answers={202: Answers(what="It is being computed", model=Preview, headers=("Location",))},
        body=Wanted,
        if_match=True,
    ),
    Operation(
        name="readPreview",
        method="GET",
        path=_ONE,
        what="Report how far a preview is, and what would happen",
        act=read,
        answers={200: Answers(what="The preview", model=Preview)},
    ),
    Operation(
        name="listPreviewedUsers",
        method="GET",
        path=f"{_ONE}/users",
        what="List the users of a preview",
        act=list_lines,
        answers={200: Answers(what="A page of them", model=Lines)},
        query=WantsLines,
        refusals=(409,),
    ),
    Operation(
        name="exportPreviewedUsers",
        method="GET",
        path=f"{_ONE}/users.csv",
        what="Download the users of a preview",
        act=export_lines,
        answers=download("All of them"),
        refusals=(409,),
    ),
    Operation(
        name="savePreview",
        method="POST",
        path=f"{_ONE}/save",
        what="Save the settings of a preview",
        act=save,
        answers={200: Answers(what="The connection", model=Connection, headers=("ETag",))},
        body=Nothing,
        refusals=(412,),
    ),
    Operation(
        name="confirmAdoptions",
        method="POST",
        path=f"{_ONE}/adoptions",
        what="Confirm that accounts listed in a preview belong to its users; a run follows",
        act=confirm,
        answers={200: Answers(what="How many", model=Confirmed)},
        body=Adoptions,
    ),
)
