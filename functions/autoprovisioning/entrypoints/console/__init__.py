"""The administrators' entry point: a JSON API under /api, and the web pages, a client of the same use cases."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import flask
import functions_framework
from flask import Response

from autoprovisioning.bootstrap import administration
from autoprovisioning.domain.errors import ProvisioningError
from autoprovisioning.entrypoints.answers import answered, problem

if TYPE_CHECKING:
    from autoprovisioning.entrypoints.console.routing import Router


@functions_framework.http
def console(request: flask.Request) -> Response:
    """Answer an API call or show a page."""
    refuse = problem if request.path.startswith("/api") else _refused
    return answered(request, lambda: router().answer(request, administration()), refuse)


@lru_cache(maxsize=1)
def router() -> Router:
    """Build the table of routes; here, because main.py imports this module for every function (cold start)."""
    from autoprovisioning.entrypoints.console import api, pages
    from autoprovisioning.entrypoints.console.routing import Router

    return Router((*api.ROUTES, *pages.ROUTES))


def _refused(error: ProvisioningError) -> Response:
    from autoprovisioning.entrypoints.console.pages import refused

    return refused(error)
