"""Who gets in to the console, through the proxy and past it: every refusal, of those who look and those who write."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from google.auth import jwt

from infra.local.connect import CONNECTION
from tests.contract.listener import listening
from tests.contract.test_identity import Keys, claims, encoded
from tests.functional.test_reauthorize import STRANGERS, staff
from tests.support.system import ADMIN, System
from tests.support.wire import Answer

ONE = f"/api/connections/{CONNECTION}"
DELEGATED = "delegated@example.com"
JSON = {"Content-Type": "application/json"}
WRITES = {
    "edit": ("PATCH", ONE, {"name": "Mine"}),
    "set up": ("POST", "/api/connections", {"name": "x", "endpoint": "https://keepersecurity.com/x", "token": "x"}),
    "try": ("POST", f"{ONE}/check", {"token": "x"}),
    "turn off": ("POST", f"{ONE}/turn-off", {}),
    "delete": ("DELETE", ONE, {"confirmation": "Keeper"}),
    "run": ("POST", f"{ONE}/runs", {}),
    "decide": ("POST", f"{ONE}/holds/abc", {"decision": "approve"}),
    "preview": ("POST", f"{ONE}/previews", {}),
    "provision": ("POST", f"{ONE}/users/u1/inquiries", {"kind": "provision"}),
}


def write(system: System, what: str, who: str = "", headers: dict[str, str] | None = None) -> Answer:
    method, path, body = WRITES[what]
    sent = {**JSON, "If-Match": "*", **(headers or {})}
    return system.through_proxy(method, path, json.dumps(body).encode(), sent, who)


def look(system: System, who: str) -> Answer:
    return system.through_proxy("GET", ONE, who=who)


def appoint(system: System, address: str, **rank: bool) -> None:
    """Change somebody's rank in the directory."""
    state = system.directory.control("GET", "state")
    for user in state["users"]:
        if user["primaryEmail"] == address:
            user |= rank
    system.directory.control("PUT", "state", state)


# ---- roles


