"""The outside world in memory, for tests of the use cases: a directory, a Keeper node, tokens, a queue, a clock."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.app.services import Services
from autoprovisioning.domain.accounts import Account, Capabilities, Found, Lookup, Write, WriteKind, Written
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.errors import (
    AccountGone,
    AddressTaken,
    AuthorizationRefused,
    ConfigurationRefused,
    Incomplete,
    NotAsWritten,
    NotSent,
    Permanent,
    ProvisioningError,
    Rejected,
    Unresolved,
)
from autoprovisioning.domain.requests import RUN, AnyRequest
from autoprovisioning.domain.runs import Batch, Look, RunKind
from autoprovisioning.domain.scope import Group, OrgUnit
from autoprovisioning.domain.teams import Team
from tests.support.executors import Inline
from tests.support.in_memory_state import (
    Store,
    state_ports,
)

T = TypeVar("T")

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def unit(path: str) -> OrgUnit:
    """Return an organizational unit as FakeDirectory has it, unless it was renamed."""
    return OrgUnit(id=f"id:{path}", path=path)


SALES = unit("/Sales")


class Clock:
    """A clock that only tests move."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, step: timedelta) -> None:
        self.now += step


class Ids:
    """Ids in order."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self) -> str:
        return f"id{next(self._numbers)}"


class FakeDirectory:
    """A Workspace customer.

    After `broken_after` pages its listing of users breaks off, and so do the parts of `failing` beginnings at once;
    those of `unreadable` groups lack their last page, and all groups cannot be listed if "groups" is among them;
    `hidden` users are answered with a 404. Organizational units are those of `units` (paths by id), and those that
    users are in, with the ones above them; `units_fail` is what listing them raises.
    """

    def __init__(self, page: int = 2) -> None:
        self.live: dict[str, DirectoryUser] = {}
        self.removed: dict[str, DirectoryUser] = {}
        self.groups: dict[str, Group] = {}
        self.memberships: dict[str, set[str]] = defaultdict(set)
        self.nested: dict[str, set[str]] = defaultdict(set)  # the groups that are members of a group
        self.channels: dict[str, Channel] = {}
        self.broken_after: int | None = None
        self.unreadable: set[str] = set()
        self.failing: set[str] = set()
        self.hidden: set[str] = set()
        self.units: dict[str, str] = {SALES.id: SALES.path}
        self.units_fail: ProvisioningError | None = None
        self._page = page

    def user(self, user_id: str) -> DirectoryUser | None:
        return self.live.get(user_id) if user_id not in self.hidden else None

    def by_address(self, address: str) -> DirectoryUser | None:
        def has(user: DirectoryUser) -> bool:
            return address.casefold() in (each.casefold() for each in (user.primary_email, *user.aliases))

        return next((user for user in self.live.values() if has(user) and user.id not in self.hidden), None)

    def users(self, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        for number, page in enumerate(self._paged(list(self.live.values()))):
            if number == self.broken_after:
                raise Incomplete("users.list broke off")
            yield page

    def users_beginning(self, letters: str, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        if letters in self.failing:
            raise Incomplete("users.list broke off")
        found = [user for user in self.live.values() if _begins(user, letters)]
        yield from self._paged(sorted(found, key=lambda user: user.primary_email))

    def packed(self, users: Sequence[DirectoryUser]) -> Sequence[DirectoryUser]:
        return tuple(users)

    def users_who_are(self, presence: Presence) -> Iterator[Sequence[DirectoryUser]]:
        if presence.value in self.failing:
            raise Incomplete("users.list broke off")
        return self._paged([user for user in self.live.values() if user.presence is presence])

    def deleted_users(self) -> Iterator[Sequence[DirectoryUser]]:
        return self._paged(list(self.removed.values()))

    def members(self, group_id: str) -> Iterator[Sequence[str]]:
        pages = list(self._paged(sorted(self._inside(group_id))))
        if group_id in self.unreadable:
            yield from pages[:-1]
            raise Incomplete("members.list broke off")
        yield from pages

    def is_member(self, group_id: str, user_id: str) -> bool:
        return user_id in self._inside(group_id)

    def group(self, key: str) -> Group | None:
        return next((group for group in self.groups.values() if key in (group.id, group.email)), None)

    def all_groups(self) -> Sequence[Group]:
        if "groups" in self.unreadable:
            raise Incomplete("groups.list broke off")
        return list(self.groups.values())

    def groups_of(self, key: str) -> Sequence[Group]:
        named = {group.id for group in self.groups.values() if group.email == key}
        above = [group_id for group_id, below in self.nested.items() if named & below]
        user = self.live.get(key) or FakeDirectory.by_address(self, key)
        if user is not None:
            above += [group_id for group_id, inside in self.memberships.items() if user.id in inside]
        return [self.groups[group_id] for group_id in above if group_id in self.groups]

    def org_units(self) -> Sequence[OrgUnit]:
        if self.units_fail is not None:
            raise self.units_fail
        for user in self.live.values():
            parts = user.org_unit_path.strip("/").split("/")
            for depth in range(1, len(parts) + 1) if parts[0] else ():
                path = "/" + "/".join(parts[:depth])
                if path not in self.units.values():
                    self.units[unit(path).id] = path
        return sorted(
            (OrgUnit(id=unit_id, path=path) for unit_id, path in self.units.items()), key=lambda each: each.path
        )

    def rename_unit(self, old: str, new: str) -> None:
        """Rename or move a unit, with what is below it and everybody in it."""
        self.units = {each.id: _moved(each.path, old, new) for each in self.org_units()}
        self.live = {
            user_id: replace(user, org_unit_path=_moved(user.org_unit_path, old, new))
            for user_id, user in self.live.items()
        }

    def probe(self) -> bool:
        return bool(self.live)

    def watch(self, channel: Channel, event: str) -> Channel:
        self.channels[channel.id] = channel
        return replace(channel, token="", event=event, resource_id=f"r-{channel.id}")

    def stop(self, channel: Channel) -> None:
        self.channels.pop(channel.id, None)

    def _inside(self, group_id: str) -> set[str]:
        below = [group_id]
        for each in below:
            below += sorted(self.nested[each] - set(below))
        return set[str]().union(*(self.memberships[each] for each in below)) & set(self.live)

    def _paged(self, items: list[T]) -> Iterator[list[T]]:
        for start in range(0, max(1, len(items)), self._page):
            yield items[start : start + self._page]


def _begins(user: DirectoryUser, letters: str) -> bool:
    return any(address.casefold().startswith(letters) for address in (user.primary_email, *user.aliases))


def _moved(path: str, old: str, new: str) -> str:
    return new + path[len(old) :] if f"{path}/".startswith(f"{old}/") else path


class FakeKeeper:
    """A Keeper node: unique e-mail addresses, DELETE locks, ids of its own; only the tokens in `accepts` get in.

    What stands in `meanwhile` happens while a write is under way, what stands in `afterwards` between a write and its
    answer, one at each write. `faults` are what becomes of the next writes: "lost" (done, but the answer is lost),
    "inactive" (a creation, made without access), or the error to answer with; None goes well. `locks` False makes
    DELETE delete. `remarks` is what it refuses. A node `beside` another one is of the same Keeper: an address is taken
    on all its nodes, and their ids are different ones.
    """

    def __init__(
        self,
        clock: Clock,
        accepts: Iterable[str] = ("secret",),
        *,
        locks: bool = True,
        beside: FakeKeeper | None = None,
    ) -> None:
        self.teams: dict[str, Team] = {}
        self.team_numbers = itertools.count(1)
        self.members: dict[str, set[str]] = defaultdict(set)  # SCIM ids, by team
        self.unlisted: set[str] = set()  # teams that listings do not show
        self.queued: set[tuple[str, str]] = set()  # memberships, by team and SCIM id, that listings do not show
        self.tells_teams = True  # whether listings show anybody's
        self.accounts: dict[str, Account] = {}
        self.accepts = set(accepts)
        self.clock = clock
        self.locks = locks
        self.meanwhile: deque[Callable[[], None]] = deque()
        self.afterwards: deque[Callable[[], None]] = deque()
        self.faults: deque[Exception | str | None] = deque()
        self.remarks: list[str] = []
        self.lock = threading.RLock()
        self.nodes: list[FakeKeeper] = beside.nodes if beside is not None else []
        self.nodes.append(self)
        self._numbers: Iterator[int] = beside._numbers if beside is not None else itertools.count(1)

    def move(self, scim_id: str, to: FakeKeeper) -> None:
        """Move an account to another node, as an administrator does in Keeper's Admin Console."""
        to.accounts[scim_id] = self.accounts.pop(scim_id)

    def seed(
        self, user_name: str, external_id: str = "", *, active: bool = True, age: timedelta | None = timedelta(0)
    ) -> Account:
        """Put an account there that somebody else made, so long ago; None: this server does not tell when."""
        scim_id = f"k{next(self._numbers)}"
        created = None if age is None else self.clock() - age
        account = Account(
            scim_id=scim_id,
            user_name=user_name,
            external_id=external_id,
            active=active,
            attributes={"userName": user_name},
            created=created,
        )
        self.accounts[scim_id] = account
        return account

    def of(self, user_id: str) -> list[Account]:
        """Return the accounts that carry a directory id."""
        return [account for account in self.accounts.values() if account.external_id == user_id]

    def named(self, user_name: str) -> Account | None:
        """Return the account that has an address."""
        wanted = user_name.casefold()
        return next((account for account in self.accounts.values() if account.user_name.casefold() == wanted), None)

    def opened(self, _connection: Connection, token: str) -> FakeAccounts:
        """Stand for `accounts_for`."""
        return FakeAccounts(self, token)

    def write(self, write: Write) -> str:
        """Carry one write out, or raise as Keeper refuses it; returns the SCIM id."""
        with self.lock:
            if write.kind is WriteKind.CREATE:
                if not self._knows_teams(write):
                    raise Rejected("404")
                return self._put(
                    Account(
                        scim_id=f"k{next(self._numbers)}",
                        user_name="",
                        external_id="",
                        active=True,
                        created=self.clock(),
                    ),
                    write,
                )
            if write.scim_id not in self.accounts or not self._knows_teams(write):
                raise AccountGone("404")
            account = self.accounts[write.scim_id]
            if write.kind is WriteKind.DELETE:
                if self.locks:
                    self.accounts[write.scim_id] = replace(account, active=False)
                else:
                    del self.accounts[write.scim_id]
                return write.scim_id
            return self._put(account, write)

    def interrupt(self, waiting: deque[Callable[[], None]]) -> None:
        """Let something else happen first."""
        with self.lock:
            happening = waiting.popleft() if waiting else None
        if happening is not None:
            happening()

    def next_fault(self) -> Exception | str | None:
        """Take the next fault."""
        with self.lock:
            return self.faults.popleft() if self.faults else None

    def _knows_teams(self, write: Write) -> bool:
        return {*write.joins, *write.leaves} <= self.teams.keys()

    def _put(self, account: Account, write: Write) -> str:
        attributes = {**account.attributes, **write.attributes}
        user_name = str(attributes.get("userName") or account.user_name)
        holders = (holder for node in self.nodes if (holder := node.named(user_name)) is not None)
        if any(holder.scim_id != account.scim_id for holder in holders):
            raise AddressTaken("409")
        self.accounts[account.scim_id] = Account(
            scim_id=account.scim_id,
            user_name=user_name,
            external_id=account.external_id if write.external_id is None else write.external_id,
            active=account.active if write.active is None else write.active,
            attributes={name: value for name, value in attributes.items() if value is not None},
            created=account.created,
        )
        for team_id in write.joins:
            self.members[team_id].add(account.scim_id)
        for team_id in write.leaves:
            self.members[team_id].discard(account.scim_id)
        return account.scim_id


