"""A connection's accounts with the token in force, and what to do when Keeper refuses it.

On 401 or 403 the token pointer is read again: if it moved, the new token is tried once. Otherwise a probe decides: if
that is refused too the connection is paused, provided the refused version is still the one in force; if it succeeds
the refusal was about one user.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from autoprovisioning.app.ports import Accounts
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.errors import (
    AuthorizationRefused,
    ConfigurationRefused,
    ReauthorizationRequired,
    Rejected,
    Throttled,
    Waiting,
)
from autoprovisioning.domain.events import Event, EventName

log = logging.getLogger(__name__)

SHORTEST_THROTTLE = timedelta(seconds=1)


class Keeper:
    """The Keeper side of one connection for the length of one piece of work."""

    def __init__(self, services: Services, connection: Connection) -> None:
        self._services = services
        self.connection = connection
        self._accounts: Accounts | None = None
        self._told: Throttled | None = None

    def accounts(self) -> Accounts:
        """Return the accounts, opened with the pinned token version.

        Raises:
            Waiting: the connection was asked to wait and the wait is not over.
            ReauthorizationRequired: the token cannot be read, so nothing can be sent.
        """
        if self._accounts is None:
            self._respect_throttle()
            token = self._token()  # first: it may move to another connection record, endpoint included
            self._accounts = self._services.accounts_for(self.connection, token)
        return self._accounts

    def _token(self) -> str:
        """Read the token; a version that was replaced a moment ago may be disabled already."""
        try:
            return self._services.tokens.read(self.connection.id, self.connection.token_version)
        except ConfigurationRefused as error:
            if self._moved():
                return self._token()
            raise self._pause(str(error)) from error

    def _moved(self) -> bool:
        """Say whether another token version is in force by now, and take it over."""
        current = self._services.connections.get(self.connection.id)
        if current is None or current.token_version == self.connection.token_version:
            return False
        self.connection, self._accounts = current, None
        return True

    def after_refusal(self) -> bool:
        """Settle a 401 or 403: True when a newer token is in force and the request should be sent again.

        False says that the token works and the refusal is about that one account.

        Raises:
            ReauthorizationRequired: the token is dead; the connection is paused now.
        """
        if self._moved():
            return True
        try:
            self.accounts().probe()
        except AuthorizationRefused as refused:
            raise self._pause(str(refused)) from refused
        return False

    def throttle(self, error: Throttled) -> None:
        """Make the whole connection wait as long as Keeper asked, whichever process was told."""
        if isinstance(error, Waiting) or error is self._told:
            return  # our own reminder must not prolong what it reminds of, nor one answer that many writes share
        self._told = error
        wait = max(SHORTEST_THROTTLE, timedelta(seconds=error.retry_after or 0))
        until = self._services.clock() + wait

        def edit(connection: Connection) -> Connection | None:
            if connection.throttled_until is not None and connection.throttled_until >= until:
                return None
            return replace(connection, throttled_until=until)

        if self._services.connections.change(self.connection.id, edit) is not None:
            told = {"alert": "keeper_throttling", "connection": self.connection.id, "seconds": wait.total_seconds()}
            log.warning("Keeper asked this connection to wait", extra={"json_fields": told})

    def _respect_throttle(self) -> None:
        until, now = self.connection.throttled_until, self._services.clock()
        if until is not None and now < until:
            seconds = (until - now).total_seconds()
            raise Waiting(f"Keeper asked this connection to wait {seconds:.0f} s more", retry_after=seconds)

    def _pause(self, reason: str) -> ReauthorizationRequired:
        refused, now = self.connection.token_version, self._services.clock()
        event = Event(self._services.new_id(), now, EventName.PAUSED, "keeper", reason=reason)
        paused = self._services.connections.change(
            self.connection.id,
            lambda connection: _paused(connection, refused, reason, now),
            lambda _was, _becomes: event,
        )
        if paused is not None:
            self.connection = paused
            log.error(
                "Connection paused: Keeper refuses the access token",
                extra={"json_fields": {"alert": "connection_paused", "connection": paused.id, "reason": reason}},
            )
        return ReauthorizationRequired(
            f"Keeper refuses the access token of connection {self.connection.name}. A super administrator must "
            "reauthorize it; until then nothing is changed and nothing is lost."
        )


def _paused(connection: Connection, refused_version: str, reason: str, now: datetime) -> Connection | None:
    if connection.state is not State.ON or connection.token_version != refused_version:
        return None
    return replace(connection, state=State.PAUSED, paused_reason=reason, changed_at=now)


def refusal_of_one() -> Rejected:
    """Return the failure of a user whom Keeper refuses although the token works."""
    return Rejected(
        "Keeper refuses this account (401 or 403) although the access token works. "
        "Check in Keeper's Admin Console that the account belongs to the connection's node."
    )
