"""Who gets in: the proxy says who calls, the directory says what they are.

Super administrators may do everything, delegated administrators may look; suspended, archived and all other users get
nowhere. The directory is asked at every write; for reading its answer is valid for a minute, whatever it was.
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
REMEMBERED = 1_000  # people who may come in, and as many who may not

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
        """Read one user by primary address or alias; None where there is none, or none any more."""


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
    """What the directory said of whom within the last minute; bounded, so that strangers fill no memory."""

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
    """The roles of administrators, asked anew for every change; for those who look, and may not, kept for a minute.

    Refusals are kept apart: however many people are refused, no administrator has to be asked for again.
    """

    def __init__(self, people: People) -> None:
        self._people = people
        self._admitted = _Lately[Admitted]()
        self._refused = _Lately[str]()

    def now(self, caller: Caller, now: datetime) -> Admitted:
        """Ask the directory; raises Forbidden for everybody who is not an administrator."""
        self._admitted.forget(caller)  # whoever lost the role loses what was remembered of it
        self._refused.forget(caller)
        try:
            found = admitted(self._people, caller)
        except Forbidden as error:
            self._refused.keep(caller, str(error), now)
            raise
        self._admitted.keep(caller, found, now)
        return found

    def lately(self, caller: Caller, now: datetime) -> Admitted:
        """Return the role as of at most a minute ago; raises Forbidden, by an answer that is no older."""
        known = self._admitted.get(caller, now)
        if known is not None:
            return known
        refused = self._refused.get(caller, now)
        if refused is not None:
            raise Forbidden(refused)
        return self.now(caller, now)
