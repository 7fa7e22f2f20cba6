"""The administrators' functions on their real server: whom they ask about, and how much they read."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from autoprovisioning.app.administration.csrf import form_token
from tests.contract.admin_doors import ADMIN, ASSERTION, Door, open_door, user
from tests.support.wire import ask

DELEGATED, EMPLOYEE = "delegated@example.com", "employee@example.com"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Door]]:
    folder = tmp_path_factory.mktemp("doors")
    with open_door("console", folder / "console") as console, open_door("reauthorize", folder / "form") as form:
        yield {"console": console, "reauthorize": form}


@pytest.fixture
def console(doors: dict[str, Door]) -> Door:
    return _anew(doors["console"])


@pytest.fixture(params=["console", "reauthorize"])
def door(doors: dict[str, Door], request: pytest.FixtureRequest) -> Door:
    return _anew(doors[request.param])


def _anew(door: Door) -> Door:
    door.users = {
        ADMIN: user("u0", ADMIN, isAdmin=True),
        DELEGATED: user("u1", DELEGATED, isDelegatedAdmin=True),
        **{f"employee{number}@example.com": user(f"e{number}", f"employee{number}@example.com") for number in range(9)},
    }
    door.asked()
    return door


# ---- whom the directory is asked for


def test_a_refused_employee_who_reads_on_and_on_is_one_question_a_minute(door: Door) -> None:
    who = "employee1@example.com"
    for _ in range(50):
        assert door.ask(path="/" if door.function == "reauthorize" else "/api/connections", who=who).status == 403
    assert door.asked() == [who]


def test_whoever_is_nobody_in_the_directory_is_one_question_too(door: Door) -> None:
    assert {door.ask(who="nobody@example.com").status for _ in range(20)} == {403}
    assert len(door.asked()) == 1


def test_a_refused_person_who_became_an_administrator_may_write_at_once_and_then_read(console: Door) -> None:
    who = "employee2@example.com"
    assert console.ask(path="/api/me", who=who).status == 403
    console.users[who] |= {"isAdmin": True}
    assert console.ask(path="/api/me", who=who).status == 403, "for a minute"
    assert console.ask("POST", "/api/connections", b"{}", JSON, who).status == 400, "let in, by asking anew"
    assert console.ask(path="/api/me", who=who).status == 200


@pytest.mark.parametrize("who", [ADMIN, "employee3@example.com", "nobody@example.com"])
@pytest.mark.parametrize("path", ["/api/nowhere", "/wp-login.php", "/connections", "/api/connections/a%2Fb/holds"])
def test_an_unknown_address_is_not_found_and_the_directory_is_not_asked(console: Door, who: str, path: str) -> None:
    answers = [console.ask(method, path, None, {}, who) for method in ("GET", "POST")]
    assert {answer.status for answer in answers} == {404}
    assert console.asked() == []
    assert who not in answers[0].text


def test_without_an_assertion_an_unknown_address_tells_nothing(console: Door) -> None:
    assert ask("GET", f"{console.address}/api/nowhere").status == 403


# ---- who somebody is


@pytest.mark.parametrize("subject", ["accounts.google.com:u9", "accounts.google.com:", "u0", "sts.google.com:u0"])
def test_an_address_that_is_another_persons_by_now_lets_nobody_in(door: Door, subject: str) -> None:
    answer = door.ask(sub=subject)
    assert answer.status == 403
    assert "isAdmin" not in answer.text


def test_the_subject_is_compared_where_the_proxy_sends_it(console: Door) -> None:
    assert console.ask(path="/api/me").status == 200
    assert console.ask(path="/api/me", sub=None).status == 200


# ---- what is sent to them


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "//[", "http://a]b", "null", "http://evil.example", "é"])
def test_an_origin_that_is_not_ours_is_refused_however_it_is_spelt(door: Door, origin: str) -> None:
    for kind, body in ((JSON, b"{}"), (FORM, b"csrf=x")):
        path = "/connections/new" if kind is FORM else "/api/connections"
        assert door.ask("POST", path, body, {**kind, "Origin": origin}).status == 403, path


@pytest.mark.parametrize(
    "assertion",
    [
        base64.urlsafe_b64encode(b"[" * 4000).decode() + ".e30.e30",
        "e30." + base64.urlsafe_b64encode(b'{"a":' * 900).decode() + ".e30",
        "é" * 100,
        "." * 5000,
    ],
)
def test_an_assertion_that_no_proxy_sends_is_refused(door: Door, assertion: str) -> None:
    assert ask("GET", door.address, None, {ASSERTION: assertion}).status == 403


def pieces(size: int, head: bytes = b"") -> Iterator[bytes]:
    """Yield a body in chunks, without a length."""
    yield head
    for _ in range(size // 8192 + 1):
        yield b"x" * 8192


def test_a_form_that_does_not_say_its_length_passes_no_limit(door: Door) -> None:
    token = form_token(b"a key for forms", ADMIN, datetime.now(UTC))
    path, largest = ("/", 16 * 1024) if door.function == "reauthorize" else ("/connections/new", 256 * 1024)
    head = urlencode({"csrf": token, "name": ""}).encode()
    for kind in (FORM, {"Content-Type": "multipart/form-data; boundary=x"}):
        assert door.ask("POST", path, pieces(largest, head), kind).status == 413


def test_a_body_of_the_api_that_does_not_say_its_length_passes_no_limit(door: Door) -> None:
    path, largest = ("/", 16 * 1024) if door.function == "reauthorize" else ("/api/connections", 256 * 1024)
    assert door.ask("POST", path, pieces(largest, b'{"name": "'), JSON).status == 413


CHUNKS = [
    b"zz\r\n",
    b"5\r\n",
    b"5\r\nabcdefg",
    b"-1\r\n",
    b"5;a b\r\nabcde\r\n0\r\n\r\n",
    b"3\r\nabc\r\n0\r\nbad\n\r\n\r\n",
    b"g" * 9000,
]


@pytest.mark.parametrize("body", CHUNKS)
def test_chunks_that_are_none_are_refused_as_that(door: Door, body: bytes) -> None:
    lines = {"Host": "h", ASSERTION: door.signed(), **JSON, "Transfer-Encoding": "chunked"}
    path = "/" if door.function == "reauthorize" else "/api/connections"
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    with socket.create_connection(("127.0.0.1", int(door.address.rpartition(":")[2])), 20) as raw:
        raw.sendall(head.encode() + body)
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_what_a_refused_caller_sends_is_not_read(door: Door) -> None:
    """functions-framework itself would read what the function left."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 200 * MIB:
            sent += MIB
            yield b"x" * MIB

    with contextlib.suppress(OSError):  # the server hangs up on what it does not want
        assert door.ask("POST", "/", endless(), JSON, "employee4@example.com").status == 403
    assert sent < 100 * MIB


