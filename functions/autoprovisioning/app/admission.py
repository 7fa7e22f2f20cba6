"""Who gets in: the proxy says who calls, the directory says what they are.

Super administrators may do everything, delegated administrators may look; suspended, archived and all other users get
nowhere. The directory is asked at every write; for reading its answer is good for a minute.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from autoprovisioning.domain.errors import Forbidden
from autoprovisioning.domain.users import DirectoryUser, Presence

REMEMBERED_FOR = timedelta(seconds=60)
REMEMBERED = 1_000  # addresses


class Role(StrEnum):
    """What an administrator may do here."""

    SUPER = "super administrator"
    DELEGATED = "delegated administrator"


class Identity(Protocol):
    """Verifies the proxy's assertion."""

    def address(self, assertion: str) -> str:
        """Return the caller's e-mail address; raises Forbidden."""


class People(Protocol):
    """Finds a directory user by address."""

    def by_address(self, address: str) -> DirectoryUser | None:
        """Read one user by primary address or alias; None is a 404."""


def role_of(people: People, address: str) -> Role:
    """Return the role of the user with this address; raises Forbidden for everybody who is not an administrator."""
    user = people.by_address(address)
    if user is None or user.presence is not Presence.ACTIVE:
        raise Forbidden(f"{address} is not an active user of this organization.")
    if user.is_admin:
        return Role.SUPER
    if user.is_delegated_admin:
        return Role.DELEGATED
    raise Forbidden(f"{address} is not an administrator of this organization.")


class Roles:
    """The roles of administrators: asked anew for every change, remembered for a minute for those who look."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._known: dict[str, tuple[datetime, Role]] = {}

    def now(self, address: str, now: datetime) -> Role:
        """Ask the directory; raises Forbidden for everybody who is not an administrator."""
        self._known.pop(address, None)  # whoever lost the role loses what was remembered of it
        role = role_of(self._people, address)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[address] = (now, role)
        return role

    def lately(self, address: str, now: datetime) -> Role:
        """Return the role as of at most a minute ago; raises Forbidden."""
        known = self._known.get(address)
        if known is not None and timedelta() <= now - known[0] < REMEMBERED_FOR:
            return known[1]
        return self.now(address, now)
