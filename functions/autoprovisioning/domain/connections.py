"""A connection: one Keeper node we provision, with everything an administrator chose for it."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from .deprovisioning import NEVER, Clock, Span
from .entry import Entry
from .settings import Settings

LONGEST_THROTTLE = timedelta(hours=1)  # whatever Keeper asks: then it is asked again
LARGEST_PILOT = 200  # people: each is chosen by hand, and read with every look


class State(StrEnum):
    """The state of a connection, as the console shows it (held plans are shown on top of it)."""

    DRAFT = "draft"
    ON = "on"
    OFF = "off"
    PAUSED = "paused"  # needs reauthorization
    DELETING = "deleting"


SERVING = (State.ON, State.PAUSED)  # a paused connection keeps its users: they wait, nobody else takes them


@dataclass(frozen=True, slots=True, kw_only=True)
class RetiredToken:
    """A token version that was replaced, and when."""

    version: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What is left of a connection whose configuration was deleted: a name for its audit."""

    id: str
    name: str
    at: datetime | None  # None where that was not noted


@dataclass(frozen=True, slots=True, kw_only=True)
class PastPilot:
    """Whom a pilot that is over was for, by directory id, and when: nobody may have looked at the others meanwhile."""

    people: tuple[str, ...]
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One Keeper node.

    `revision` grows with each write, an administrator's or our own; `edition` with each edit of an administrator, so
    that a second administrator's edit is distinguished from a wait that a worker noted.

    In a `pilot` it is on, or paused, for the people chosen: their addresses, as they were then, by directory id. For
    everybody else it is as if it were off.
    """

    id: str
    order: int = 0
    revision: int = 0
    edition: int = 0
    state: State = State.DRAFT
    settings: Settings = field(default_factory=Settings)
    token_version: str = ""  # number of the Secret Manager version in use; never "latest"
    roster_layout: str = ""  # how the store laid its roster out, in the store's own terms; empty until the first run
    throttled_until: datetime | None = None
    paused_reason: str = ""
    changed_at: datetime | None = None  # of the state
    clock: Clock = field(default_factory=Clock)  # deprovisioning timers run by it
    retired_tokens: tuple[RetiredToken, ...] = ()  # disabled versions still to be destroyed
    unproven: datetime | None = None  # reauthorized then though no known account was found: new ones need approval
    confirmed: int | None = None  # accounts that its first run may create, if it was turned on from a preview
    pilot: Mapping[str, str] | None = None  # None: nobody is chosen, so that it is on for everybody
    chosen_at: datetime | None = None  # since when a pilot is for these people
    past_pilot: PastPilot | None = None  # the last one that ended, or was for other people

    @property
    def begun(self) -> bool:
        """Say whether its first run has looked at everybody: from then on it has a roster."""
        return self.roster_layout != ""

    @property
    def state_word(self) -> str:
        """Return the state in a word, as programs are told it: that of a pilot that is on is "pilot"."""
        return "pilot" if self.pilot is not None and self.state is State.ON else self.state.value

    def operates_on(self, user_id: str) -> bool:
        """Say whether anything may be done about a user: outside a pilot nothing is, and timers stand still."""
        return self.pilot is None or user_id in self.pilot

    def left_out(self, user_id: str) -> list[Span]:
        """Return the last times for which a pilot left a user out; one that lasts ends NEVER."""
        past = self.past_pilot
        spans = [(past.start, past.end)] if past is not None and user_id not in past.people else []
        if self.chosen_at is not None and not self.operates_on(user_id):
            spans.append((self.chosen_at, NEVER))
        return spans

    def waits_until(self, now: datetime) -> datetime | None:
        """Return the end of the wait that Keeper asked for, None where there is none, or it is over.

        Never later than `LONGEST_THROTTLE` from now: what is stored may be older than that limit.
        """
        until = self.throttled_until
        return min(until, now + LONGEST_THROTTLE) if until is not None and now < until else None


_PORTS = {"https": 443, "http": 80}


def node_of(endpoint: str) -> str:
    """Return one spelling for all endpoints that reach the same node, for comparing them (RFC 3986 section 6.2).

    Case, the scheme's default port, a trailing dot or slash, and percent-encoding make no difference.
    """
    text = endpoint.strip()
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host = host.encode("idna").decode()
    except ValueError:
        return text.casefold()
    other = f":{port}" if port not in (None, _PORTS.get(parts.scheme)) else ""
    path = posixpath.normpath(f"/{unquote(parts.path).lstrip('/')}")
    return f"{parts.scheme}://{host}{other}{path}".casefold()


def proving(connection: Connection, roster: Mapping[str, Entry]) -> list[Entry]:
    """Return the entries whose accounts prove that a node is the connection's: none that was created there on trust."""
    since = connection.unproven
    return [
        entry
        for entry in roster.values()
        if entry.scim_id and (since is None or entry.last_action_at is None or entry.last_action_at < since)
    ]
