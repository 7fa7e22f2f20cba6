"""The JSON API."""

from __future__ import annotations

from autoprovisioning.entrypoints.console.routing import Route

ROUTES: tuple[Route, ...] = ()
