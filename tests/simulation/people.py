"""What people do in the directory and in Keeper's Admin Console.

What a side would refuse (an address in use, a user who is not there) does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from tests.simulation.history import ADDRESSES, NAMES, USERS, Step
from tests.support.scenario import person

if TYPE_CHECKING:
    from tests.simulation.world import World

MINUTE = timedelta(minutes=1)


class People:
    """The verbs of a history that are not our administrators'."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._directory = world.customer

    # ---- in the directory

    def hire(self, step: Step) -> None:
        """Hire somebody who was not there yet, under a free address; some had been invited by hand the day before."""
        known = {*self._directory.live, *self._directory.removed}
        newcomers = [user_id for user_id in (step.whom, *USERS) if user_id not in known]
        free = [address for address in _from(step.other, ADDRESSES) if not self._in_use(address)]
        if not newcomers or not free:
            return
        if step.other // 10 % 3 == 0:
            self._world.node(step.other).seed(free[0], age=timedelta(days=1))
        self._begins(newcomers[0], free[0], step)
        self._changed(newcomers[0], "add")

    def mix_up(self, step: Step) -> None:
        """Hire two people, make an account for one by hand, and swap their addresses while it is being adopted."""
        newcomers = [user_id for user_id in USERS if user_id not in {*self._directory.live, *self._directory.removed}]
        free = [address for address in _from(step.other, ADDRESSES) if not self._in_use(address)]
        if len(newcomers) < 2 or len(free) < 2:
            return
        one, other = newcomers[:2]
        for user_id, address in zip((one, other), free, strict=False):
            self._begins(user_id, address, step)
        self._world.node(step.other).seed(free[0])
        self._changed(one, "add")
        self._changed(other)  # whom Google tells of later, with the new address
        seconds = timedelta(seconds=1 + step.other % 12)
        self._world.scheduler.at(self._world.now + seconds, lambda: self._swap(one, other))

    def _begins(self, user_id: str, address: str, step: Step) -> None:
        user = person(user_id, address, NAMES[step.other % len(NAMES)])
        unit = self._world.unit(step.other)
        self._directory.live[user_id] = replace(user, created=self._world.now, org_unit_path=unit)
        self._directory.memberships[self._group(step)].add(user_id)

    def rename(self, step: Step) -> None:
        name = NAMES[step.other % len(NAMES)]
        self._edit(step.whom, lambda user: person(user.id, user.primary_email, name, user))

    def readdress(self, step: Step) -> None:
        address = ADDRESSES[step.other % len(ADDRESSES)]
        if not self._in_use(address):
            self._edit(step.whom, lambda user: _at(user, address))

    def namesake(self, step: Step) -> None:
        """Give somebody the address of an account that people made in Keeper."""
        node = self._world.node(step.other)
        made = sorted(node.accounts[scim_id].user_name for scim_id in node.foreign & node.accounts.keys())
        address = made[step.other // 18 % len(made)] if made else ""
        if made and not self._in_use(address):
            self._edit(step.whom, lambda user: _at(user, address))

    def reuse(self, step: Step) -> None:
        """Give somebody the address that a deleted user had."""
        free = [gone.primary_email for gone in self._directory.removed.values() if not self._in_use(gone.primary_email)]
        if free:
            self._edit(step.whom, lambda user: _at(user, free[step.other % len(free)]))

    def swap(self, step: Step) -> None:
        others = [user for user_id, user in sorted(self._directory.live.items()) if user_id not in (step.whom, "admin")]
        if step.whom in self._directory.live and others:
            self._swap(step.whom, others[step.other % len(others)].id)

    def _swap(self, *both: str) -> None:
        mine, other = (self._directory.live.get(user_id) for user_id in both)
        if mine is not None and other is not None:
            self._directory.live[mine.id] = _at(mine, other.primary_email)
            self._directory.live[other.id] = _at(other, mine.primary_email)
            self._changed(mine.id, "update")
            self._changed(other.id, "update")

    def alias(self, step: Step) -> None:
        address = ADDRESSES[step.other % len(ADDRESSES)]
        if not self._in_use(address):
            self._edit(step.whom, lambda user: replace(user, aliases=(*user.aliases, address)))

    def drop_alias(self, step: Step) -> None:
        """Take an alias away, which is free for others then."""
        self._edit(step.whom, lambda user: replace(user, aliases=user.aliases[1:]))

    def suspend(self, step: Step) -> None:
        self._turns(step, Presence.SUSPENDED)

    def archive(self, step: Step) -> None:
        self._turns(step, Presence.ARCHIVED)

    def _turns(self, step: Step, presence: Presence) -> None:
        user, now = self._directory.live.get(step.whom), self._world.now.replace(microsecond=0)
        if user is not None and user.presence is not presence:
            self._edit(step.whom, lambda user: replace(user, presence=presence, since=now))

    def restore(self, step: Step) -> None:
        self._edit(step.whom, lambda user: replace(user, presence=Presence.ACTIVE, since=None))

    def delete(self, step: Step) -> None:
        user = self._directory.live.pop(step.whom, None)
        if user is not None:
            since = self._world.now.replace(microsecond=0)
            gone = DirectoryUser(id=user.id, primary_email=user.primary_email, presence=Presence.DELETED, since=since)
            self._directory.removed[user.id] = gone
            self._changed(user.id, "delete")

    def vanish(self, step: Step) -> None:
        """Let nothing show somebody any more, not even the listing of deleted users: they were deleted long ago, say.

        No notification tells of it.
        """
        if self._directory.live.pop(step.whom, None) is not None:
            self._changed(step.whom)

    def undelete(self, step: Step) -> None:
        gone = self._directory.removed.get(step.whom)
        if gone is not None and not self._in_use(gone.primary_email):
            del self._directory.removed[step.whom]
            user = person(gone.id, gone.primary_email, "Back")
            self._directory.live[gone.id] = replace(user, created=self._world.hired.get(gone.id))
            self._changed(gone.id, "undelete")

    def leave(self, step: Step) -> None:
        self._out_of_scopes(step.whom)
        self._changed(step.whom)
        self._sits(step.whom, "/")

    def join(self, step: Step) -> None:
        if not any(step.whom in members for members in self._scopes()):
            self.also(step)
            self._sits(step.whom, self._world.unit(step.other))

    def move(self, step: Step) -> None:
        self._out_of_scopes(step.whom)
        self.also(step)
        self._sits(step.whom, self._world.unit(step.other))

    def also(self, step: Step) -> None:
        if step.whom in self._directory.live:
            self._directory.memberships[self._group(step)].add(step.whom)
            self._changed(step.whom)

    def _out_of_scopes(self, user_id: str) -> None:
        for members in self._scopes():
            members.discard(user_id)

    def _scopes(self) -> Sequence[set[str]]:
        """Return who is in each scope group; other groups have verbs of their own (`tests/simulation/groups.py`)."""
        return [members for group, members in self._directory.memberships.items() if group.startswith("g")]

    def empty_group(self, step: Step) -> None:
        """Take everybody out of a scope group and its unit, by mistake."""
        for user_id in sorted(self._directory.memberships[self._group(step)]):
            self.leave(replace(step, whom=user_id))

    def fill_group(self, step: Step) -> None:
        """Put everybody into a scope group, and into its unit."""
        for user_id in sorted(self._directory.live.keys() - {"admin"}):
            self.also(replace(step, whom=user_id))
            self._sits(user_id, self._world.unit(step.other))

    def transfer(self, step: Step) -> None:
        """Move somebody to another organizational unit, or to one below it; groups stay."""
        below = "/Night shift" if step.other // 10 % 3 == 0 else ""
        self._sits(step.whom, self._world.unit(step.other) + below)

    def _sits(self, user_id: str, path: str) -> None:
        user = self._directory.live.get(user_id)
        if user is not None and user.org_unit_path != path:
            self._edit(user_id, lambda user: replace(user, org_unit_path=path))

    def rename_unit(self, step: Step) -> None:
        """Rename a unit, or move it below another one: no notification reports the users in it."""
        old, above = self._world.unit(step.other), "/Europe" if step.other // 10 % 2 else ""
        before = {user_id: user.org_unit_path for user_id, user in self._directory.live.items()}
        self._directory.rename_unit(old, f"{above}/Unit {step.other}")
        for user_id, user in sorted(self._directory.live.items()):
            if user.org_unit_path != before[user_id]:
                self._changed(user_id)

    def break_group(self, step: Step) -> None:
        """Let a scope group not be ours to read for up to two hours: not to its end, or not at all."""
        broken = self._directory.unreadable if step.other // 10 % 2 else self._world.directory.lost
        group = self._group(step)
        broken.add(group)
        self._world.directory.blind = True
        self._world.scheduler.at(self._world.now + (10 + step.other % 110) * MINUTE, lambda: broken.discard(group))

    def _edit(self, user_id: str, change: Callable[[DirectoryUser], DirectoryUser]) -> None:
        if user_id in self._directory.live:
            self._directory.live[user_id] = change(self._directory.live[user_id])
            self._changed(user_id, "update")

    def _changed(self, user_id: str, event: str = "") -> None:
        self._world.user_changed(user_id)
        if event:
            self._world.notify(user_id, event)

    def _in_use(self, address: str) -> bool:
        """Say whether an address is somebody's, or an alias: the directory lets nobody else have it."""
        return any(address in (user.primary_email, *user.aliases) for user in self._directory.live.values())

    def _group(self, step: Step) -> str:
        return f"g{1 + step.other % self._world.history.setting.connections}"

    # ---- in Keeper

    def lock(self, step: Step) -> None:
        self._by_hand(step, lambda account: replace(account, active=False))

    def unlock(self, step: Step) -> None:
        self._by_hand(step, lambda account: replace(account, active=True))

    def rename_by_hand(self, step: Step) -> None:
        name = f"Mallory {step.other}"
        self._by_hand(step, lambda known: replace(known, attributes={**known.attributes, "displayName": name}))

    def delete_by_hand(self, step: Step) -> None:
        self._by_hand(step, lambda account: None)

    def stranger(self, step: Step) -> None:
        node = self._world.node(step.other)
        theirs = ADDRESSES[step.other % len(ADDRESSES)] if step.other % 3 == 0 else f"stranger{step.other}@example.net"
        node.seed(theirs, "" if step.other % 2 else f"x{step.other}")

    def relabel(self, step: Step) -> None:
        """Change the externalId of an account, as another provisioner may."""
        self._by_hand(step, lambda account: replace(account, external_id=f"x{step.other}" if step.other % 2 else ""))

    def invite(self, step: Step) -> None:
        """Make an account for a directory user by hand, under an address of theirs; some carry the directory id."""
        user = self._directory.live.get(step.whom)
        if user is not None:
            addresses = (user.primary_email, *user.aliases)
            address = addresses[step.other // 10 % len(addresses)]
            self._world.node(step.other).seed(address, user.id if step.other % 4 == 0 else "")

    def _by_hand(self, step: Step, change: Callable[[Account], Account | None]) -> None:
        for node in self._world.nodes.values():
            for account in node.of(step.whom)[:1]:
                node.by_hand(account.scim_id, change)


def _at(user: DirectoryUser, address: str) -> DirectoryUser:
    return person(user.id, address, user.profile["name"]["givenName"], user)


def _from(number: int, items: Sequence[str]) -> Sequence[str]:
    """Return all items, beginning with the one of a number."""
    start = number % len(items)
    return [*items[start:], *items[:start]]
