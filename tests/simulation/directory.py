"""The Workspace directory of the simulation: FakeDirectory, asked by calls that take time and may be struck."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.errors import ConfigurationRefused, Incomplete, Transient
from autoprovisioning.domain.scope import Group, OrgUnit
from tests.simulation.scheduler import Scheduler
from tests.simulation.weather import PROCESS, Weather
from tests.support.in_memory import FakeDirectory

T = TypeVar("T")

LAG = 40.0  # seconds by which a stale answer is behind: less than `Timings.contradiction`
ONE = (*PROCESS, "failed", "stale", "forbidden", "not found")
LISTING = (*PROCESS, "failed", "breaks off", "lacks")
MEMBER = (*PROCESS, "failed", "untold", "says no")
PLAIN = (*PROCESS, "failed")

Known = tuple[DirectoryUser | None, DirectoryUser | None]  # live, deleted


class SimDirectory:
    """The Directory port. `history` is what each user was when, for stale answers and for the oracles.

    Groups of `lost` are not ours to see at the moment, and those that the truth has as unreadable break off.
    """

    def __init__(self, scheduler: Scheduler, weather: Weather, truth: FakeDirectory, *, lags: bool = False) -> None:
        self._scheduler = scheduler
        self._weather = weather
        self.truth = truth
        self.history: dict[str, tuple[list[datetime], list[Known]]] = {}
        self._groups: dict[str, list[frozenset[str]]] = {}  # which groups each user was in, at the times of `history`
        self._member = (*MEMBER, "stale") if lags else MEMBER
        self.lost: set[str] = set()
        self.lacked: dict[str, datetime] = {}  # when a listing that came to its end lacked something last, by listing
        self.blind = False  # a scope group could not be read for a while: nobody need have seen who was back meanwhile

    def changed(self, user_id: str) -> None:
        """Note what became of a user."""
        times, known = self.history.setdefault(user_id, ([], []))
        times.append(self._scheduler.now)
        known.append((self.truth.live.get(user_id), self.truth.removed.get(user_id)))
        groups = frozenset(group for group, members in self.truth.memberships.items() if user_id in members)
        self._groups.setdefault(user_id, []).append(groups)

    def at(self, user_id: str, when: datetime) -> Known:
        """Return what a user was at a time."""
        times, known = self.history.get(user_id, ([], []))
        position = bisect_right(times, when)
        return known[position - 1] if position else (None, None)

    def user(self, user_id: str) -> DirectoryUser | None:
        kind = self._before("user", ONE)
        task = self._scheduler.current
        if task is not None:
            task.process.memory.setdefault("read", {})[user_id] = self._scheduler.now
        if kind == "stale":
            live, gone = self.at(user_id, self._scheduler.now - timedelta(seconds=LAG * self._chance()))
            return live if gone is None else None
        user = self.truth.user(user_id)
        if kind == "forbidden":
            return DirectoryUser(
                id=user_id,
                primary_email="",
                presence=Presence.UNKNOWN,
                org_unit_path="",
                untold="The directory refuses to show it (403).",
            )
        self._weather.after(kind)
        return None if kind == "not found" else user

    def users(self, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        return self._listed("users", lambda: self.truth.users(fields))

    def users_beginning(self, letters: str, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        return self._listed(f"users {letters}", lambda: self.truth.users_beginning(letters, fields))

    def packed(self, users: Sequence[DirectoryUser]) -> Sequence[DirectoryUser]:
        return self.truth.packed(users)

    def users_who_are(self, presence: Presence) -> Iterator[Sequence[DirectoryUser]]:
        return self._listed(f"users {presence.value}", lambda: self.truth.users_who_are(presence))

    def deleted_users(self) -> Iterator[Sequence[DirectoryUser]]:
        return self._listed("deleted_users", self.truth.deleted_users)

    def members(self, group_id: str) -> Iterator[Sequence[str]]:
        if group_id in self.lost or group_id not in self.truth.groups:
            self._before(f"members {group_id}", PLAIN)
            raise ConfigurationRefused("members.list: notFound (404)")
        return self._listed(f"members {group_id}", lambda: self.truth.members(group_id))

    def is_member(self, group_id: str, user_id: str) -> bool | None:
        kind = self._before("is_member", self._member)
        if group_id in self.lost:
            raise ConfigurationRefused("members.list: notFound (404)")
        if kind == "untold":
            return None  # hasMember answers 400
        if kind == "stale":
            when = self._scheduler.now - timedelta(seconds=LAG * self._chance())
            position = bisect_right(self.history[user_id][0], when) if user_id in self.history else 0
            return position > 0 and group_id in self._groups[user_id][position - 1]
        return kind != "says no" and self.truth.is_member(group_id, user_id)

    def group(self, key: str) -> Group | None:
        self._before("group", PLAIN)
        group = self.truth.group(key)
        return group if group is not None and group.id not in self.lost else None

    def all_groups(self) -> Sequence[Group]:
        kind = self._before("all_groups", (*PLAIN, "breaks off", "lacks"))
        if kind == "breaks off":
            raise Incomplete("groups.list broke off")
        groups = self.truth.all_groups()
        if kind == "lacks":
            self.lacked["all_groups"] = self._scheduler.now
        self._weather.after(kind)
        return groups[1:] if kind == "lacks" else groups

    def org_units(self) -> Sequence[OrgUnit]:
        if self._before("org_units", (*PLAIN, "breaks off")) == "breaks off":
            raise Incomplete("orgunits.list broke off")
        return self.truth.org_units()

    def probe(self) -> bool:
        self._before("probe", PLAIN)
        return self.truth.probe()

    def by_address(self, address: str) -> DirectoryUser | None:
        self._before("by_address", PLAIN)
        return self.truth.by_address(address)

    def groups_of(self, key: str) -> Sequence[Group]:
        self._before("groups_of", PLAIN)
        return self.truth.groups_of(key)

    def search_users(self, text: str) -> Sequence[DirectoryUser]:
        return []

    def search_groups(self, letters: str) -> Sequence[Group]:
        return []

    def watch(self, channel: Channel, event: str) -> Channel:
        self._before("watch", PLAIN)
        granted = replace(channel, event=event, resource_id=f"r-{channel.id}")
        self.truth.channels[channel.id] = granted
        return replace(granted, token="")

    def stop(self, channel: Channel) -> None:
        self._before("stop", PLAIN)
        self.truth.stop(channel)

    def _before(self, verb: str, kinds: tuple[str, ...]) -> str:
        kind = self._weather.before(f"directory.{verb}", kinds)
        if kind == "failed":
            raise Transient("The directory failed (503)")
        return kind

    def _chance(self) -> float:
        task = self._scheduler.current
        return task.chance.random() if task is not None else 0.5

    def _listed(self, verb: str, pages: Callable[[], Iterator[Sequence[T]]]) -> Iterator[Sequence[T]]:
        """Yield the pages as they are when asked for; some lack one item, some listings break off."""
        for number, page in enumerate(list(pages())):
            kind = self._weather.before(f"directory.{verb}", LISTING)
            if kind == "breaks off" or (kind == "failed" and number):
                raise Incomplete(f"{verb} broke off")
            if kind == "failed":
                raise Transient("The directory failed (503)")
            if kind == "lacks":
                self.lacked[verb] = self._scheduler.now
            yield page[1:] if kind == "lacks" else page
