"""Small builders, so that each test says only what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from autoprovisioning.domain.accounts import fingerprint
from autoprovisioning.domain.decision import Observed, Rules
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Entry, Status, Timer, Trigger
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.requests import AnyRequest, RequestKind, WorkRequest
from autoprovisioning.domain.runs import Look
from tests.support.scenario import Scenario

BY_RUN = Actor(address="run r1")

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
ADA = {"userName": "ada@example.com", "displayName": "Ada Lovelace"}
GRACE = {"userName": "ada@example.com", "displayName": "Grace Hopper"}

AT_ONCE = Deprovisioning()
IN_A_WEEK = Deprovisioning(
    app_off=Delays(suspend_after=7, delete_after=30),
    suspended=Delays(suspend_after=7, delete_after=30),
    deleted=Delays(suspend_after=7, delete_after=30),
)
NEVER = Deprovisioning(
    app_off=Delays(suspend_after=None, delete_after=None),
    suspended=Delays(suspend_after=None, delete_after=None),
    deleted=Delays(suspend_after=None, delete_after=None),
)


def running(since: datetime) -> Timer:
    """Return a timer that has run ever since."""
    return Timer(since=since, running_since=since)


def begun(noted: Entry) -> dict[Trigger, datetime]:
    """Return when the triggers of an entry began."""
    return {trigger: timer.since for trigger, timer in noted.timers.items()}


def entry(status: Status = Status.ACTIVE, **changes: Any) -> Entry:
    """Return an entry; timers that are given as a time have run since then."""
    timers = {
        trigger: running(since) if isinstance(since, datetime) else since
        for trigger, since in changes.pop("timers", {}).items()
    }
    base = Entry(
        user_id="u1",
        version=3,
        email="ada@example.com",
        scim_id="k1",
        fingerprint=fingerprint(ADA),
        status=status,
        in_scope=True,
    )
    if status is Status.NONE:
        base = replace(base, scim_id="", fingerprint="")
    return replace(base, timers=timers, **changes)


def seen(presence: Presence = Presence.ACTIVE, in_scope: bool | None = True, **changes: Any) -> Observed:
    desired = {} if presence in (Presence.DELETED, Presence.UNKNOWN) else ADA
    return replace(
        Observed(user_id="u1", presence=presence, in_scope=in_scope, email="ada@example.com", desired=desired),
        **changes,
    )


def rules(policy: Deprovisioning = AT_ONCE, **changes: Any) -> Rules:
    return replace(Rules(deprovisioning=policy), **changes)


def notice(scenario: Scenario, user_id: str, event: str = "update") -> None:
    """Deliver a notification about a user."""
    scenario.deliver(Look(user_id=user_id, event=event, asked_at=scenario.fakes.clock.now))


def active(scenario: Scenario, user_id: str) -> list[bool]:
    """Return whether each account of a user is active."""
    return [account.active for account in scenario.keeper.of(user_id)]


def requested(kind: RequestKind[Any, Any], subject: Any, **changes: Any) -> AnyRequest:
    """Return what an administrator asks for, as it waits."""
    given: dict[str, Any] = {
        "id": "q1",
        "connection_id": "c1",
        "result": kind.nothing,
        "asked_by": Actor(address="admin@example.com"),
        "asked_at": NOW,
    }
    return WorkRequest(kind=kind, subject=subject, **{**given, **changes})
