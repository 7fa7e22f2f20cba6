"""Count what work costs in operations, on the local cloud: writes operations.json, which cost.py computes with.

`python -m infra.gcp.measure` takes some minutes and needs what `make test` needs. Everybody is in one scope group.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from infra.local import connect
from infra.local.cloud import ROOT
from infra.local.directory.fixture import make
from infra.local.processes import Supervisor
from infra.local.simulation import World
from infra.local.sync import synchronize

OPERATIONS = Path(__file__).parent / "operations.json"
SIZES = (500, 10_000)
CHANGES = 20
GROUP = "everybody@example.com"

Counts = dict[str, float]


class Tokens:
    """The Tokens port, with its reads counted: one an access of a secret version."""

    def __init__(self, tokens: Any, counts: Counter[str]) -> None:
        self._tokens = tokens
        self._counts = counts

    def __getattr__(self, name: str) -> Any:
        """Do anything else as before."""
        return getattr(self._tokens, name)

    def read(self, connection_id: str, version: str) -> str:
        """Count and read."""
        self._counts["secret_accesses"] += 1
        token: str = self._tokens.read(connection_id, version)
        return token


def customer(users: int) -> dict[str, Any]:
    """Return a customer of that many active users, all of them members of one group."""
    fixture = make(users)
    for user in fixture["users"]:
        user |= {"suspended": False, "archived": False}
    fixture["groups"].append({"id": "everybody", "email": GROUP, "name": "Everybody", "description": ""})
    fixture["members"]["everybody"] = [
        {"id": user["id"], "email": user["primaryEmail"], "type": "USER", "role": "MEMBER", "status": "ACTIVE"}
        for user in fixture["users"]
    ]
    return fixture


class CountedServices:
    """The functions' own parts, in this process, with everything they ask outside counted."""

    def __init__(self) -> None:
        bootstrap = _as_new()
        self.counts: Counter[str] = Counter()
        built = bootstrap.process_services()
        self.services = replace(built, tokens=Tokens(built.tokens, self.counts))
        self.reports, self.channels, self.watch = bootstrap.reports(), bootstrap.channels(), bootstrap.watch()

    def counted(self, work: Callable[[], Any], times: int = 1) -> Counts:
        """Return what the work asked for outside, each time."""
        self.services.meter.take()
        self.counts.clear()
        for _ in range(times):
            work()
        found = {**self.services.meter.take(), **self.counts}
        return {name: round(count / times, 3) for name, count in sorted(found.items())}


def _as_new() -> Any:
    """Return the module that builds the functions' parts, with none of them built."""
    sys.path.insert(0, str(ROOT / "functions"))
    from autoprovisioning import bootstrap

    for builder in vars(bootstrap).values():
        if hasattr(builder, "cache_clear"):
            builder.cache_clear()
    return bootstrap


@contextmanager
def _environment(of: Mapping[str, str]) -> Iterator[None]:
    """Set the functions' environment for a while, and restore everything afterwards."""
    before = dict(os.environ)
    os.environ.update(of)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        _as_new()


def measure(users: int) -> dict[str, Any]:
    """Measure everything that happens regularly for a customer of that many users."""
    fixture = customer(users)
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder) / "logs") as supervisor:
        world = World(supervisor=supervisor, folder=Path(folder))
        world.start(fixture, fixture["users"][0]["primaryEmail"], scheduler=False)
        with _environment(world.cloud.environment):
            CountedServices()
            connect.connect(world.keeper.endpoint, world.keeper.token, (GROUP,), creates=users)
            first, quiet = run(world), settled(world)
            changed(world, fixture["users"][:CHANGES], "Run")
            some = run(world)
            settled(world)
            return {
                "shards": int(CountedServices().services.connections.all()[0].roster_layout),
                "first_run": first,
                "quiet_run": quiet,
                "run_with_changes": {**some, "changes": CHANGES},
                "drift_run": run(world, "drift"),
                **by_hand(world, fixture["users"][CHANGES : 2 * CHANGES]),
            }


