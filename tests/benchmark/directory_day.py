"""Count the requests of a day to the directory: the whole schedule, over the simulated directory.

Everybody is in one scope group, and 2% of the users change within the day. Each change is reported by a notification
and, where there is a log sink, by an entry of the audit log as well. State is in memory; what passes over HTTP is what
the functions would send. `infra/gcp/cost.py` computes the same for any size.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from autoprovisioning.adapters.directory import DirectoryTransport, GoogleDirectory, Quota, anonymous
from autoprovisioning.app.notifications.follow_changes import Follower, follow
from autoprovisioning.app.provisioning.converge import converge
from autoprovisioning.app.provisioning.read_user import Asked
from autoprovisioning.app.runs.apply_batch import apply_batch
from autoprovisioning.app.runs.full_runs import reconcile_on_schedule
from autoprovisioning.app.runs.reconcile import reconcile
from autoprovisioning.app.runs.sweep import sweep_on_schedule
from autoprovisioning.app.services import ChangeSources, Services
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.runs import Look, RunKind
from autoprovisioning.domain.scope import Group, Scope
from autoprovisioning.domain.settings import Settings
from autoprovisioning.domain.sources import Feed
from autoprovisioning.log_entries import decode_entry
from infra.local.cloud import ROOT
from infra.local.processes import Supervisor, python
from infra.local.simulation import DirectorySide
from tests.benchmark.scale import fixture
from tests.support.in_memory import FakeServices
from tests.support.log_entries import admin_entry, encoded

USERS = 10_000
CHANGED = 0.02  # of the users, a day
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TICK, SWEPT = 5 * MINUTE, 3 * MINUTE  # as jobs are scheduled: a sweep comes three minutes after a full run
WAYS = {
    "without a log sink": ChangeSources(),
    "with one": ChangeSources(audit_log=True, sweep_every=HOUR),
    "with one, and a full run every hour": ChangeSources(audit_log=True, sweep_every=HOUR, full_run_every=HOUR),
    "with one, and a full run every day": ChangeSources(audit_log=True, sweep_every=HOUR, full_run_every=DAY),
}


class Customer:
    """A provisioned customer of the simulated directory, whose requests are counted."""

    def __init__(self, side: DirectorySide, through: ChangeSources, users: int) -> None:
        self.requests = 0
        self.side = side
        self.fakes = fakes = FakeServices(through=through)
        transport = DirectoryTransport(side.url, anonymous(side.url), self._count, quota=Quota(10**9))
        self.services: Services = replace(fakes.services, directory=GoogleDirectory(transport))
        settings = Settings(
            endpoint="https://keepersecurity.eu/api/rest/scim/v2/1",
            scope=Scope(groups=(Group(id="g0", email="g0@example.com"),)),
        )
        version = fakes.tokens.add("c1", "secret")
        connection = Connection(id="c1", state=State.ON, settings=settings, token_version=version, confirmed=users)
        self.services.connections.create(connection)
        self.follower = Follower(
            directory=self.services.directory,
            connections=self.services.connections,
            roster=self.services.roster,
            teams=self.services.teams,
            queue=self.services.queue,
            due_runs=self.services.due_runs,
            clock=self.services.clock,
            lag=self.services.timings.contradiction,
        )
        reconcile(self.services, RunKind.FULL, fakes.clock.now + HOUR)
        self.work_off()
        fakes.clock.advance(TICK)

    def _count(self, _name: str, n: int = 1) -> None:
        self.requests += n

    def work_off(self) -> None:
        """Deliver what is queued."""
        queue, now = self.fakes.queue, self.fakes.clock.now
        while queue.batches or queue.looks:
            batches, queue.batches = queue.batches, []
            looks, queue.looks = queue.looks, []
            for batch in batches:
                apply_batch(self.services, batch, self.services.new_id(), now, now + HOUR)
            for look in looks:
                asked = Asked(look=look, message_id=self.services.new_id(), published=look.asked_at or now)
                converge(self.services, asked, now + MINUTE)

    def change(self, user: dict[str, str], number: int) -> None:
        """Let somebody's name change, and be reported."""
        self.side.patch(user["id"], {"name": {"familyName": f"Day{self.requests}-{number}"}})
        now, address = self.fakes.clock.now, user["primaryEmail"]
        if self.services.through.audit_log:
            entry = decode_entry(encoded(admin_entry("CHANGE_LAST_NAME", at=now.isoformat(), USER_EMAIL=address)))
            self.services.sources.hear(Feed.AUDIT_LOG, now, user=True)
            list(follow(self.follower, entry, now))
            self.work_off()
        self.services.sources.hear(Feed.NOTIFICATIONS, now, user=True)
        self.services.queue.look_again([Look(user_id=user["id"], event="update", asked_at=now, channel="n1")])
        self.work_off()

    def day(self, changes: Iterator[Callable[[], None]], each: int) -> int:
        """Play the schedule of a day; returns how many requests it took."""
        self.requests = 0
        for number in range(DAY // TICK):
            for _ in range(each):
                next(changes, lambda: None)()
            if number % 3 == 0:
                reconcile_on_schedule(self.services, self.fakes.clock.now + 20 * MINUTE)
                self.work_off()
            self.fakes.clock.advance(SWEPT)
            sweep_on_schedule(self.services, self.fakes.clock.now + MINUTE)
            self.work_off()
            self.fakes.clock.advance(TICK - SWEPT)
        return self.requests


def measure(users: int) -> Iterator[tuple[str, int]]:
    """Count a day of each way."""
    state = fixture(users, 1)
    changed = state["users"][: int(users * CHANGED)]
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder)) as supervisor:
        path = Path(folder) / "fixture.json"
        path.write_text(json.dumps(state))
        argv = python("-m", "infra.local.directory", "--fixture", str(path))
        side = DirectorySide(supervisor.start("directory", argv, cwd=ROOT).wait_ready().address)
        for name, through in WAYS.items():
            customer = Customer(side, through, users)
            changes = iter([lambda each=each, c=customer: c.change(each, 0) for each in changed])  # type: ignore[misc]
            yield name, customer.day(changes, max(1, -(-len(changed) // (DAY // TICK))))


def main() -> None:
    """Print what each way takes, and how much of the first that is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=USERS)
    first = 0
    for name, requests in measure(parser.parse_args().users):
        first = first or requests
        print(f"{name}: {requests:,} requests a day, {100 * requests / first:.1f}%", flush=True)


if __name__ == "__main__":
    main()
