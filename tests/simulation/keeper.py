"""Keeper's nodes in the simulation, what is done to their accounts, and the Accounts port on one of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from autoprovisioning.domain.accounts import Account, Attributes, Capabilities, Found, Lookup, Write, WriteKind, Written
from autoprovisioning.domain.errors import (
    AccountGone,
    AddressTaken,
    AuthorizationRefused,
    Contradicted,
    Incomplete,
    NotAsWritten,
    NotSent,
    ProvisioningError,
    Rejected,
    SeatsExhausted,
    Throttled,
    Transient,
    Unresolved,
)
from autoprovisioning.domain.teams import Team
from tests.simulation.node_teams import NodeTeams
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.weather import PROCESS, Weather

READING = (*PROCESS, "failed", "throttled", "refused")
SEARCH = (*READING, "failed")
# Nothing stands still between the last look at the deadline and the request: that stretch is the adapter's.
WRITING = (
    "crash before", "crash after", "failed", "throttled", "refused", "rejected", "seats", "lost, done",
    "lost, not done", "contradicted", "not as written", "made otherwise", "crash after", "lost, done",
)  # fmt: skip
OF_TEAMS = (
    "crash before", "crash after", "failed", "throttled", "refused", "rejected", "lost, done", "lost, not done",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Effect:
    """One write that Keeper carried out, whether or not anybody was told: the account before and after it."""

    at: datetime
    node: str
    write: Write
    before: Account | None
    after: Account | None
    process: Process | None = field(repr=False)
    joined: tuple[str, ...] = ()  # ids of teams
    left: tuple[str, ...] = ()

    @property
    def takes(self) -> bool:
        """Say whether it took access away."""
        lost = self.after is None or not self.after.active
        return self.before is not None and self.before.active and lost

    @property
    def gives(self) -> bool:
        """Say whether it gave access."""
        had = self.before is not None and self.before.active
        return self.after is not None and self.after.active and not had


@dataclass(eq=False)
class Node:
    """One node: e-mail addresses are unique among those of `shared`, DELETE locks unless `locks` is False.

    `normalises` makes the server store addresses in lower case and trim what it stores. `theirs` are the accounts that
    people locked in Keeper themselves; `hands` are those that people changed there at all, and when last. `foreign` are
    those that people made, `were` the directory ids that accounts carried before people changed or deleted them.
    """

    name: str
    scheduler: Scheduler
    accepts: set[str]
    locks: bool = True
    normalises: bool = False
    shared: list[Node] = field(default_factory=list)
    accounts: dict[str, Account] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    theirs: set[str] = field(default_factory=set)
    hands: dict[str, datetime] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    were: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    made: int = 0
    teams: NodeTeams = field(default_factory=NodeTeams)

    def of(self, user_id: str) -> list[Account]:
        """Return the accounts that carry a directory id."""
        return [account for account in self.accounts.values() if account.external_id == user_id]

    def named(self, user_name: str) -> Account | None:
        """Return the account of this node that has an address."""
        wanted = user_name.casefold()
        return next((account for account in self.accounts.values() if account.user_name.casefold() == wanted), None)

    def seed(self, user_name: str, external_id: str = "", *, age: timedelta = timedelta(0)) -> Account | None:
        """Let somebody make an account by hand, or have made it so long ago, unless the address is taken."""
        if self._taken(user_name, ""):
            return None
        made = self.scheduler.now - age
        account = Account(
            scim_id=self._id(),
            user_name=user_name,
            external_id=external_id,
            active=True,
            attributes={"userName": user_name},
            created=made,
        )
        self.accounts[account.scim_id] = account
        self.hands[account.scim_id] = self.scheduler.now
        self.foreign.add(account.scim_id)
        return account

    def by_hand(self, scim_id: str, change: Callable[[Account], Account | None]) -> None:
        """Let somebody change an account in Keeper's Admin Console."""
        changed = change(self.accounts[scim_id])
        if changed is None or changed.external_id != self.accounts[scim_id].external_id:
            self.were[scim_id].add(self.accounts[scim_id].external_id)
        self.hands[scim_id] = self.scheduler.now
        if changed is None:
            del self.accounts[scim_id]
        else:
            self.accounts[scim_id] = changed
            locked = not changed.active
            (self.theirs.add if locked else self.theirs.discard)(scim_id)

    def write(self, write: Write, process: Process | None) -> Account | None:
        """Carry one write out, or raise as Keeper refuses it; returns the account, None where it is deleted."""
        before = None if write.kind is WriteKind.CREATE else self.accounts.get(write.scim_id)
        if before is None and write.kind is not WriteKind.CREATE:
            raise AccountGone("404")
        self.teams.refuse(write)
        after = self._after(before, write)
        scim_id = after.scim_id if after is not None else write.scim_id
        joined, left = self.teams.changed(write, scim_id)
        self.teams.move(scim_id, joined, left)
        if after is None:
            del self.accounts[scim_id]
        else:
            self.accounts[scim_id] = after
        self.effects.append(Effect(self.scheduler.now, self.name, write, before, after, process, joined, left))
        return after

    def _after(self, before: Account | None, write: Write) -> Account | None:
        if write.kind is WriteKind.DELETE:
            assert before is not None
            return replace(before, active=False) if self.locks else None
        known = before or Account(scim_id="", user_name="", external_id="", active=True, created=self.scheduler.now)
        attributes = {
            **known.attributes,
            **{name: self._stored(name, value) for name, value in write.attributes.items()},
        }
        user_name = str(attributes.get("userName") or known.user_name)
        if self._taken(user_name, known.scim_id):
            raise AddressTaken("409")
        return Account(
            scim_id=known.scim_id or self._id(),
            user_name=user_name,
            external_id=known.external_id if write.external_id is None else write.external_id,
            active=known.active if write.active is None else write.active,
            attributes={name: value for name, value in attributes.items() if value is not None},
            created=known.created,
        )

    def refuses(self, write: Write) -> bool:
        """Say whether it answers a write with 409: another account has the address."""
        return "userName" in write.attributes and self._taken(str(write.attributes["userName"]), write.scim_id)

    def _stored(self, name: str, value: str | bool | None) -> str | bool | None:
        if not self.normalises or not isinstance(value, str):
            return value
        return value.lower() if name in ("userName", "emails.value") else value.strip()

    def _taken(self, user_name: str, scim_id: str) -> bool:
        holders = [node.named(user_name) for node in self.shared or [self]]
        return any(holder is not None and holder.scim_id != scim_id for holder in holders)

    def _id(self) -> str:
        self.made += 1
        return f"{self.name}k{self.made}"


