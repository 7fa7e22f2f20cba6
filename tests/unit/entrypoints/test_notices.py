"""What a page says once after a form was taken: on the page that the form led to, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.domain.connections import State
from tests.support.console import HOME, Place, full, place
from tests.support.settings import with_settings

SAID = '<p class="note good" role="status">'


def plain(state: State = State.ON) -> Place:
    return Place(with_settings(full(state), name="Keeper"))


def test_a_page_says_it_once():
    browser = plain(State.OFF).browser()
    on = browser.open(f"{HOME}/turn-on").send("Turn on", "Turn on")
    assert "Autoprovisioning is on." in on.text
    assert "?" not in on.address
    assert SAID not in browser.open(on.address).text


@pytest.mark.parametrize("elsewhere", ["/", f"{HOME}/audit", f"{HOME}/limits"])
def test_another_page_does_not_say_it(elsewhere):
    browser = plain(State.ON).browser()
    sent = browser.ask("POST", *_turning_off(browser))
    assert (sent.status, sent.headers["Location"]) == (303, HOME)
    browser.cookies |= _cookies(sent)
    assert SAID not in browser.open(elsewhere).text
    assert SAID in browser.open(HOME).text


def _turning_off(browser):
    form = browser.open(f"{HOME}/turn-off").form("Turn off")
    body = f"csrf={dict(form.fields)['csrf']}".encode()
    return f"{HOME}/turn-off", body, {"Content-Type": "application/x-www-form-urlencoded"}


def _cookies(answer):
    name, _, value = answer.headers["Set-Cookie"].partition(";")[0].partition("=")
    assert f"Path={HOME};" in answer.headers["Set-Cookie"] + ";"
    assert {"HttpOnly", "Secure", "SameSite=Strict"} <= set(answer.headers["Set-Cookie"].split("; "))
    return {(name, HOME): value}


@pytest.mark.parametrize("address", [f"{HOME}?done=deleting", "/?done=saved", f"{HOME}/health?done=on"])
def test_an_address_makes_no_page_say_anything(address):
    assert SAID not in place().open(address).text


@pytest.mark.parametrize(
    "value", ["saved", "saved.1@/connections/c2", "<b>.1@/connections/c1", "nothing@/connections/c1", "@"]
)
def test_a_cookie_that_is_not_ours_makes_no_page_say_anything(value):
    browser = replace(place().browser(), cookies={("notice", HOME): value})
    assert SAID not in browser.open(HOME).text
