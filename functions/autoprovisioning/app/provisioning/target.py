"""A connection's accounts with the token in force, and what to do when Keeper refuses it.

On 401 or 403 the token pointer is read again: if it moved, the new token is tried once. Otherwise a probe decides: if
that is refused too the connection is paused, provided the refused version is still the one in force; if it succeeds
the refusal was about one user. `through` is the one place where that is done: for many requests, and for one (`ask`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from autoprovisioning.app.ports.accounts import Accounts
from autoprovisioning.app.services import Services
from autoprovisioning.domain.accounts import Account, Lookup, Result, Value
from autoprovisioning.domain.connections import LONGEST_THROTTLE, Connection, State
from autoprovisioning.domain.errors import (
    AuthorizationRefused,
    ConfigurationRefused,
    KeeperFailed,
    NotSent,
    ProvisioningError,
    ReauthorizationRequired,
    Rejected,
    Throttled,
    Transient,
    Waiting,
)
from autoprovisioning.domain.events import KEEPER, Actor, Event, configured
from autoprovisioning.domain.events import paused as paused_event
from autoprovisioning.domain.words import at_time

log = logging.getLogger(__name__)

SHORTEST_THROTTLE = timedelta(seconds=1)
T = TypeVar("T")
A = TypeVar("A")
R = TypeVar("R", bound=Result)

WAIT = "waits for Keeper until"  # in the audit


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

    def prove(self) -> None:
        """Make sure that Keeper accepts the token in force.

        Raises:
            ReauthorizationRequired: the token is dead; the connection is paused now.
        """
        try:
            self.accounts().probe()
        except AuthorizationRefused:
            if self._superseded():
                self.prove()

    def ask(self, request: Callable[[Accounts], A]) -> A:
        """Ask about one user.

        Raises:
            Rejected: Keeper refuses to tell, although the token works.
            NotSent: a token that was replaced meanwhile was refused.
        """

        answers: list[A] = []

        def send(_: object) -> Iterator[Result]:
            try:
                answers.append(request(self.accounts()))
            except AuthorizationRefused as error:
                yield Result(key="", error=error)
            else:
                yield Result(key="")

        ((_, told),) = self.through({"": None}, send)
        if told.error is not None:
            raise told.error
        return answers[0]

    def through(self, items: Mapping[str, T], send: Callable[[Sequence[T]], Iterable[R]]) -> Iterator[tuple[T, R]]:
        """Send these, by their keys, and yield each with its answer; what is refused is sent once more.

        That is with the newer token if there is one. Where no token moved they are too, unless it is a single one:
        those behind a refused one were never sent.
        """
        refused: list[R] = []
        for answer in send([*items.values()]) if items else ():
            if isinstance(answer.error, AuthorizationRefused):
                refused.append(answer)
            else:
                yield items[answer.key], answer
        if not refused:
            return
        moved, refused_again = self._superseded(), False
        if len(refused) == 1 and not moved:
            yield items[refused[0].key], replace(refused[0], error=refusal_of_one())
            return
        for answer in send([items[each.key] for each in refused]):
            error = answer.error
            if isinstance(error, AuthorizationRefused):
                if not refused_again:
                    refused_again, moved = True, self._superseded() or moved
                error = NotSent("Keeper refused a token that had just been replaced") if moved else refusal_of_one()
            yield items[answer.key], replace(answer, error=error)

    def _superseded(self) -> bool:
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

    def judged(self, error: ProvisioningError, deadline: datetime) -> ProvisioningError:
        """Distinguish a failure of one user's request from an outage, by whether Keeper answers another request.

        If no time is left it is not asked: the user who used it up is taken to be the reason.
        """
        if not isinstance(error, Transient) or not may_be_outage(error):
            return error
        kind: type[Transient] = KeeperFailed
        if self._services.clock() < deadline:
            try:
                self.accounts().probe()
            except ProvisioningError:
                kind = Transient
        judged = kind(str(error), retry_after=error.retry_after)
        judged.__cause__ = error
        return judged

    def remarks(self) -> Sequence[str]:
        """Return what this server has refused so far, and what is done instead."""
        return self._accounts.remarks() if self._accounts is not None else ()

    def throttle(self, error: Exception | None) -> None:
        """Make the whole connection wait if Keeper asked for it: as long as it asked, an hour at most."""
        if not isinstance(error, Throttled) or isinstance(error, Waiting) or error is self._told:
            return  # our own reminder must not prolong what it reminds of, nor one answer that many writes share
        self._told = error
        asked = timedelta(seconds=min(LONGEST_THROTTLE.total_seconds(), error.retry_after or 0))
        wait = max(SHORTEST_THROTTLE, asked)
        until = self._services.clock() + wait

        def edit(connection: Connection) -> Connection | None:
            if connection.throttled_until is not None and connection.throttled_until >= until:
                return None
            return replace(connection, throttled_until=until)

        if self._services.connections.change(self.connection.id, edit) is not None:
            told = {"alert": "keeper_throttling", "connection": self.connection.id, "seconds": wait.total_seconds()}
            log.warning("Keeper asked this connection to wait", extra={"json_fields": told})

    def _respect_throttle(self) -> None:
        now = self._services.clock()
        if _shortened(self.connection, now) is not None:
            self._services.connections.change(self.connection.id, lambda current: _shortened(current, now))
        keep_waiting(self.connection, now)

    def _pause(self, reason: str) -> ReauthorizationRequired:
        refused, stamp = self.connection.token_version, self._services.stamp(KEEPER)
        paused = self._services.connections.change(
            self.connection.id,
            lambda connection: _paused(connection, refused, reason, stamp.at),
            lambda _was, _becomes: paused_event(stamp, reason),
        )
        if paused is not None:
            self.connection = paused
            log.error(
                "Connection paused: Keeper refuses the access token",
                extra={"json_fields": {"alert": "connection_paused", "connection": paused.id, "reason": reason}},
            )
        return ReauthorizationRequired(
            f"Keeper refuses the access token of connection {self.connection.settings.name}. A super administrator "
            "must reauthorize it; until then nothing is changed and nothing is lost."
        )


def keep_waiting(connection: Connection, now: datetime) -> None:
    """Raise Waiting while the wait that Keeper asked this connection for is not over."""
    until = connection.waits_until(now)
    if until is not None:
        seconds = (until - now).total_seconds()
        raise Waiting(f"Keeper asked this connection to wait another {seconds:.0f} s", retry_after=seconds)


def _shortened(connection: Connection, now: datetime) -> Connection | None:
    """Cut a wait short that was stored before there was a limit; else each look would begin the hour anew."""
    until = connection.waits_until(now)
    return replace(connection, throttled_until=until) if until not in (None, connection.throttled_until) else None


def wait_of(connection: Connection) -> dict[str, Value]:
    """Describe the wait that Keeper asked for, for the audit; {} where there is none."""
    until = connection.throttled_until
    return {WAIT: at_time(until)} if until is not None else {}


def end_wait(services: Services, connection_id: str, actor: Actor, because: str) -> None:
    """End the wait that Keeper asked this connection for: a super administrator wants something done now."""
    stamp = services.stamp(actor)

    def edit(connection: Connection) -> Connection | None:
        return replace(connection, throttled_until=None) if connection.waits_until(stamp.at) is not None else None

    def tell(was: Connection, _becomes: Connection) -> Event:
        return configured(stamp, f"{because}, which ends the wait that Keeper asked for", wait_of(was))

    services.connections.change(connection_id, edit, tell)


def first_found(accounts: Accounts, lookup: Lookup) -> Account | None:
    """Look one user up; returns the first account found, and raises what the search failed with."""
    for found in accounts.find([lookup]):
        if found.error is not None:
            raise found.error
        if found.accounts:
            return found.accounts[0]
    return None


def fails_for_everybody(error: Exception | None) -> bool:
    """Say whether an error is that of an outage: not this system's, and not of one user."""
    return type(error) is Transient


def may_be_outage(error: Exception | None) -> bool:
    """Say whether an error may be that of an outage; a single request cannot tell."""
    return type(error) in (Transient, KeeperFailed)


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
