"""Pages: every template with extreme values, what the policy forbids, forms that carry their secret."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import flask
import pytest
from werkzeug.test import EnvironBuilder

from autoprovisioning.app.admission import Role
from autoprovisioning.app.configure import settings_of
from autoprovisioning.app.ports import Channel
from autoprovisioning.app.reports import (
    DayUsage,
    Failing,
    Inquiry,
    InquiryKind,
    InquiryState,
    Line,
    Pace,
    Page,
    Preview,
    PreviewState,
    Step,
    Waiting,
    Would,
)
from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.connections import Connection, PatchDialect, State
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.errors import Busy, Forbidden, Permanent, ProvisioningError
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.guard import Hold, HoldState
from autoprovisioning.domain.mapping import DEFAULT_ROWS, MANDATORY, TARGETS, AttributeMapping, Row
from autoprovisioning.domain.roster import Action, Entry, Failure, Status, Trigger
from autoprovisioning.domain.runs import Run, RunKind, RunState
from autoprovisioning.domain.users import DirectoryUser, Group, Presence, Scope
from autoprovisioning.entrypoints import assets
from autoprovisioning.entrypoints.assets import FOLDER, VENDORED
from autoprovisioning.entrypoints.console import router
from autoprovisioning.entrypoints.console.choices import SOURCES as API_SOURCES
from autoprovisioning.entrypoints.console.pages import fields, refused
from autoprovisioning.entrypoints.console.pages.activity import MENDS
from autoprovisioning.entrypoints.console.pages.summary import differences
from autoprovisioning.entrypoints.pages import (
    POLICY,
    TEMPLATES,
    element,
    folding,
    page_alone,
    shown_length,
    shown_time,
)
from tests.fake_reports import FakeInquiries, FakePreviews
from tests.fake_state import FakeChannels
from tests.fakes import START, Desk
from tests.plain_browser import Browser
from tests.plain_browser import Page as Shown
from tests.wire import Answer

ADMIN, READER = "admin@example.com", "reader@example.com"
EVIL = '<script>alert("1")</script>\'"&{{7*7}}'
LONE = "\ud800"  # half of a surrogate pair: no text that could be encoded
LONG = "Extraordinarily-long-name-without-any-blank-" * 6
DAY = timedelta(days=1)
HOME = "/connections/c1"
NOBODY, NOTHING = Waiting(), Pace()
SHA256 = {
    "htmx-2.0.11.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
    "chart-4.6.1.umd.min.js": "87364cc2b2a76a6684929e7d6b80b18a897794db38400caff1fcf1791c6925d2",
}


@dataclass
class Told:
    """The Reports port, with what a test wants told."""

    happened: tuple[Event, ...] = ()
    failing: tuple[Failing, ...] = ()
    used: dict[EventName, int] = field(default_factory=dict)
    latest: tuple[Run, ...] = ()
    waits: Waiting = NOBODY
    answers: Pace = NOTHING
    cursor: str = ""
    held: Callable[[], int] = lambda: 0

    def plans_held(self, _connection_id: str) -> int:
        return self.held()

    def events(self, _connection_id: str, _filters: Any, _cursor: str, _limit: int) -> Page[Event]:
        return Page(self.happened, self.cursor)

    def every_event(self, _connection_id: str, _filters: Any) -> Iterator[Event]:
        return iter(self.happened)

    def failures(self, _connection_id: str, _cursor: str, _limit: int) -> Page[Failing]:
        return Page(self.failing, self.cursor)

    def usage(self, _connection_id: str, first: date, last: date) -> list[DayUsage]:
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        return [DayUsage(day, self.used) for day in days]

    def pace(self, _connection_id: str, _since: Any) -> Pace:
        return self.answers

    def waiting(self, _connection_id: str) -> Waiting:
        return self.waits

    def runs(self, _connection_id: str, limit: int) -> tuple[Run, ...]:
        return self.latest[:limit]


class Place:
    """The console over the ports in memory, and a browser in it."""

    def __init__(self, connection: Connection | None = None, told: Told | None = None) -> None:
        self.desk = Desk()
        self.told = told or Told()
        self.told.held = self._plans_held
        self.parts: Any = SimpleNamespace(
            services=self.desk.services,
            identity=SimpleNamespace(address=lambda assertion: assertion),
            roles=SimpleNamespace(now=self._role, lately=self._role),
            reports=self.told,
            previews=FakePreviews(self.desk.clock),
            inquiries=FakeInquiries(self.desk.clock),
            channels=FakeChannels(self.desk.store),
            form_key=b"key",
            console_url="https://console.example",
            reauthorize_url="https://reauthorize.example",
        )
        self._searchable(self.desk.directory)
        if connection is not None:
            self.desk.services.connections.create(connection)

    def _searchable(self, directory: Any) -> None:
        """Find everybody by their first letters; the units are those of `units`."""
        directory.units = []
        directory.org_units = lambda: directory.units
        directory.search_users = lambda text: [
            user for user in directory.live.values() if user.primary_email.startswith(text)
        ]
        directory.search_groups = lambda letters: [
            group for group in directory.groups.values() if group.email.startswith(letters)
        ]

    def _plans_held(self) -> int:
        return sum(hold.state is HoldState.WAITING for hold in self.desk.store.holds["c1"].values())

    def _role(self, address: str, _now: Any) -> Role:
        return Role.SUPER if address == ADMIN else Role.DELEGATED

    def browser(self, who: str = ADMIN) -> Browser:
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
                answer = refused(error)
            return Answer(answer.status_code, answer.headers, answer.get_data())

        return Browser(ask)

    def open(self, path: str, who: str = ADMIN) -> Shown:
        return self.browser(who).open(path)


def full(state: State = State.ON) -> Connection:
    """A connection with everything in it that could break a page."""
    groups = (Group("g1", "keeper@example.com", EVIL), Group("g2", f"{LONG}@example.com", LONG))
    rows = (*DEFAULT_ROWS, Row("title", f'"{EVIL[:20]}"'), Row("nickName", "customSchemas.HR.costCenter"))
    return Connection(
        "c1",
        name=EVIL,
        state=state,
        endpoint=f"https://keepersecurity.eu/{LONG}",
        token_version="7",
        edition=4,
        mapping=AttributeMapping(rows),
        scope=Scope(groups, ("/Gone", f"/{EVIL}")),
        shards=1,
        changed_at=START - DAY,
        paused_reason=EVIL,
        patch_dialect=PatchDialect.KEEPER,
    )


def everything() -> Told:
    """Reports in which everything has happened, and every text is hostile."""
    changed = {"name.givenName": EVIL + LONE, "userName": None, "emails.primary": True, "title": LONG}
    events = (
        Event("e1", START, EventName.UPDATED, "run abcdef", "u1", f"{EVIL}@x.example", Action.UPDATE, changed,
              {"name.givenName": LONG}, seconds=0.25),
        Event("e2", START, EventName.CREATED, f"notification {EVIL}", "u2", "b@example.com", Action.CREATE, changed),
        Event("e3", START, EventName.FAILED, ADMIN, "u3", "", Action.SUSPEND, reason=EVIL, code="x", recovered=True),
        Event("e4", START, EventName.CONFIGURED, EVIL, reason=EVIL),
    )  # fmt: skip
    failing = (Failing("u1", f"{LONG}@example.com", "mapping", EVIL, "create", 3, START - DAY, START + DAY),
               Failing("u2", "", "unheard_of", LONG, "update", 1, START, START))  # fmt: skip
    running = Run("r1", "c1", RunKind.FULL, 1, START, RunState.PLANNED, batches=3, done={"0": 1}, notes=(EVIL,))
    done = replace(running, id="r2", state=RunState.DONE, finished=START, counts={"created": 20_000, "failed": 1})
    runs = (running, done, replace(done, kind=RunKind.SWEEP))
    waiting, pace = Waiting(3, START - DAY), Pace(20, 5, 9.5)
    return Told(events, failing, dict.fromkeys(EventName, 1_234_567), runs, waiting, pace, cursor="next&page")


def place(state: State = State.ON) -> Place:
    """A console in which every page has much to show."""
    here = Place(full(state), everything())
    desk = here.desk
    desk.directory.groups["g1"] = Group("g1", "keeper@example.com", EVIL)
    directory: Any = desk.directory
    directory.units = ["/Sales", f"/{LONG}"]
    profile = {"primaryEmail": "a@example.com", "name": {"givenName": EVIL + LONE, "familyName": LONG}}
    user = DirectoryUser("u1", "a@example.com", Presence.ACTIVE, f"/{EVIL}", (f"{LONG}@example.com",), profile=profile)
    desk.directory.live["u1"] = user
    failure = Failure("rejected", EVIL, 3, START, START + DAY, "about")
    entry = Entry("u1", 3, f"{EVIL}@x.example", "k1", "", Status.ACTIVE, True, {Trigger.SUSPENDED: START}, START, None,
                  True, Action.DELETE, failure, START)  # fmt: skip
    desk.store.shards["c1", 0] = (1, {"u1": entry})
    members = tuple((f"u{number}", "suspend") for number in range(60))
    records = desk.services.records
    records.put_hold("c1", Hold("a" * 32, START, members, HoldState.WAITING, EVIL))
    records.put_hold("c1", Hold("b" * 32, START, members, HoldState.REJECTED, EVIL, EVIL, START))
    here.parts.channels.put(Channel("n1", "https://hook", expires=START + DAY, opened=START, proven=True))
    here.parts.channels.put(Channel("n2", "https://hook", expires=START - DAY))
    _previews(here)
    _inquiries(here)
    return here


def _previews(here: Place) -> None:
    connection = here.desk.services.connections.get("c1")
    assert connection is not None
    settings = replace(settings_of(connection), name="Other")
    base = Preview("p1", "c1", connection.edition, settings, EVIL, START, START + DAY)
    lines = [Line(would, f"u{number}", f"{EVIL}@x.example", LONG) for number, would in enumerate(Would)] * 10
    done = replace(base, state=PreviewState.DONE, counts={"create": 20_000, "unchanged": 1}, held=True, notes=(EVIL,))
    here.parts.previews.fill(done, lines)
    here.parts.previews.put(replace(base, id="p2"))
    here.parts.previews.put(replace(base, id="p3", state=PreviewState.FAILED, problem=EVIL))
    here.parts.previews.put(replace(base, id="p4", state=PreviewState.RUNNING, problem=EVIL))
    here.parts.previews.fill(replace(done, id="p5", edition=1), [])
    here.parts.previews.fill(replace(done, id="p6", settings=settings_of(connection)), [])


def _inquiries(here: Place) -> None:
    base = Inquiry("i1", "c1", "u1", InquiryKind.PROVISION, EVIL, START, START + DAY)
    account = Account("k1", EVIL, "u1", False, {"userName": EVIL, "title": None, "emails.primary": True})
    steps = (Step(START, EVIL), Step(START, LONG, failed=True))
    finished = replace(base, finished=START, steps=steps)
    here.parts.inquiries.put(base)
    here.parts.inquiries.put(replace(finished, id="i2", state=InquiryState.DONE, account=account))
    here.parts.inquiries.put(replace(finished, id="i3", state=InquiryState.FAILED, problem=EVIL))
    here.parts.inquiries.put(replace(finished, id="i4", state=InquiryState.DONE, kind=InquiryKind.EXPLAIN))


SECTIONS = "authorization mapping scope deprovisioning limits delete usage failures users audit holds health".split()
ADDRESSES = (
    "/",
    "/connections/new",
    HOME,
    *(f"{HOME}/{name}" for name in SECTIONS),
    f"{HOME}/users?q=a",
    f"{HOME}/users?q=nobody",
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


@pytest.mark.parametrize("state", [State.ON, State.OFF, State.PAUSED, State.DRAFT, State.DELETING])
@pytest.mark.parametrize("path", ADDRESSES)
def test_every_page_stands_hostile_and_endless_values(path, state):
    sound(place(state).open(path))


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_reader_gets_the_same_pages_without_any_form_that_changes_something(path):
    page = place().open(path, READER)
    sound(page)
    assert page.status == place().open(path).status
    assert [form for form in page.forms if form.method != "get"] == []
    assert "csrf" not in page.text


@pytest.mark.parametrize("path", ADDRESSES[2:15])
def test_an_empty_state_says_what_would_appear(path):
    page = Place(Connection("c1", state=State.ON, token_version="1", endpoint="https://keeper.example")).open(path)
    assert page.status == 200
    sound(page)
    if path.rpartition("/")[2] in ("usage", "failures", "audit", "holds", "health", "users"):
        assert 'class="nothing"' in page.text


@pytest.mark.parametrize("path", ["/mapping", "/scope", "/deprovisioning", "/limits", "/authorization"])
def test_every_form_that_edits_carries_the_edition(path):
    [form] = [form for form in place().open(HOME + path).forms if form.method == "post"]
    assert dict(form.fields)["edition"] == "4"


def test_no_page_offers_to_turn_on_what_is_not_off():
    for state in (State.ON, State.PAUSED, State.DRAFT, State.DELETING):
        assert f"{HOME}/turn-on" not in place(state).open(HOME).links()
    assert f"{HOME}/turn-on" in place(State.OFF).open(HOME).links()


@pytest.mark.parametrize(
    ("path", "polls", "refreshes"),
    [("/previews/p2", True, True), ("/previews/p4", True, True), ("/previews/p1", False, False),
     ("/previews/p3", False, False), ("/users/u1/inquiries/i1", True, True), ("/users/u1/inquiries/i2", False, False),
     ("/health", True, True)],
)  # fmt: skip
def test_what_is_under_way_is_followed_with_and_without_scripts(path, polls, refreshes):
    page = place().open(HOME + path)
    assert any("every" in found.get("hx-trigger", "") for _, found in page.tags) is polls
    assert any(found.get("http-equiv") == "refresh" for _, found in page.tags) is refreshes


def test_a_preview_is_saved_only_where_it_would_change_something_and_nobody_else_did():
    here = place()
    assert "Save" in here.open(f"{HOME}/previews/p1").buttons()
    assert "Save" not in here.open(f"{HOME}/previews/p5").buttons()  # of an older edition
    assert "Save" not in here.open(f"{HOME}/previews/p6").buttons()  # of the settings in force


def test_a_preview_says_in_what_the_settings_would_differ():
    here = place()
    connection = here.desk.services.connections.get("c1")
    wanted = replace(
        settings_of(connection),
        scope_groups=("g2", "g3"),
        org_units=(),
        mapping=AttributeMapping((*DEFAULT_ROWS[:-1], replace(DEFAULT_ROWS[-1], source="emails[primary].address"))),
        deprovisioning=Deprovisioning(suspended=Delays(7, 90)),
    )
    here.desk.directory.groups["g3"] = Group("g3", "g3@example.com", "Third")
    told = differences(here.desk.services, connection, wanted)
    assert [(part.title, part.new) for part in told] == [
        ("Attribute mapping", ("userName from emails[primary].address",)),
        ("Provisioning scope", ("Group Third (g3@example.com)",)),
        ("Deprovisioning", ("When a user is suspended on Google: suspend after 7 days, delete after 90 days",)),
    ]
    assert "userName from primaryEmail" in told[0].gone
    assert f"Organizational unit /{EVIL}" in told[1].gone
    assert differences(here.desk.services, connection, settings_of(connection)) == []


def test_an_account_that_differs_from_the_directory_says_where():
    here = place()
    here.desk.services.connections.change("c1", lambda known: replace(known, mapping=AttributeMapping()))
    page = here.open(f"{HOME}/users/u1/inquiries/i2")
    rows = dict(re.findall(r'<tr><th scope="row" class="path"><code>(.*?)</code>(.*?)</tr>', page.text, re.DOTALL))
    assert {name for name, row in rows.items() if "differs" in row} == set(rows) - {"emails.primary", "title"}
    assert "not mapped" in rows["title"]


def test_the_error_of_a_field_is_summed_up_and_told_beside_it():
    here = place()
    page = here.open(f"{HOME}/deprovisioning").send(
        "Deprovisioning", "save", app_off__suspend_after="other", app_off__suspend_after_days="x" * 4
    )
    assert page.status == 400
    name = element("deprovisioning.app_off.suspend_after")
    [field_] = [found for _, found in page.tags if found.get("id") == name]
    assert field_["aria-invalid"] == "true"
    assert f"{name}-wrong" in field_["aria-describedby"]
    assert f"#{name}" in page.links()
    sound(page)


def test_an_error_before_anybody_was_let_in_shows_nothing_of_the_console():
    answer = refused(Forbidden("nobody@example.com is not an administrator of this organization."))
    assert answer.status_code == 403
    text = answer.get_data(as_text=True)
    assert 'aria-label="Breadcrumb"' not in text
    assert "/assets/" not in text  # which are refused, too: the page carries its style sheet
    assert "<style>" in text
    assert "sha256-" in answer.headers["Content-Security-Policy"]


def test_what_is_not_there_leads_back_to_the_list():
    page = place().open(f"{HOME}/nothing-here")
    assert page.status == 404
    assert "/" in page.links()
    assert "Sign in" not in page.text


def test_every_lasting_failure_has_something_to_be_done():
    kinds = [Permanent, *Permanent.__subclasses__()]
    assert {kind.code for kind in kinds if kind.__module__ == Permanent.__module__} <= set(MENDS)


def test_a_field_of_another_page_is_linked_to_that_page():
    page = place().open(f"{HOME}/deprovisioning").send("Deprovisioning", "save")  # the mapping has a bad constant
    assert page.status == 400
    assert f"{HOME}/mapping" in page.links()
    sound(page)


def test_what_nobody_answers_is_not_followed_for_ever():
    here = place()
    here.desk.clock.advance(timedelta(minutes=20))
    for path in ("/previews/p2", "/users/u1/inquiries/i1"):
        page = here.open(HOME + path)
        assert page.status == 200
        assert not any("every" in found.get("hx-trigger", "") for _, found in page.tags)


def test_filters_that_make_no_sense_show_nothing_rather_than_everything():
    page = place().open(f"{HOME}/audit?since=2026-13-40")
    assert page.status == 400
    assert 'id="f-since-wrong"' in page.text
    assert not [tag for tag, _ in page.tags if tag == "table"]


def test_a_run_that_was_asked_for_is_awaited_for_a_while():
    here = Place(full(), Told())
    page = here.open(f"{HOME}/health?follow=2")
    [progress] = [found for _, found in page.tags if found.get("id") == "progress"]
    assert progress["hx-get"] == f"{HOME}/health?follow=1"
    assert "hx-get" not in str([found for _, found in here.open(f"{HOME}/health?follow=0").tags if "id" in found])


def test_the_chart_reads_what_the_table_says():
    page = place().open(f"{HOME}/usage")
    [canvas] = [found for tag, found in page.tags if tag == "canvas"]
    assert canvas["role"] == "img"
    assert [found for tag, found in page.tags if tag == "table" and found.get("id") == canvas["data-table"]]
    values = [found["data-value"] for _, found in page.tags if "data-value" in found]
    assert set(values) == {"1234567"}
    labels = [found["data-label"] for _, found in page.tags if "data-label" in found]
    assert len(labels) == 30
    scripts = [found["src"] for tag, found in page.tags if tag == "script"]
    assert any("chart" in path for path in scripts)
    assert not any("chart" in path for path in re.findall(r'src="([^"]*)"', place().open(HOME).text))


def test_the_mapping_offers_every_field_and_attribute_that_the_api_does():
    assert set(API_SOURCES) <= fields.OFFERED
    offered = {target for group in fields.targets().values() for target in group}
    assert offered == TARGETS - set(MANDATORY)
    AttributeMapping((*DEFAULT_ROWS,)).check()
    for source in fields.OFFERED:
        AttributeMapping((*DEFAULT_ROWS, Row("title", source))).check()


def test_the_policy_has_nothing_unsafe_and_no_other_origin():
    assert "unsafe" not in POLICY
    sources = {word for part in POLICY.split(";") for word in part.split()[1:]}
    assert sources == {"'none'", "'self'"}
    carried = page_alone("reauthorize_result.html", 200, problem="x", actor="", console="", chosen="", chosen_name="")
    assert "script-src" not in carried.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", VENDORED.values())
def test_vendored_files_are_as_they_were_published(name):
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == SHA256[name]


def test_the_folder_of_assets_holds_nothing_that_is_not_served():
    assert {path.name for path in FOLDER.iterdir()} == {*assets.OURS, *VENDORED.values(), "README.md"}


def test_our_own_files_change_their_address_with_their_content():
    for name in assets.OURS:
        digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]
        assert digest in assets.address(name)


def test_scripts_of_ours_neither_evaluate_nor_write_markup():
    script = (FOLDER / "console.js").read_text()
    assert not re.search(r"\beval\b|innerHTML|outerHTML|insertAdjacentHTML|document\.write|new Function", script)
    assert len(script.splitlines()) < 120


def test_templates_never_switch_escaping_off():
    for path in TEMPLATES.glob("*.html"):
        text = path.read_text()
        assert not re.search(r"\|\s*safe\b|autoescape|\bMarkup\b", text), path.name
        assert not re.search(r"\sstyle=|<script>|\son[a-z]+=", text), path.name


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0031, "0.0031 s"), (9.94, "9.9 s"), (42, "42 s"), (61, "1 min"), (3_720, "1 h 2 min"), (90_061, "1 d 1 h")],
)
def test_lengths_are_told_with_the_units_that_matter(seconds, text):
    assert shown_length(seconds) == text


def test_times_are_told_in_utc_and_exactly_for_machines():
    assert shown_time(START) == (
        '<time datetime="2026-11-24T09:00:00+00:00" title="2026-11-24T09:00:00+00:00">'
        "<span>24 Nov 2026,</span> <span>09:00 UTC</span></time>"
    )


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Taken: ada@example.com.", 'Taken: <span class="address">ada@<wbr>example.com.</span>'),
        ("https://a.example/v2/1", '<span class="address">https://<wbr>a.example/<wbr>v2/<wbr>1</span>'),
        ("<b>&", "&lt;b&gt;&amp;"),
    ],
)
def test_addresses_wrap_where_a_part_of_them_ends(text, folded):
    assert folding(text) == folded


@pytest.mark.parametrize(
    ("path", "section", "current"),
    [
        ("", "Overview", "page"),
        ("/scope", "Overview", "true"),
        ("/previews/p1", "Overview", "true"),
        ("/users", "Users", "page"),
        ("/users/u1/inquiries/i2", "Users", "true"),
        ("/holds", "Held plans", "page"),
    ],
)
def test_a_page_says_to_which_section_it_belongs(path, section, current):
    menu = re.search(r'<nav class="sections".*?</nav>', place().open(HOME + path).text, re.DOTALL)
    assert menu is not None
    assert re.findall(r'aria-current="(\w+)">([^<]+)<', menu[0]) == [(current, section)]


def test_the_steps_before_the_current_one_are_done():
    here = place()
    here.desk.services.connections.change("c1", lambda known: replace(known, state=State.DRAFT))
    steps = re.search(r'<ol class="steps".*?</ol>', here.open(f"{HOME}/scope").text, re.DOTALL)
    assert steps is not None
    told = [re.sub(r"\s+", " ", re.sub("<.*?>", "", step)).strip() for step in steps[0].split("<li")[1:]]
    assert [step.partition(">")[2].strip() for step in told] == [
        "App authorization (done)",
        "Endpoint URL (done)",
        "Attribute mapping (done)",
        "Provisioning scope (optional)",
        "Deprovisioning",
        "Finish",
    ]


def test_a_busy_deletion_goes_on_by_itself(monkeypatch):
    from autoprovisioning.entrypoints.console.pages import deletion

    def busy(*_arguments: Any) -> None:
        raise Busy("Changes are still in flight", retry_after=30)

    here = place()
    monkeypatch.setattr(deletion, "delete", busy)
    page = here.open(f"{HOME}/delete").send("Delete configuration", confirmation=EVIL)
    assert "as soon as changes in flight have ended" in page.text
