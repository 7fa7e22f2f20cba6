"""A look at one user: who asked for it, and what the directory and the scope of each connection show."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from autoprovisioning.app.guarding import approved_actions
from autoprovisioning.app.observe import NOT_PROVEN, read_user
from autoprovisioning.app.scoping import AskedOneByOne, Placement, place
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import DirectoryFailed
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.plan import missed_twice
from autoprovisioning.domain.roster import Entry
from autoprovisioning.domain.runs import Look
from autoprovisioning.domain.users import DirectoryUser, Presence

log = logging.getLogger(__name__)

LISTED_ONLY = "The directory lists this user, but knows no such user when it is asked for this one alone."


@dataclass(frozen=True, slots=True)
class RunOf:
    """A run, and the connection it is of: what happens on other connections is none of its business."""

    id: str
    connection_id: str


class Tell(Protocol):
    """Told what is done, step by step, without attribute values: for an administrator who waits."""

    def __call__(self, text: str, *, failed: bool = False) -> None:
        """Take one step."""


def nobody_waits(text: str, *, failed: bool = False) -> None:
    """Do nothing: a Tell for everything that no administrator asked for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One delivery of "look at this user again"."""

    look: Look
    message_id: str
    published: datetime
    run: RunOf | None = None  # counts go to this run
    retry_failures: bool = False
    tell: Tell = nobody_waits
    actor: Actor | None = None  # the administrator who asked, as stored; None where nobody did

    @property
    def by(self) -> Actor:
        """Return who the audit says did it."""
        return self.actor or Actor(f"run {self.run.id}" if self.run is not None else f"notification {self.message_id}")


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at both sides; `missing` is as an `Observed` has it."""

    user: DirectoryUser
    placement: Placement
    missing: bool | None


def look_at_both(
    services: Services, connections: Sequence[Connection], connection: Connection, entry: Entry | None, asked: Asked
) -> Seen:
    """Read the user, and place them among the connections; `entry` is that of the one connection.

    Raises:
        DirectoryFailed: the directory answers something about somebody with an account that proves nothing.
        Transient: the directory failed, or contradicts the event.
    """
    look, now = asked.look, services.clock()
    others = (other for other in connections if other.id != connection.id)
    entries = {connection.id: entry} | {other.id: entry_of(services, other, look.user_id) for other in others}
    fresh_until = asked.published + services.timings.contradiction
    # Whether an administrator approved what nothing but listings tells of this user.
    by_listings = missed_twice(entry, now) and bool(approved_actions(services, connection, look))
    user = read_user(services.directory, look, fresh_until, now, by_listings=by_listings)

    def was_in_scope(connection: Connection) -> bool:
        known = entries.get(connection.id)
        return known is not None and known.in_scope

    asking = AskedOneByOne(
        services.directory, was_in_scope, look.evidence.left, (connection.id,) if by_listings else ()
    )
    placement = place(connections, user, asking)
    if placement.overlaps:
        log.warning("A user is in the scope of several connections; the first one keeps them")
    _shown(look, entry, user)
    return Seen(user, placement, _missing(look, connection, user, asking))


def entry_of(services: Services, connection: Connection, user_id: str) -> Entry | None:
    """Return what the connection's roster has of a user."""
    return services.roster.entry(connection, user_id) if connection.shards else None


def _shown(look: Look, entry: Entry | None, user: DirectoryUser) -> None:
    """Refuse to take for nothing to do that the directory does not show somebody who has an account.

    What complete listings lack is remembered, and goes to a held plan (`missed_twice`). "No such user" about somebody
    who is listed is no sign of a deletion: what was due waits, and somebody has to hear of it.

    Raises:
        DirectoryFailed: it answers something about this user that proves nothing.
    """
    known = entry is not None and entry.scim_id and entry.mark is None
    hidden = user.presence is Presence.UNKNOWN and user.untold not in ("", NOT_PROVEN)
    if known and hidden and not look.evidence.missing:
        raise DirectoryFailed(user.untold)
    if known and look.evidence.listed and user.presence is Presence.UNKNOWN and user.untold == NOT_PROVEN:
        raise DirectoryFailed(LISTED_ONLY)


def _missing(look: Look, connection: Connection, user: DirectoryUser, asking: AskedOneByOne) -> bool | None:
    if user.presence is Presence.UNKNOWN:
        return (look.evidence.missing and not user.profile) or None
    if connection.id in asking.silent:
        return connection.id in look.evidence.left or None
    return False
