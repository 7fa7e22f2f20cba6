"""What decides about adoptions on one connection, each part read once, when the first account asks for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from autoprovisioning.app.ports.directory import DirectoryUsers
from autoprovisioning.app.services import Services
from autoprovisioning.domain.adoption import Confirmed, RecordedLocks
from autoprovisioning.domain.changes import remembers_lock
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.directory_user import DirectoryUser
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import AdoptionInDoubt, ConfigurationRefused, Transient

log = logging.getLogger(__name__)


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
    def locks(self) -> RecordedLocks:
        """What we locked ourselves, over the rosters of all connections."""
        return self._holders[1]

    @cached_property
    def _holders(self) -> tuple[Mapping[str, str], RecordedLocks]:
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


def holders(services: Services, rosters: Mapping[str, Mapping[str, Entry]]) -> tuple[dict[str, str], RecordedLocks]:
    """Return SCIM id -> directory id over the rosters of all connections, and our locks; those not at hand are read."""
    held_by: dict[str, str] = {}
    locks: set[tuple[str, str]] = set()

    def take(roster: Mapping[str, Entry]) -> None:
        for entry in roster.values():
            if entry.scim_id:
                held_by[entry.scim_id] = entry.user_id
            if remembers_lock(entry):
                locks.update(((entry.user_id, entry.scim_id), (entry.user_id, entry.email.casefold())))

    for roster in rosters.values():
        take(roster)
    for other in services.connections.all():
        if other.id not in rosters:
            take(services.roster.load(other))
    return held_by, locks


def deleted_addresses(directory: DirectoryUsers) -> frozenset[str] | None:
    """Return the primary addresses, case-folded, of the users deleted in the last 20 days; None cannot be told."""
    try:
        return addresses_of(deleted_users(directory))
    except (Transient, ConfigurationRefused) as error:
        log.warning("The deleted users could not be listed: %s", error)
        return None


def deleted_users(directory: DirectoryUsers) -> list[DirectoryUser]:
    """List the users deleted in the last 20 days."""
    return [user for page in directory.deleted_users() for user in page]


def addresses_of(deleted: Iterable[DirectoryUser] | None) -> frozenset[str] | None:
    """Return their primary addresses, casefolded; None where those cannot be told."""
    addresses = frozenset(user.primary_email.casefold() for user in deleted) if deleted is not None else None
    return None if addresses is None or "" in addresses else addresses  # whose address is not told could have had any
