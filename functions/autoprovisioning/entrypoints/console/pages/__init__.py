"""The web pages."""

from __future__ import annotations

from flask import Response

from autoprovisioning.domain.errors import ProvisioningError
from autoprovisioning.entrypoints.answers import status_of, told
from autoprovisioning.entrypoints.console.routing import Route

ROUTES: tuple[Route, ...] = ()


def refused(error: ProvisioningError) -> Response:
    """Show an error as a page."""
    told(error)
    return Response(str(error), status=status_of(error), mimetype="text/plain")