class FakeAccounts:
    """The Accounts port on a FakeKeeper, with one token."""

    def __init__(self, node: FakeKeeper, token: str) -> None:
        self._node = node
        self._token = token

    def probe(self) -> None:
        if self._token not in self._node.accepts:
            raise AuthorizationRefused("401", status=401)

    def capabilities(self) -> Capabilities:
        self.probe()
        return Capabilities()

    def get(self, scim_id: str) -> Account | None:
        self.probe()
        return self._node.accounts.get(scim_id)

    def find(self, lookups: Sequence[Lookup]) -> Iterator[Found]:
        for lookup in lookups:
            try:
                self.probe()
            except AuthorizationRefused as error:
                yield Found(key=lookup.key, error=error)
                continue
            ours = tuple(self._node.of(lookup.external_id))
            named = dict.fromkeys(name.casefold() for name in lookup.user_names)
            found = [account for name in named if (account := self._node.named(name)) is not None]
            flaws = [account.flaw for account in (ours or found) if account.flaw]
            yield (
                Found(key=lookup.key, error=Permanent(flaws[0]))
                if flaws
                else Found(key=lookup.key, accounts=ours or tuple(found))
            )

    def teams(self, deadline: datetime | None = None) -> Sequence[Team]:
        self.probe()
        return [team for team in self._node.teams.values() if team.id not in self._node.unlisted]

    def create_team(self, external_id: str, name: str, deadline: datetime) -> Team:
        self.probe()
        team_id = f"t{next(self._node.team_numbers)}"
        return self._team_written(Team(id=team_id, name=name, external_id=external_id))

    def rename_team(self, team: Team, name: str, deadline: datetime) -> Team:
        self.probe()
        if team.id not in self._node.teams:
            raise Rejected("404")
        return self._team_written(replace(self._node.teams[team.id], name=name, external_id=team.external_id))

    def _team_written(self, team: Team) -> Team:
        fault = self._node.next_fault()
        if isinstance(fault, Exception):
            raise fault
        self._node.teams[team.id] = team
        if fault == "lost":
            raise Unresolved("the answer was lost")
        return team

    def list(self) -> Iterator[Sequence[Account]]:
        self.probe()
        yield [replace(account, teams=self._teams_of(account)) for account in self._node.accounts.values()]

    def _teams_of(self, account: Account) -> tuple[str, ...] | None:
        inside = {team for team, members in self._node.members.items() if account.scim_id in members}
        shown = {team for team in inside & set(self._node.teams) if (team, account.scim_id) not in self._node.queued}
        return tuple(sorted(shown)) if self._node.tells_teams else None

    def write(self, writes: Sequence[Write], deadline: datetime) -> Iterator[Written]:
        conflicts: list[Write] = []
        for write in writes:
            written = self._written(write, deadline)
            if isinstance(written.error, AddressTaken) and write.kind is WriteKind.PATCH:
                conflicts.append(write)  # tried again after the rest: chains of e-mail changes
            else:
                yield written
        for write in conflicts:
            yield self._written(write, deadline)

    def remarks(self) -> Sequence[str]:
        return tuple(self._node.remarks)

    def _written(self, write: Write, deadline: datetime) -> Written:
        try:
            self.probe()
            if self._node.clock() >= deadline:
                raise NotSent("the deadline passed")
            self._node.interrupt(self._node.meanwhile)
            fault = self._node.next_fault()
            if isinstance(fault, Exception):
                raise fault
            scim_id = self._node.write(write)
            self._node.interrupt(self._node.afterwards)
            if fault == "lost":
                raise Unresolved("the answer was lost")
            if fault == "inactive":
                self._node.accounts[scim_id] = replace(self._node.accounts[scim_id], active=False)
                return Written(key=write.key, scim_id=scim_id, error=NotAsWritten("made without access"))
            known = self._node.accounts.get(scim_id)
            return Written(key=write.key, scim_id=scim_id, shown=None if known is None else known.attributes)
        except ProvisioningError as error:
            return Written(key=write.key, error=error)


