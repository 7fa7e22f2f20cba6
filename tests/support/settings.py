"""Settings changed at will: as nobody's edit, or as an administrator names them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.scope import Scope
from autoprovisioning.domain.settings import Settings


def with_settings(connection: Connection, **changes: Any) -> Connection:
    """Return the connection with some of its settings changed, as nobody's edit."""
    return replace(connection, settings=replace(connection.settings, **changes))


def changed(settings: Settings, *, scope_groups: Any = None, org_units: Any = None, **changes: Any) -> Settings:
    """Return the settings changed; groups and units are named as an administrator names them."""
    named = Scope.named(groups=scope_groups or (), org_units=org_units or ())
    scope = settings.scope
    if scope_groups is not None:
        scope = replace(scope, groups=named.groups)
    if org_units is not None:
        scope = replace(scope, org_units=named.org_units)
    return replace(settings, **{"scope": scope, **changes})
