"""Who gets in: the proxy says who calls, the directory says what they are.

Super administrators may do everything, delegated administrators may read; suspended, archived and all other users get
nowhere. The directory is asked at every write.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from autoprovisioning.domain.errors import Forbidden
from autoprovisioning.domain.users import DirectoryUser, Presence


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


def require_super(identity: Identity, people: People, assertion: str) -> str:
    """Return the caller's address if they are a super administrator; raises Forbidden."""
    address = identity.address(assertion)
    if role_of(people, address) is not Role.SUPER:
        raise Forbidden(f"{address} may look, but only super administrators may change this.")
    return address