class FakeTokens:
    """The Tokens port."""

    def __init__(self) -> None:
        self.enabled: dict[tuple[str, str], str] = {}
        self.added: dict[tuple[str, str], datetime] = {}
        self.clock: Callable[[], datetime] = lambda: START
        self._numbers = itertools.count(1)

    def read(self, connection_id: str, version: str) -> str:
        if (connection_id, version) not in self.enabled:
            raise ConfigurationRefused(f"Token version {version} cannot be read.")
        return self.enabled[connection_id, version]

    def add(self, connection_id: str, token: str) -> str:
        version = str(next(self._numbers))
        self.enabled[connection_id, version] = token
        self.added[connection_id, version] = self.clock()
        return version

    def stored(self, connection_id: str) -> Mapping[str, datetime]:
        return {version: at for (owner, version), at in self.added.items() if owner == connection_id}

    def disable(self, connection_id: str, version: str) -> None:
        self.enabled.pop((connection_id, version), None)

    def destroy(self, connection_id: str, version: str) -> None:
        self.enabled.pop((connection_id, version), None)
        self.added.pop((connection_id, version), None)


class FakeQueue:
    """The Queue port: what was published and not yet delivered."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self.batches: list[Batch] = []
        self.runs: list[RunKind] = []
        self.requests: list[str] = []  # by what each of them was asked for
        self.previews: list[tuple[str, str]] = []  # connection and preview

    def look_again(self, looks: Sequence[Look]) -> None:
        self.looks += looks

    def apply(self, batches: Sequence[Batch]) -> None:
        self.batches += batches

    def request_run(self, kind: RunKind, *, retry_failures: bool = False) -> None:
        self.runs.append(kind)
        self.requests.append("")

    def request_work(self, request: AnyRequest) -> None:
        if request.kind is RUN:
            self.runs.append(request.subject)
            self.requests.append(request.id)
        else:
            self.previews.append((request.connection_id, request.id))


class FakeMeter:
    """The Meter port, with nothing to tell."""

    def take(self) -> Mapping[str, int]:
        return {}


class FakeServices:
    """Services over the fakes, and the fakes themselves to look at."""

    def __init__(self, **changes: Any) -> None:
        self.clock = Clock()
        self.directory = FakeDirectory()
        self.keeper = FakeKeeper(self.clock)
        self.keepers: Mapping[str, FakeKeeper] = {}  # other nodes than that, by connection
        self.store = Store()
        self.tokens = FakeTokens()
        self.tokens.clock = self.clock
        self.queue = FakeQueue()
        self.services = Services(
            clock=self.clock,
            new_id=Ids(),
            directory=self.directory,
            **state_ports(self.store),
            tokens=self.tokens,
            queue=self.queue,
            accounts_for=self._opened,
            meter=FakeMeter(),
            **{"executor": Inline(), **changes},
        )

    def _opened(self, connection: Connection, token: str) -> FakeAccounts:
        return self.keepers.get(connection.id, self.keeper).opened(connection, token)
