"""A connection at a glance, in the API: whether it works, what needs somebody, how many accounts there are."""

from __future__ import annotations

from datetime import datetime

from flask import Response

from autoprovisioning.app.administration import overview as app
from autoprovisioning.app.administration.health import health
from autoprovisioning.app.administration.overview import Tone
from autoprovisioning.app.administration.people import review
from autoprovisioning.domain.review import Shown
from autoprovisioning.entrypoints.console.api.models import Model
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer
from autoprovisioning.entrypoints.console.routing import Call, existing


class Need(Model):
    """Something that needs somebody: `page` is the page of the console, below the connection's, where to deal with it.

    `number` is how many people or changes it is about, 0 where that is not counted; `causes` count users by the code of
    their failure.
    """

    tone: Tone
    what: str
    more: str
    page: str
    number: int
    causes: dict[str, int]


class Overview(Model):
    """Whether a connection works, in a sentence, and what needs somebody.

    `accounts` counts people by state, as the list of people does; `due` the suspensions and deletions of the next 7
    days, by action. Both are empty during the first full run, which writes all the roster.
    """

    at: datetime
    tone: Tone
    sentence: str
    needs: list[Need]
    accounts: dict[Shown, int]
    due: dict[str, int]


def overview(call: Call, connection_id: str) -> Response:
    """Tell what the overview tells."""
    parts, connection = call.parts, existing(call, connection_id)
    seen = health(parts.services, parts.reports, parts.channels, connection)
    needs = app.needs(parts.services, parts.reports, connection, seen)
    verdict = app.verdict(connection, seen, needs)
    reviewed = None if seen.first_run else review(parts.services, connection)
    return answer(
        Overview(
            at=seen.at,
            tone=verdict.tone,
            sentence=verdict.said,
            needs=[_need(need) for need in needs],
            accounts=reviewed.counts() if reviewed is not None else {},
            due=reviewed.due_within(app.SOON) if reviewed is not None else {},
        )
    )


def _need(need: app.Need) -> Need:
    return Need(
        tone=need.tone,
        what=need.what,
        more=need.more,
        page=need.page,
        number=need.number,
        causes={cause.code: cause.users for cause in need.causes},
    )


OPERATIONS = (
    Operation(
        name="overview",
        method="GET",
        path="/connections/<id:connection_id>/overview",
        what="Tell whether a connection works, what needs somebody, and how many accounts there are",
        act=overview,
        answers={200: Answers(what="The connection at a glance", model=Overview)},
    ),
)
