"""Time large changes of a large customer: leavers whom an administrator approved, and accounts that are right already.

Like `bench`, from the scheduler's call of `reconcile` to the last recorded event. Nothing answers late but Keeper, and
of the directory it is the requests that are counted: a minute has room for 2,400 of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from infra.local import connect
from infra.local.directory.fixture import SCOPE_GROUP
from infra.local.simulation import World
from infra.local.sync import synchronize

LEAVERS = 1_000


@dataclass(frozen=True, slots=True)
class Run:
    """What one run did: its summary, and what the node and the directory were asked."""

    summary: dict[str, Any]
    directory: int
    keeper: dict[str, int]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return float(self.summary["seconds"])

    def told(self, name: str) -> int:
        """Return one figure of the summary."""
        return int(self.summary[name])


def in_one_group(fixture: dict[str, Any]) -> dict[str, Any]:
    """Let everybody of a customer be in the scope group, and in no other one."""
    scope = next(group["id"] for group in fixture["groups"] if group["email"] == SCOPE_GROUP)
    members = [
        {"id": user["id"], "email": user["primaryEmail"], "role": "MEMBER", "type": "USER", "status": "ACTIVE"}
        for user in fixture["users"]
    ]
    return {**fixture, "members": {group["id"]: members if group["id"] == scope else [] for group in fixture["groups"]}}


def seed_accounts(world: World) -> int:
    """Give everybody in the directory an account that is right, with their externalId; returns how many there are."""
    from autoprovisioning.adapters.scim.resources import create_body
    from autoprovisioning.domain.accounts import Write, WriteKind
    from autoprovisioning.domain.mapping import AttributeMapping

    mapping, accounts = AttributeMapping(), []
    for user in world.directory.control("GET", "state")["users"]:
        write = Write(
            key="",
            kind=WriteKind.CREATE,
            scim_id="",
            external_id=user["id"],
            attributes=mapping.apply(user),
            active=True,
        )
        accounts.append(create_body(write))
    world.keeper.control("PUT", "accounts", accounts)
    return len(accounts)


def hold_leavers(world: World) -> None:
    """Suspend a thousand people in the directory, and approve the plan that is held."""
    from autoprovisioning.domain.settings import VolumeLimit

    fewer = {"limit": VolumeLimit(percent=1.0)}
    connect.connect(world.keeper.endpoint, world.keeper.token, (SCOPE_GROUP,), fewer)
    state = world.directory.control("GET", "state")
    for user in state["users"][10 : 10 + LEAVERS]:
        user |= {"suspended": True, "suspensionReason": "ADMIN", "suspensionTime": "2026-01-01T08:00:00.000Z"}
    world.directory.control("PUT", "state", state)
    held = run(world).told("held")
    if held != LEAVERS:
        raise SystemExit(f"{held} of {LEAVERS} suspensions were held")
    _approve()


def _approve() -> None:
    """Approve what is held, as the console does; the run that this requests waits until the one measured is over."""
    from dataclasses import replace

    from autoprovisioning.app.administration.held_plans import decide_hold
    from autoprovisioning.bootstrap import process_services
    from autoprovisioning.domain.events import Actor

    class NoRun:
        def request_run(self, *_: object, **__: object) -> None:
            """Let nobody run but the benchmark."""

    services: Any = replace(process_services(), queue=NoRun())  # type: ignore[arg-type]
    (connection,) = services.connections.all()
    for hold in services.holds.standing(connection.id):
        decide_hold(services, connection.id, hold.digest, "approve", Actor(address="bench@example.com"))


def run(world: World) -> Run:
    """Have everybody looked at, and return what that took."""
    world.keeper.control("DELETE", "requests")
    world.directory.control("DELETE", "requests")
    summary = synchronize(world.cloud.url("reconcile"), "full")
    return Run(
        summary=summary,
        directory=int(world.directory.control("GET", "requests")["total"]),
        keeper={method: int(count) for method, count in world.keeper.requests()["methods"].items()},
    )
