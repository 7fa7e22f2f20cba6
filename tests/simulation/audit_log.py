"""Workspace's audit log and its sink: what people do in the directory is published, with what may befall a message.

Members of groups are reported twice, in both shapes. A report comes half a second and more after the change, and may be
lost, late (so that reports change their order) or come twice; one in some is false: of somebody else, or of what never
was. What receives them is one instance, whose memory goes when it crashes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from autoprovisioning.app.notifications.follow_changes import Follower, ask_for_due_runs, follow
from autoprovisioning.app.notifications.hearing import Ear
from autoprovisioning.app.notifications.recent import Memory
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.sources import Feed
from autoprovisioning.domain.workspace_changes import tells_of_users
from autoprovisioning.log_entries import decode_entry
from tests.simulation.pubsub import Entry, Message
from tests.simulation.scheduler import Killed, Stream
from tests.support.log_entries import admin_entry, encoded, groups_entry

if TYPE_CHECKING:
    from tests.simulation.world import World

FALSE = 0.15  # of the reports are followed by a false one
TURNS = {
    Presence.SUSPENDED: ("SUSPEND_USER", "UNSUSPEND_USER"),
    Presence.ARCHIVED: ("ARCHIVE_USER", "UNARCHIVE_USER"),
}
LIES = ("SUSPEND_USER", "DELETE_USER", "UNDELETE_USER", "CREATE_USER", "REMOVE_GROUP_MEMBER", "ADD_GROUP_MEMBER")


@dataclass(frozen=True)
class Known:
    """What there is to be told of one user."""

    live: DirectoryUser | None
    gone: DirectoryUser | None
    unit: str
    groups: frozenset[str]


class AuditLog:
    """The log, its sink, and the function that hears of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[str, Known] = {}
        self._count = 0
        self._memory, self._ear = Memory(), self._new_ear()
        self._skew = timedelta(0)
        self.listening = False  # the customer was there before
        self.told: set[tuple[str, str]] = set()  # the events that were reported, with their group

    def changed(self, user_id: str) -> None:
        """Publish what has changed of a user since last time."""
        before, now = self._known.get(user_id), self._snapshot(user_id)
        self._known[user_id] = now
        if not self.listening:
            return
        chance = self._chance(f"log-{user_id}")
        for event, parameters in _events(before, now):
            if parameters.get("group", "") in ("", *self._world.customer.groups):  # of one that is deleted nothing is
                self._report(event, chance, **parameters)
        if chance.random() < FALSE:
            self._lie(chance)

    def _snapshot(self, user_id: str) -> Known:
        customer = self._world.customer
        live = customer.live.get(user_id)
        path = live.org_unit_path if live is not None else ""
        unit = next((each for each, known in customer.units.items() if known == path), path)
        groups = frozenset(group for group, members in customer.memberships.items() if user_id in members)
        return Known(live, customer.removed.get(user_id), unit, groups)

    def _chance(self, name: str) -> Random:
        self._count += 1
        return Stream(self._world.scheduler.seed, f"{name}-{self._count}").chance

    def _lie(self, chance: Random) -> None:
        """Report what did not happen: by mistake, long ago, or by somebody who may publish to the topic."""
        living = sorted(self._world.customer.live)
        whom = self._world.customer.live[living[int(chance.random() * len(living))]]
        groups = sorted(self._world.customer.groups)
        group = groups[int(chance.random() * len(groups))]
        self._report(LIES[int(chance.random() * len(LIES))], chance, USER_EMAIL=whom.primary_email, group=group)

    def _report(self, event: str, chance: Random, *, group: str = "", **parameters: str) -> None:
        at = self._world.now.isoformat()
        address = self._world.customer.groups[group].email if group else ""
        named = {"GROUP_EMAIL": address} if event.endswith("GROUP_MEMBER") else {}
        self.told.add((event, named.get("GROUP_EMAIL", "")))
        self._publish(event, admin_entry(event, at=at, **parameters, **named), chance)
        if named:
            action = "REMOVE" if event == "REMOVE_GROUP_MEMBER" else "ADD"
            self._publish(event, groups_entry(address, f"user:{parameters['USER_EMAIL']}", action, at=at), chance)

    def _publish(self, event: str, entry: dict[str, Any], chance: Random) -> None:
        self._count += 1
        message = Entry(f"entry-{self._count}", encoded(entry), event)
        luck, pace = chance.random(), chance.random()
        lag = timedelta(seconds=0.5 + 0.3 * chance.random())
        self._world.scheduler.at(self._world.now + lag, lambda: self._world.topics.publish(message, luck, pace))

    # ---- what hears of it

    def deliver(self, message: Message) -> None:
        """Let the function take one entry in."""
        assert isinstance(message.payload, Entry)
        follower, published = self._follower(), message.published
        entry = decode_entry(message.payload.data)
        try:
            if self._world.services.through.audit_log:
                self._ear.hear(follower.clock(), user=tells_of_users(entry))
            follow(follower, entry, min(published, follower.clock()))
        except Killed:
            self._memory, self._ear = Memory(), self._new_ear()  # another instance goes on
            raise

    def _new_ear(self) -> Ear:
        return Ear(self._world.services.sources, Feed.AUDIT_LOG)

    def tick(self) -> None:
        """Let the function be called, as it is every minute."""
        ask_for_due_runs(self._follower())

    def _follower(self) -> Follower:
        services, task = self._world.services, self._world.scheduler.current
        assert task is not None
        task.process.skew = self._skew  # it is one instance, on one machine
        return Follower(
            directory=services.directory,
            connections=services.connections,
            roster=services.roster,
            teams=services.teams,
            queue=services.queue,
            due_runs=services.due_runs,
            clock=services.clock,
            lag=services.timings.contradiction,
            memory=self._memory,
        )


def _events(before: Known | None, now: Known) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield what an administrator's doing is called in the log."""
    was, live = before.live if before is not None else None, now.live
    if live is None:
        if was is not None:
            yield "DELETE_USER", {"USER_EMAIL": was.primary_email}
        return
    whom = {"USER_EMAIL": live.primary_email}
    if was is None:
        yield "UNDELETE_USER" if before is not None and before.gone is not None else "CREATE_USER", whom
    elif was.primary_email != live.primary_email:
        yield "RENAME_USER", {"USER_EMAIL": was.primary_email, "NEW_VALUE": live.primary_email}
    if was is not None and was.presence is not live.presence:
        yield TURNS[live.presence][0] if live.presence in TURNS else TURNS[was.presence][1], whom
    if was is not None and was.profile.get("name") != live.profile.get("name"):
        yield "CHANGE_FIRST_NAME", whom
    if was is not None and was.aliases != live.aliases:
        yield "ADD_NICKNAME" if len(live.aliases) > len(was.aliases) else "REMOVE_NICKNAME", whom
    if before is not None and was is not None and before.unit != now.unit:
        yield "MOVE_USER_TO_ORG_UNIT", whom
    groups = before.groups if before is not None else frozenset[str]()
    for group in sorted(groups - now.groups):
        yield "REMOVE_GROUP_MEMBER", {**whom, "group": group}
    for group in sorted(now.groups - groups):
        yield "ADD_GROUP_MEMBER", {**whom, "group": group}
