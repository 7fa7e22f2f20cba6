"""The entry point that Cloud Scheduler calls to keep a live notification channel."""

from __future__ import annotations

from typing import Any

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.notifications.renew_watch import renew_watch as renew
from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.bootstrap import watch
from autoprovisioning.entrypoints.answers import http, only


@functions_framework.http
def renew_watch(request: flask.Request) -> Response:
    """Open, prove and stop channels as due."""

    def act() -> dict[str, Any]:
        only(request, "POST")
        parts = watch()
        live = renew(
            parts.directory,
            parts.channels,
            parts.connections,
            key=parts.key,
            address=parts.address,
            clock=parts.clock,
            new_id=parts.new_id,
        )
        return {"channels": [_shown(channel) for channel in live]}

    return http(request, act)


def _shown(channel: Channel) -> dict[str, Any]:
    expires = channel.expires.isoformat() if channel.expires is not None else None
    return {"id": channel.id, "expires": expires, "proven": channel.proven, "event": channel.event}
