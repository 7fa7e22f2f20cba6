"""Who gets in: the proxy says who calls, the directory says what they are.

Super administrators may do everything, delegated administrators may look; suspended, archived and all other users have
no access. The directory is asked at every write; for reading its answer is valid for a minute, whatever it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.errors import Forbidden
from autoprovisioning.domain.events import Actor

REMEMBERED_FOR = timedelta(seconds=60)
REMEMBERED = 1_000  # people with access, and as many without

T = TypeVar("T")


class Role(StrEnum):
    """What an administrator may do here."""

    SUPER = "super administrator"
    DELEGATED = "delegated administrator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whom the proxy let through: the address, and the id of the Google account, empty where the proxy sends none."""

    address: str
    account_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """An administrator, and what they are."""

    actor: Actor
    role: Role


class Identity(Protocol):
    """Verifies the proxy's assertion."""

    def caller(self, assertion: str) -> Caller:
        """Return who calls; raises Forbidden."""


class People(Protocol):
    """Finds a directory user by address."""

    def by_address(self, address: str) -> DirectoryUser | None:
        """Read one user by primary address or alias; None if there is none (any more)."""


def admitted(people: People, caller: Caller) -> Admitted:
    """Return who the caller is here; raises Forbidden for everybody who is not an administrator.

    An address may be an alias, or have gone to another user since: the ids of account and user are the same one
    (developers.google.com/admin-sdk/directory, users.id; cloud.google.com/iap/docs/signed-headers-howto, sub).
    """
    user = people.by_address(caller.address)
    if user is None or user.presence is not Presence.ACTIVE:
        raise Forbidden(f"{caller.address} is not an active user of this organization.")
    if caller.account_id not in ("", user.id):
        raise Forbidden(f"{caller.address} belongs to another user of this organization. Sign in again.")
    if not user.is_admin and not user.is_delegated_admin:
        raise Forbidden(f"{caller.address} is not an administrator of this organization.")
    return Admitted(
        actor=Actor(address=caller.address, directory_id=user.id), role=Role.SUPER if user.is_admin else Role.DELEGATED
    )


class _Lately(Generic[T]):
    """What the directory said about callers within the last minute; bounded, so that strangers cannot fill memory."""

    def __init__(self) -> None:
        self._known: dict[Caller, tuple[datetime, T]] = {}

    def keep(self, caller: Caller, said: T, now: datetime) -> None:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[caller] = (now, said)

    def forget(self, caller: Caller) -> None:
        self._known.pop(caller, None)

    def get(self, caller: Caller, now: datetime) -> T | None:
        known = self._known.get(caller)
        return known[1] if known is not None and timedelta() <= now - known[0] < REMEMBERED_FOR else None


class Roles:
    """The roles of administrators, looked up for every change; for reading, and for refusals, kept for a minute.

    Refusals are kept apart: however many people are refused, no administrator's role has to be looked up again.
    """

    def __init__(self, people: People) -> None:
        self._people = people
        self._admitted = _Lately[Admitted]()
        self._refused = _Lately[str]()

    def now(self, caller: Caller, now: datetime) -> Admitted:
        """Ask the directory; raises Forbidden for everybody who is not an administrator."""
        self._admitted.forget(caller)  # a lost role must not be remembered
        self._refused.forget(caller)
        try:
            found = admitted(self._people, caller)
        except Forbidden as error:
            self._refused.keep(caller, str(error), now)
            raise
        self._admitted.keep(caller, found, now)
        return found

    def lately(self, caller: Caller, now: datetime) -> Admitted:
        """Return the role as of at most a minute ago; raises Forbidden, also as of at most a minute ago."""
        known = self._admitted.get(caller, now)
        if known is not None:
            return known
        refused = self._refused.get(caller, now)
        if refused is not None:
            raise Forbidden(refused)
        return self.now(caller, now)
