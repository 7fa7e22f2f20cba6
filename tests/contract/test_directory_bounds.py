"""Answers of the directory that are too large, too deep, too long or without an end: that request's failure."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import secrets
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from autoprovisioning.adapters.directory import GoogleDirectory, api
from autoprovisioning.adapters.directory.answers import LARGEST_BODY
from autoprovisioning.adapters.directory.transport import LONGEST_WAIT
from autoprovisioning.domain.errors import Incomplete, ProvisioningError, Transient
from infra.local.simulation import DirectorySide
from tests.contract.directory_reader import FIELDS, answering, ids, reading
from tests.contract.listener import Listener, Request, Response
from tests.contract.scim_servers import Counts
from tests.contract.shown import every_word

MIB = 1024 * 1024
LATIN = '{"error": {"message": "Zugriff verweigert für diesen Benutzer"}}'.encode("latin-1")
UNDECODABLE = [
    b'{"id": "\xe9"}',
    b"[" * 200_000,
    b'{"a":' * 990 + b"1" + b"}" * 990,
    b'{"id": ' + b"9" * 5000 + b"}",
    b'{"id": "\\ud800"}',
    b"\x00\xff\xfe",
    b"<html>sign in</html>",
]


def body(content: bytes) -> dict[str, str]:
    return {"body_base64": base64.b64encode(content).decode()}


@pytest.mark.parametrize("content", UNDECODABLE)
def test_a_success_that_cannot_be_decoded_is_that_requests_failure(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any], content: bytes
) -> None:
    user_id = customer["users"][4]["id"]
    workspace.fault(match={"method": "users.get"}, times=None, **body(content))
    with pytest.raises(Transient):
        directory.user(user_id)
    workspace.control("DELETE", "faults")
    workspace.fault(match={"method": "users.get"}, times=1, **body(content))
    assert directory.user(user_id) is not None


@pytest.mark.parametrize("content", [*UNDECODABLE, LATIN, b"[]", b'{"error": "x"}', b'{"error": {"errors": {"0": 1}}}',
                                     b'{"error": {"errors": []}}', b'{"error": {"errors": [null], "message": 5}}',
                                     b'{"error": {"errors": [{"reason": {}}], "message": null}}'])  # fmt: skip
@pytest.mark.parametrize("status", [404, 403, 503])
def test_a_refusal_that_cannot_be_decoded_means_what_its_status_means(
    workspace: DirectorySide, directory: GoogleDirectory, content: bytes, status: int
) -> None:
    workspace.fault(match={"method": "users.get"}, status=status, times=None, **body(content))
    if status == 503:
        with pytest.raises(Transient, match="HTTP 503"):
            directory.user("1")
    else:
        assert (directory.user("1") is None) == (status == 404)


def peak(ask: Any) -> int:
    """Return the most memory that asking took, in bytes."""
    tracemalloc.start()
    try:
        with pytest.raises(ProvisioningError):
            ask()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("effect", [{"bomb_mib": 64}, {"endless": True}])
def test_a_body_is_read_to_a_limit_compressed_or_not(workspace: DirectorySide, effect: dict[str, Any]) -> None:
    workspace.fault(times=None, **effect)
    directory = reading(workspace.url, seconds=20)
    assert peak(lambda: directory.user("1")) < 4 * LARGEST_BODY
    with pytest.raises(Incomplete, match="more than 16 MiB"):
        list(directory.users(FIELDS))


def test_many_large_bodies_at_once_take_no_more_memory_than_two(workspace: DirectorySide) -> None:
    workspace.fault(times=None, endless=True)
    directory = reading(workspace.url, seconds=20)

    def look(number: int) -> None:
        with pytest.raises(Transient, match="more than 16 MiB"):
            directory.user(str(number))

    def eight_at_once() -> None:
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(look, range(8)))
        raise Transient("Each of them failed")

    assert peak(eight_at_once) < 6 * LARGEST_BODY


@pytest.mark.parametrize("value", [b"{}", b"0", b"[]"])
def test_a_body_of_nothing_but_small_values_takes_no_more_memory_than_others(
    workspace: DirectorySide, value: bytes
) -> None:
    many = b",".join([value] * (15 * MIB // (len(value) + 1)))
    workspace.fault(times=None, **body(b'{"users":[' + many + b"]}"))
    directory = reading(workspace.url, seconds=20)
    assert peak(lambda: list(directory.users(FIELDS))) < 4 * LARGEST_BODY


def test_a_large_page_is_read(listener: Listener) -> None:
    notes = "x" * 20_000
    page = {"users": [{"id": str(number), "notes": notes} for number in range(500)]}
    assert len(ids(answering(listener, page).users(FIELDS))) == 500


def test_a_body_that_drips_ends_in_time(workspace: DirectorySide) -> None:
    workspace.fault(times=None, endless=0.05)
    started = time.monotonic()
    with pytest.raises(Transient, match="did not end in time"):
        reading(workspace.url, seconds=0.3).user("1")
    assert time.monotonic() - started < 10


def test_more_after_a_compressed_answer_is_no_answer(listener: Listener) -> None:
    packed = gzip.compress(b'{"id": "1"}')
    for content in (packed + b"\x00" * MIB, packed[:-4], b"", b'{"id": "1"}'):
        listener.answer = lambda _, content=content: Response(200, content, {"Content-Encoding": "gzip"})  # type: ignore[misc]
        if not content:
            user = reading(listener.url).user("1")
            assert user is not None
            assert user.profile == {}
            continue
        with pytest.raises(Transient):
            reading(listener.url).user("1")


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip"])
def test_an_encoding_that_was_not_asked_for_is_not_unpacked(listener: Listener, encoding: str) -> None:
    listener.answer = lambda _: Response(200, b'{"id": "1"}', {"Content-Encoding": encoding})
    with pytest.raises(Transient, match="encoding"):
        reading(listener.url).user("1")


def test_connections_are_kept_for_the_next_request(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    connect = http.client.HTTPConnection.connect
    monkeypatch.setattr("urllib3.connection.HTTPConnection.connect", lambda self: (opened.append(1), connect(self))[1])
    directory = answering(listener, {"id": "1"})
    for _ in range(5):
        directory.user("1")
    assert len(opened) <= 1


WAITS = [
    ("3601", LONGEST_WAIT),
    ("1000000", LONGEST_WAIT),
    ("9" * 400, LONGEST_WAIT),
    ("1" + "0" * 5000, LONGEST_WAIT),
    ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
    ("120.5", 120.5),
]


@pytest.mark.parametrize(("text", "seconds"), WAITS)
def test_a_wait_is_capped_at_an_hour(
    workspace: DirectorySide, directory: GoogleDirectory, text: str, seconds: float
) -> None:
    workspace.fault(status=503, retry_after=text, times=None)
    with pytest.raises(Transient) as raised:
        directory.user("1")
    assert raised.value.retry_after == seconds


@pytest.mark.parametrize("ahead", [300, 30_000])
def test_a_wait_above_a_thousand_million_is_a_time(
    workspace: DirectorySide, directory: GoogleDirectory, ahead: int
) -> None:
    workspace.fault(status=503, retry_after=int(datetime.now(UTC).timestamp()) + ahead, times=None)
    with pytest.raises(Transient) as raised:
        directory.user("1")
    assert raised.value.retry_after == pytest.approx(min(ahead, LONGEST_WAIT), abs=10)


@pytest.mark.parametrize("text", ["-5", "soon", "²", "1e400", "nan", "Mon, 99 Foo 2026", "1.2.3", "", "1500000000"])
def test_a_wait_that_makes_no_sense_is_none_or_over(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any], text: str
) -> None:
    workspace.fault(status=503, retry_after=text, times=1)
    assert directory.user(customer["users"][4]["id"]) is not None


def endless(listener: Listener, pause: float = 0.0) -> GoogleDirectory:
    """Read a directory whose listings have always another page."""

    def answer(_: Request) -> Response:
        time.sleep(pause)
        number = len(listener.requests)
        page = {"users": [{"id": f"u{number}"}], "members": [{"id": f"u{number}"}], "nextPageToken": f"t{number}"}
        return Response(200, json.dumps(page).encode())

    listener.answer = answer
    return reading(listener.url)


def listings(directory: GoogleDirectory) -> Iterator[Any]:
    yield directory.users(FIELDS)
    yield directory.deleted_users()
    yield directory.members("g1")


def test_a_listing_without_an_end_ends(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "PAGES_AT_MOST", 7)
    for listing in listings(endless(listener)):
        with pytest.raises(Incomplete, match="after 7 pages"):
            list(listing)


def test_a_listing_that_takes_too_long_ends(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LISTING_USERS", "LISTING_DELETED", "LISTING_MEMBERS", "LOOKING_FOR_ONE"):
        monkeypatch.setattr(api, name, 0.2)
    directory = endless(listener, 0.05)
    for listing in listings(directory):
        with pytest.raises(Incomplete, match="did not end within"):
            list(listing)
    listener.requests.clear()
    with pytest.raises(Incomplete):
        directory.is_member("g1", "nobody")


@pytest.mark.parametrize("token", ["t" * 5000, 7, ["t"], {}, None])
def test_a_page_token_that_is_none_breaks_a_listing_off(listener: Listener, token: Any) -> None:
    page = {"users": [{"id": "u1"}], "nextPageToken": token}
    with pytest.raises(Incomplete, match="page token"):
        list(answering(listener, page, {"users": []}).users(FIELDS))
    assert len(listener.requests) == 1


def test_a_page_of_more_than_was_asked_for_is_no_page(listener: Listener) -> None:
    with pytest.raises(Incomplete):
        list(answering(listener, {"users": [{"id": f"u{number}"} for number in range(501)]}).users(FIELDS))


def escaped(token: str) -> str:
    """Return the token as JSON may spell it as well."""
    return "".join(f"\\u{ord(char):04x}" for char in token)


@pytest.mark.parametrize("spell", [str, escaped, lambda token: token[:10] + escaped(token[10:])])
@pytest.mark.parametrize("status", [400, 403, 503, 200])
def test_a_token_that_is_echoed_is_blotted_however_it_is_spelt(listener: Listener, status: int, spell: Any) -> None:
    token = secrets.token_urlsafe()
    told = spell(token)
    answer = (
        f'{{"id": "1", "primaryEmail": "{told}", "{told}": ["{told}"],'
        f'"error": {{"message": "Bearer {told}", "errors": [{{"reason": "{told}"}}]}}}}'
    )
    listener.answer = lambda _: Response(status, answer.encode())
    directory = reading(listener.url, Counts(), token=token)
    if status == 200:
        assert token not in repr(directory.user("1"))
        assert token not in repr(directory.by_address(token))
        return
    with pytest.raises(ProvisioningError) as raised:
        directory.user("1")
    assert token not in every_word(raised.value)
    assert token[:20] not in str(raised.value)
    assert "[token]" in str(raised.value)


def test_of_googles_own_text_only_the_beginning_is_passed_on(listener: Listener) -> None:
    answer = {"error": {"message": "m" * 5000, "errors": [{"reason": "r" * 5000}]}}
    with pytest.raises(ProvisioningError) as raised:
        answering(listener, answer, status=400).user("1")
    assert len(str(raised.value)) < 800


def test_lengths_that_contradict_each_other_are_an_answer_that_was_lost(listener: Listener) -> None:
    listener.answer = lambda _: Response(200, b"{}", {"Content-Length": "2, 3"})
    with pytest.raises(Transient):
        reading(listener.url).user("u1")
