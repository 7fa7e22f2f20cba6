"""Record what the adapters store today: one document of each kind that lasts, and each message, every field filled.

    PYTHONPATH=functions python -m tests.contract.recording 6

writes `tests/contract/recorded/6.json`. A recording is never changed: `test_recorded.py` holds every later version to
it. Whoever adds a field or a schema fills it in here and adds a recording with the next number. Requests,
the lines of previews, the list of runs that are due later, what the last listings showed of the directory's size and
when each source of changes was heard are not recorded, since they last for a day or two.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from autoprovisioning import messages
from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.app.ports.roster import Edit, Progress
from autoprovisioning.domain.adoption import Beside
from autoprovisioning.domain.causes import Cause, Source
from autoprovisioning.domain.changes import PlannedChange
from autoprovisioning.domain.connections import Connection, PastPilot, RetiredToken, State
from autoprovisioning.domain.deprovisioning import Clock, Delays, Deprovisioning
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Action, Entry, Failure, Mark, Status, Timer, Trigger, Unseen
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.guard import GuardState, Kind, Member, reservation
from autoprovisioning.domain.holds import Hold, Standing, Verdict, digest_of
from autoprovisioning.domain.keeper_changes import KeeperChange
from autoprovisioning.domain.locks import Lock
from autoprovisioning.domain.mapping import AttributeMapping
from autoprovisioning.domain.memberships import ApprovedRemovals, Removals, Unsettled
from autoprovisioning.domain.people import Listed
from autoprovisioning.domain.runs import Batch, Evidence, Look, Run, RunKind, RunState
from autoprovisioning.domain.scope import Group, OrgUnit, Scope
from autoprovisioning.domain.settings import PatchDialect, Settings, VolumeLimit
from autoprovisioning.domain.teams import (
    ConfirmedAdoption,
    GroupTeam,
    Namesake,
    Obstacle,
    TeamChoice,
    TeamState,
)
from autoprovisioning.domain.unprovisioned import By, Ignored, Offer, Report, Unprovisioned
from tests.contract.state_stores import InMemory
from tests.contract.state_stores import State as Stores
from tests.support.builders import ADA, DAY, GRACE, NOW

FOLDER = Path(__file__).parent / "recorded"
HOUR = timedelta(hours=1)
Fields = Mapping[str, Any]

CONNECTION = Connection(
    id="c1",
    order=2,
    settings=Settings(
        name="Vault",
        endpoint="https://keepersecurity.com/api/rest/scim/v2/1",
        mapping=AttributeMapping(AttributeMapping().rows[:2]),
        scope=Scope(
            groups=(Group(id="g1", email="keeper@example.com", name="Keeper users"),),
            org_units=(OrgUnit(id="id:1", path="/Sales", listed=False),),
        ),
        deprovisioning=Deprovisioning(
            app_off=Delays(suspend_after=7, delete_after=30),
            suspended=Delays(suspend_after=None, delete_after=None),
            deleted=Delays(suspend_after=0, delete_after=1),
        ),
        limit=VolumeLimit(minimum=25, percent=2.5),
        archived_as_suspended=True,
        patch_dialect=PatchDialect.KEEPER,
        repair_drift=False,
        teams=TeamChoice(
            groups=(Group(id="g2", email="engineers@example.com", name="Engineers"),),
            patterns=("keeper-*",),
            exclusions=("*-old",),
            role_prefix="role-",
            roles=True,
            most=20,
            empty_left=True,
            remove_suspended=True,
            pending_days=30,
        ),
    ),
    edition=6,
    state=State.PAUSED,
    token_version="4",
    roster_layout="1",
    throttled_until=NOW,
    paused_reason="the token is refused",
    changed_at=NOW,
    clock=Clock(stood=5 * DAY, last=(NOW - DAY, NOW), off_since=NOW + HOUR),
    retired_tokens=(RetiredToken(version="3", at=NOW),),
    unproven=NOW - HOUR,
    confirmed=40,
    pilot={"u2": "ada@example.com", "u1": "bob@example.com"},
    chosen_at=NOW - HOUR,
    past_pilot=PastPilot(people=("u1", "u3"), start=NOW - DAY, end=NOW - HOUR),
)
FULL = Entry(
    user_id="u1",
    version=7,
    email="ada@example.com",
    scim_id="k1",
    fingerprint="f" * 58,
    status=Status.SUSPENDED,
    in_scope=True,
    timers={
        Trigger.APP_OFF: Timer(since=NOW - DAY, accrued=HOUR, running_since=NOW),
        Trigger.DELETED: Timer(since=NOW, accrued=DAY),
    },
    mark=Mark(
        change_id="change",
        message_id="message",
        action=Action.UNSUSPEND,
        until=NOW + timedelta(seconds=90, microseconds=250_000),
        sent="digest",
    ),
    again=True,
    pending=True,
    failure=Failure(
        code="address_taken", text="taken", attempts=2, first=NOW - DAY, next_attempt=NOW + HOUR, about="create:abc"
    ),
    last_action_at=NOW + timedelta(microseconds=5),
    gone=True,
    applied_by="x1",
    missing_since=NOW - HOUR,
    deleted=True,
    drift=("title",),
    taken_over=True,
    locked_at=NOW - DAY,
    shown="shown",
    teams=("t1", "t2"),
    asked=("t3",),
    unseen=(Unseen(team_id="t1", since=NOW - DAY), Unseen(team_id="t2", since=NOW, seen=True)),
)
PLAIN = Entry(user_id="u2", email="bob@example.com", status=Status.LOCKED)
CAUSE = Cause(at=NOW, event="RENAME_USER", actor="boss@example.com", group="keeper@example.com")
EVENT = Event(
    id="x1",
    at=NOW,
    name=EventName.FAILED,
    actor="boss@example.com",
    user_id="u1",
    email="ada@example.com",
    attempted=Action.UPDATE,
    changed={"title": None, "displayName": "Ada"},
    before={"title": "Countess"},
    after=ADA,
    reason="refused",
    code="rejected",
    seconds=0.5,
    recovered=True,
    actor_id="u9",
    cause=CAUSE,
    source=Source.EVENT,
    latency=1.5,
    teams=("t1", "t2"),
    joined=("Engineers",),
    left=("Builders",),
)
RUN = Run(
    id="r1",
    connection_id="c1",
    kind=RunKind.DRIFT,
    fence=3,
    started=NOW - HOUR,
    state=RunState.UNSETTLED,
    finished=NOW,
    batches=2,
    done={"1": 1},
    planned={"created": 5},
    counts={"created": 4},
    seats_exhausted=True,
    complete=False,
    notes=("one", "two"),
    last_progress=NOW,
    edition=6,
    request="a1",
)
MEMBERS = (
    Member(resource="u1", action="suspend", trigger="app_off", since=NOW - DAY),
    Member(resource="u2", action="create"),
)
HOLD = Hold(
    digest=digest_of(MEMBERS, NOW),
    raised_at=NOW,
    members=MEMBERS,
    reason="too many",
    verdicts=(
        Verdict(standing=Standing.APPROVED, at=NOW + timedelta(microseconds=7), by="boss@example.com"),
        Verdict(),
    ),
    decided_by="boss@example.com",
    decided_at=NOW,
)
GUARD = GuardState(reserved={Kind.TAKING: {reservation("u1"): NOW}}, active=((NOW, 90),))
LOCK = Lock(
    account=Unprovisioned(scim_id="k7", user_name="seven@example.com", external_id="x7"),
    by="ann@example.com",
    at=NOW - DAY,
    administrator=False,
    change_id="x7",
    until=NOW,
    approved_by="boss@example.com",
    locked_at=NOW,
    ended="",
    unlock_by="cleo@example.com",
)
LOCKS = replace(HOLD, digest="f" * 32, members=(LOCK.member,), verdicts=(HOLD.verdicts[0],))
IGNORED = Ignored(scim_id="k8", note="Payroll's export", by="boss@example.com", at=NOW)
DECIDED = replace(EVENT, id="a1", name=EventName.CONFIGURED)  # nothing that usage counts
REPORT = Report(
    at=NOW,
    digest="d1",
    accounts=(
        Unprovisioned(
            scim_id="k9",
            user_name="old@example.com",
            external_id="u9",
            by=By.EXTERNAL_ID,
            offer=Offer.ALL,
            user_id="u9",
            email="old@example.com",
            presence=Presence.SUSPENDED,
            since=NOW - DAY,
        ),
    ),
)
CHANNEL = Channel(
    id="n1",
    address="https://hook",
    event="update",
    expires=NOW + DAY,
    resource_id="res",
    opened=NOW,
    proven=True,
    fingerprint="key",
)
CLAIM = Claim(user_id="u1", change_id="x1")
SWEPT = frozenset({"a" * 16, "b" * 16})
LOOK = Look(
    user_id="u1",
    event="update",
    evidence=Evidence(missing=True, left=("c1",), listed=True, left_teams=("g2",)),
    asked_at=NOW,
    channel="n1",
    inquiry="c1/i1",
    retry_failures=True,
    cause=CAUSE,
    groups=("g2",),
)
BATCH = Batch(
    connection_id="c1",
    run_id="r1",
    fence=3,
    number="1",
    changes=(
        PlannedChange(
            user_id="u1",
            email="ada@example.com",
            version=7,
            action=Action.CREATE,
            attributes=ADA,
            scim_id="k1",
            aliases=("a@example.com",),
            looked_up=True,
            locked=True,
            found=GRACE,
            created=NOW,
            confirmed=True,
            beside=(Beside(scim_id="k2", user_name="a@example.com"),),
            ours=True,
            suspended=True,
            teams=("t1",),
        ),
    ),
    looks=(LOOK,),
)
KEEPER_CHANGE = KeeperChange(
    user_id="u1",
    email="ada@example.com",
    scim_id="k1",
    at=NOW,
    run_id="r1",
    gone=True,
    found={"title": "Countess", "active": True},
    before={"title": None, "active": False},
    repair=Action.UPDATE,
)
RUN_REQUEST = messages.RunRequest(kind=RunKind.DRIFT, retry_failures=True, request="a1")

TEAM = GroupTeam(
    group_id="g2",
    name="Engineers",
    email="engineers@example.com",
    state=TeamState.REFUSED,
    since=NOW,
    team_id="t1",
    team_name="Builders",
    reason="refused",
    created=NOW - DAY,
    people=3,
    counted=NOW,
    unread=True,
    held=2,
    held_digest="d" * 32,
    unseen_since=NOW - HOUR,
    unsettled=Unsettled(waiting=3, since=NOW - DAY, late=2, ended=1),
    removals=Removals(
        since=NOW - HOUR,
        users=("u8", "u9"),
        approved=("u7",),
        times=(NOW - 2 * HOUR, NOW - HOUR),
        approved_at=(NOW - HOUR,),
    ),
    namesake=Namesake(team_id="t9", name="engineers", external_id="x", obstacle=Obstacle.OWNED),
    sent_name="Engineers",
    asked="Engineers",
    lost=2,
)
ADOPTION = ConfirmedAdoption(
    group_id="g2", name="Engineers", team_id="t9", team_name="engineers", by="boss@example.com", at=NOW
)
APPROVAL = ApprovedRemovals(group_id="g2", digest="d" * 32, by="boss@example.com", at=NOW)
LISTED = {
    "u1": Listed("ada@example.com", "Ada Lovelace", Presence.ARCHIVED, teams=("t1", "t4")),
    "u2": Listed("alan@example.com", "", Presence.UNKNOWN),
    "u3": Listed("grace@example.com", "Grace Hopper", Presence.ACTIVE, "/Sales", administers=True),
}


def populate(stores: Stores) -> None:
    """Write a document of each kind."""
    stores.set_ups.begin("c9", NOW)
    stores.connections.create(CONNECTION)
    stores.runs.put(RUN)
    progress = Progress(run_id="r1", at=NOW, counts={"created": 4}, done="1", continued=1, seats_exhausted=True)
    edit = Edit(entries={"u1": FULL, "u2": PLAIN}, events=[EVENT], progress=progress)
    stores.roster.commit(CONNECTION, ["u1", "u2"], lambda _known: (edit, None))
    stores.guard.change("c1", lambda _state: GUARD)
    stores.holds.put("c1", HOLD)
    stores.holds.put("c1", LOCKS)
    stores.claims.claim("c1", "k1", CLAIM)
    stores.adoptions.confirm("c1", [("u1", "k1")], "boss@example.com", NOW, replace(EVENT, id="x2"))
    stores.unprovisioned.ignore("c1", lambda _known: {IGNORED.scim_id: IGNORED}, DECIDED)
    stores.unprovisioned.put("c1", REPORT)
    stores.unprovisioned.change_locks("c1", lambda _known: ({LOCK.key: LOCK}, ()))
    stores.keeper_changes.add("c1", [KEEPER_CHANGE], NOW)
    stores.teams.change("c1", lambda _: {"g2": TEAM})
    stores.teams.approve("c1", APPROVAL, replace(EVENT, id="x3"))
    stores.teams.confirm("c1", ADOPTION, replace(DECIDED, id="a2"))
    stores.people.put(CONNECTION, NOW, LISTED, {"u1": FULL, "u2": PLAIN})
    stores.sweeps.put("c1", SWEPT)
    stores.leases.take("reconcile", "me", NOW, HOUR)
    stores.channels.put(CHANNEL)
    stores.channels.prove("n1", NOW)


def recorded() -> dict[str, Any]:
    """Return every document by its path, and every message by its kind."""
    stores = InMemory()
    populate(stores)
    documents = {
        f"{path}/{name}": stores.client.document(f"{path}/{name}").get().to_dict()
        for path, found in sorted(stores.client.service.collections.items())
        for name in sorted(found)
    }
    sent = {
        "look": messages.encode_look(LOOK),
        "batch": messages.encode_batch(BATCH),
        "run request": messages.encode_run_request(RUN_REQUEST),
    }
    return {"documents": documents, "messages": {name: data.decode() for name, data in sent.items()}}


def as_json(value: Any) -> Any:
    """Name what JSON has no type for."""
    match value:
        case bytes():
            return {"$bytes": base64.b64encode(value).decode()}
        case datetime():
            return {"$time": value.isoformat()}
    raise TypeError(type(value).__name__)


def of_json(value: dict[str, Any]) -> Any:
    """Return what `as_json` named."""
    match value:
        case {"$bytes": text}:
            return base64.b64decode(text)
        case {"$time": text}:
            return datetime.fromisoformat(text)
    return value


def load(path: Path) -> dict[str, Any]:
    """Read a recording."""
    content: dict[str, Any] = json.loads(path.read_text(), object_hook=of_json)
    return content


if __name__ == "__main__":
    target = FOLDER / f"{int(sys.argv[1])}.json"
    with target.open("x") as file:  # never one that is there
        json.dump(recorded(), file, indent=1, sort_keys=True, default=as_json)
        file.write("\n")
