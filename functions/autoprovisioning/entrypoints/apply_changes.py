"""The entry point that the planned-changes subscription pushes to: applies one batch of a run."""

from __future__ import annotations

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.runs.apply_batch import apply_batch
from autoprovisioning.bootstrap import process_services
from autoprovisioning.entrypoints.answers import LARGEST_PUSH, body_of, push
from autoprovisioning.messages import decode_batch, decode_push


@functions_framework.http
def apply_changes(request: flask.Request) -> Response:
    """Apply the batch a message carries; 503 asks for redelivery."""

    def act() -> None:
        services = process_services()
        message = decode_push(body_of(request, LARGEST_PUSH))
        now = services.clock()
        batch = decode_batch(message.data)
        apply_batch(services, batch, message.message_id, message.published(now), now + services.timings.batch_deadline)

    return push(request, act)
