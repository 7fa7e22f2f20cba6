"""The Accounts port over SCIM 2.0: the synchronous interface to what runs on the event loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from autoprovisioning.adapters.scim.lookup import AccountLookup
from autoprovisioning.adapters.scim.names import spelled
from autoprovisioning.adapters.scim.protocol import (
    PROVIDER_CONFIG,
    USERS,
    Answer,
    error_of,
    unusable_id,
    user_path,
    whole,
)
from autoprovisioning.adapters.scim.resources import read_account
from autoprovisioning.adapters.scim.sending import FIRST_PAUSE, LONGEST_WAIT, ONE_USER, UNFORESEEN, Sender
from autoprovisioning.adapters.scim.streak import STOP_FOR
from autoprovisioning.adapters.scim.streaming import Stream, fan_out
from autoprovisioning.adapters.scim.teams import ScimTeams
from autoprovisioning.adapters.scim.transport import LOOP, Count, ScimTransport
from autoprovisioning.adapters.scim.writing import Call, Writing
from autoprovisioning.domain.accounts import Account, Capabilities, Found, Lookup, Write, Written
from autoprovisioning.domain.errors import (
    KeeperFailed,
    NotSent,
    ProvisioningError,
    Throttled,
    Transient,
    Unresolved,
)
from autoprovisioning.domain.keeper import PatchDialect
from autoprovisioning.domain.teams import Team

log = logging.getLogger(__name__)

AHEAD = 64  # results that may wait for the caller before nothing more is sent
PAGES_AHEAD = 4
PAGE_SIZE = 1000  # Keeper's default page; a server's own cap may be lower
NOT_OFFERED = frozenset({404, 405, 410, 501, 505})  # a server without ServiceProviderConfig
MOST_OPERATIONS = 10_000  # of a Bulk request, whatever a server offers
MOST_PAYLOAD = 16 * 1024 * 1024  # bytes


class ScimAccounts:
    """The accounts of one Keeper node; shared by the threads of a process, so that pace and capabilities are too."""

    def __init__(
        self,
        endpoint: str,
        token: str,
        dialect: PatchDialect,
        count: Count,
        clock: Callable[[], datetime],
        *,
        timeout: float = 30.0,
        concurrency: int = 32,
        page_size: int = PAGE_SIZE,
        first_pause: float = FIRST_PAUSE,
        longest_wait: float = LONGEST_WAIT,
        stop_for: float = STOP_FOR,
    ) -> None:
        transport = ScimTransport(endpoint, token, count, timeout)
        self._sender = Sender(
            transport, clock, concurrency, first_pause=first_pause, longest_wait=longest_wait, stop_for=stop_for
        )
        self._search = AccountLookup(self._sender, page_size)
        self._clock = clock
        self._capabilities: Capabilities | None = None
        self._writing = Writing(self._sender, self._search, dialect)
        self._teams = ScimTeams(self._sender, page_size)

    def probe(self) -> None:
        """Ask for one user; raises AuthorizationRefused, Transient or Permanent errors."""
        LOOP.run(self._probe()).result()

    async def _probe(self) -> None:
        answer = await self._sender.ask("GET", USERS, params=ONE_USER)
        if not answer.ok:
            raise error_of(answer, self._clock(), known_account=False)
        if answer.body is None:
            raise Transient("The endpoint does not answer in JSON: it may not be a SCIM endpoint")

    def capabilities(self) -> Capabilities:
        """Read ServiceProviderConfig, once a client, as `write` does; a server without one offers nothing."""
        return LOOP.run(self._offered()).result()

    async def _offered(self, deadline: datetime | None = None) -> Capabilities:
        if self._capabilities is not None:
            return self._capabilities
        try:
            answer = await self._sender.ask("GET", PROVIDER_CONFIG, deadline=deadline)
        except Throttled:
            raise
        except Transient:
            return Capabilities()  # for now: nothing waits for what would only make it faster
        if answer.status == 401:
            raise error_of(answer, self._clock(), known_account=False)
        offered = _capabilities(answer)
        if (answer.ok and answer.body) or answer.status in NOT_OFFERED:
            self._capabilities = offered  # any other answer says something about the moment, not about the server
        return offered

    def remarks(self) -> Sequence[str]:
        """Say what this server refuses and what is done instead."""
        return tuple(self._sender.remarks.values())

    def get(self, scim_id: str) -> Account | None:
        """Read one account; None is a 404, and nothing else is: an answer that cannot be read raises Transient."""
        return LOOP.run(self._get(scim_id)).result()

    async def _get(self, scim_id: str) -> Account | None:
        began = time.monotonic()
        answer = await self._sender.ask_of_one("GET", user_path(scim_id))
        if answer.status == 404:
            return None
        if not answer.ok:
            raise error_of(answer, self._clock(), known_account=False)
        account = read_account(answer.body or {})
        if account is None:
            raise await self._sender.verdict(Transient("Keeper's answer is not an account", retry_after=10), began)
        if account.scim_id != scim_id:
            raise unusable_id("asked for it, Keeper returns an account with another id")
        return account

    def find(self, lookups: Sequence[Lookup]) -> Iterator[Found]:
        """Look users up, concurrently."""
        yield from Stream[Found](AHEAD).drain(lambda stream: self._find(lookups, stream))

    async def _find(self, lookups: Sequence[Lookup], stream: Stream[Found]) -> None:
        since = time.monotonic()

        async def one(lookup: Lookup) -> None:
            await stream.room()
            try:
                stream.put(Found(key=lookup.key, accounts=await self._search.find(lookup, since=since)))
            except ProvisioningError as error:
                stream.put(Found(key=lookup.key, error=error))
            except Exception as error:
                log.exception("A search failed")
                stream.put(Found(key=lookup.key, error=KeeperFailed(f"{type(error).__name__} {UNFORESEEN}")))

        # The first learns whether filters are ignored, before many answers of a whole page each are asked for.
        await fan_out(lookups[:1], 1, one)
        await fan_out(lookups[1:], self._sender.pace.ceiling, one)

    def list(self) -> Iterator[Sequence[Account]]:
        """List every account, a page at a time, each once."""
        yield from Stream[Sequence[Account]](PAGES_AHEAD).drain(self._list)

    async def _list(self, stream: Stream[Sequence[Account]]) -> None:
        async for page in self._search.pages():
            stream.put(page)
            await stream.room()

    def write(self, writes: Sequence[Write], deadline: datetime) -> Iterator[Written]:
        """Carry the writes out; results come as they complete, sending goes on meanwhile."""
        if not writes:
            return

        async def work(stream: Stream[Written]) -> None:
            offered = await self._offered(deadline) if len(writes) > 1 else Capabilities()
            await self._writing.run(writes, offered, Call(deadline=deadline, emit=stream.put, room=stream.room))

        told: set[str] = set()
        error: ProvisioningError = NotSent("The write was not carried out")
        try:
            for written in Stream[Written](AHEAD).drain(work):
                told.add(written.key)
                yield written
        except ProvisioningError as refusal:
            error = refusal  # nothing more was sent: the refusal of the whole call is every remaining write's result
        except Exception as unforeseen:
            log.exception("Writing failed")
            error = Unresolved(f"{type(unforeseen).__name__} {UNFORESEEN}")  # what was under way may have arrived
        for write in writes:
            if write.key not in told:
                yield Written(key=write.key, error=error)

    def teams(self, deadline: datetime | None = None) -> Sequence[Team]:
        """List every team and role."""
        return LOOP.run(self._teams.list(deadline)).result()

    def create_team(self, external_id: str, name: str, deadline: datetime) -> Team:
        """Create a team."""
        return LOOP.run(self._teams.create(external_id, name, deadline)).result()

    def rename_team(self, team: Team, name: str, deadline: datetime) -> Team:
        """Rename a team."""
        return LOOP.run(self._teams.rename(team, name, deadline)).result()


def _capabilities(answer: Answer) -> Capabilities:
    if not answer.ok or not answer.body:
        return Capabilities()
    bulk = answer.body.get("bulk")
    bulk = spelled(bulk) if isinstance(bulk, dict) else {}
    if bulk.get("supported") is not True:
        return Capabilities()
    operations, payload = _offer(bulk, "maxOperations", MOST_OPERATIONS), _offer(bulk, "maxPayloadSize", MOST_PAYLOAD)
    if operations < 2 or payload < 1024:
        return Capabilities()
    return Capabilities(bulk=True, max_operations=operations, max_payload=payload)


def _offer(bulk: Mapping[str, Any], name: str, most: int) -> int:
    """Read a limit, 0 for what is none; one beyond what we would ever send is as good as none."""
    limit = bulk.get(name)
    if isinstance(limit, int) and limit > most:
        return most
    return whole(limit, most) or 0
