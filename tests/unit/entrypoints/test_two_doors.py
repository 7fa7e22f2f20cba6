"""What an administrator does on a page or through the API has the same outcome, and both tell the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from markupsafe import escape

from autoprovisioning.app.administration.tokens import reauthorize
from autoprovisioning.app.ports.reports import Failing
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Entry, Status, Timer, Trigger
from autoprovisioning.domain.events import USAGE, Actor, Event, EventName
from autoprovisioning.domain.guard import Member
from autoprovisioning.domain.holds import Hold, Standing, Verdict
from autoprovisioning.domain.locks import Lock
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from autoprovisioning.domain.scope import Group, Scope
from autoprovisioning.domain.texts import LONGEST_SEARCH
from autoprovisioning.domain.unprovisioned import Report, Unprovisioned
from autoprovisioning.domain.words import described
from autoprovisioning.entrypoints.console.pages.summary import summary
from autoprovisioning.entrypoints.console.routing import ROOT
from tests.support.console import HOME, Place, full
from tests.support.in_memory import START
from tests.support.settings import with_settings
from tests.support.wire import Answer

DIGEST = "d" * 32
NODE = "https://keepersecurity.eu/api/rest/scim/v2/1"


def place(state: State = State.ON, mapping: AttributeMapping | None = None) -> Place:
    chosen = mapping or AttributeMapping()
    here = Place(with_settings(full(state), name="Keeper", endpoint=NODE, mapping=chosen, scope=Scope()))
    users = [f"u{number}" for number in range(4)]
    members = tuple(Member(resource=user_id, action="suspend", trigger="app_off", since=START) for user_id in users)
    here.fakes.services.holds.put("c1", Hold(digest=DIGEST, raised_at=START, members=members, reason="too many"))
    return here


def told(event: Event) -> tuple[Any, ...]:
    return event.name, event.actor, event.user_id, event.reason, dict(event.changed), dict(event.before or {})


def outcome(place: Place) -> Any:
    """Return what is stored, logged and requested, without ids that differ each time."""
    store, queue = place.fakes.store, place.fakes.queue
    connections = {key: (each.state, each.pilot, each.settings, each.clock) for key, each in store.connections.items()}
    holds = {digest: hold.standings() for digest, hold in store.holds["c1"].items()}
    events = [told(event) for event in store.events["c1"].values()]
    looks = [(look.user_id, look.retry_failures) for look in queue.looks]
    ignored = {key: (each.note, each.by) for key, each in store.ignored.get("c1", {}).items()}
    locks = [(key, each.by, each.waits, each.unlock_by) for key, each in store.locks.get("c1", {}).items()]
    return connections, holds, events, queue.runs, len(queue.requests), looks, list(store.deleted), ignored, locks


def on_a_page(of: str, form: str, button: str, **filled: Any) -> Callable[[Place], None]:
    def act(place: Place) -> None:
        shown = place.browser().open(f"{HOME}{of}").send(form, button, **filled)
        assert shown.status == 200, shown.text

    return act


def through_the_api(method: str, path: str, body: dict[str, Any], *, if_match: str = "") -> Callable[[Place], None]:
    def act(place: Place) -> None:
        headers = {"Content-Type": "application/json", **({"If-Match": if_match} if if_match else {})}
        answer = place.asking()(method, f"{ROOT}{HOME}{path}", json.dumps(body).encode(), headers)
        assert answer.status in (200, 202, 204), answer.body

    return act


def nothing(_place: Place) -> None:
    """Begin as the place is."""


def off(place: Place) -> None:
    place.fakes.services.connections.change("c1", lambda current: replace(current, state=State.OFF))


def off_and_somebody(place: Place) -> None:
    off(place)
    user = DirectoryUser(id="u1", primary_email="ada@example.com", presence=Presence.ACTIVE)
    place.fakes.directory.live[user.id] = user


def failing(place: Place) -> None:
    codes = ("mapping", "address_taken", "mapping")
    place.told.failing = tuple(
        Failing(user_id=f"u{number}", email="", code=code, reason="", attempted="create", attempts=1, first=START,
                next_attempt=START)
        for number, code in enumerate(codes)
    )  # fmt: skip


def stranger(place: Place) -> None:
    account = Unprovisioned(scim_id="k1", user_name="robot@example.com", external_id="")
    place.fakes.services.unprovisioned.put("c1", Report(at=START, digest="", accounts=(account,)))


def ignored(place: Place) -> None:
    stranger(place)
    through_the_api("POST", "/unprovisioned/ignore", {"accounts": ["k1"], "note": "Robot"})(place)


def begun(place: Place) -> None:
    stranger(place)
    place.fakes.services.connections.change("c1", lambda current: replace(current, roster_layout="1"))


def locked(place: Place) -> None:
    begun(place)
    account = Unprovisioned(scim_id="k1", user_name="robot@example.com", external_id="")
    lock = Lock(account=account, by="admin@example.com", at=START, locked_at=START)
    place.fakes.services.unprovisioned.change_locks("c1", lambda _known: ({"k1": lock}, ()))


def decided(choice: str) -> Callable[[Place], None]:
    return through_the_api("POST", f"/holds/{DIGEST}", {"decision": choice})


def decision(choice: str) -> Callable[[Place], None]:
    return on_a_page(f"/holds/{DIGEST}", "Decide", choice)


def choose_on_the_page(place: Place, *accounts: str) -> None:
    """Tick accounts, see what would happen, and confirm it by its number."""
    foreseen = place.browser().open(f"{HOME}/unprovisioned").send("Take over", "lock", account=list(accounts))
    assert foreseen.status == 200, foreseen.text
    shown = foreseen.send("Lock", f"lock:{len(accounts)}")
    assert (shown.status, "would be locked" in shown.text) == (200, True)


PLAN = f"/holds/{DIGEST}"
ACTIONS = {  # what was done before, and then the same on a page and through the API
    "approve": (nothing, decision("approve"), decided("approve")),
    "reject": (nothing, decision("reject"), decided("reject")),
    "withdraw": (decided("approve"), decision("withdraw"), decided("withdraw")),
    "decide about some": (
        nothing,
        on_a_page(PLAN, "Decide", "approve:ticked", user=["u1", "u2"]),
        through_the_api("POST", PLAN, {"decision": "approve", "users": ["u1", "u2"]}),
    ),
    "decide by cause": (
        nothing,
        on_a_page(f"{PLAN}?cause=app_off", "Decide", "reject"),
        through_the_api("POST", PLAN, {"decision": "reject", "cause": "app_off"}),
    ),
    "turn off": (nothing, on_a_page("/turn-off", "Turn off", "Turn off"), through_the_api("POST", "/turn-off", {})),
    "turn on": (off, on_a_page("/turn-on", "Turn on", "Turn on"), through_the_api("POST", "/turn-on", {})),
    "turn on for chosen people": (
        off_and_somebody,
        on_a_page("/pilot", "Pilot", "save", people="u1"),
        through_the_api("POST", "/pilot", {"people": ["u1"]}, if_match="*"),
    ),
    "name and limits": (
        nothing,
        on_a_page("/limits", "Name and limits", "Save", name="Vault", minimum="7", percent="2.5"),
        through_the_api("PATCH", "", {"name": "Vault", "limit": {"minimum": 7, "percent": 2.5}}, if_match='"4"'),
    ),
    "teams": (
        lambda place: place.fakes.directory.groups.update(g9=Group(id="g9", email="keeper@example.com")),
        on_a_page("/choose-teams", "Teams", "save", group=["g9"], patterns="keeper-*", most="9"),
        through_the_api(
            "PATCH",
            "",
            {"teams": {"groups": ["keeper@example.com"], "patterns": ["keeper-*"], "most": 9}},
            if_match='"4"',
        ),
    ),
    "ignore an account": (
        stranger,
        on_a_page("/unprovisioned", "Take over", "ignore", account=["k1"], note="Payroll's export"),
        through_the_api("POST", "/unprovisioned/ignore", {"accounts": ["k1"], "note": "Payroll's export"}),
    ),
    "ignore it no more": (
        ignored,
        on_a_page("/unprovisioned", "Ignored accounts", "again:k1"),
        through_the_api("POST", "/unprovisioned/stop-ignoring", {"accounts": ["k1"]}),
    ),
    "choose one to be locked": (
        begun,
        lambda place: choose_on_the_page(place, "k1"),
        through_the_api("POST", "/unprovisioned/lock", {"accounts": ["k1"]}),
    ),
    "unlock it": (
        locked,
        on_a_page("/unprovisioned", "Locked accounts", "unlock:k1"),
        through_the_api("POST", "/unprovisioned/unlock", {"account": "k1"}),
    ),
    "run now": (nothing, on_a_page("/health", "Run now", "Run now"), through_the_api("POST", "/runs", {})),
    "retry some": (
        failing,
        on_a_page("/failures", "Retry", "chosen", user=["u0", "u1"]),
        through_the_api("POST", "/failures", {"users": ["u0", "u1"]}),
    ),
    "retry a cause": (
        failing,
        on_a_page("/failures", "Retry", "cause:mapping"),
        through_the_api("POST", "/failures", {"code": "mapping"}),
    ),
    "retry all": (failing, on_a_page("/failures", "Retry", "all"), through_the_api("POST", "/failures", {})),
    "delete": (
        off,
        on_a_page("/delete", "Delete configuration", "Delete configuration", confirmation="Keeper"),
        through_the_api("DELETE", "", {"confirmation": "Keeper"}),
    ),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_both_doors_have_the_same_outcome(name):
    before, page, api = ACTIONS[name]
    outcomes = []
    for act in (page, api):
        here = place()
        before(here)
        act(here)
        outcomes.append(outcome(here))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("minimum", "percent", "field", "problem", "mend"),
    [
        (5_000_000, 5, "limit.minimum", "5000000 is out of range", "Use 1 to 1000000 users."),
        (123_456_789, 5, "limit.minimum", "123456789 is out of range", "Use 1 to 1000000 users."),
        (0, 5, "limit.minimum", "0 is out of range", "Use 1 to 1000000 users."),
        (10, 0, "limit.percent", "0 is out of range", "Use more than 0 up to 100 percent."),
        (10, 100.5, "limit.percent", "100.5 is out of range", "Use more than 0 up to 100 percent."),
    ],
)
def test_both_doors_refuse_a_volume_limit_in_the_same_words(minimum, percent, field, problem, mend):
    here = place()
    shown = here.browser().open(f"{HOME}/limits")
    page = shown.send("Name and limits", "Save", minimum=str(minimum), percent=str(percent))
    assert (page.status, f"#f-{field.replace('.', '-')}" in page.links()) == (400, True)
    assert f"{problem}.</a> {mend}" in page.text
    body = json.dumps({"limit": {"minimum": minimum, "percent": percent}}).encode()
    headers = {"Content-Type": "application/json", "If-Match": '"4"'}
    answer = here.asking()("PATCH", f"{ROOT}{HOME}", body, headers)
    told = json.loads(answer.body)
    assert (answer.status, told["field"], told["problem"], told["mend"]) == (400, field, problem, mend)
    assert here.fakes.store.connections["c1"].edition == 4


def test_both_doors_take_the_largest_volume_limit():
    page, api = place(), place()
    on_a_page("/limits", "Name and limits", "Save", minimum="1000000", percent="100")(page)
    limit = {"limit": {"minimum": 1_000_000, "percent": 100}}
    through_the_api("PATCH", "", limit, if_match='"4"')(api)
    assert page.fakes.store.connections["c1"].settings == api.fakes.store.connections["c1"].settings


TYPED = {"endpoint": f" {NODE}9\n", "token": "\tsecret "}
PASTED = {
    "setting up on a page": lambda here: (
        here.browser().open("/connections/new").send("Set up autoprovisioning", name=" Vault ", **TYPED)
    ),
    "setting up through the API": lambda here: sent(here, "POST", "/connections", {"name": " Vault ", **TYPED}),
    "editing on a page": lambda here: (
        here.browser().open(f"{HOME}/authorization").send("App authorization", "Save", **TYPED)
    ),
    "editing through the API": lambda here: sent(here, "PATCH", HOME, TYPED),
    "reauthorizing": lambda here: reauthorize(here.fakes.services, "c1", TYPED["token"], Actor(address="a@b.example")),
}


def sent(here: Place, method: str, path: str, body: dict[str, Any]) -> Answer:
    headers = {"Content-Type": "application/json", "If-Match": '"4"'}
    return here.asking()(method, f"{ROOT}{path}", json.dumps(body).encode(), headers)


@pytest.mark.parametrize("act", PASTED)
def test_blanks_around_what_was_pasted_are_left_out_by_every_door(act):
    here = place()
    PASTED[act](here)
    [(connection_id, _)] = here.fakes.tokens.enabled
    connection = here.fakes.store.connections[connection_id]
    assert here.fakes.tokens.read(connection_id, connection.token_version) == "secret"
    assert connection.settings.endpoint == (NODE if act == "reauthorizing" else f"{NODE}9")
    assert connection.settings.name == ("Vault" if "setting up" in act else "Keeper")


@pytest.mark.parametrize("act", ["setting up on a page", "setting up through the API", "editing on a page",
                                 "editing through the API"])  # fmt: skip
def test_blanks_alone_are_no_token(act, monkeypatch):
    here = place()
    monkeypatch.setitem(TYPED, "token", "  ")
    assert PASTED[act](here).status == 400
    assert here.fakes.tokens.enabled == {}


def test_neither_door_turns_on_a_draft_before_its_set_up_is_finished():
    here = place(State.DRAFT)
    review = here.browser().open(f"{HOME}/finish")
    pairs = [(name, value) for name, value in review.forms[0].fields if name == "csrf"]
    page = review.browser.send("post", f"{HOME}/turn-on", pairs)
    assert (page.status, page.address) == (200, f"{HOME}/finish")
    assert here.fakes.store.connections["c1"].state is State.DRAFT
    headers = {"Content-Type": "application/json"}
    answer = here.asking()("POST", f"{ROOT}{HOME}/turn-on", b"{}", headers)
    assert (answer.status, here.fakes.store.connections["c1"].state) == (409, State.DRAFT)
    assert "Finish it" in json.loads(answer.body)["detail"]
    assert here.fakes.queue.runs == []
    for step in ("finish", "turn-on"):
        through_the_api("POST", f"/{step}", {})(here)
    assert here.fakes.store.connections["c1"].state is State.ON


@pytest.mark.parametrize("name", [{"givenName": "Ada", "familyName": "Byron"}, {"fullName": "Ada Byron"}, {}])
def test_both_doors_have_the_same_name_of_a_user(name):
    here = place()
    here.fakes.directory.live["u1"] = DirectoryUser(
        id="u1", primary_email="ada@example.com", presence=Presence.ACTIVE, profile={"name": name}
    )
    found = json.loads(here.open(f"{ROOT}/directory/users?search=ada").text)["items"]
    assert [user["name"] for user in found] == ["Ada Byron" if name else ""]
    assert ("Ada Byron" in here.open(f"{HOME}/users?q=ada").text) is bool(name)


LONG_ADDRESS = f"{'a' * 64}@{'b' * (LONGEST_SEARCH - 70)}.test"


@pytest.mark.parametrize(
    ("address", "typed"), [("ada@example.com", "  ada@ "), (LONG_ADDRESS, LONG_ADDRESS)], ids=["blanks", "long"]
)
def test_both_doors_find_who_is_searched_for(address, typed):
    here = place()
    here.fakes.directory.live["u1"] = DirectoryUser(id="u1", primary_email=address, presence=Presence.ACTIVE)
    here.fakes.directory.groups["g9"] = Group(id="g9", email=address)
    search = urlencode({"q": typed})
    assert f"{HOME}/users/u1" in here.open(f"{HOME}/users?{search}").links()
    assert 'value="add:g9"' in here.open(f"{HOME}/groups?{search}").text
    search = urlencode({"search": typed})
    for kind, found in (("users", "u1"), ("groups", "g9")):
        [item] = json.loads(here.open(f"{ROOT}/directory/{kind}?{search}").text)["items"]
        assert item["id"] == found


def test_every_search_takes_as_many_characters():
    here = place()
    fields = [("/users", "q"), ("/scope", "q"), ("/audit", "user"), ("/audit", "actor")]
    for path, name in fields:
        shown = [found["maxlength"] for tag, found in here.open(f"{HOME}{path}").tags if found.get("name") == name]
        assert shown == [str(LONGEST_SEARCH)], path


def test_every_held_plan_is_reached_through_both_doors():
    here = place()
    members = (Member(resource="u1", action="suspend"),)
    for number in range(120):
        digest = f"{number:032}"
        here.fakes.services.holds.put("c1", Hold(digest=digest, raised_at=START, members=members, reason="too many"))
    wanted = {plan.digest for plan in here.told.plans()}
    assert len(wanted) == 121

    on_pages, shown = list[str](), here.open(f"{HOME}/holds")
    while shown is not None:
        on_pages += [link.rpartition("/")[2] for link in shown.links() if link.startswith(f"{HOME}/holds/")]
        older = [link for link in shown.links() if "?cursor=" in link]
        shown = here.open(older[0]) if older else None
    told, cursor = list[str](), ""
    while cursor or not told:
        answer = json.loads(here.open(f"{ROOT}{HOME}/holds?limit=50&cursor={cursor}").text)
        told += [item["digest"] for item in answer["items"]]
        cursor = answer["cursor"]
    assert sorted(on_pages) == sorted(told) == sorted(wanted)


@pytest.mark.parametrize("standing", [Standing.WAITING, Standing.WITHDRAWN, Standing.APPROVED, Standing.REJECTED])
def test_both_doors_tell_of_a_user_who_it_is_and_what_is_decided_in_a_held_plan(standing):
    here = place()
    here.fakes.directory.live["u1"] = DirectoryUser(
        id="u1",
        primary_email="ada@example.com",
        presence=Presence.SUSPENDED,
        profile={"name": {"fullName": "Ada Byron"}},
        since=START,
    )
    left = Entry(user_id="u1", scim_id="k1", status=Status.ACTIVE, timers={Trigger.SUSPENDED: Timer(since=START)})
    here.fakes.store.shards["c1", 0] = (1, {"u1": left})
    members = (Member(resource="u1", action="suspend", trigger="suspended", since=START),)
    verdicts = (Verdict(standing=standing, at=START, by="boss@example.com"),)
    here.fakes.services.holds.put("c1", Hold(digest="e" * 32, raised_at=START, members=members, verdicts=verdicts))
    told = json.loads(here.open(f"{ROOT}{HOME}/users/u1").text)
    shown = here.open(f"{HOME}/users/u1").text
    assert (told["name"], told["action"], told["held"]) == ("Ada Byron", "suspend", standing.value)
    assert "Ada Byron" in shown
    assert f"suspend: {standing.value} under" in shown


def test_usage_names_the_same_events_everywhere():
    here = place()
    here.told.used = {name: number for number, name in enumerate(EventName, 1)}
    told = json.loads(here.open(f"{ROOT}{HOME}/usage").text)
    totals = {name.value: 30 * here.told.used[name] for name in USAGE}
    assert told["totals"] == totals
    assert told["days"][0]["counts"] == {name.value: here.told.used[name] for name in USAGE}
    usage = here.open(f"{HOME}/usage")
    assert all(name.value in usage.text and f"{30 * here.told.used[name]}</td>" in usage.text for name in USAGE)
    values = [int(found["data-value"]) for _, found in usage.tags if "data-value" in found]
    assert values == 30 * [here.told.used[name] for name in USAGE]
    counters = re.findall(r"<strong>(\d+)</strong>", here.open(HOME).text)
    assert list(map(int, counters)) == list(totals.values())


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/connections/nobody", "There is no such connection: its configuration may have been deleted."),
        ("/connections/nobody/holds", "There is no such connection"),
        (f"{HOME}/holds/unknown", "No held plan has the digest 'unknown'."),
    ],
)
def test_both_doors_tell_in_the_same_words_what_is_not_there(path, words):
    here = place()
    page, answer = here.open(path), here.open(f"{ROOT}{path}")
    detail = json.loads(answer.text)["detail"]
    assert (page.status, answer.status) == (404, 404)
    assert detail.startswith(words)
    assert str(escape(detail)) in page.text


@pytest.mark.parametrize("path", [f"/holds/{DIGEST}", "/unprovisioned"])
def test_lists_that_are_at_hand_are_paged_alike(path):
    here = place()
    rows = tuple(Unprovisioned(scim_id=f"k{number}", user_name="ada", external_id="") for number in range(4))
    here.fakes.services.unprovisioned.put("c1", Report(at=START, digest="", accounts=rows))
    address = f"{ROOT}{HOME}{path}"
    first = json.loads(here.open(f"{address}?limit=3").text)
    last = json.loads(here.open(f"{address}?limit=3&cursor={first['cursor']}").text)
    assert (len(first["items"]), len(last["items"]), last["cursor"]) == (3, 1, "")
    beyond = json.loads(here.open(f"{address}?cursor={'9' * 500}").text)
    assert (beyond["items"], beyond["cursor"]) == ([], "")
    for cursor in ("x", "-1", "²"):
        refused = json.loads(here.open(f"{address}?cursor={cursor}").text)
        assert (refused["status"], refused["field"]) == (400, "cursor")


def test_both_doors_say_of_an_approval_what_follows():
    here, follows = place(), "a reconciliation is requested and carries it out, reading each user again"
    form = here.browser().open(f"{HOME}/holds/{DIGEST}")
    notice = form.send("Decide", "approve")
    described = json.loads(here.open(f"{ROOT}/openapi.json").text)["paths"]
    [summary] = [each["summary"] for path in described.values() for each in path.values()
                 if each["operationId"] == "decideHold"]  # fmt: skip
    assert all(follows in text for text in (form.text, notice.text, summary))
    assert here.fakes.queue.requests


@pytest.mark.parametrize(("days", "words"), [(0, "within 24 hours"), (1, "after 1 day"), (2, "after 2 days")])
def test_a_delay_reads_the_same_on_pages_and_in_the_audit(days, words):
    delays = Delays(suspend_after=days)
    connection = with_settings(full(), deprovisioning=Deprovisioning(suspended=delays))
    assert described(connection)["deprovisioning suspended"] == f"suspend {words}, delete never"
    assert any(line.endswith(f": suspend {words}") for part in summary(connection) for line in part.lines)


@pytest.mark.parametrize("before", [(), ("add",), ("remove:0", "add")])
def test_a_page_keeps_which_rows_of_the_mapping_the_api_made_mandatory(before):
    kept = (*DEFAULT_ROWS, Row(target="title", source="organizations[primary].title", mandatory=True))
    here = place(State.DRAFT, AttributeMapping((Row(target="nickName", source="name.givenName"), *kept)))
    shown = here.browser().open(f"{HOME}/mapping")
    for button in (*before, "save"):
        shown = shown.send("Attribute mapping", button)
        assert shown.status == 200, shown.text
    rows = here.fakes.store.connections["c1"].settings.mapping.rows
    assert rows[-len(kept) :] == kept


def test_a_row_of_another_attribute_is_not_mandatory_for_it():
    kept = Row(target="title", source="organizations[primary].title", mandatory=True)
    here = place(State.DRAFT, AttributeMapping((*DEFAULT_ROWS, kept)))
    targets = [*(row.target for row in DEFAULT_ROWS), "nickName"]
    shown = here.browser().open(f"{HOME}/mapping").send("Attribute mapping", "save", target=targets)
    assert shown.status == 200, shown.text
    assert here.fakes.store.connections["c1"].settings.mapping.rows[-1] == replace(
        kept, target="nickName", mandatory=False
    )


@pytest.mark.parametrize("path", ["/connections", "/me", f"{HOME}/events", "/openapi.json"])
def test_the_former_addresses_of_the_api_answer_the_same_and_say_where_it_is(path):
    ask = place().asking()
    now, former = ask("GET", f"{ROOT}{path}", None, {}), ask("GET", f"/api{path}", None, {})
    assert (former.status, former.body) == (now.status, now.body) == (200, former.body)
    assert former.headers["Deprecation"].startswith("@")
    assert 'rel="successor-version"' in former.headers["Link"]
    assert "Deprecation" not in now.headers


@pytest.mark.parametrize("path", ["/api", "/api/v1", "/api/v2/me", "/api/v1/v1/me", "/apiary/me"])
def test_there_are_no_other_addresses(path):
    assert place().open(path).status == 404


def test_a_problem_has_a_code_and_the_title_of_its_status():
    told = json.loads(place().open(f"{ROOT}/connections/nobody").text)
    assert (told["type"], told["title"], told["status"], told["code"]) == ("about:blank", "Not Found", 404, "not_found")
