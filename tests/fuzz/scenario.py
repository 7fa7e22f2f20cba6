"""Our use cases between a directory and a Keeper node over the wire, either of which may lie; the state is in memory.

After every delivery the node is compared with what it was before: who lost access, or who was adopted, must be proven,
by the truth or by what was answered (tests/fuzz/proof.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from autoprovisioning.adapters.directory import DirectoryTransport, GoogleDirectory, Quota
from autoprovisioning.adapters.directory.transport import A_MINUTE
from autoprovisioning.adapters.scim import ScimAccounts
from autoprovisioning.adapters.threads import Threads
from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.provisioning.converge import converge
from autoprovisioning.app.provisioning.read_user import Asked
from autoprovisioning.app.runs.apply_batch import apply_batch
from autoprovisioning.app.runs.reconcile import reconcile
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.entry import Action, Entry, Status
from autoprovisioning.domain.errors import ConfigurationRefused, ProvisioningError, Transient
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.holds import OPEN
from autoprovisioning.domain.keeper import PatchDialect
from autoprovisioning.domain.runs import Batch, Look, Run, RunKind, RunState
from autoprovisioning.domain.scope import Group, Scope
from autoprovisioning.domain.settings import Settings, VolumeLimit
from tests.contract.scim_servers import Counts
from tests.fuzz.liar import TOKEN, TRUTH, Given, Liar
from tests.fuzz.proof import may_adopt, must_leave
from tests.support.entries import contradiction
from tests.support.in_memory import Clock, FakeMeter, FakeQueue, FakeTokens, Ids
from tests.support.in_memory_state import (
    Store,
    state_ports,
)
from tests.support.scenario import sweep
from tests.support.settings import with_settings
from tests.support.system import GROUP, GROUP_ID, customer, person

USERS = ("u1", "u2", "u3", "u4")
ADDRESSES = tuple(f"person{number}@example.com" for number in range(1, 6))
TIMEOUT = 0.25  # seconds, of one request
LATER = timedelta(minutes=20)
DEAD_LETTER = 20  # deliveries, as the subscriptions are set up
FIRST_BACKOFF, LAST_BACKOFF = timedelta(seconds=10), timedelta(minutes=10)
ADMIN = Actor(address="admin@example.com")
PATIENCE = timedelta(hours=1)  # how long a run may be open, or a connection wait

DELIVERIES = 200  # within minutes, for four users

Accounts = dict[str, dict[str, Any]]


@dataclass
class Message:
    """One Pub/Sub message."""

    id: str
    payload: Look | Batch
    published: datetime
    due: datetime
    deliveries: int = 0


@dataclass
class Scenario:
    """Both sides, what is between them, and what an administrator does."""

    liar: Liar
    limit: int = 1000
    bulk: bool = False
    messages: list[Message] = field(default_factory=list)
    dead: list[Message] = field(default_factory=list)
    changed_at: dict[str, int] = field(default_factory=dict)  # user -> how much had been given when the truth changed

    def __post_init__(self) -> None:
        self.liar.as_new(customer(4))
        self.liar.keeper.settings.bulk = self.bulk
        self.clock = Clock(datetime.now(UTC))
        self.store, self.queue, self.tokens = Store(), FakeQueue(), FakeTokens()
        opened: dict[str, ScimAccounts] = {}

        def accounts_for(connection: Connection, token: str) -> ScimAccounts:
            return opened.setdefault(token, self._accounts(connection.settings.endpoint, token))

        transport = DirectoryTransport(
            self.liar.url,
            requests.Session,
            Counts(),
            timeout=timedelta(seconds=TIMEOUT),
            first_pause=0.0001,
            longest_pause=0.001,
            quota=Quota(A_MINUTE, clock=lambda: self.clock.now.timestamp()),
        )
        self.services = Services(
            clock=self.clock,
            new_id=Ids(),
            directory=GoogleDirectory(transport),
            **state_ports(self.store),
            tokens=self.tokens,
            queue=self.queue,
            accounts_for=accounts_for,
            meter=FakeMeter(),
            executor=Threads(),
        )
        scope = Scope(groups=(Group(id=GROUP_ID, email=GROUP, name="Keeper users"),))
        version = self.tokens.add("c1", TOKEN)
        connection = Connection(
            id="c1", state=State.ON, settings=Settings(endpoint=self.liar.endpoint, scope=scope), token_version=version
        )
        self.services.connections.create(with_settings(connection, limit=VolumeLimit(minimum=self.limit, share=1000.0)))
        self.run()
        self.pump()

    def _accounts(self, endpoint: str, token: str) -> ScimAccounts:
        return ScimAccounts(
            endpoint,
            token,
            PatchDialect.STANDARD,
            Counts(),
            self.clock,
            timeout=TIMEOUT,
            page_size=3,
            first_pause=0.0005,
            longest_wait=0.01,
        )

    # What an administrator does in the directory; a step that the directory would refuse does nothing.

    @property
    def live(self) -> dict[str, dict[str, Any]]:
        return self.liar.directory.customer.users

    @property
    def members(self) -> dict[str, Any]:
        return self.liar.directory.customer.members[GROUP_ID]

    def hire(self, user_id: str, address: str) -> None:
        if user_id not in self.live and user_id not in self.liar.directory.customer.deleted and self._free(address):
            body = {**person(int(user_id[1:])), "primaryEmail": address, "creationTime": self._stamp()}
            self.liar.directory.customer.insert(body)
            self.join(user_id)
            self._changed(user_id, "add")

    def rename(self, user_id: str, name: str) -> None:
        self._edit(user_id, {"name": {"givenName": name}})

    def readdress(self, user_id: str, address: str) -> None:
        if self._free(address):
            self._edit(user_id, {"primaryEmail": address})

    def suspend(self, user_id: str) -> None:
        self._edit(user_id, {"suspended": True})

    def restore(self, user_id: str) -> None:
        self._edit(user_id, {"suspended": False})

    def leave(self, user_id: str) -> None:
        if user_id in self.members:
            self.liar.directory.customer.remove_member(GROUP_ID, user_id)
            self._changed(user_id)

    def join(self, user_id: str) -> None:
        if user_id in self.live and user_id not in self.members:
            self.liar.directory.customer.add_member(GROUP_ID, {"id": user_id})
            self._changed(user_id)

    def delete(self, user_id: str) -> None:
        if user_id in self.live:
            self.liar.directory.customer.delete(user_id)
            self._changed(user_id, "delete")

    def undelete(self, user_id: str) -> None:
        gone = self.liar.directory.customer.deleted.get(user_id)
        if gone is not None and self._free(gone["primaryEmail"]):
            self.liar.directory.customer.undelete(user_id, "/")
            self._changed(user_id, "undelete")

    def _edit(self, user_id: str, change: dict[str, Any]) -> None:
        if user_id in self.live:
            self.liar.directory.customer.update(user_id, change)
            self._changed(user_id, "update")

    def _free(self, address: str) -> bool:
        return address.casefold() not in self.liar.directory.customer._addresses

    def _stamp(self) -> str:
        return self.clock.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _changed(self, user_id: str, event: str = "") -> None:
        self.changed_at[user_id] = len(self.liar.given)
        if event:
            self._publish(Look(user_id=user_id, event=event, asked_at=self.clock.now))

    def stranger(self, address: str, external_id: str = "") -> None:
        """Somebody makes an account in Keeper by hand."""
        if not self.liar.keeper.node.by_name(address):
            self.liar.keeper.node.create({"userName": address, "externalId": external_id, "active": True})

    # What our system does.

    def run(self, kind: RunKind = RunKind.FULL, *, retry: bool = False) -> None:
        """Plan a run, as the scheduler does: what fails is tried again by the next one."""
        deadline = self.clock.now + timedelta(minutes=25)
        self._watched(lambda: reconcile(self.services, kind, deadline, retry_failures=retry))

    def drift(self) -> None:
        self.run(RunKind.DRIFT)

    def sweep(self) -> None:
        self._watched(lambda: sweep(self.services))

    def wait(self) -> None:
        self.clock.advance(timedelta(hours=6))

    def pump(self, until: timedelta = timedelta(minutes=5)) -> None:
        """Deliver what is due, and what that publishes, for so long on the clock."""
        end = self.clock.now + until
        for delivered in itertools.count():
            self._collect()
            waiting = [message for message in self.messages if message.due <= end]
            if not waiting:
                break
            assert delivered < DELIVERIES, f"messages beget messages: {waiting[0]}"
            message = min(waiting, key=lambda waits: waits.due)
            self.clock.now = max(self.clock.now, message.due)
            self._deliver(message)
        self.clock.now = max(self.clock.now, end)

    def _publish(self, payload: Look | Batch) -> None:
        now = self.clock.now
        self.messages.append(Message(f"m{self.services.new_id()}", payload, now, now))

    def _collect(self) -> None:
        payloads: list[Look | Batch] = [*self.queue.batches, *self.queue.looks]
        self.queue.batches, self.queue.looks = [], []
        for payload in payloads:
            self._publish(payload)

    def _deliver(self, message: Message) -> None:
        message.deliveries += 1
        now = self.clock.now
        if isinstance(message.payload, Look):
            asked = Asked(look=message.payload, message_id=message.id, published=message.published)
            error = self._watched(lambda: converge(self.services, asked, now + timedelta(minutes=1)))
        else:
            batch, deadline = message.payload, now + timedelta(minutes=8)
            error = self._watched(lambda: apply_batch(self.services, batch, message.id, message.published, deadline))
        if not isinstance(error, Transient | ConfigurationRefused):
            self.messages.remove(message)  # acknowledged
            return
        message.due = self.clock.now + min(FIRST_BACKOFF * 2 ** (message.deliveries - 1), LAST_BACKOFF)
        if message.deliveries >= DEAD_LETTER:
            self.messages.remove(message)
            self.dead.append(message)

    def _watched(self, work: Callable[[], object]) -> ProvisioningError | None:
        """Do something and see that what it did in Keeper was proven; returns its error, which must be one of ours."""
        before = {scim_id: dict(account) for scim_id, account in self.liar.keeper.node.accounts.items()}
        since = len(self.liar.given)
        error: ProvisioningError | None = None
        try:
            work()
        except ProvisioningError as raised:
            error = raised
        except BaseExceptionGroup as group:
            raise AssertionError(f"{sorted({type(part).__name__ for part in group.exceptions})}") from None
        self._check(before, since)
        return error

    # What must be true at every moment.

    def _check(self, before: Accounts, since: int) -> None:
        for scim_id, account in self.liar.keeper.node.accounts.items():
            was = before.get(scim_id)
            if was is None:
                continue
            owner, claimed = was.get("externalId") or "", account.get("externalId") or ""
            if claimed != owner:
                user = self.live.get(claimed, {})
                deleted = {str(gone["primaryEmail"]) for gone in self.liar.directory.customer.deleted.values()}
                assert may_adopt(self._known(claimed), was, user, claimed, deleted), f"{claimed} adopted {was}"
            if was["active"] and not account["active"]:
                proven = not self.entitled(claimed) or must_leave(
                    self._known(claimed), self.liar.given[since:], claimed
                )
                assert proven, f"{claimed} lost access: {was}"
        for entry in filter(None, map(self.entry, USERS)):
            assert not contradiction(entry), entry
        connection = self.connection
        if connection.throttled_until is not None:
            assert connection.throttled_until - self.clock.now <= PATIENCE

    def _known(self, user_id: str) -> Sequence[Given]:
        """Return what was answered since somebody was changed last."""
        return self.liar.given[self.changed_at.get(user_id, 0) :]

    def entitled(self, user_id: str) -> bool:
        """Say by the truth alone whether somebody must have access."""
        user = self.live.get(user_id)
        return user is not None and not user["suspended"] and user_id in self.members

    # What must be true in the end.

    @property
    def connection(self) -> Connection:
        connection = self.services.connections.get("c1")
        assert connection is not None
        return connection

    def entry(self, user_id: str) -> Entry | None:
        return self.services.roster.entry(self.connection, user_id)

    def accounts_of(self, user_id: str) -> list[dict[str, Any]]:
        return [account for account in self.liar.keeper.node.accounts.values() if account.get("externalId") == user_id]

    def out_of_step(self, user_id: str) -> str:
        """Say by the truth alone what is wrong with somebody; an empty text is nothing."""
        active = [account for account in self.accounts_of(user_id) if account["active"]]
        if not self.entitled(user_id):
            return f"{len(active)} active accounts of somebody who left" if active else ""
        if len(active) != 1:
            return f"{len(active)} active accounts"
        user, account = self.live[user_id], active[0]
        wanted = (user["primaryEmail"], user["name"]["fullName"], user["name"]["givenName"])
        found = (account["userName"], account.get("displayName"), account.get("name", {}).get("givenName"))
        return "" if found == wanted else f"{found}, not {wanted}"

    def told(self, user_id: str) -> bool:
        """Say whether somebody who is out of step fails with a reason, or waits with a time."""
        entry, now = self.entry(user_id), self.clock.now
        if any(member.resource == user_id for hold in self.services.holds.standing("c1") for member in hold.members):
            return True
        if entry is not None and (entry.failure is not None or entry.pending or entry.mark is not None):
            return entry.failure is None or bool(entry.failure.text and entry.failure.next_attempt)
        if self.connection.state is not State.ON:
            return True
        if self.connection.throttled_until is not None and now < self.connection.throttled_until:
            return True
        if any(isinstance(message.payload, Batch) or message.payload.user_id == user_id for message in self.messages):
            return True
        last = self.last_run()
        return last is not None and (last.state in (RunState.REFUSED, RunState.PLANNED) or bool(last.notes))

    def last_run(self) -> Run | None:
        return max(self.store.runs["c1"].values(), key=lambda run: run.started, default=None)

    def open_runs(self) -> Sequence[Run]:
        return self.services.runs.open("c1")

    def truth_at_last(self) -> None:
        """Let both sides tell the truth, an administrator reauthorize and unlock, and enough runs and time pass."""
        self.liar.lie_to = lambda _: TRUTH
        for kind in (RunKind.FULL, RunKind.DRIFT, RunKind.FULL, RunKind.DRIFT, RunKind.FULL):
            self.services.connections.change("c1", _turned_on)
            self.clock.advance(PATIENCE)
            self.sweep()
            self.pump()
            self.run(kind, retry=True)
            self._approve_unlocks()
            self.pump(LATER)

    def _approve_unlocks(self) -> None:
        """Approve what is asked: a reactivation that Keeper shows as done, and did not do, looks like a later lock."""
        for hold in self.services.holds.standing("c1"):
            users = {member.resource for member in hold.those(*OPEN) if member.action == Action.UNLOCK.value}
            if users:
                decide_hold(
                    self.services, "c1", hold.digest, "approve", Actor(address="admin@example.com"), users=users
                )

    def check_everybody(self) -> None:
        """See that everybody is in step, or that another account stands under the address; nothing is under way."""
        for user_id in USERS:
            wrong = self.out_of_step(user_id)
            if wrong:
                entry = self.entry(user_id)
                assert self.in_the_way(user_id), f"{user_id}: {wrong}, {entry}"
                assert entry is not None, f"{user_id}: {wrong}"
                assert entry.failure is not None, f"{user_id}: {wrong}, {entry}"
        assert [message.payload for message in self.messages] == []
        assert self.open_runs() == []
        roster = self.services.roster.load(self.connection)
        for entry in roster.values():
            if entry.status in (Status.ACTIVE, Status.SUSPENDED) and entry.failure is None:
                account = self.liar.keeper.node.accounts.get(entry.scim_id)
                assert account is not None, entry
                assert account.get("externalId") == entry.user_id, entry
        self.run()
        self.pump()
        after = self.services.roster.load(self.connection)
        moved = [(was, after.get(was.user_id)) for was in roster.values() if after.get(was.user_id) != was]
        assert [each for each in moved if each[0].failure is None] == [], "one more run changes nothing"

    def in_the_way(self, user_id: str) -> bool:
        """Say whether an account of somebody else holds the address that somebody wants."""
        address = self.live.get(user_id, {}).get("primaryEmail", "")
        return any(account.get("externalId") != user_id for account in self.liar.keeper.node.by_name(address))


def _turned_on(connection: Connection) -> Connection | None:
    return replace(connection, state=State.ON, paused_reason="") if connection.state is State.PAUSED else None
