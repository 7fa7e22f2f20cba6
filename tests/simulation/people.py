"""What people do: in the directory, in Keeper's Admin Console, and as administrators of this system.

What a side would refuse (an address in use, a user who is not there) does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from autoprovisioning.app import configure
from autoprovisioning.app.admission import Role
from autoprovisioning.app.ask_for_run import ask_for_run
from autoprovisioning.app.decide_hold import Choice, decide_hold
from autoprovisioning.app.inquire import inquire
from autoprovisioning.app.preview import ask_preview
from autoprovisioning.app.reports import InquiryKind
from autoprovisioning.app.tokens import reauthorize
from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.connections import State, VolumeLimit
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.holds import HoldState
from autoprovisioning.domain.users import DirectoryUser, Presence
from tests.office import person
from tests.simulation.history import ADDRESSES, NAMES, POLICIES, Step

if TYPE_CHECKING:
    from tests.simulation.world import World

ADMIN = Actor("admin@example.com", "admin")


def happen(world: World, step: Step) -> None:
    """Let a step happen; those of our administrators are calls that take time."""
    verb = getattr(People, step.verb)
    verb(People(world), step)


class People:
    """The verbs of a history."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._directory = world.customer

    # ---- in the directory

    def hire(self, step: Step) -> None:
        address = ADDRESSES[step.other % len(ADDRESSES)]
        if step.whom in self._directory.live or step.whom in self._directory.removed or self._in_use(address):
            return
        user = person(step.whom, address, NAMES[step.other % len(NAMES)])
        self._directory.live[step.whom] = replace(user, created=self._world.now)
        self._directory.memberships[self._group(step)].add(step.whom)
        self._changed(step.whom, "add")

    def rename(self, step: Step) -> None:
        name = NAMES[step.other % len(NAMES)]
        self._edit(step.whom, lambda user: person(user.id, user.primary_email, name, user))

    def readdress(self, step: Step) -> None:
        address = ADDRESSES[step.other % len(ADDRESSES)]
        if not self._in_use(address):
            self._edit(step.whom, lambda user: _at(user, address))

    def reuse(self, step: Step) -> None:
        """Give somebody the address that a deleted user had."""
        free = [gone.primary_email for gone in self._directory.removed.values() if not self._in_use(gone.primary_email)]
        if free:
            self._edit(step.whom, lambda user: _at(user, free[step.other % len(free)]))

    def swap(self, step: Step) -> None:
        others = [user for user_id, user in sorted(self._directory.live.items()) if user_id not in (step.whom, "admin")]
        mine = self._directory.live.get(step.whom)
        if mine is not None and others:
            other = others[step.other % len(others)]
            self._directory.live[mine.id] = _at(mine, other.primary_email)
            self._directory.live[other.id] = _at(other, mine.primary_email)
            self._changed(mine.id, "update")
            self._changed(other.id, "update")

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
            gone = DirectoryUser(user.id, user.primary_email, Presence.DELETED, since=since)
            self._directory.removed[user.id] = gone
            self._changed(user.id, "delete")

    def undelete(self, step: Step) -> None:
        gone = self._directory.removed.get(step.whom)
        if gone is not None and not self._in_use(gone.primary_email):
            del self._directory.removed[step.whom]
            user = person(gone.id, gone.primary_email, "Back")
            self._directory.live[gone.id] = replace(user, created=self._world.hired.get(gone.id))
            self._changed(gone.id, "undelete")

    def leave(self, step: Step) -> None:
        for members in self._directory.memberships.values():
            members.discard(step.whom)
        self._changed(step.whom)

    def join(self, step: Step) -> None:
        if not any(step.whom in members for members in self._directory.memberships.values()):
            self.also(step)

    def move(self, step: Step) -> None:
        for members in self._directory.memberships.values():
            members.discard(step.whom)
        self.also(step)

    def also(self, step: Step) -> None:
        if step.whom in self._directory.live:
            self._directory.memberships[self._group(step)].add(step.whom)
            self._changed(step.whom)

    def _edit(self, user_id: str, change: Callable[[DirectoryUser], DirectoryUser]) -> None:
        if user_id in self._directory.live:
            self._directory.live[user_id] = change(self._directory.live[user_id])
            self._changed(user_id, "update")

    def _changed(self, user_id: str, event: str = "") -> None:
        self._world.user_changed(user_id)
        if event:
            self._world.notify(user_id, event)

    def _in_use(self, address: str) -> bool:
        return any(user.primary_email == address for user in self._directory.live.values())

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

    def _by_hand(self, step: Step, change: Callable[[Account], Account | None]) -> None:
        for node in self._world.nodes.values():
            for account in node.of(step.whom)[:1]:
                node.by_hand(account.scim_id, change)

    # ---- as administrators of this system

    def edit_policy(self, step: Step) -> None:
        policy = POLICIES[step.other // 10 % len(POLICIES)]
        self._edited(step, lambda settings: replace(settings, deprovisioning=policy))

    def edit_limit(self, step: Step) -> None:
        limit = VolumeLimit((2, 3, 1000)[step.other // 10 % 3])
        self._edited(step, lambda settings: replace(settings, limit=limit))

    def _edited(self, step: Step, change: Callable[[configure.Settings], configure.Settings]) -> None:
        connection = self._world.services.connections.get(self._connection(step))
        if connection is not None:
            settings = change(configure.settings_of(connection))
            configure.edit(self._world.services, connection.id, connection.edition, settings, ADMIN)

    def approve(self, step: Step) -> None:
        self._decide(step, "approve")

    def reject(self, step: Step) -> None:
        self._decide(step, "reject")

    def _decide(self, step: Step, choice: Choice) -> None:
        services, connection_id = self._world.services, self._connection(step)
        for hold in services.records.holds(connection_id):
            if hold.state is HoldState.WAITING:
                decide_hold(services, connection_id, hold.digest, choice, ADMIN)

    def off(self, step: Step) -> None:
        configure.turn_off(self._world.services, self._connection(step), ADMIN)

    def on(self, step: Step) -> None:
        connection = self._world.services.connections.get(self._connection(step))
        if connection is not None and connection.state is State.OFF:
            configure.turn_on(self._world.services, connection.id, ADMIN)

    def kill_token(self, step: Step) -> None:
        self._world.node(step.other).accepts.clear()

    def reauthorize(self, step: Step) -> None:
        connection = self._world.services.connections.get(self._connection(step))
        if connection is not None:
            token = self._world.new_token(connection.id)
            override = step.other // 10 % 3 == 0
            reauthorize(self._world.services, connection.id, token, ADMIN, override=override)

    def provision(self, step: Step) -> None:
        services, inquiries = self._world.services, self._world.inquiries
        inquire(services, inquiries, self._connection(step), step.whom, InquiryKind.PROVISION, ADMIN, Role.SUPER)

    def preview(self, step: Step) -> None:
        connection = self._world.services.connections.get(self._connection(step))
        if connection is not None:
            settings = configure.settings_of(connection)
            ask_preview(self._world.services, self._world.previews, connection.id, connection.edition, settings, ADMIN)

    def run(self, step: Step) -> None:
        connection = self._world.services.connections.get(self._connection(step))
        if connection is not None:
            ask_for_run(self._world.services, connection, ADMIN)

    def delete_connection(self, step: Step) -> None:
        connection = self._world.services.connections.get(self._connection(step))
        if connection is not None:
            configure.delete(self._world.services, self._world.channels, connection.id, ADMIN, connection.name)

    def _connection(self, step: Step) -> str:
        return f"c{1 + step.other % self._world.history.setting.connections}"


def _at(user: DirectoryUser, address: str) -> DirectoryUser:
    return person(user.id, address, user.profile["name"]["givenName"], user)
