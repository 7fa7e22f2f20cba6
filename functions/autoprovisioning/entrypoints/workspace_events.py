"""The entry point that the workspace-changes subscription pushes entries of the audit log to.

Cloud Scheduler calls it every minute for the runs that are due by then.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.notifications.follow_changes import ask_for_due_runs, follow
from autoprovisioning.bootstrap import ear, follower, now
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.sources import Feed
from autoprovisioning.domain.workspace_changes import tells_of_users
from autoprovisioning.entrypoints.answers import LARGEST_PUSH, answered, body_of, http, only, push
from autoprovisioning.log_entries import decode_entry
from autoprovisioning.messages import Push, decode_push
from autoprovisioning.telemetry import Tally

log = logging.getLogger(__name__)

outcomes = Tally(timedelta(minutes=1))


@functions_framework.http
def workspace_events(request: flask.Request) -> Response:
    """Take in one entry, or ask for the runs that are due; 503 asks for redelivery."""
    return answered(request, lambda: _answer(request, body_of(request, LARGEST_PUSH)))


def _answer(request: flask.Request, body: bytes) -> Response:
    if b'"message"' in body:
        return push(request, lambda: _take_in(decode_push(body)))

    def act() -> dict[str, Any]:
        only(request, "POST")
        requested = sorted(ask_for_due_runs(follower()))
        _tell()
        return {"requested": requested}

    return http(request, act)


def _take_in(message: Push) -> None:
    """Follow an entry. One that cannot be read is acknowledged, since it never will be, and counted."""
    following = follower()
    try:
        entry = decode_entry(message.data)
    except BadInput:
        outcomes.add("malformed")
    else:
        for outcome in follow(following, entry, message.published(following.clock())):
            outcomes.add(outcome)
        # Only now: where entries come, and none can be followed, runs must be made as often as without them.
        ear(Feed.AUDIT_LOG).hear(following.clock(), user=tells_of_users(entry))
    _tell()


def _tell() -> None:
    counts = outcomes.due(now())
    if counts:
        told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        log.info("Changes that the audit log reported: %s", told, extra={"json_fields": {"workspace_changes": counts}})
