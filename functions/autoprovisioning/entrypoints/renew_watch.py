"""The door that Cloud Scheduler calls to keep a live notification channel."""

from __future__ import annotations

from typing import Any

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.renew_watch import renew_watch as renew
from autoprovisioning.bootstrap import watch
from autoprovisioning.entrypoints.answers import http, only_post


@functions_framework.http
def renew_watch(request: flask.Request) -> Response:
    """Open, prove and stop channels as due."""

    def act() -> dict[str, Any]:
        only_post(request)
        parts = watch()
        live = renew(parts.directory, parts.channels, parts.key, parts.address, parts.clock, parts.new_id)
        return {
            "channels": [
                {"id": channel.id, "expires": channel.expires, "proven": channel.proven, "event": channel.event}
                for channel in live
            ]
        }

    return http(act)
