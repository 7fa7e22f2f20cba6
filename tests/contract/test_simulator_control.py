"""How tests reach the simulators' control API: over a connection that is kept."""

from __future__ import annotations

import urllib.error

import pytest

from infra.local.control import control
from infra.local.processes import free_port
from tests.contract.listener import DROPPED, Listener, Response


def test_it_sends_json_and_returns_json(listener: Listener) -> None:
    listener.answer = lambda _: Response(200, b'{"id": "f1"}')
    assert control("PUT", f"{listener.url}/_control/faults?all=1", {"times": None}) == {"id": "f1"}
    (request,) = listener.requests
    assert (request.method, request.path, request.body) == ("PUT", "/_control/faults?all=1", b'{"times": null}')
    listener.answer = lambda _: Response(204)
    assert control("DELETE", f"{listener.url}/_control/faults") is None


def test_an_error_is_raised_with_what_was_said_and_the_next_call_works(listener: Listener) -> None:
    listener.answer = lambda _: Response(404, b"no such fault")
    with pytest.raises(urllib.error.HTTPError) as raised:
        control("GET", f"{listener.url}/_control/faults/f9")
    assert (raised.value.code, raised.value.read()) == (404, b"no such fault")
    listener.answer = lambda _: Response(200, b"[]")
    assert control("GET", f"{listener.url}/_control/faults") == []


def test_a_call_that_found_its_connection_closed_is_sent_again(listener: Listener) -> None:
    answers = iter([Response(200, b"1"), Response(DROPPED), Response(200, b"2")])
    listener.answer = lambda _: next(answers)
    assert [control("GET", listener.url + path) for path in ("/a", "/b")] == [1, 2]
    assert [request.path for request in listener.requests] == ["/a", "/b", "/b"]


def test_where_nobody_answers_it_is_said() -> None:
    with pytest.raises(urllib.error.URLError):
        control("GET", f"http://127.0.0.1:{free_port()}/_control/faults")
