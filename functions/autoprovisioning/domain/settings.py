"""What an administrator chooses for a connection."""

from __future__ import annotations

from dataclasses import dataclass, field

from .connections import Connection, PatchDialect, VolumeLimit
from .deprovisioning import Deprovisioning
from .mapping import AttributeMapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The editable part of a connection.

    Scope groups are named by e-mail address or id, organizational units by path or id: an id stays with what was chosen
    when a path or an address has become another one's.
    """

    name: str = "Keeper"
    endpoint: str = ""
    mapping: AttributeMapping = field(default_factory=AttributeMapping)
    scope_groups: tuple[str, ...] = ()
    org_units: tuple[str, ...] = ()
    deprovisioning: Deprovisioning = field(default_factory=Deprovisioning)
    limit: VolumeLimit = field(default_factory=VolumeLimit)
    archived_as_suspended: bool = False
    patch_dialect: PatchDialect = PatchDialect.STANDARD


def settings_of(connection: Connection) -> Settings:
    """Return the editable part of a connection as it stands."""
    return Settings(
        name=connection.name,
        endpoint=connection.endpoint,
        mapping=connection.mapping,
        scope_groups=tuple(group.id for group in connection.scope.groups),
        org_units=tuple(unit.key for unit in connection.scope.org_units),
        deprovisioning=connection.deprovisioning,
        limit=connection.limit,
        archived_as_suspended=connection.archived_as_suspended,
        patch_dialect=connection.patch_dialect,
    )
