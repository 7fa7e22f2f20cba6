"""Users who fail are tried again when an administrator says so: few one by one, many by a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.app.administration.retry import ONE_BY_ONE, retry
from autoprovisioning.app.ports.reports import Failing
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import BadInput, WrongState
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.runs import RunKind
from tests.support.console import HOME, READER, Place, full
from tests.support.in_memory import START

ADMIN = Actor(address="admin@example.com", directory_id="u0")


def place(number: int = 3, state: State = State.ON) -> Place:
    here = Place(full(state))
    one = Failing(
        user_id="", email="", code="mapping", reason="", attempted="create", attempts=1, first=START, next_attempt=START
    )
    here.told.failing = tuple(replace(one, user_id=f"u{each}") for each in range(number))
    return here


def tried(here: Place, **whom: object) -> int:
    return retry(here.fakes.services, here.told, "c1", ADMIN, **whom)


@pytest.mark.parametrize(("number", "by_run"), [(ONE_BY_ONE, False), (ONE_BY_ONE + 50, True)])
def test_many_are_left_to_a_run(number, by_run):
    here = place(number)
    assert tried(here) == number
    assert (len(here.fakes.queue.looks), here.fakes.queue.runs) == ((0, [RunKind.FULL]) if by_run else (number, []))
    assert all(look.retry_failures for look in here.fakes.queue.looks)
    [event] = here.fakes.store.events["c1"].values()
    assert (event.actor, event.reason) == (ADMIN.address, f"Requested another attempt for {number} users")


def test_a_user_who_is_named_twice_is_tried_once():
    here = place()
    assert tried(here, users=["u1", "u1"]) == 1
    assert [look.user_id for look in here.fakes.queue.looks] == ["u1"]
    [event] = here.fakes.store.events["c1"].values()
    assert event.reason == "Requested another attempt for 1 user"


@pytest.mark.parametrize(
    ("whom", "field"), [({"users": []}, "users"), ({"users": ["a b"]}, "users"), ({"code": "rejected"}, "code")]
)
def test_nobody_is_tried_by_mistake(whom, field):
    here = place()
    with pytest.raises(BadInput) as raised:
        tried(here, **whom)
    assert raised.value.field == field
    assert (here.fakes.queue.looks, here.fakes.queue.runs) == ([], [])


@pytest.mark.parametrize("state", [State.OFF, State.PAUSED, State.DRAFT])
def test_nobody_is_tried_on_a_connection_that_is_not_on(state):
    here = place(state=state)
    with pytest.raises(WrongState):
        tried(here)
    assert here.open(f"{HOME}/failures").buttons() == []


def test_who_only_looks_has_nothing_to_press():
    page = place().open(f"{HOME}/failures", READER)
    assert page.buttons() == []
    assert "Fill the field in the directory" in page.text


def test_those_of_one_cause_are_shown_alone():
    here = place()
    here.told.failing += (replace(here.told.failing[0], user_id="other", code="rejected"),)
    page = here.open(f"{HOME}/failures?code=rejected")
    shown = {link.rpartition("/")[2] for link in page.links() if link.startswith(f"{HOME}/users/")}
    assert shown == {"other"}
    assert "Retry 1 user<" in page.text
    assert "Retry all: 4 users" in page.text
