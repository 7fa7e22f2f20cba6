"""The accounts of one Keeper node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

from autoprovisioning.domain.accounts import Account, Capabilities, Found, Lookup, Write, Written
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.teams import Team


class Endpoint(Protocol):
    """The SCIM endpoint of one Keeper node, with one access token."""

    def probe(self) -> None:
        """Ask for one user (`/Users?count=1`): raises AuthorizationRefused if the token is not accepted."""

    def capabilities(self) -> Capabilities:
        """Return what the server offers: nothing if it does not say."""

    def remarks(self) -> Sequence[str]:
        """Return what this server has refused so far, and what is done instead; one sentence each."""


class TeamEndpoint(Protocol):
    """The teams of the node, without their members."""

    def teams(self, deadline: datetime | None = None) -> Sequence[Team]:
        """List every team and role; raises Incomplete, also where that takes longer than until the deadline."""

    def create_team(self, external_id: str, name: str, deadline: datetime) -> Team:
        """Create one; where the answer is lost it is looked for, and not sent again.

        The id is empty where Keeper says that it was created, and neither that nor a listing shows an id.

        Raises:
            Unresolved: it may be there now.
            NotSent, Throttled, Permanent: it is not.
        """

    def rename_team(self, team: Team, name: str, deadline: datetime) -> Team:
        """Give a team another name, and its externalId; returns it so, and raises as `create_team` does."""


class Accounts(Endpoint, TeamEndpoint, Protocol):
    """The accounts of one Keeper node, over SCIM 2.0, with one access token.

    Single calls raise AuthorizationRefused, Throttled, Transient or Permanent errors; the many-at-once calls put the
    error into each result instead.
    """

    def get(self, scim_id: str) -> Account | None:
        """Read one account; None is a 404; raises Permanent if another one is shown."""

    def find(self, lookups: Sequence[Lookup]) -> Iterator[Found]:
        """Look each user up by externalId, then userNames; results come as they complete, concurrently."""

    def list(self) -> Iterator[Sequence[Account]]:
        """List every account of the node, a page at a time, each once; raises Incomplete.

        An account that cannot be addressed is among them, with its flaw.
        """

    def write(self, writes: Sequence[Write], deadline: datetime) -> Iterator[Written]:
        """Carry the writes out, in Bulk where offered, else concurrently; results come as they complete.

        Ambiguous creates are resolved by a listing before anything is sent again. A write whose fate stays unknown
        comes back as Unresolved, one that the deadline or a refused token left unsent as NotSent or
        AuthorizationRefused.
        """


AccountsFor = Callable[[Connection, str], Accounts]  # connection and access token -> its accounts