def run(world: World, kind: str = "full") -> Counts:
    """Run, wait for its last batch, and return the counts that `make sync` prints."""
    summary = synchronize(world.cloud.url("reconcile"), kind)
    counts = {name: summary[name] for name in ("directory_requests", "firestore_reads", "firestore_writes", "seconds")}
    return {**counts, "scim_requests": sum(summary["scim_requests"].values())}


def settled(world: World) -> Counts:
    """Run until nothing is left of what was done before, and return what a run takes then.

    A run writes the list of people once its counts are recorded, so that the next one counts that. Two do so: the first
    after a change has read the roster before its own writes.
    """
    run(world), run(world)
    return run(world)


def grown_up(services: Any) -> None:
    """Record as many runs as the vital signs read, as there are after half a day."""
    from autoprovisioning.app.administration.health import RUNS_READ
    from autoprovisioning.domain.runs import Run, RunKind, RunState

    connection, now = services.connections.all()[0], services.clock()
    for number in range(RUNS_READ):
        past = Run(
            id=f"past{number}",
            connection_id=connection.id,
            kind=RunKind.FULL,
            fence=0,
            started=now - timedelta(days=1),
            state=RunState.DONE,
            finished=now,
        )
        services.runs.put(past)


def changed(world: World, users: list[dict[str, Any]], name: str) -> None:
    """Change a mapped attribute of each."""
    for number, user in enumerate(users):
        world.directory.patch(user["id"], {"name": {"familyName": f"{name}{number}"}})


def by_hand(world: World, users: list[dict[str, Any]]) -> dict[str, Counts]:
    """Measure what no run counts: one user after a notification, the sweep, leavers, the vital signs, the channel."""
    measured = CountedServices()
    from autoprovisioning.app.administration.vital_signs import log_vital_signs
    from autoprovisioning.app.notifications.renew_watch import renew_watch
    from autoprovisioning.app.provisioning.converge import converge
    from autoprovisioning.app.provisioning.read_user import Asked
    from autoprovisioning.app.runs.full_runs import reconcile_on_schedule
    from autoprovisioning.app.runs.sweep import sweep_on_schedule
    from autoprovisioning.app.services import ChangeSources, Services
    from autoprovisioning.domain.runs import Look
    from autoprovisioning.domain.sources import Feed

    services, watch = measured.services, measured.watch

    def look(user: dict[str, Any]) -> None:
        asked = Asked(
            look=Look(user_id=user["id"], event="update", asked_at=services.clock()),
            message_id=services.new_id(),
            published=services.clock(),
        )
        converge(services, asked, services.clock() + timedelta(seconds=60))

    def renew() -> None:
        parts = watch.directory, watch.channels, watch.connections, watch.key, watch.address, watch.clock
        renew_watch(*parts, watch.new_id)

    def sweep(by: Services) -> None:
        sweep_on_schedule(by, by.clock() + timedelta(seconds=60))

    def everyone() -> None:
        for user in users:
            look(user)

    def between() -> None:
        services.sources.hear(Feed.AUDIT_LOG, services.clock(), user=False)
        if reconcile_on_schedule(rarely, services.clock() + timedelta(minutes=5)):
            raise RuntimeError("A full run was made where it should have waited")

    rarely = replace(services, through=ChangeSources(audit_log=True, full_run_every=timedelta(days=1)))
    changed(world, users, "Notified")
    each = {name: count / len(users) for name, count in measured.counted(everyone).items()}
    again = {name: count / len(users) for name, count in measured.counted(everyone).items()}
    sweep(rarely)
    renew()
    between_full_runs = measured.counted(between)
    grown_up(services)
    return {
        "notification_with_a_change": each,
        "notification_without_one": again,
        "between_full_runs": between_full_runs,
        "sweep": measured.counted(lambda: sweep(services)),
        "vital_signs": measured.counted(lambda: log_vital_signs(services, measured.reports, measured.channels)),
        "renew_watch": measured.counted(renew),
    }


def main() -> None:
    """Measure and write the file."""
    parser = argparse.ArgumentParser(description="Count operations on the local cloud")
    parser.add_argument("--users", type=int, nargs="*", default=SIZES)
    found = {str(users): measure(users) for users in parser.parse_args().users}
    OPERATIONS.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    print(f"{OPERATIONS.relative_to(ROOT)} is written")


if __name__ == "__main__":
    main()
