"""Addresses and forms that nobody honest sends: refused, or taken for the nearest that makes sense."""

from __future__ import annotations

from urllib.parse import urlsplit

import flask
import pytest
from werkzeug.test import EnvironBuilder

from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import Busy, Forbidden, Transient
from autoprovisioning.entrypoints.answers import SECURE, WrongMethod, answered
from autoprovisioning.entrypoints.assets import address
from autoprovisioning.entrypoints.console import router
from autoprovisioning.entrypoints.console.pages import refused
from tests.support.console import ADMIN, HOME, place

HOLD = f"{HOME}/holds/{'a' * 32}"


@pytest.mark.parametrize(
    ("query", "status"),
    [("since=9999-12-31", 200), ("since=0001-01-01", 200), ("until=9999-12-30", 200), ("until=9999-12-31", 400)],
)
def test_a_day_without_a_day_after_it_is_no_last_day(query, status):
    assert place().open(f"{HOME}/audit?{query}").status == status


@pytest.mark.parametrize("number", ["0", "-1", "many", "9" * 7, "9" * 5000, "٣", "²"])
def test_what_is_no_number_of_a_page_shows_the_first(number):
    page = place().open(f"{HOLD}?page={number}")
    assert page.status == 200
    assert "1&ndash;50 of 60" in page.text


@pytest.mark.parametrize("position", ["", "-1", "99", "9" * 5000, "٣", "²", "1:2"])
def test_a_row_that_is_not_there_is_not_removed(position):
    page = place().open(f"{HOME}/mapping")
    form = page.form("Attribute mapping")
    rows = [value for name, value in form.fields if name == "target"]
    fields = [*form.fields, ("do", f"remove:{position}")]
    shown = page.browser.send("post", f"{HOME}/mapping", fields)
    assert shown.status == 200
    assert [value for name, value in shown.form("Attribute mapping").fields if name == "target"] == rows


@pytest.mark.parametrize("minimum", ["1000000000000", "9" * 5000, "", "ten", "1.5"])
def test_a_limit_is_refused_rather_than_cut_short(minimum):
    page = place().open(f"{HOME}/limits").send("Name and limits", "Save", minimum=minimum)
    assert page.status == 400
    assert "#f-limit-minimum" in page.links()


@pytest.mark.parametrize("state", [State.OFF, State.PAUSED, State.DRAFT, State.DELETING])
def test_nothing_is_said_to_run_where_nothing_does(state):
    """A page that was open since the connection was on has the button still."""
    here = place(state)
    csrf = next(value for name, value in place().open(HOME).form("Run now").fields if name == "csrf")
    page = here.browser().send("post", f"{HOME}/run", [("csrf", csrf)])
    assert page.status == 409
    assert "Nothing runs" in page.text
    assert here.fakes.queue.runs == []


@pytest.mark.parametrize(
    ("error", "name", "value"),
    [
        (Transient("The directory could not be read", retry_after=30), "Retry-After", "30"),
        (Busy("x", retry_after=0.2), "Retry-After", "1"),
        (Transient("x", retry_after=1_000_000), "Retry-After", "3600"),
        (Transient("x", retry_after=float("inf")), "Retry-After", "3600"),
        (Transient("x", retry_after=-5), "Retry-After", "1"),
        (WrongMethod("PUT", "GET, HEAD"), "Allow", "GET, HEAD"),
        (Forbidden("x"), "Retry-After", None),
    ],
)
def test_whoever_was_not_let_in_is_told_when_to_come_back_or_how_to_ask(error, name, value):
    assert refused(error).headers.get(name) == value


def asked(path: str, state: State = State.ON) -> flask.Response:
    """Return the answer itself: nobody follows where it leads."""
    request = flask.Request(EnvironBuilder(path, headers={"X-Goog-IAP-JWT-Assertion": ADMIN}).get_environ())
    return answered(request, lambda: router().answer(request, place(state).parts), refused)


@pytest.mark.parametrize("path", ["/", "/nowhere", "/api/me", "/api/openapi.json", "/api/connections/c1",
                                  "/api/connections/c1/events.csv", f"{HOME}/turn-on"])  # fmt: skip
def test_every_answer_keeps_a_browser_from_loading_running_or_framing_more(path):
    answer = asked(path)
    assert answer.status_code == (303 if path.endswith("turn-on") else 404 if path == "/nowhere" else 200)
    for rule in ("default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"):
        assert rule in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] in ("no-store", "private, no-cache")


@pytest.mark.parametrize("path", ["/", "/nowhere", "/api/me", f"{HOME}/turn-on", address("style.css")])
def test_every_answer_is_what_it_says_over_an_encrypted_connection(path):
    assert SECURE.items() <= dict(asked(path).headers).items()


@pytest.mark.parametrize(
    "path", [f"{HOME}/users/?q=a", f"{HOME}/holds/", f"{HOLD}/", f"{HOME}/previews/p1/", f"{HOME}/"]
)
def test_the_links_and_forms_of_a_page_asked_for_with_a_slash_lead_somewhere(path):
    page = place().open(path)
    assert page.status == 200
    targets = (*page.links(), *(form.action for form in page.forms))
    assert not [target for target in targets if "//" in urlsplit(target).path]
