"""What decides about adoptions on one connection, each part read once, when the first account asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from autoprovisioning.app.judging import holders
from autoprovisioning.app.services import Services
from autoprovisioning.domain.adoption import Confirmed, Locks
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import AdoptionInDoubt
from autoprovisioning.domain.roster import Entry


class AdoptionGrounds:
    """The Grounds of `domain.adoption` as they stand."""

    def __init__(
        self,
        services: Services,
        connection: Connection,
        deleted_addresses: Callable[[], frozenset[str] | None],
        rosters: Mapping[str, Mapping[str, Entry]],
    ) -> None:
        """Take the rosters that are at hand; those of other connections are read."""
        self._services = services
        self._connection = connection
        self._list_deleted = deleted_addresses
        self._rosters = rosters

    @property
    def held_by(self) -> Mapping[str, str]:
        """SCIM id -> directory id, over the rosters of all connections."""
        return self._holders[0]

    @property
    def locks(self) -> Locks:
        """What we locked ourselves, over the rosters of all connections."""
        return self._holders[1]

    @cached_property
    def _holders(self) -> tuple[Mapping[str, str], Locks]:
        return holders(self._services, self._rosters)

    @cached_property
    def deleted_addresses(self) -> frozenset[str] | None:
        """The primary addresses of the directory's deleted users, casefolded; None where they could not be listed."""
        return self._list_deleted()

    @cached_property
    def confirmed(self) -> Confirmed:
        """What administrators confirmed."""
        return self._services.adoptions.confirmed(self._connection.id)


def confirmed_for(services: Services, connection: Connection, entries: Iterable[Entry | None]) -> Confirmed:
    """Return what administrators confirmed, read only where somebody's failure is a doubt that it may settle."""
    if any(entry is not None and in_doubt(entry) for entry in entries):
        return services.adoptions.confirmed(connection.id)
    return {}


def in_doubt(entry: Entry) -> bool:
    """Say whether the user's failure is that an adoption is in doubt."""
    return entry.failure is not None and entry.failure.code == AdoptionInDoubt.code