@pytest.mark.parametrize("who", [*STRANGERS, "nobody@example.com", "someone@elsewhere.test"])
@pytest.mark.parametrize("what", WRITES)
def test_only_super_administrators_write(settled, who, what):
    staff(settled)
    answer = write(settled, what, who)
    assert (answer.status, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("who", [*STRANGERS, "nobody@example.com", "someone@elsewhere.test"])
@pytest.mark.parametrize("path", [ONE, "/api/connections", "/api/openapi.json", "/api/me"])
def test_delegated_administrators_read_and_others_do_not(settled, who, path):
    staff(settled)
    answer = settled.through_proxy("GET", path, who=who)
    assert answer.status == (200 if who == DELEGATED else 403)


@pytest.mark.parametrize("who", [*STRANGERS, "nobody@example.com", "someone@elsewhere.test"])
def test_an_address_that_is_no_page_asks_the_directory_nothing(settled, who):
    staff(settled)
    settled.directory.control("DELETE", "requests")
    for path in ("/api/nowhere", "/nowhere", "/api/connections/a/b/c"):
        assert settled.through_proxy("GET", path, who=who).status == 404
    assert settled.directory.control("GET", "requests")["methods"] == {}


@pytest.mark.parametrize("who", [*STRANGERS, "nobody@example.com", "someone@elsewhere.test"])
def test_delegated_administrators_have_keeper_asked_and_others_do_not(settled, who):
    staff(settled)
    answer = settled.api("POST", f"/connections/{CONNECTION}/users/u1/inquiries", {"kind": "explain"}, who=who)
    assert answer.status == (202 if who == DELEGATED else 403)


def test_delegated_administrators_try_no_rows_of_their_own(settled):
    staff(settled)
    sample, rows = f"/connections/{CONNECTION}/mapping/sample", [{"target": "title", "source": "recoveryPhone"}]
    asked = {"email": "person3@example.com"}
    assert settled.api("POST", sample, asked, who=DELEGATED).status == 200
    assert settled.api("POST", sample, {**asked, "mapping": rows}, who=DELEGATED).status == 403
    assert settled.api("POST", sample, {**asked, "mapping": rows}).status == 200


def test_whoever_lost_the_role_has_nobody_looked_up_from_that_moment(system):
    who = "person7@example.com"  # nobody whom another test saw refused, which is kept for a minute
    system.connect()
    appoint(system, who, isDelegatedAdmin=True)
    assert look(system, who).status == 200
    appoint(system, who, isDelegatedAdmin=False)
    question = f"/connections/{CONNECTION}/users/u1/inquiries"
    assert system.api("POST", question, {"kind": "explain"}, who=who).status == 403


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_another_site_has_nobody_looked_up(settled, headers):
    staff(settled)
    question = f"/connections/{CONNECTION}/users/u1/inquiries"
    assert settled.api("POST", question, {"kind": "explain"}, headers, DELEGATED).status == 403


def test_everybody_is_told_who_they_are(settled):
    staff(settled)
    assert settled.api("GET", "/me").json() == {"email": ADMIN, "role": "super administrator", "may_write": True}
    told = settled.api("GET", "/me", who=DELEGATED).json()
    assert told == {"email": DELEGATED, "role": "delegated administrator", "may_write": False}


def test_a_role_lost_is_refused_at_the_next_write_and_then_for_reading_too(system):
    """Two others have come in: a super administrator who writes afterwards, and one who only looks."""
    system.connect()
    writes, looks = "person2@example.com", "person3@example.com"  # nobody whom another test saw refused
    for who in (writes, looks):
        appoint(system, who, isAdmin=True)
        assert look(system, who).status == 200
    for who in (writes, looks):
        appoint(system, who, isAdmin=False)
    assert look(system, looks).status == 200, "for reading the answer of the directory is good for a minute"
    assert write(system, "turn off", writes).status == 403
    assert system.state() == "on"
    assert look(system, writes).status == 403, "a lost role must not be remembered"


@pytest.mark.parametrize(
    ("who", "change"), [("person4@example.com", {"suspended": True}), ("person5@example.com", {"archived": True})]
)
def test_a_super_administrator_who_is_suspended_or_archived_cannot_write_any_more(system, who, change):
    system.connect()
    appoint(system, who, isAdmin=True)
    assert look(system, who).status == 200
    appoint(system, who, **change)
    assert write(system, "turn off", who).status == 403
    assert system.state() == "on"


def test_whoever_was_refused_may_write_as_soon_as_they_are_appointed_and_then_read(system):
    """For reading the refusal is remembered for a minute: an employee who reloads costs no quota of the directory."""
    system.connect()
    who = "person6@example.com"
    system.directory.control("DELETE", "requests")
    assert {look(system, who).status for _ in range(50)} == {403}
    assert system.directory.control("GET", "requests")["methods"] == {"users.get": 1}
    appoint(system, who, isAdmin=True)
    assert look(system, who).status == 403
    assert write(system, "turn off", who).status == 200
    assert look(system, who).status == 200


def test_the_directory_out_of_reach_lets_nobody_write(settled):
    settled.directory.fault(match={"method": "users.get"}, status=503, times=None)
    assert write(settled, "turn off").status == 503


def test_whoever_waits_for_a_silent_directory_is_told_so_within_seconds(settled):
    settled.directory.fault(match={"method": "users.get"}, hang=True, times=None)
    began = time.monotonic()
    answer = settled.through_proxy("GET", "/", who="somebody-new@example.com")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
    assert time.monotonic() - began < 15


# ---- other sites


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_write_from_another_site_is_refused(settled, what, headers):
    assert write(settled, what, headers=headers).status == 403


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_write_of_a_kind_that_a_form_could_send_is_refused(settled, what, kind):
    answer = write(settled, what, headers={"Content-Type": kind})
    assert (answer.status, answer.json()["code"]) == (415, "unsupported_media_type")


def test_our_own_pages_may_write(system):
    system.connect()
    headers = {"Origin": system.world.console_url, "Sec-Fetch-Site": "same-origin"}
    assert write(system, "turn off", headers=headers).status == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(settled, chunked):
    body: bytes | Iterator[bytes] = b'{"name": "' + b"x" * (256 * 1024) + b'"}'
    size = len(body)
    answer = settled.through_proxy("PATCH", ONE, iter([body]) if chunked else body, {**JSON, "If-Match": "*"})
    assert size > 256 * 1024
    assert (answer.status, answer.json()["code"]) == (413, "too_large")


# ---- past the proxy


@pytest.fixture(scope="module")
def trusting(whole_system: System) -> Iterator[tuple[Keys, int]]:
    """A console that trusts keys of ours, as another one trusts the proxy's: asked at its own address."""
    keys = Keys()
    with listening() as published:
        published.answer = lambda _: keys.published()
        port = whole_system.second("console", IAP_CERTS_URL=published.url)
        yield keys, port
        whole_system.end(f"console-{port}")


def forged(keys: Keys, how: str) -> str:
    """Return an assertion that must not be believed."""
    now = int(time.time())
    changes: dict[str, dict[str, Any]] = {
        "wrong audience": {"aud": "/projects/1/locations/local/services/other"},
        "wrong issuer": {"iss": "https://accounts.google.com"},
        "expired": {"iat": now - 1200, "exp": now - 600},
        "not yet": {"iat": now + 600, "exp": now + 1200},
    }
    if how in changes:
        return keys.signed(**changes[how])
    head = {"typ": "JWT", "kid": keys.key_id}
    if how in ("none", "unsigned"):
        algorithm = "none" if how == "none" else "ES256"
        return f"{encoded({**head, 'alg': algorithm})}.{encoded(claims())}."
    if how == "public key as a secret":
        signed = f"{encoded({**head, 'alg': 'HS256'})}.{encoded(claims())}"
        return f"{signed}.{encoded(hmac.new(keys.public, signed.encode(), hashlib.sha256).digest())}"
    if how == "another key":
        return str(jwt.encode(Keys(keys.key_id).signer, claims()).decode())
    if how == "tampered":
        first, _, signature = keys.signed(email="person1@example.com").split(".")
        return f"{first}.{encoded(claims(email=ADMIN))}.{signature}"
    return {"nonsense": "e30.e30.e30", "nothing": "", "basic": base64.b64encode(b"admin:admin").decode()}[how]


FORGERIES = (
    "wrong audience, wrong issuer, expired, not yet, none, unsigned, public key as a secret, another key, tampered, "
    "nonsense, nothing, basic"
).split(", ")


@pytest.mark.parametrize("how", FORGERIES)
@pytest.mark.parametrize("what", ["look", "write", "nowhere", "wrong method"])
def test_an_assertion_that_does_not_hold_gets_nobody_in(settled, trusting, how, what):
    keys, port = trusting
    method, path = {
        "look": ("GET", "/api/connections"),
        "write": ("POST", f"{ONE}/turn-off"),
        "nowhere": ("GET", "/api/nowhere"),
        "wrong method": ("PUT", "/api/me"),
    }[what]

    def asked(assertion: str) -> int:
        headers = {**JSON, "X-Goog-IAP-JWT-Assertion": assertion}
        return settled.ask("console", method, b"{}" if method != "GET" else None, headers, path=path, port=port).status

    assert asked(forged(keys, how)) == 403
    if what != "write":  # the same request, with what holds
        assert asked(keys.signed()) == {"look": 200, "nowhere": 404, "wrong method": 405}[what]
