"""The web pages: each module has the routes of some pages and their forms."""

from __future__ import annotations

from flask import Response

from autoprovisioning.domain.errors import ProvisioningError
from autoprovisioning.entrypoints.console.pages import (
    activity,
    apps,
    assets,
    deletion,
    health,
    holds,
    keeper_changes,
    overview,
    people,
    pilot,
    previews,
    runs,
    settings,
    setup,
    teams,
    unprovisioned,
    users,
)
from autoprovisioning.entrypoints.console.pages.frame import refusal
from autoprovisioning.entrypoints.console.routing import Route

ROUTES: tuple[Route, ...] = (
    *assets.ROUTES,
    *apps.ROUTES,
    *overview.ROUTES,
    *setup.ROUTES,
    *settings.ROUTES,
    *previews.ROUTES,
    *pilot.ROUTES,
    *activity.ROUTES,
    *people.ROUTES,
    *teams.ROUTES,
    *users.ROUTES,
    *holds.ROUTES,
    *unprovisioned.ROUTES,
    *keeper_changes.ROUTES,
    *health.ROUTES,
    *runs.ROUTES,
    *deletion.ROUTES,
)


def refused(error: ProvisioningError) -> Response:
    """Show an error as a page to somebody who was not let in."""
    return refusal(error)
