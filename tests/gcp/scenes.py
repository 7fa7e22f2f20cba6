"""What the functions log, scene by scene, as Cloud Logging is given it: filters are held to these lines."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

import flask
import pytest

from autoprovisioning import telemetry
from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.administration.vital_signs import log_vital_signs
from autoprovisioning.app.notifications.renew_watch import renew_watch
from autoprovisioning.app.ports.reports import KeeperAnswers, Page, WaitingUsers
from autoprovisioning.app.provisioning.carry_out import carry_out
from autoprovisioning.app.provisioning.target import Keeper
from autoprovisioning.app.runs.close_run import close_if_finished, close_unfinished
from autoprovisioning.app.runs.drift import tell_drift
from autoprovisioning.app.runs.hold_plan import DueChange, admit
from autoprovisioning.app.runs.open_run import Side
from autoprovisioning.app.runs.read_directory import begin, read_groups
from autoprovisioning.app.runs.reconcile import reconcile
from autoprovisioning.app.services import ChangeSources
from autoprovisioning.config import Misconfigured
from autoprovisioning.domain.changes import Change
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.directory_user import DirectoryUser
from autoprovisioning.domain.entry import Action, Entry
from autoprovisioning.domain.errors import (
    ConfigurationRefused,
    NotAsWritten,
    ReauthorizationRequired,
    Throttled,
    Transient,
)
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.guard import Kind, Member
from autoprovisioning.domain.plan import Plan
from autoprovisioning.domain.runs import Look, Run, RunKind, RunState
from autoprovisioning.domain.scope import Group, OrgUnit, Scope
from autoprovisioning.domain.sources import SILENT
from autoprovisioning.entrypoints import answers, workspace_events
from tests.support.executors import Inline
from tests.support.in_memory import START, FakeServices
from tests.support.in_memory_state import FakeChannels
from tests.support.scenario import Scenario
from tests.support.settings import with_settings

MINUTE = timedelta(minutes=1)

Line = dict[str, Any]


class Told:
    """The Reports port, as far as health reads it: nothing is well."""

    def __init__(self, *runs: Run) -> None:
        self.latest = runs

    def runs(self, connection_id: str, cursor: str, limit: int) -> Page[Run]:
        return Page(items=self.latest)

    def failing_users(self, connection_id: str) -> int:
        return 12

    def waiting(self, connection_id: str) -> WaitingUsers:
        return WaitingUsers(count=3, oldest=START - 16 * MINUTE)

    def pace(self, connection_id: str, since: object) -> KeeperAnswers:
        return KeeperAnswers(changes=20, failed=5, seconds=3.0)

    def decided(self, connection_id: str) -> tuple[()]:
        return ()

    def plans_held(self, connection_id: str) -> int:
        return 1


ON = Connection(id="c1", state=State.ON, token_version="1", roster_layout="64", changed_at=START - timedelta(days=1))

DONE = Run(
    id="r1",
    connection_id="c1",
    kind=RunKind.FULL,
    fence=1,
    started=START - 20 * MINUTE,
    state=RunState.DONE,
    finished=START - 19 * MINUTE,
)
REFUSED = Run(
    id="r2",
    connection_id="c1",
    kind=RunKind.FULL,
    fence=2,
    started=START - 5 * MINUTE,
    state=RunState.REFUSED,
    finished=START - 5 * MINUTE,
    notes=("503",),
)


def fakes_with(connection: Connection = ON, **changes: Any) -> FakeServices:
    fakes = FakeServices(**changes)
    fakes.tokens.add("c1", "secret")
    fakes.services.connections.create(connection)
    fakes.directory.live["u1"] = DirectoryUser(
        id="u1", primary_email="ada@example.com", presence={"primaryEmail": "ada@example.com"}
    )
    return fakes


def vital_signs(connection: Connection, *runs: Run) -> None:
    fakes = fakes_with(connection)
    log_vital_signs(fakes.services, Told(*runs), FakeChannels(fakes.store))  # type: ignore[arg-type]


def silent_source() -> None:
    fakes = fakes_with(replace(ON, changed_at=START - 2 * SILENT), through=ChangeSources(audit_log=True))
    log_vital_signs(fakes.services, Told(DONE), FakeChannels(fakes.store))  # type: ignore[arg-type]


def reported_changes() -> None:
    workspace_events.outcomes = telemetry.Tally(timedelta(0))
    workspace_events.outcomes.add("look")
    workspace_events._tell()


def pause() -> None:
    fakes = fakes_with()
    fakes.keeper.accepts.clear()
    with pytest.raises(ReauthorizationRequired):
        Keeper(fakes.services, ON).prove()


def throttle() -> None:
    Keeper(fakes_with().services, ON).throttle(Throttled("429", retry_after=30))


def contradicted_write() -> None:
    fakes = fakes_with()
    fakes.keeper.seed("ada@example.com", "u1")
    fakes.keeper.faults.append(NotAsWritten("Keeper answered 200"))
    change = Change(
        id="change1",
        entry=Entry(user_id="u1", scim_id="k1"),
        action=Action.SUSPEND,
        email="ada@example.com",
        scim_id="k1",
    )
    list(carry_out(fakes.services, Keeper(fakes.services, ON), [change], START + MINUTE))


def changed_in_keeper() -> None:
    fakes = fakes_with()
    run = Run(id="r1", connection_id="c1", kind=RunKind.DRIFT, fence=1, started=START)
    tell_drift(
        Side(connection=ON, run=run, keeper=Keeper(fakes.services, ON)),
        Plan(now=fakes.services.clock(), drifted={f"u{number}": ("active",) for number in range(9)}),
    )


LEAVERS = [
    DueChange(member=Member(resource=f"u{number}", action="suspend", trigger="suspended", since=START), entry=None)
    for number in range(30)
]


def hold() -> None:
    admit(fakes_with().services, ON, Kind.TAKING, LEAVERS, ())


def many_at_once() -> None:
    services = fakes_with().services
    _, held = admit(services, ON, Kind.TAKING, LEAVERS, ())
    assert held is not None
    approved = decide_hold(services, ON.id, held.digest, "approve", Actor(address="admin@example.com"))
    admit(services, ON, Kind.TAKING, LEAVERS, [approved])


def unproven_channel() -> None:
    fakes = fakes_with()
    parts = (
        fakes.directory,
        FakeChannels(fakes.store),
        fakes.services.connections,
        b"key",
        "https://hook",
        fakes.clock,
    )
    renew_watch(*parts, fakes.services.new_id)
    fakes.clock.advance(20 * MINUTE)
    renew_watch(*parts, fakes.services.new_id)


def unreadable_group() -> None:
    fakes = fakes_with()
    fakes.directory.unreadable.add("g1")
    read_groups(
        fakes.directory,
        [with_settings(ON, scope=Scope(groups=(Group(id="g1", email="g@example.com", name="G"),)))],
        Inline(),
        1,
    )


def unreadable_units() -> None:
    fakes = fakes_with()
    fakes.directory.units_fail = Transient("503")
    begin(
        fakes.directory,
        [with_settings(ON, scope=Scope(groups=(), org_units=(OrgUnit(id="id:1", path="/elsewhere"),)))],
        Inline(),
        1,
    )


def failing(error: Exception) -> Callable[[], None]:
    def act() -> None:
        def fail() -> None:
            raise error

        with flask.Flask("x").test_request_context(method="POST"):
            answers.push(flask.request, fail)

    return act


def run_done_at_once() -> None:
    fakes = fakes_with(with_settings(ON, scope=Scope(groups=(), org_units=(OrgUnit(id="id:1", path="/elsewhere"),))))
    assert [run.state for run in reconcile(fakes.services, RunKind.FULL, START + 20 * MINUTE)] == [RunState.DONE]


def run_refused() -> None:
    fakes = fakes_with()
    fakes.directory.users = _unreachable  # type: ignore[method-assign,assignment]
    with pytest.raises(ConfigurationRefused):
        reconcile(fakes.services, RunKind.FULL, START + 20 * MINUTE)


def _unreachable(*_: object) -> Any:
    raise ConfigurationRefused("delegation")


def run_closed(done: bool) -> None:
    fakes = fakes_with()
    run = Run(
        id="r1",
        connection_id="c1",
        kind=RunKind.FULL,
        fence=1,
        started=START - MINUTE,
        state=RunState.PLANNED,
        batches=0 if done else 1,
    )
    fakes.services.runs.put(run)
    if done:
        close_if_finished(fakes.services, run)
    else:
        close_unfinished(fakes.services, run)


def change() -> None:
    scenario = Scenario()
    scenario.run()
    scenario.suspend("u1")
    scenario.deliver(Look(user_id="u1", asked_at=START, channel="n1"))


SCENES: dict[str, Callable[[], None]] = {
    "vital signs": lambda: vital_signs(ON),
    "vital signs while paused": lambda: vital_signs(replace(ON, state=State.PAUSED)),
    "vital signs while throttled": lambda: vital_signs(replace(ON, throttled_until=START + MINUTE)),
    "vital signs with a unit gone": lambda: vital_signs(
        with_settings(ON, scope=Scope(groups=(), org_units=(OrgUnit(id="id:1", path="/gone", listed=False),)))
    ),
    "vital signs after a refused run": lambda: vital_signs(ON, REFUSED, DONE),
    "vital signs with a silent source": silent_source,
    "reported changes": reported_changes,
    "pause": pause,
    "throttle": throttle,
    "contradicted write": contradicted_write,
    "changed in Keeper": changed_in_keeper,
    "hold": hold,
    "many at once": many_at_once,
    "unproven channel": unproven_channel,
    "unreadable group": unreadable_group,
    "unreadable units": unreadable_units,
    "unforeseen": failing(RuntimeError("no")),
    "configuration": failing(ConfigurationRefused("no")),
    "misconfigured": failing(Misconfigured("no")),
    "transient": failing(Transient("no")),
    "run done at once": run_done_at_once,
    "run refused": run_refused,
    "a change": change,
    "run done": lambda: run_closed(done=True),
    "run superseded": lambda: run_closed(done=False),
}


# What Cloud Run itself logs of an instance (cloud.google.com/run/docs/troubleshooting; 1Password/scim-examples#309).
SYSTEM = "projects/keeper-prod/logs/run.googleapis.com%2Fvarlog%2Fsystem"
PLATFORM: dict[str, Line] = {
    "did not start": {
        "logName": SYSTEM,
        "severity": "ERROR",
        "textPayload": 'Default STARTUP TCP probe failed 1 time consecutively for container "worker" on port 8080. '
        "The instance was not started.",
    },
    "out of memory": {
        "logName": SYSTEM,
        "severity": "ERROR",
        "textPayload": "Memory limit of 256 MiB exceeded with 259 MiB used. Consider increasing the memory limit.",
    },
}
STARTED: Line = {
    "logName": SYSTEM,
    "severity": "INFO",
    "textPayload": "Default STARTUP TCP probe succeeded after 1 attempt for container.",
}

# In whose log a scene can be read.
LOGS: dict[str, tuple[str, ...]] = {
    "reconcile": (
        "run refused",
        "unreadable group",
        "unreadable units",
        "hold",
        "many at once",
        "changed in Keeper",
        "run superseded",
    ),
    "apply-changes": ("contradicted write", "throttle", "pause", "transient", "configuration"),
    "provision-user": ("contradicted write", "throttle", "pause", "transient", "configuration"),
    "renew-watch": ("unproven channel", "configuration"),
    "directory-webhook": ("misconfigured", "transient"),
    "workspace-events": ("reported changes",),
}


@lru_cache
def written() -> dict[str, list[Line]]:
    """Play every scene; return the lines that each wrote."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    scenes = {}
    for name, play in SCENES.items():
        root.handlers[:] = []
        telemetry.set_up("demo", "INFO")
        stream = io.StringIO()
        root.handlers[0].setStream(stream)  # type: ignore[attr-defined]
        play()
        scenes[name] = [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    return scenes


def said() -> list[Line]:
    """Return the lines of all scenes."""
    return [line for lines in written().values() for line in lines]