@pytest.mark.parametrize("body", [b"[" * 16_000, b'{"connection": ' + b"[" * 16_000, b"\xff", b'{"a": ' + b"9" * 6000])
def test_a_body_that_is_hardly_json_is_refused_as_that(door: Door, body: bytes) -> None:
    path = "/" if door.function == "reauthorize" else "/api/connections"
    answer = door.ask("POST", path, body, JSON)
    assert (answer.status, answer.json()["code"]) == (400, "bad_input")


@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": '"'},
        {"If-Match": 'W/"é", "'},
        {"If-None-Match": "*, ,,"},
        {"Cookie": 'a=b; =; é="\\'},
        {"Content-Type": 'application/json; charset="; é'},
        {"Content-Type": "multipart/form-data"},
        {"Sec-Fetch-Site": "same-origin, cross-site"},
        {"Host": "[", "Origin": "http://["},
        {"Host": "a b"},
        {"Content-Length": "+5"},
        {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"},
        {"Accept-Language": "*" * 5000},
        {"Range": "bytes=é-"},
    ],
)  # fmt: skip
def test_no_header_is_an_error_of_ours(door: Door, headers: dict[str, str]) -> None:
    for method, path in (
        ("GET", "/api/me"),
        ("GET", "/nowhere"),
        ("POST", "/connections/new"),
        ("PATCH", "/api/connections/c1"),
    ):
        status = door.ask(method, path, None, headers).status
        assert status < 500 or status == 503, (method, path)


def test_many_at_once_who_are_refused_do_not_stand_in_the_way(console: Door) -> None:
    statuses: list[int] = []

    def knock(number: int) -> None:
        statuses.extend(console.ask(path="/", who=f"employee{number}@example.com").status for _ in range(5))

    knocking = [threading.Thread(target=knock, args=(5 + number % 4,)) for number in range(8)]
    for each in knocking:
        each.start()
    began = time.monotonic()
    assert console.ask(path="/api/me").status == 200
    assert time.monotonic() - began < 5
    for each in knocking:
        each.join()
    assert set(statuses) == {403}
