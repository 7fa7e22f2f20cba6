"""The door that the directory-changes subscription pushes to: converges one user."""

from __future__ import annotations

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.converge import Asked, converge
from autoprovisioning.bootstrap import channels, services
from autoprovisioning.entrypoints.answers import push
from autoprovisioning.messages import decode_look, decode_push


@functions_framework.http
def provision_user(request: flask.Request) -> Response:
    """Converge the user a message names; 503 asks for redelivery."""

    def act() -> None:
        desk = services()
        message = decode_push(request.get_data())
        look = decode_look(message.data)
        if look.event == "sync":
            channels().prove(look.channel, desk.clock())
            return
        deadline = desk.clock() + desk.timings.user_deadline
        converge(desk, Asked(look, message.message_id, message.publish_time), deadline)

    return push(request, act)
