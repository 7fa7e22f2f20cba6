"""What the administrators of this system do, by the use cases of the console: each step is calls that take time.

What a use case refuses (a state that does not fit, somebody who edited meanwhile) does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from autoprovisioning.app.administration import configure
from autoprovisioning.app.administration.ask_for_run import ask_for_run
from autoprovisioning.app.administration.confirm_adoptions import confirm_adoptions
from autoprovisioning.app.administration.held_plans import Choice, decide_hold
from autoprovisioning.app.administration.inquire import inquire
from autoprovisioning.app.administration.lock_accounts import choose, unlock
from autoprovisioning.app.administration.preview import ask_preview
from autoprovisioning.app.administration.roles import Role
from autoprovisioning.app.administration.take_over import take_over
from autoprovisioning.app.administration.tokens import reauthorize
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.errors import ProvisioningError
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.holds import Hold, Standing
from autoprovisioning.domain.requests import InquiryKind, Preview, Would
from autoprovisioning.domain.scope import Scope
from autoprovisioning.domain.settings import VolumeLimit
from autoprovisioning.domain.unprovisioned import Offer
from tests.simulation.history import MAPPINGS, POLICIES, Step
from tests.simulation.people import People

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
ADMIN = Actor(address="admin@example.com", directory_id="admin")
COMPUTED = 600.0  # seconds that somebody waits for a preview
LOOKS, BETWEEN_LOOKS = 30, 120.0  # seconds: how often somebody looks whether there is anything to decide
DRAINED = 600.0  # seconds until nothing of a connection that was turned off is under way


def happen(world: World, step: Step) -> None:
    """Let a step happen; while the state is being restored nobody touches the console."""
    from tests.simulation.groups import Groups, TeamAdministrators  # they are administrators, too

    people, administrators = (People(world), Groups(world)), TeamAdministrators(world)
    for each in people:
        if hasattr(each, step.verb):
            getattr(each, step.verb)(step)
            return
    if not administrators.stopped():
        getattr(administrators, step.verb)(step)


class Administrators:
    """The verbs of a history that are calls of our use cases."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._services = world.services

    def edit_policy(self, step: Step) -> None:
        policy = POLICIES[step.other // 10 % len(POLICIES)]
        self._edited(step, lambda settings: replace(settings, deprovisioning=policy))

    def edit_limit(self, step: Step) -> None:
        limit = VolumeLimit(minimum=(2, 3, 1000)[step.other // 10 % 3])
        self._edited(step, lambda settings: replace(settings, limit=limit))

    def _edited(self, step: Step, change: Callable[[configure.Settings], configure.Settings]) -> None:
        connection = self._known(step)
        if connection is not None:
            settings = change(connection.settings)
            configure.edit(self._services, connection.id, connection.edition, settings, ADMIN)

    def edit_scope(self, step: Step) -> None:
        """Narrow or widen a scope: groups, organizational units, both, or everybody."""
        number, connections = step.other, self._world.history.setting.connections
        mine, other = 1 + number % connections, 1 + (number + 1) % connections
        group, another, unit = f"g{mine}", f"g{other}", f"ou{mine}"
        scopes = ((group,), ()), ((group, another), ()), ((), ()), ((), (unit,)), ((group,), (unit,))
        groups, units = scopes[number // 10 % len(scopes)]
        self._edited(step, lambda settings: replace(settings, scope=Scope.named(groups=groups, org_units=units)))

    def edit_mapping(self, step: Step) -> None:
        mapping = MAPPINGS[step.other // 10 % len(MAPPINGS)]
        self._edited(step, lambda settings: replace(settings, mapping=mapping))

    def edit_archived(self, step: Step) -> None:
        self._edited(step, lambda settings: replace(settings, archived_as_suspended=not settings.archived_as_suspended))

    def edit_drift(self, step: Step) -> None:
        """Have what somebody else changes in Keeper only reported, or repaired again."""
        self._edited(step, lambda settings: replace(settings, repair_drift=not settings.repair_drift))

    def edit_endpoint(self, step: Step) -> None:
        """Point a connection to another node, to which all of its accounts were moved in Keeper while it was off."""
        self.off(step)
        self._world.scheduler.pause(DRAINED)
        connection = self._known(step)
        if connection is None or connection.state is not State.OFF or self.stopped():
            return
        old = self._world.node(step.other)
        new = self._world.move_accounts(connection.id)
        endpoint = f"{connection.settings.endpoint.rpartition('/')[0]}/{new.name}"
        settings = replace(connection.settings, endpoint=endpoint)
        token = self._world.new_token(connection.id)
        try:
            configure.edit(self._services, connection.id, connection.edition, settings, ADMIN, token)
        except ProvisioningError:
            self._world.move_accounts(connection.id, old)
            raise
        self.on(step)

    def rename_connection(self, step: Step) -> None:
        self._edited(step, lambda settings: replace(settings, name=f"Keeper {step.other}"))

    def approve(self, step: Step) -> None:
        self._decide(step, "approve")

    def reject(self, step: Step) -> None:
        self._decide(step, "reject")

    def _decide(self, step: Step, choice: Choice) -> None:
        for hold in self._plans(step, Standing.WAITING):
            decide_hold(self._services, self._connection(step), hold.digest, choice, ADMIN)

    def decide_some(self, step: Step) -> None:
        """Approve one member of a plan, or all due for the same cause, and reject some of the rest, or nobody."""
        decide, by_cause = partial(decide_hold, self._services, self._connection(step)), step.other // 10 % 3
        for hold in self._plans(step, Standing.WAITING):
            waiting = hold.those(Standing.WAITING)
            chosen = waiting[step.other % len(waiting)]
            if not by_cause and chosen.cause:
                decide(hold.digest, "approve", ADMIN, cause=chosen.cause)
                continue
            decide(hold.digest, "approve", ADMIN, users=[chosen.resource])
            rest = [member.resource for member in waiting if member.resource != chosen.resource]
            if rest and step.other % 2:
                decide(hold.digest, "reject", ADMIN, users=rest[:2])

    def reverse(self, step: Step) -> None:
        """Approve what was rejected."""
        self._decide_again(step, Standing.REJECTED, "approve")

    def withdraw(self, step: Step) -> None:
        """Take approvals back, or rejections: all of a plan, or of one user."""
        self._decide_again(step, Standing.REJECTED if step.other % 4 == 0 else Standing.APPROVED, "withdraw")

    def _decide_again(self, step: Step, decided: Standing, choice: Choice) -> None:
        for hold in self._plans(step, decided):
            users = [member.resource for member in hold.those(decided)]
            some = users[:1] if step.other // 10 % 2 else users
            decide_hold(self._services, self._connection(step), hold.digest, choice, ADMIN, users=some)

    def _plans(self, step: Step, standing: Standing) -> Sequence[Hold]:
        """Return the held plans of which something stands at this, once there are some."""
        holds = partial(self._services.holds.standing, self._connection(step))
        return self._once(lambda: [hold for hold in holds() if hold.those(standing)])

    def _once(self, look: Callable[[], Sequence[T]]) -> Sequence[T]:
        """Look again and again, for an hour at most, until there is something to see."""
        for _ in range(LOOKS):
            if self.stopped() or self._world.weather.fair:
                break
            if seen := look():
                return seen
            self._world.scheduler.pause(BETWEEN_LOOKS)
        return ()

    def confirm(self, step: Step) -> None:
        """Ask for a preview, wait for it, and confirm adoptions: all in doubt, one, or whatever it lists."""
        preview = self._preview(step)
        if preview is None:
            return
        self._world.scheduler.pause(COMPUTED)
        if self.stopped():
            return
        lines = self._services.preview_lines.every(preview)
        offered = [line.user_id for line in lines if line.scim_id and line.would in (Would.DOUBT, Would.CREATE)]
        chosen = (None, offered[:1], offered)[step.other // 10 % 3]
        confirm_adoptions(self._services, preview.connection_id, preview.id, chosen, ADMIN)

    def take_over(self, step: Step) -> None:
        """Take over what a drift run found that nobody provisions: what is offered together, or one account."""
        connection_id = self._connection(step)

        def offered() -> Sequence[str]:
            report = self._services.unprovisioned.get(connection_id)
            rows = report.accounts if report is not None else ()
            return [row.scim_id for row in rows if row.offer is not Offer.NONE]

        accounts = self._once(offered)
        if accounts:
            one = [accounts[step.other // 18 % len(accounts)]]
            take_over(self._services, connection_id, one if step.other // 6 % 3 else None, ADMIN)

    def choose_locks(self, step: Step) -> None:
        """Choose accounts that nobody provisions to be locked: one, or all that are listed."""
        connection_id = self._connection(step)

        def listed() -> Sequence[str]:
            report = self._services.unprovisioned.get(connection_id)
            return [row.scim_id for row in report.accounts] if report is not None else []

        accounts = self._once(listed)
        if accounts:
            one = [accounts[step.other // 18 % len(accounts)]]
            choose(self._services, connection_id, one if step.other // 6 % 3 else accounts, ADMIN)

    def undo_lock(self, step: Step) -> None:
        """Unlock an account that was locked so, once there is one."""
        connection_id = self._connection(step)

        def locked() -> Sequence[str]:
            found = self._services.unprovisioned.locks(connection_id).items()
            return [key for key, lock in found if lock.locked_at is not None and not lock.returns]

        for scim_id in self._once(locked)[:1]:
            unlock(self._services, connection_id, scim_id, ADMIN)

    def lose_roster(self, step: Step) -> None:
        """Lose a connection's roster, and restore nothing."""
        self._world.lose_roster(self._connection(step))

    def off(self, step: Step) -> None:
        configure.turn_off(self._services, self._connection(step), ADMIN)

    def on(self, step: Step) -> None:
        """Turn a connection on for everybody; that ends a pilot."""
        connection = self._known(step)
        if connection is not None and (connection.state is State.OFF or connection.pilot is not None):
            configure.turn_on(self._services, connection.id, ADMIN)

    def pilot(self, step: Step) -> None:
        """Turn a connection on for some people only, from on for everybody by way of off; or choose others."""
        connection = self._known(step)
        living = sorted(self._world.customer.live)
        chosen = [user_id for number, user_id in enumerate(living) if step.other >> number % 8 & 1] or [step.whom]
        if connection is None or not set(chosen) <= set(living):
            return
        if connection.pilot is None:
            configure.turn_off(self._services, connection.id, ADMIN)
        configure.turn_on_for(self._services, connection.id, chosen, ADMIN)

    def kill_token(self, step: Step) -> None:
        self._world.node(step.other).accepts.clear()

    def reauthorize(self, step: Step) -> None:
        connection = self._known(step)
        if connection is not None:
            token = self._world.new_token(connection.id)
            override = step.other // 10 % 3 == 0
            reauthorize(self._services, connection.id, token, ADMIN, override=override)

    def provision(self, step: Step) -> None:
        inquire(self._services, self._connection(step), step.whom, InquiryKind.PROVISION, ADMIN, Role.SUPER)

    def preview(self, step: Step) -> None:
        self._preview(step)

    def _preview(self, step: Step) -> Preview | None:
        connection = self._known(step)
        if connection is None:
            return None
        settings = connection.settings
        return ask_preview(self._services, connection.id, connection.edition, settings, ADMIN)

    def run(self, step: Step) -> None:
        connection = self._known(step)
        if connection is not None:
            ask_for_run(self._services, connection, ADMIN)

    def delete_connection(self, step: Step) -> None:
        connection = self._known(step)
        if connection is not None:
            configure.delete(self._services, connection.id, ADMIN, connection.settings.name)

    def _connection(self, step: Step) -> str:
        return f"c{1 + step.other % self._world.history.setting.connections}"

    def _known(self, step: Step) -> Connection | None:
        return self._services.connections.get(self._connection(step))

    def stopped(self) -> bool:
        """Say whether the writers are stopped, for a restore."""
        return self._world.now < self._world.topics.stopped_until
