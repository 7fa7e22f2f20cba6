"""The console over the ports in memory: hostile and endless values everywhere, and what every page must keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import flask
from werkzeug.test import EnvironBuilder

from autoprovisioning.app.administration.roles import Admitted, Caller, Role
from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.app.ports.reports import (
    DayUsage,
    Failing,
    FailureCause,
    HeldPlan,
    KeeperAnswers,
    Page,
    WaitingUsers,
)
from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Action, Entry, Failure, Status, Timer, Trigger
from autoprovisioning.domain.errors import ProvisioningError
from autoprovisioning.domain.event_search import EventOrder, Filters
from autoprovisioning.domain.events import Actor, Event, EventName, TeamUsage
from autoprovisioning.domain.guard import Member
from autoprovisioning.domain.holds import Hold, HoldState, Standing, Verdict
from autoprovisioning.domain.keeper import PatchDialect
from autoprovisioning.domain.keeper_changes import KeeperChange
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from autoprovisioning.domain.people import listed_of
from autoprovisioning.domain.requests import (
    INQUIRY,
    PREVIEW,
    Findings,
    Forecast,
    InquiryKind,
    Line,
    Proposal,
    Question,
    RequestState,
    Step,
    TeamsForeseen,
    Would,
)
from autoprovisioning.domain.runs import Run, RunKind, RunState
from autoprovisioning.domain.scope import Group, OrgUnit, Scope
from autoprovisioning.domain.settings import Settings
from autoprovisioning.domain.teams import TeamState
from autoprovisioning.domain.unprovisioned import By, Report, Unprovisioned
from autoprovisioning.entrypoints.answers import problem
from autoprovisioning.entrypoints.console import router
from autoprovisioning.entrypoints.console.pages import refused
from autoprovisioning.entrypoints.pages import POLICY
from tests.support.builders import requested
from tests.support.in_memory import START, FakeServices
from tests.support.in_memory_state import FakeChannels
from tests.support.plain_browser import Browser
from tests.support.plain_browser import Page as Shown
from tests.support.wire import Answer

ADMIN, READER = "admin@example.com", "reader@example.com"
EVIL = '<script>alert("1")</script>\'"&{{7*7}}'
LONE = "\ud800"  # half of a surrogate pair: no text that could be encoded
LONG = "Extraordinarily-long-name-without-any-blank-" * 6
DAY = timedelta(days=1)
HOME = "/connections/c1"
NOBODY, NOTHING = WaitingUsers(), KeeperAnswers()
FORESEEN = TeamsForeseen(made=12, there=1, taken=3, other=dict.fromkeys(TeamState, 9), memberships=1_204, problem="")


@dataclass
class Told:
    """The Reports port, with what a test wants told."""

    happened: tuple[Event, ...] = ()
    failing: tuple[Failing, ...] = ()
    used: dict[EventName, int] = field(default_factory=dict)
    latest: tuple[Run, ...] = ()
    waits: WaitingUsers = NOBODY
    answers: KeeperAnswers = NOTHING
    cursor: str = ""
    order: EventOrder = EventOrder.NEWEST  # that was asked for last
    held: Callable[[], int] = lambda: 0
    plans: Callable[[], list[HeldPlan]] = list
    used_for_teams: dict[TeamUsage, int] = field(default_factory=dict)

    def plans_held(self, _connection_id: str) -> int:
        return self.held()

    def decided(self, _connection_id: str) -> tuple[HeldPlan, ...]:
        return ()

    def holds(self, _connection_id: str, cursor: str, limit: int) -> Page[HeldPlan]:
        plans, first = tuple(self.plans()), int(cursor or 0)
        following = str(first + limit) if first + limit < len(plans) else ""
        return Page(items=plans[first : first + limit], cursor=following)

    def failing_users(self, _connection_id: str) -> int:
        return len(self.failing)

    def events(
        self, _connection_id: str, filters: Filters, _cursor: str, _limit: int, *, order: EventOrder = EventOrder.NEWEST
    ) -> Page[Event]:
        items = [event for event in self.happened if filters.meets(event)]
        self.order = order
        return Page(items=tuple(items), cursor=self.cursor, looked=len(self.happened), reached=START)

    def every_event(self, _connection_id: str, _filters: Any) -> Iterator[Event]:
        return iter(self.happened)

    def failures(self, _connection_id: str, _cursor: str, _limit: int, code: str = "") -> Page[Failing]:
        return Page(items=tuple(self.every_failure("", code)), cursor=self.cursor)

    def every_failure(self, _connection_id: str, code: str = "") -> Iterator[Failing]:
        return (failing for failing in self.failing if code in ("", failing.code))

    def causes(self, _connection_id: str) -> list[FailureCause]:
        return [
            FailureCause(code=code, users=users) for code, users in Counter(each.code for each in self.failing).items()
        ]

    def usage(self, _connection_id: str, first: date, last: date) -> list[DayUsage]:
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        return [DayUsage(day=day, counts=self.used, teams=self.used_for_teams) for day in days]

    def pace(self, _connection_id: str, _since: Any) -> KeeperAnswers:
        return self.answers

    def waiting(self, _connection_id: str) -> WaitingUsers:
        return self.waits

    def runs(self, _connection_id: str, _cursor: str, limit: int) -> Page[Run]:
        return Page(items=tuple(self.latest[:limit]))


class Place:
    """The console over the ports in memory, and a browser in it."""

    def __init__(self, connection: Connection | None = None, told: Told | None = None) -> None:
        self.fakes = FakeServices()
        self.told = told or Told()
        self.told.held = self._plans_held
        self.told.plans = self._plans
        self.parts: Any = SimpleNamespace(
            services=self.fakes.services,
            identity=SimpleNamespace(caller=lambda address: Caller(address=address)),
            roles=SimpleNamespace(now=self._role, lately=self._role),
            reports=self.told,
            channels=FakeChannels(self.fakes.store),
            form_key=b"key",
            console_url="https://console.example",
            reauthorize_url="https://reauthorize.example",
        )
        self._searchable(self.fakes.directory)
        if connection is not None:
            self.fakes.services.connections.create(connection)

    def _plans(self) -> list[HeldPlan]:
        return [
            HeldPlan(
                digest=hold.digest,
                state=hold.state,
                raised_at=hold.raised_at,
                reason=hold.reason,
                counts=hold.counts(),
                decided_by=hold.decided_by,
                decided_at=hold.decided_at,
                standings=hold.standings(),
            )
            for hold in self.fakes.services.holds.standing("c1")
        ]

    def _searchable(self, directory: Any) -> None:
        """Find everybody by their first letters."""
        directory.search_users = lambda text: [
            user for user in directory.live.values() if user.primary_email.startswith(text)
        ]
        directory.search_groups = lambda letters: [
            group for group in directory.groups.values() if group.email.startswith(letters)
        ]

    def _plans_held(self) -> int:
        return sum(hold.state is HoldState.WAITING for hold in self.fakes.store.holds["c1"].values())

    def _role(self, caller: Caller, _now: Any) -> Admitted:
        return Admitted(
            actor=Actor(address=caller.address, directory_id="u0"),
            role=Role.SUPER if caller.address == ADMIN else Role.DELEGATED,
        )

    def asking(self, who: str = ADMIN) -> Callable[[str, str, bytes | None, dict[str, str]], Answer]:
        """Return what sends a request as somebody."""

        def ask(method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
            target, _, query = path.partition("?")
            assertion = {"X-Goog-IAP-JWT-Assertion": who}
            environ = EnvironBuilder(
                target.partition("#")[0], method=method, query_string=query, data=body, headers={**headers, **assertion}
            ).get_environ()
            request = flask.Request(environ)
            try:
                answer = router().answer(request, self.parts)
            except ProvisioningError as error:
                answer = _told(request, error)
            return Answer(answer.status_code, answer.headers, answer.get_data())

        return ask

    def browser(self, who: str = ADMIN) -> Browser:
        return Browser(self.asking(who))

    def open(self, path: str, who: str = ADMIN) -> Shown:
        return self.browser(who).open(path)


def _told(request: flask.Request, error: ProvisioningError) -> flask.Response:
    """Answer as the entry point does, by what was asked for."""
    if not request.path.startswith("/api"):
        return refused(error)
    with flask.Flask(__name__).app_context():
        return problem(error)


def full(state: State = State.ON) -> Connection:
    """A connection with everything in it that could break a page."""
    groups = (
        Group(id="g1", email="keeper@example.com", name=EVIL),
        Group(id="g2", email=f"{LONG}@example.com", name=LONG),
    )
    rows = (
        *DEFAULT_ROWS,
        Row(target="title", source=f'"{EVIL[:20]}"'),
        Row(target="nickName", source="customSchemas.HR.costCenter"),
    )
    return Connection(
        id="c1",
        settings=Settings(
            name=EVIL,
            endpoint=f"https://keepersecurity.eu/{LONG}",
            mapping=AttributeMapping(rows),
            scope=Scope(
                groups=groups,
                org_units=(OrgUnit(id="id:gone", path="/Gone", listed=False), OrgUnit(id="id:evil", path=f"/{EVIL}")),
            ),
            patch_dialect=PatchDialect.KEEPER,
        ),
        state=state,
        token_version="7",
        edition=4,
        roster_layout="1",
        changed_at=START - DAY,
        paused_reason=EVIL,
    )


def everything() -> Told:
    """Reports in which everything has happened, and every text is hostile."""
    changed = {"name.givenName": EVIL + LONE, "userName": None, "emails.primary": True, "title": LONG}
    events = (
        Event(
            id="e1",
            at=START,
            name=EventName.UPDATED,
            actor="run abcdef",
            user_id="u1",
            email=f"{EVIL}@x.example",
            attempted=Action.UPDATE,
            changed=changed,
            before={"name.givenName": LONG},
            seconds=0.25,
        ),
        Event(
            id="e2",
            at=START,
            name=EventName.CREATED,
            actor=f"notification {EVIL}",
            user_id="u2",
            email="b@example.com",
            attempted=Action.CREATE,
            changed=changed,
        ),
        Event(
            id="e3",
            at=START,
            name=EventName.FAILED,
            actor=ADMIN,
            user_id="u3",
            email="",
            attempted=Action.SUSPEND,
            reason=EVIL,
            code="x",
            recovered=True,
        ),
        Event(id="e4", at=START, name=EventName.CONFIGURED, actor=EVIL, reason=EVIL),
    )
    failing = (
        Failing(
            user_id="u1",
            email=f"{LONG}@example.com",
            code="mapping",
            reason=EVIL,
            attempted="create",
            attempts=3,
            first=START - DAY,
            next_attempt=START + DAY,
        ),
        Failing(
            user_id="u2",
            email="",
            code="unheard_of",
            reason=LONG,
            attempted="update",
            attempts=1,
            first=START,
            next_attempt=START,
        ),
    )
    running = Run(
        id="r1",
        connection_id="c1",
        kind=RunKind.FULL,
        fence=1,
        started=START,
        state=RunState.PLANNED,
        batches=3,
        done={"0": 1},
        notes=(EVIL,),
    )
    done = replace(running, id="r2", state=RunState.DONE, finished=START, counts={"created": 20_000, "failed": 1})
    runs = (running, done, replace(done, kind=RunKind.SWEEP))
    waiting, pace = WaitingUsers(count=3, oldest=START - DAY), KeeperAnswers(changes=20, failed=5, seconds=9.5)
    return Told(events, failing, dict.fromkeys(EventName, 1_234_567), runs, waiting, pace, cursor="next&page")


def place(state: State = State.ON) -> Place:
    """A console in which every page has much to show."""
    here = Place(full(state), everything())
    fakes = here.fakes
    fakes.directory.groups["g1"] = Group(id="g1", email="keeper@example.com", name=EVIL)
    fakes.directory.units |= {"id:long": f"/{LONG}", "id:evil": f"/{EVIL}"}
    profile = {"primaryEmail": "a@example.com", "name": {"givenName": EVIL + LONE, "familyName": LONG}}
    user = DirectoryUser(
        id="u1",
        primary_email="a@example.com",
        presence=Presence.ACTIVE,
        org_unit_path=f"/{EVIL}",
        aliases=(f"{LONG}@example.com",),
        profile=profile,
    )
    fakes.directory.live["u1"] = user
    failure = Failure(code="rejected", text=EVIL, attempts=3, first=START, next_attempt=START + DAY, about="about")
    entry = Entry(
        user_id="u1",
        version=3,
        email=f"{EVIL}@x.example",
        scim_id="k1",
        fingerprint="",
        status=Status.ACTIVE,
        in_scope=True,
        timers={Trigger.SUSPENDED: Timer(since=START, running_since=START)},
        failure=failure,
        last_action_at=START,
    )
    listed = {"u1": listed_of(user), "u9": listed_of(replace(user, id="u9", primary_email=f"{LONG}@example.com"))}
    fakes.services.people.put(full(), START, listed, {"u1": entry})
    account = Unprovisioned(scim_id="k9", user_name=f"{EVIL}@x.example", external_id="", by=By.ADDRESS)
    fakes.services.unprovisioned.put("c1", Report(at=START, digest="d", accounts=(account,)))
    values = {"title": EVIL, LONG: LONG}
    change = KeeperChange(
        user_id="u1", email=entry.email, scim_id="k1", at=START, run_id="r1", found=values, before=values
    )
    fakes.services.keeper_changes.add("c1", [change], START)
    fakes.store.shards["c1", 0] = (1, {"u1": entry})
    members = tuple(
        Member(resource=f"u{number}", action="suspend", trigger="suspended", since=START) for number in range(60)
    )
    holds = fakes.services.holds
    rejected = Verdict(standing=Standing.REJECTED, at=START, by=EVIL)
    holds.put("c1", Hold(digest="a" * 32, raised_at=START, members=members, reason=EVIL))
    holds.put(
        "c1",
        Hold(
            digest="b" * 32,
            raised_at=START,
            members=members,
            reason=EVIL,
            verdicts=(rejected,) * 60,
            decided_by=EVIL,
            decided_at=START,
        ),
    )
    here.parts.channels.put(Channel(id="n1", address="https://hook", expires=START + DAY, opened=START, proven=True))
    here.parts.channels.put(Channel(id="n2", address="https://hook", expires=START - DAY))
    _previews(here)
    _inquiries(here)
    return here


def _previews(here: Place) -> None:
    connection = here.fakes.services.connections.get("c1")
    assert connection is not None
    settings = replace(connection.settings, name="Other")
    proposal = Proposal(edition=connection.edition, settings=settings)
    base = requested(PREVIEW, proposal, id="p1", asked_by=Actor(address=EVIL), asked_at=START)
    result = Forecast(counts={"create": 20_000, "unchanged": 1}, held=True, notes=(EVIL,), teams=FORESEEN)
    done = replace(base, state=RequestState.DONE, result=result)
    older, in_force = replace(proposal, edition=1), replace(proposal, settings=connection.settings)
    lines = [
        Line(would=would, user_id=f"u{number}", email=f"{EVIL}@x.example", detail=LONG, scim_id=EVIL)
        for number, would in enumerate(Would)
    ] * 10
    for stored in (
        done,
        replace(base, id="p2"),
        replace(base, id="p3", state=RequestState.FAILED, problem=EVIL),
        replace(base, id="p4", state=RequestState.RUNNING, problem=EVIL),
        replace(done, id="p5", subject=older),
        replace(done, id="p6", subject=in_force),
    ):
        here.fakes.services.requests.put(stored)
    here.fakes.services.preview_lines.put(done, lines)


def _inquiries(here: Place) -> None:
    question = Question(user_id="u1", kind=InquiryKind.PROVISION)
    base = requested(INQUIRY, question, id="i1", asked_by=Actor(address=EVIL), asked_at=START)
    account = Account(
        scim_id="k1",
        user_name=EVIL,
        external_id="u1",
        active=False,
        attributes={"userName": EVIL, "title": None, "emails.primary": True},
    )
    steps = (Step(at=START, text=EVIL), Step(at=START, text=LONG, failed=True))
    done = replace(base, state=RequestState.DONE, finished=START, result=Findings(steps=steps))
    explained = replace(question, kind=InquiryKind.EXPLAIN)
    for stored in (
        base,
        replace(done, id="i2", result=Findings(steps=steps, account=account)),
        replace(done, id="i3", state=RequestState.FAILED, problem=EVIL),
        replace(done, id="i4", subject=explained),
    ):
        here.fakes.services.requests.put(stored)


EDITED = "authorization mapping scope deprovisioning limits choose-teams delete"
SECTIONS = f"{EDITED} usage failures users teams audit holds health".split()
OF_A_CONNECTION = (HOME, *(f"{HOME}/{name}" for name in SECTIONS))
ADDRESSES = (
    "/",
    "/connections/new",
    *OF_A_CONNECTION,
    f"{HOME}/users?q=a",
    f"{HOME}/users?q=nobody",
    f"{HOME}/users?state=active&sort=change&order=desc",
    f"{HOME}/users?state=unprovisioned",
    f"{HOME}/keeper-changes",
    "/find",
    "/find?q=a",
    "/find?q=nobody&quick=1",
    f"{HOME}/groups?q=k",
    f"{HOME}/groups?q=nothing",
    f"{HOME}/users/u1",
    *(f"{HOME}/users/u1/inquiries/i{number}" for number in range(1, 5)),
    *(f"{HOME}/previews/p{number}" for number in range(1, 7)),
    f"{HOME}/previews/p1?kind=create",
    f"{HOME}/holds/{'a' * 32}",
    f"{HOME}/holds/{'a' * 32}?page=99",
    f"{HOME}/holds/{'b' * 32}",
    f"{HOME}/audit?name=Nothing&user={LONG}",
    f"{HOME}/audit?since=2026-13-40",
    f"{HOME}/audit?person=a&text=x&name=Failures&outcome=done",
    "/assets/nothing",
)


def sound(page: Shown) -> None:
    """Hold a page to what every page must keep."""
    assert page.answer.headers["Content-Security-Policy"] == POLICY
    assert "<script>" not in page.text
    assert "{{" not in page.text.replace("{{7*7}}", "")
    for tag, found in page.tags:
        assert tag not in ("style", "iframe", "object", "embed", "base"), tag
        assert "style" not in found, found
        assert not [name for name in found if name.startswith(("on", "hx-on"))], found
        assert not found.get("href", "").startswith(("javascript:", "data:", "//")), found
        if tag == "script":
            assert found["src"].startswith("/assets/"), found
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids)), ids
    labelled = {found["for"] for tag, found in page.tags if tag == "label" and "for" in found}
    for tag, found in page.tags:
        free = found.get("type") in ("hidden", "checkbox", "radio")
        assert tag not in ("input", "select") or free or found.get("id") in labelled, found
    for form in page.forms:
        assert form.method == "get" or dict(form.fields).get("csrf"), form
        assert form.label