class Watcher(Protocol):
    """Judges what is written."""

    def write(self, node: Node, write: Write) -> None:
        """Judge a write right before it takes effect."""

    def moved(self, node: Node, effect: Effect) -> None:
        """Take over which memberships a write has changed."""

    def team(self, connection_id: str, node: Node, before: Team | None, name: str, external_id: str) -> None:
        """Judge a team that is to be made, or renamed, right before that."""


class SimAccounts:
    """The Accounts port on a node, with one token."""

    def __init__(
        self, node: Node, connection_id: str, token: str, scheduler: Scheduler, weather: Weather, watch: Watcher
    ) -> None:
        self._node = node
        self._connection_id = connection_id
        self._token = token
        self._scheduler = scheduler
        self._weather = weather
        self._watch = watch

    def probe(self) -> None:
        self._ask("probe", READING)

    def capabilities(self) -> Capabilities:
        self._ask("capabilities", READING)
        return Capabilities()

    def remarks(self) -> Sequence[str]:
        return ()

    def get(self, scim_id: str) -> Account | None:
        self._ask("get", READING)
        return self._node.accounts.get(scim_id)

    def find(self, lookups: Sequence[Lookup]) -> Iterator[Found]:
        for lookup in lookups:
            try:
                self._ask("find", SEARCH)
            except ProvisioningError as error:
                yield Found(key=lookup.key, error=error)
                continue
            ours = tuple(self._node.of(lookup.external_id))
            names = dict.fromkeys(name.casefold() for name in lookup.user_names)
            found = tuple(account for name in names if (account := self._node.named(name)) is not None)
            yield Found(key=lookup.key, accounts=ours or found)

    def list(self) -> Iterator[Sequence[Account]]:
        self._ask("list", READING)
        everybody = list(self._node.accounts.values())
        middle = len(everybody) // 2
        yield everybody[:middle]
        if self._weather.before("keeper.list", (*PROCESS, "breaks off")) == "breaks off":
            raise Incomplete("Keeper's listing broke off")
        yield everybody[middle:]

    def teams(self, deadline: datetime | None = None) -> Sequence[Team]:
        if self._ask("teams", (*READING, "breaks off")) == "breaks off":
            raise Incomplete("Keeper's listing of groups broke off")
        return self._node.teams.listed(self._scheduler.now)

    def create_team(self, external_id: str, name: str, deadline: datetime) -> Team:
        return self._team_sent(None, external_id, name, deadline)

    def rename_team(self, team: Team, name: str, deadline: datetime) -> Team:
        return self._team_sent(team, team.external_id, name, deadline)

    def _team_sent(self, team: Team | None, external_id: str, name: str, deadline: datetime) -> Team:
        if self._scheduler.clock() >= deadline:
            raise NotSent("The deadline passed")
        kind = self._weather.before(f"keeper {self._node.name}.team {external_id} {name}", OF_TEAMS)
        if self._token not in self._node.accepts:
            raise AuthorizationRefused("401", status=401)
        self._refuse_any(kind, "Keeper refuses this request (400)")
        self._watch.team(self._connection_id, self._node, team, name, external_id)
        teams, now = self._node.teams, self._scheduler.now
        if team is None:
            after = teams.create(name, external_id, now)
        else:
            after = teams.rename(team.id, name, now, external_id=external_id)
        self._weather.after(kind)
        if kind == "lost, done":
            if team is None and len(teams.ever) % 2:
                return replace(after, id="")  # a 201 that shows nothing else
            raise Unresolved("The answer was lost")
        return after

    def write(self, writes: Sequence[Write], deadline: datetime) -> Iterator[Written]:
        conflicts: list[Write] = []
        for write in writes:
            written = self._written(write, deadline)
            if isinstance(written.error, AddressTaken) and write.kind is WriteKind.PATCH:
                conflicts.append(write)  # tried again after the rest, as the adapter does
            else:
                yield written
        for write in conflicts:
            yield self._written(write, deadline)

    def _ask(self, verb: str, kinds: tuple[str, ...]) -> str:
        kind = self._weather.before(f"keeper {self._node.name}.{verb}", kinds)
        if self._token not in self._node.accepts:
            raise AuthorizationRefused("401", status=401)
        if kind == "failed":
            raise Transient("Keeper failed (503)")
        if kind == "throttled":
            raise Throttled("Keeper asks us to slow down (429)", retry_after=30.0)
        if kind == "refused":
            raise AuthorizationRefused("403", status=403)
        self._weather.after(kind)
        return kind

    def _written(self, write: Write, deadline: datetime) -> Written:
        try:
            if self._scheduler.clock() >= deadline:
                raise NotSent("The deadline passed")
            return self._sent(write)
        except ProvisioningError as error:
            return Written(key=write.key, error=error)

    def _sent(self, write: Write) -> Written:
        task = self._scheduler.current
        what = f"{write.kind.value} {write.scim_id or write.attributes.get('userName')}"
        kind = self._weather.before(f"keeper {self._node.name}.write {what}{_access(write)}", WRITING)
        if self._token not in self._node.accepts:
            raise AuthorizationRefused("401", status=401)
        self._refuse(kind, write)
        self._watch.write(self._node, write)
        after = self._node.write(
            _otherwise(write) if kind == "made otherwise" else write, task.process if task else None
        )
        self._watch.moved(self._node, self._node.effects[-1])
        self._weather.after(kind)
        if kind == "lost, done":
            raise Unresolved("The answer was lost")
        scim_id = after.scim_id if after is not None else write.scim_id
        if kind == "made otherwise" and write.kind is WriteKind.CREATE:
            return Written(
                key=write.key, scim_id=scim_id, error=NotAsWritten("Keeper made the account, but not as written")
            )
        shown: Attributes | None = after.attributes if after is not None else None
        return Written(key=write.key, scim_id=scim_id, shown=shown)

    @staticmethod
    def _refuse(kind: str, write: Write) -> None:
        creates = write.kind is WriteKind.CREATE
        SimAccounts._refuse_any(kind, "Keeper refuses this account's data (400)")
        match kind:
            case "seats" if creates:
                raise SeatsExhausted("No seat is left (428)")
            case "contradicted" if not creates:
                raise Contradicted("Keeper answered with success, but shows something else")
            case "not as written" if not creates:
                raise NotAsWritten("Keeper answered with success, but did it not")

    @staticmethod
    def _refuse_any(kind: str, told: str) -> None:
        match kind:
            case "failed":
                raise Transient("Keeper failed (503)")
            case "throttled":
                raise Throttled("Keeper asks us to slow down (429)", retry_after=45.0)
            case "refused":
                raise AuthorizationRefused("403", status=403)
            case "rejected":
                raise Rejected(told)
            case "lost, not done":
                raise Unresolved("The answer was lost")


def _otherwise(write: Write) -> Write:
    """Return what a server makes of a creation that it answers with success, but gets wrong."""
    if write.kind is not WriteKind.CREATE:
        return write
    return replace(write, active=False, attributes={**write.attributes, "displayName": ""})


def _access(write: Write) -> str:
    return "" if write.active is None else (", active" if write.active else ", inactive")
