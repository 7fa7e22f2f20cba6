"""The door for a new access token: who gets in, what changes, and what stays as it is when anything is wrong."""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.support.plain_browser import Browser, Form, Page
from tests.support.settings import with_settings
from tests.support.system import ADMIN, System, person
from tests.support.wire import Answer

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Strict-Transport-Security": "max-age=31536000",
}
STRANGERS = {
    "delegated@example.com": {"isDelegatedAdmin": True},
    "ordinary@example.com": {},
    "suspended@example.com": {"isAdmin": True, "suspended": True},
    "archived@example.com": {"isAdmin": True, "archived": True},
}


def staff(system: System) -> None:
    """Add people of every rank to the directory."""
    state = system.directory.control("GET", "state")
    for number, (address, rank) in enumerate(STRANGERS.items(), 50):
        if all(user["primaryEmail"] != address for user in state["users"]):
            state["users"].append(person(number, primaryEmail=address, **rank))
    system.directory.control("PUT", "state", state)


@pytest.fixture
def working(system):
    """A connection that works, to be changed."""
    system.restored()
    return system


def enter(system: System, token: str, who: str = "", connection: str = CONNECTION, **headers: str) -> Answer:
    """Enter a token through the JSON API."""
    body = json.dumps({"connection": connection, "token": token}).encode()
    return system.through_proxy("POST", "/", body, {**JSON, **headers}, who, function="reauthorize")


def form(system: System, who: str = "") -> Answer:
    return system.through_proxy("GET", "/", who=who, function="reauthorize")


def submit(system: System, who: str = "", headers: dict[str, str] | None = None, **fields: str) -> Answer:
    """Fill in the form, send it, and go on to where it leads, as a browser does."""
    shown = form(system, who)
    csrf = re.search(r'name="csrf" value="(\w*)"', shown.text)
    filled = {"csrf": csrf[1] if csrf else "", "connection": CONNECTION, "token": system.keeper.token} | fields
    sent = {**FORM, "Origin": system.world.reauthorize_url, **(headers or {})}
    answer = system.through_proxy("POST", "/", urlencode(filled).encode(), sent, who, function="reauthorize")
    if answer.status != 303:
        return answer
    kept = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
    return system.through_proxy("GET", answer.headers["Location"], None, kept, who, function="reauthorize")


@pytest.mark.parametrize("path", ["/%09/evil.example/", "/%0a/evil.example", "//evil.example/", "/%5Cevil.example/"])
def test_whatever_link_opened_the_form_the_browser_stays_here_when_it_was_taken(working, path):
    csrf = re.search(r'name="csrf" value="(\w*)"', form(working).text)
    assert csrf
    sent = urlencode({"csrf": csrf[1], "connection": CONNECTION, "token": working.keeper.token}).encode()
    headers = {**FORM, "Origin": working.world.reauthorize_url}
    answer = working.through_proxy("POST", path, sent, headers, function="reauthorize")
    assert answer.status == 303
    assert re.match(r"/[^/\\\t\n]", answer.headers["Location"])


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_a_link_from_the_console_opens_the_form_and_no_other_site_sends_it(settled, site):
    asked = {"Sec-Fetch-Site": site}
    shown = settled.through_proxy("GET", f"/?connection={CONNECTION}", headers=asked, function="reauthorize")
    assert shown.status == 200
    refused = submit(settled, headers={"Sec-Fetch-Site": "cross-site" if site == "none" else site})
    assert (refused.status, "comes from another site" in refused.text) == (403, True)


def page_of(answer: Answer) -> Page:
    return Browser(lambda *_: answer).open("/")


def form_of(answer: Answer) -> Form:
    return page_of(answer).form("Reauthorize")


def connection_of(system: System):
    return system.services().connections.get(CONNECTION)


def version_state(system: System, version: str) -> str:
    """Return the state of a token version in Secret Manager."""
    from autoprovisioning.adapters.secrets import build_client

    client = build_client(system.world.cloud.environment["SECRET_MANAGER_EMULATOR_HOST"])
    name = f"projects/{system.world.cloud.project}/secrets/keeper-token-{CONNECTION}/versions/{version}"
    return client.get_secret_version(name=name).state.name


def paused(system: System, waiting: tuple[str, ...] = ("u1", "u2")) -> str:
    """Revoke the token and let some changes meet the refusal; returns the new token."""
    system.keeper.rotate()
    for user_id in waiting:
        system.directory.patch(user_id, {"name": {"familyName": "Patience"}})
    wait_for(lambda: system.state() == "paused", "the pause")
    wait_for(lambda: all(system.entry(user_id).pending for user_id in waiting), "the waiting users")
    return system.keeper.token


