"""The entry point that the directory-changes subscription pushes to: converges a user, or answers an inquiry."""

from __future__ import annotations

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.administration.inquire import answer_inquiry
from autoprovisioning.app.provisioning.converge import converge
from autoprovisioning.app.provisioning.read_user import Asked
from autoprovisioning.bootstrap import channels, ear, process_services
from autoprovisioning.domain.sources import Feed
from autoprovisioning.entrypoints.answers import LARGEST_PUSH, body_of, push
from autoprovisioning.messages import decode_look, decode_push


@functions_framework.http
def provision_user(request: flask.Request) -> Response:
    """Converge the user a message names; 503 asks for redelivery."""

    def act() -> None:
        services = process_services()
        message = decode_push(body_of(request, LARGEST_PUSH))
        look = decode_look(message.data)
        if look.event == "sync":
            channels().prove(look.channel, services.clock())
            return
        if look.channel and services.through.audit_log:
            ear(Feed.NOTIFICATIONS).hear(services.clock(), user=True)
        asked = Asked(look=look, message_id=message.message_id, published=message.published(services.clock()))
        deadline = services.clock() + services.timings.user_deadline
        if look.inquiry:
            answer_inquiry(services, asked, deadline)
        else:
            converge(services, asked, deadline)

    return push(request, act)
