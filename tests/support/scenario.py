"""A directory, a Keeper node and our use cases between them, over the ports in memory.

The oracle at the end knows nothing of the code under test: it tells from the directory alone who must have access, and
with which attributes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from autoprovisioning.app.provisioning.converge import converge
from autoprovisioning.app.provisioning.read_user import Asked
from autoprovisioning.app.runs.apply_batch import apply_batch
from autoprovisioning.app.runs.reconcile import reconcile
from autoprovisioning.app.runs.sweep import sweep_on_schedule
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Entry, Status
from autoprovisioning.domain.errors import Transient
from autoprovisioning.domain.mapping import AttributeMapping
from autoprovisioning.domain.runs import Batch, Look, Run, RunKind
from autoprovisioning.domain.scope import Group, Scope
from autoprovisioning.domain.settings import Settings, VolumeLimit
from tests.support.in_memory import START, FakeKeeper, FakeServices
from tests.support.settings import with_settings

USERS = ("u1", "u2", "u3", "u4")
GROUP = Group(id="g1", email="keeper@example.com", name="Keeper users")
CONNECTION = Connection(
    id="c1",
    state=State.ON,
    settings=Settings(endpoint="https://keepersecurity.eu/api/rest/scim/v2/1", scope=Scope(groups=(GROUP,))),
    confirmed=1000,
)
LONG_AGO = START - timedelta(days=1000)  # when everybody was hired: whatever account there is was made later
LATER = timedelta(minutes=20)  # longer than a mark's lease, a contradiction, and a first failure's back-off
ADDRESSES = tuple(f"{name}@example.com" for name in ("ada", "bob", "cyd", "dan", "eve"))


class Scenario:
    """A directory, a Keeper node and everything between, with an administrator's verbs."""

    def __init__(self, delete_after: int | None = None, *, locks: bool = True, limit: int = 1000) -> None:
        self.fakes = FakeServices()
        self.fakes.store.stutters = True  # edits must stand being called again
        self.directory = self.fakes.directory
        self.keeper = self.fakes.keeper
        self.nodes = {"c1": self.keeper}  # by connection
        self.fakes.keepers = self.nodes
        self.services = self.fakes.services
        self.sent: list[Look] = []  # notifications Google sent
        self.delivered = 0
        self.refused: list[Look] = []  # Pub/Sub keeps them, to deliver them again
        version = self.fakes.tokens.add("c1", "secret")
        delays = Delays(suspend_after=0, delete_after=delete_after)
        policy = Deprovisioning(app_off=delays, suspended=delays, deleted=delays)
        volume = VolumeLimit(minimum=limit, share=1000.0)  # so few people: what half of them means is tested elsewhere
        self.services.connections.create(
            with_settings(replace(CONNECTION, token_version=version), deprovisioning=policy, limit=volume)
        )
        self.keeper.locks = locks
        self.directory.groups[GROUP.id] = GROUP
        self.directory.live["admin"] = person("admin", "admin@example.com", "Admin")
        self.plan()
        for user_id, address in zip(USERS[:3], ADDRESSES, strict=False):
            self.hire(user_id, address)

    def connect(self, connection_id: str, *groups: Group, shared: bool) -> FakeKeeper:
        """Set up one more connection, after those there are; `shared`: its node is of the first one's Keeper."""
        node = FakeKeeper(self.fakes.clock, beside=self.keeper if shared else None)
        host = "keepersecurity.eu" if shared else f"{connection_id}.example.com"
        self.nodes[connection_id] = node
        self.directory.groups |= {group.id: group for group in groups}
        connection = with_settings(
            replace(
                self.connection,
                id=connection_id,
                order=len(self.nodes),
                token_version=self.fakes.tokens.add(connection_id, "secret"),
                roster_layout="",
                revision=0,
            ),
            name=connection_id,
            scope=Scope(groups=groups),
            endpoint=f"https://{host}/api/rest/scim/v2/{len(self.nodes)}",
        )
        self.services.connections.create(connection)
        return node

    # What an administrator does in the directory; a step that the directory would refuse does nothing.

    def hire(self, user_id: str, address: str) -> None:
        if user_id in self.directory.live or user_id in self.directory.removed or self._in_use(address):
            return
        self.directory.live[user_id] = person(user_id, address, "New")
        self.directory.memberships[GROUP.id].add(user_id)
        self._notify(user_id, "add")

    def rename(self, user_id: str, name: str) -> None:
        self._edit(user_id, lambda user: person(user_id, user.primary_email, name, user))

    def readdress(self, user_id: str, address: str) -> None:
        if not self._in_use(address):
            self._edit(user_id, lambda user: person(user_id, address, user.profile["name"]["givenName"], user))

    def alias(self, user_id: str, address: str) -> None:
        self._edit(user_id, lambda user: replace(user, aliases=(*user.aliases, address)))

    def suspend(self, user_id: str) -> None:
        since = self.fakes.clock.now
        self._edit(user_id, lambda user: replace(user, presence=Presence.SUSPENDED, since=since))

    def archive(self, user_id: str) -> None:
        since = self.fakes.clock.now
        self._edit(user_id, lambda user: replace(user, presence=Presence.ARCHIVED, since=since))

    def restore(self, user_id: str) -> None:
        self._edit(user_id, lambda user: replace(user, presence=Presence.ACTIVE, since=None))

    def leave(self, user_id: str) -> None:
        self.directory.memberships[GROUP.id].discard(user_id)

    def join(self, user_id: str) -> None:
        if user_id in self.directory.live:
            self.directory.memberships[GROUP.id].add(user_id)

    def delete(self, user_id: str) -> None:
        user = self.directory.live.pop(user_id, None)
        if user is not None:
            gone = DirectoryUser(
                id=user_id, primary_email=user.primary_email, presence=Presence.DELETED, since=self.fakes.clock.now
            )
            self.directory.removed[user_id] = gone
            self._notify(user_id, "delete")

    def undelete(self, user_id: str, address: str) -> None:
        if user_id in self.directory.removed and not self._in_use(address):
            del self.directory.removed[user_id]
            self.directory.live[user_id] = person(user_id, address, "Back")
            self._notify(user_id, "undelete")

    def touch(self, user_id: str) -> None:
        """Change what no row of the mapping reads."""
        stamp = self.fakes.clock.now.isoformat()
        self._edit(user_id, lambda user: replace(user, profile={**user.profile, "lastLoginTime": stamp}))

    def _edit(self, user_id: str, change: Callable[[DirectoryUser], DirectoryUser]) -> None:
        if user_id in self.directory.live:
            self.directory.live[user_id] = change(self.directory.live[user_id])
            self._notify(user_id, "update")

    def _in_use(self, address: str) -> bool:
        return any(user.primary_email == address for user in self.directory.live.values())

    def _notify(self, user_id: str, event: str) -> None:
        self.sent.append(Look(user_id=user_id, event=event, asked_at=self.fakes.clock.now))

    # What our system does.

    def deliver(self, look: Look) -> None:
        """Deliver one "look again"."""
        self.delivered += 1
        now = self.fakes.clock.now
        asked = Asked(look=look, message_id=f"m{self.delivered}", published=look.asked_at or now)
        try:
            converge(self.services, asked, now + timedelta(minutes=1))
        except Transient:
            self.refused.append(look)

    def wait(self) -> None:
        self.fakes.clock.advance(timedelta(days=1))

    def sweep(self) -> None:
        """Look for changes of the scope group, and at the users it finds."""
        sweep(self.services)
        self.work_off()

    def run(self) -> None:
        """Plan a run, unless another one is being planned, and apply what is queued."""
        reconcile(self.services, RunKind.FULL, self.fakes.clock.now + timedelta(minutes=25))
        self.work_off()

    def again(self) -> None:
        """Deliver what was refused once more."""
        again, self.refused = self.refused, []
        for look in again:
            self.deliver(look)
        self.work_off()

    def deliver_the_rest(self) -> None:
        """Deliver what was refused until nothing is; time passes meanwhile."""
        for _ in range(10):
            self.fakes.clock.advance(timedelta(minutes=2))
            self.again()
        assert self.refused == []

    def plan(self, kind: RunKind = RunKind.FULL, *, retry_failures: bool = False) -> Run:
        """Plan a run; its batches wait in the queue."""
        deadline = self.fakes.clock.now + timedelta(minutes=25)
        return reconcile(self.services, kind, deadline, retry_failures=retry_failures)[0]

    def apply(self, batch: Batch) -> None:
        """Deliver one batch."""
        self.delivered += 1
        now = self.fakes.clock.now
        with contextlib.suppress(Transient):  # the next run finds what was left
            apply_batch(self.services, batch, f"m{self.delivered}", now, now + timedelta(minutes=8))

    def work_off(self) -> None:
        """Deliver everything that is queued, and what that queues."""
        queue = self.fakes.queue
        while queue.batches or queue.looks:
            batches, queue.batches = queue.batches, []
            looks, queue.looks = queue.looks, []
            for batch in batches:
                self.apply(batch)
            for look in looks:
                self.deliver(look)

    def reconcile_to_the_end(self, kind: RunKind = RunKind.FULL) -> Run:
        """Run, apply everything, and run again: what conflicted (an address not free yet) is retried."""
        for _ in range(4):
            self.fakes.clock.advance(LATER)
            self.plan(kind, retry_failures=True)
            self.work_off()
        self.fakes.clock.advance(LATER)
        return self.plan(kind)

    @property
    def connection(self) -> Connection:
        connection = self.services.connections.get("c1")
        assert connection is not None
        return connection

    def entry(self, user_id: str, connection_id: str = "c1") -> Entry | None:
        """Return a roster entry."""
        connection = self.services.connections.get(connection_id)
        assert connection is not None
        return self.services.roster.entry(connection, user_id)

    # What must be true.

    def check_ownership(self) -> None:
        """Two users never share an account, nobody has two."""
        roster = self.services.roster.load(self.connection)
        ids = [entry.scim_id for entry in roster.values() if entry.scim_id]
        assert len(ids) == len(set(ids))
        owners = [account.external_id for account in self.keeper.accounts.values() if account.external_id]
        assert len(owners) == len(set(owners))
        for entry in roster.values():
            if entry.scim_id not in self.keeper.accounts:
                unknown = entry.mark is not None  # deleted, but the answer was lost
                assert unknown or entry.deleted or entry.status is Status.NONE
            else:
                assert self.keeper.accounts[entry.scim_id].external_id == entry.user_id

    def check_access(self, users: tuple[str, ...] = USERS) -> None:
        """Exactly the active members have access, with what the directory says of them, or a failure says why not."""
        mapping = AttributeMapping()
        for user_id in users:
            user = self.directory.live.get(user_id)
            if user is not None and user.presence is Presence.ARCHIVED:
                continue  # not operated on
            accounts = self.keeper.of(user_id)
            wanted = (
                user is not None
                and user.presence is Presence.ACTIVE
                and user_id in self.directory.memberships[GROUP.id]
            )
            if not wanted:
                assert [account for account in accounts if account.active] == [], user_id
                continue
            assert user is not None
            holder = self.keeper.named(user.primary_email)
            # An account without an owner is adopted by a user without one, unless it may be a leaver's.
            # A user who has one is refused its address.
            leavers = {gone.primary_email for gone in self.directory.removed.values()}
            refused = holder is not None and (holder.external_id or accounts or user.primary_email in leavers)
            if holder is not None and holder.external_id != user_id and refused:
                entry = self.entry(user_id)
                assert entry is not None, user_id
                assert entry.failure is not None, user_id
                continue
            assert [(account.active, dict(account.attributes)) for account in accounts] == [
                (True, mapping.apply(user.profile))
            ], user_id


def sweep(services: Services) -> int:
    """Sweep as on schedule; returns how many differences were published."""
    return sweep_on_schedule(services, services.clock() + timedelta(minutes=4))


def person(user_id: str, address: str, name: str, was: DirectoryUser | None = None) -> DirectoryUser:
    profile = {
        "id": user_id,
        "primaryEmail": address,
        "name": {"givenName": name, "familyName": "Byron", "fullName": f"{name} Byron"},
        "emails": [{"address": address, "primary": True}],
    }
    base = was or DirectoryUser(id=user_id, primary_email=address, presence=Presence.ACTIVE, created=LONG_AGO)
    aliases = (*base.aliases, base.primary_email) if base.primary_email != address else base.aliases
    return replace(base, primary_email=address, aliases=tuple(dict.fromkeys(aliases)), profile=profile)