@pytest.mark.parametrize("through", ["form", "JSON"])
def test_the_right_token_resumes_and_tells_how_many_wait(working, through):
    paused(working)
    before = connection_of(working)
    if through == "form":
        answer = submit(working)
        assert answer.status == 200
        assert "2 users were waiting." in answer.text
    else:
        answer = enter(working, f"  {working.keeper.token}\n")
        assert (answer.status, answer.json()) == (200, {"connection": CONNECTION, "accepted": True, "waiting": 2})
    for user_id in ("u1", "u2"):
        working.await_account(user_id, lambda account: account["name"]["familyName"] == "Patience")
    after = connection_of(working)
    assert (after.state.value, after.paused_reason) == ("on", "")
    assert int(after.token_version) > int(before.token_version)
    assert version_state(working, before.token_version) == "DISABLED"
    assert version_state(working, after.token_version) == "ENABLED"
    [event] = [event for event in working.events() if event["name"] == "Reauthorize Auto Provisioning"]
    assert (event["actor"], event["reason"]) == (ADMIN, "2 users were waiting")
    assert working.keeper.token not in answer.text


def test_the_version_before_is_destroyed_a_day_later_and_not_earlier(working):
    old = connection_of(working).token_version
    assert enter(working, working.keeper.token).status == 200
    working.sync()
    assert version_state(working, old) == "DISABLED"

    def yesterday(connection):
        from dataclasses import replace

        aged = tuple(replace(item, at=datetime.now(UTC) - timedelta(days=1)) for item in connection.retired_tokens)
        return replace(connection, retired_tokens=aged)

    working.services().connections.change(CONNECTION, yesterday)
    working.sync()
    assert version_state(working, old) == "DESTROYED"
    assert connection_of(working).retired_tokens == ()


@pytest.mark.parametrize("who", [*STRANGERS, "nobody@example.com", "someone@elsewhere.test"])
@pytest.mark.parametrize("through", ["form", "JSON", "look"])
def test_only_super_administrators_get_in(settled, who, through):
    staff(settled)
    if through == "form":
        answer = submit(settled, who)
    elif through == "JSON":
        answer = enter(settled, settled.keeper.token, who)
    else:
        answer = form(settled, who)
        assert "csrf" not in answer.text
    assert answer.status == 403


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"X-Goog-IAP-JWT-Assertion": "e30.e30.e30"},
        {"X-Goog-Authenticated-User-Email": f"accounts.google.com:{ADMIN}"},
    ],
)
@pytest.mark.parametrize("function", ["reauthorize", "console"])
def test_a_request_that_the_proxy_did_not_sign_is_refused(settled, function, header):
    path = "/api/connections" if function == "console" else "/"
    answer = settled.ask(function, "GET", headers=header, path=path)
    assert answer.status == 403
    body = json.dumps({"connection": CONNECTION, "token": settled.keeper.token}).encode()
    assert settled.ask("reauthorize", body=body, headers={**JSON, **header}).status == 403
    for kind in (JSON, FORM):  # not even which methods there are
        assert settled.ask("reauthorize", "PUT", body, {**kind, **header}).status == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
@pytest.mark.parametrize("through", ["form", "JSON", "hold"])
def test_a_post_from_another_site_is_refused(settled, through, origin):
    headers = {"Origin": origin}
    if through == "form":
        answer = submit(settled, headers=headers)
    elif through == "JSON":
        answer = enter(settled, settled.keeper.token, **headers)
    else:
        path = f"/api/connections/{CONNECTION}/holds/abc"
        answer = settled.through_proxy("POST", path, b'{"decision": "approve"}', {**JSON, **headers})
    assert answer.status == 403


def test_our_own_origin_is_welcome(working):
    assert enter(working, working.keeper.token, Origin=working.world.reauthorize_url).status == 200


@pytest.mark.parametrize("csrf", ["", "0" * 64, "é", "of somebody else", "stale"])
def test_a_form_without_its_own_secret_is_refused(settled, csrf):
    from autoprovisioning.app.administration.csrf import form_token

    key, now = settled.world.cloud.environment["FORM_KEY"].encode(), datetime.now(UTC)
    if csrf == "of somebody else":
        csrf = form_token(key, "other@example.com", now)
    elif csrf == "stale":
        csrf = form_token(key, ADMIN, now - timedelta(hours=2))
    answer = submit(settled, csrf=csrf)
    assert answer.status == 403
    assert "out of date" in answer.text
    assert form_of(answer).label == "Reauthorize"  # to be filled in again


@pytest.mark.parametrize("token", ["wrong-0123", "", "bad blanks", "x" * 5000, "pässword"])
@pytest.mark.parametrize("through", ["form", "JSON"])
def test_a_wrong_token_is_refused_and_changes_nothing(settled, through, token):
    answer = submit(settled, token=token) if through == "form" else enter(settled, token)
    assert answer.status == 400
    if token:
        assert token not in answer.text
    if through == "JSON":
        assert answer.json()["field"] == "token"
        assert answer.json()["mend"]
    else:
        assert "Nothing was changed" in answer.text


