"""Keep the chosen organizational units of a connection where the directory has them now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.events import Actor, Event, configured
from autoprovisioning.domain.scope import OrgUnit
from autoprovisioning.domain.words import described, missing_unit


def follow_units(services: Services, connection: Connection, listed: Sequence[OrgUnit] | None) -> None:
    """Store what a run found about the chosen organizational units: paths, ids that were missing, which are gone.

    The edition stays the same, so the plan stays valid. None (the units could not be listed) stores nothing.
    """
    if listed is None:
        return

    def change(current: Connection) -> Connection | None:
        units = current.settings.scope.located(listed).org_units
        if current.edition != connection.edition or units == current.settings.scope.org_units:
            return None
        return replace(
            current, settings=replace(current.settings, scope=replace(current.settings.scope, org_units=units))
        )

    def tell(was: Connection, becomes: Connection) -> Event:
        pairs = zip(was.settings.scope.org_units, becomes.settings.scope.org_units, strict=True)
        what = " ".join(filter(None, (_followed(before, now) for before, now in pairs)))
        return configured(services.stamp(Actor(address="reconcile")), what, described(was), described(becomes))

    services.connections.change(connection.id, change, tell)


def _followed(was: OrgUnit, now: OrgUnit) -> str:
    if was.listed and not now.listed:
        return f"{missing_unit(now)}."
    if now.listed and not was.listed:
        return f"The organizational unit {now.path} is in the directory again."
    if was.path != now.path:
        kind = "rename" if was.path.rpartition("/")[0] == now.path.rpartition("/")[0] else "move"
        return f"Followed the {kind} of {was.path} to {now.path}."
    return f"Noted the id of the organizational unit {now.path}." if was.id != now.id else ""