def test_a_wrong_token_leaves_a_paused_connection_paused(working):
    paused(working)
    before = connection_of(working)
    assert enter(working, "wrong-again").status == 400
    assert connection_of(working) == before


@pytest.mark.parametrize("kind", [FORM, JSON])
def test_an_oversized_body_is_refused(settled, kind):
    assert settled.through_proxy("POST", "/", b"token=" + b"x" * 20_000, kind, function="reauthorize").status == 413


@pytest.mark.parametrize("connection", ["nowhere", "a/b", "../keeper", "x" * 300])
def test_an_unknown_connection_is_404(settled, connection):
    assert enter(settled, settled.keeper.token, connection=connection).status == 404
    for answer in (
        submit(settled, connection=connection),
        settled.through_proxy("GET", f"/?{urlencode({'connection': connection})}", function="reauthorize"),
    ):
        assert answer.status == 404
        assert "There is no such connection" in answer.text
        assert connection not in answer.text
        [offered] = [choices for name, choices in form_of(answer).offered.items() if name == "connection"]
        assert offered == ["", CONNECTION]
        assert dict(form_of(answer).fields)["connection"] == ""  # never the first one instead


def test_what_was_wrong_is_said_in_the_form_which_keeps_what_was_chosen(settled):
    answer = submit(settled, token="wrong-0123", override="yes")
    page = page_of(answer)
    assert dict(page.form("Reauthorize").fields)["connection"] == CONNECTION
    invalid = [found["name"] for tag, found in page.tags if tag == "input" and "aria-invalid" in found]
    assert (invalid, "#f-token" in page.links()) == (["token"], True)
    assert f"{settled.world.console_url}/connections/{CONNECTION}" in page.links()
    assert "wrong-0123" not in answer.text


def test_the_outcome_is_told_once_and_a_reload_sends_nothing_again(working):
    sent = Browser(
        lambda method, path, body, headers: working.through_proxy(method, path, body, headers, function="reauthorize"),
        working.world.reauthorize_url,
    )
    done = sent.open(f"/?connection={CONNECTION}").send("Reauthorize", token=working.keeper.token)
    assert "Keeper accepts the access token: it is in use for Keeper." in done.text
    assert done.address == f"/?connection={CONNECTION}"
    version = connection_of(working).token_version
    again = sent.open(done.address)
    assert "Keeper accepts" not in again.text
    assert again.form("Reauthorize")
    assert connection_of(working).token_version == version


def test_keeper_out_of_reach_is_503_and_changes_nothing(settled):
    settled.keeper.fault(match={"method": "GET"}, times=None, drop_before=True)
    answer = enter(settled, settled.keeper.token)
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_a_reauthorization_during_a_run_is_followed_by_another(working):
    """The run under way read the old token: what waits must not wait for the schedule."""
    working.directory.fault(match={"method": "users.list"}, delay=1.5)
    run = threading.Thread(target=working.world.reconcile)
    run.start()
    wait_for(lambda: working.services().runs.open(CONNECTION), "the run")
    entered = datetime.now(UTC)
    assert enter(working, working.keeper.token).status == 200
    run.join()

    def followed() -> bool:
        from google.cloud import firestore

        client = firestore.Client(project=working.world.cloud.project)
        runs = client.collection(f"connections/{CONNECTION}/runs").stream()
        return any(item.get("started") > entered and item.get("state") == "done" for item in runs)

    wait_for(followed, "another run")


@pytest.mark.parametrize("page", ["form", "refusal", "failure", "success", "wrong method"])
def test_every_page_carries_the_security_headers_and_no_script(working, page):
    answer = {
        "form": lambda: form(working),
        "refusal": lambda: form(working, "person1@example.com"),
        "failure": lambda: submit(working, token="wrong"),
        "success": lambda: submit(working),
        "wrong method": lambda: working.through_proxy("PUT", "/", function="reauthorize"),
    }[page]()
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy
    assert "<script" not in answer.text
    assert " style=" not in answer.text
    assert working.keeper.token not in answer.text


def test_the_policy_names_the_style_sheet_by_its_hash(settled):
    import base64
    import hashlib

    answer = form(settled)
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer.headers["Content-Security-Policy"]


def test_the_form_lists_connections_and_escapes_their_names(working):

    working.services().connections.change(CONNECTION, lambda current: with_settings(current, name="<b>Keeper & Co</b>"))
    answer = working.through_proxy("GET", f"/?connection={CONNECTION}&token=in-the-address", function="reauthorize")
    assert '<option value="keeper" selected>&lt;b&gt;Keeper &amp; Co&lt;/b&gt; (on)</option>' in answer.text
    assert "in-the-address" not in answer.text
    assert working.through_proxy("HEAD", "/", function="reauthorize").status == 200
