"""What is created once for an Idempotency-Key, however often the request arrives."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autoprovisioning.domain.mapping import AttributeMapping
from autoprovisioning.domain.scope import Scope
from autoprovisioning.entrypoints.console.api import OPERATIONS
from autoprovisioning.entrypoints.console.routing import ROOT
from tests.support.console import ADMIN, HOME, Place, full
from tests.support.settings import with_settings
from tests.support.wire import Answer

SET_UP = {"name": "Second", "endpoint": "https://keepersecurity.eu/api/rest/scim/v2/99", "token": "secret"}
CREATING = {
    "runNow": (f"{HOME}/runs", {}),
    "createPreview": (f"{HOME}/previews", {}),
    "askAboutUser": (f"{HOME}/users/u1/inquiries", {"kind": "explain"}),
    "setUp": ("/connections", SET_UP),
}


def place() -> Place:
    endpoint = "https://keepersecurity.eu/api/rest/scim/v2/1"
    return Place(with_settings(full(), name="Keeper", endpoint=endpoint, mapping=AttributeMapping(), scope=Scope()))


def post(here: Place, path: str, body: dict[str, Any], key: str, who: str = ADMIN) -> Answer:
    headers = {"Content-Type": "application/json", "If-Match": "*", "Idempotency-Key": key}
    return here.asking(who)("POST", f"{ROOT}{path}", json.dumps(body).encode(), headers)


@pytest.mark.parametrize("name", CREATING)
def test_the_same_request_with_the_same_key_creates_one_thing(name):
    here, (path, body) = place(), CREATING[name]
    first, again = post(here, path, body, "k1"), post(here, path, body, "k1")
    assert first.status in (201, 202), first.body
    assert (again.status, again.headers["Location"]) == (first.status, first.headers["Location"])
    if name != "setUp":  # one node has one connection
        other = post(here, path, body, "k2")
        assert other.headers["Location"] != first.headers["Location"]
    assert "secret" not in first.headers["Location"]


def test_a_key_is_one_callers_and_means_one_body():
    here = place()
    path = f"{HOME}/users/u1/inquiries"
    asked = [
        post(here, path, {"kind": "explain"}, "k1"),
        post(here, path, {"kind": "explain"}, "k1", "reader@example.com"),
        post(here, path, {"kind": "provision"}, "k1"),
        post(here, f"{HOME}/users/u2/inquiries", {"kind": "explain"}, "k1"),
    ]
    assert [each.status for each in asked] == [202, 202, 202, 202]
    assert len({each.headers["Location"] for each in asked}) == 3  # Place gives everybody the same directory id


def test_without_a_key_each_run_that_is_asked_for_is_another_one():
    here = place()
    first, again = (post(here, f"{HOME}/runs", {}, "") for _ in range(2))
    assert first.headers["Location"] != again.headers["Location"]


@pytest.mark.parametrize("key", ["two words", "x" * 201, "ä"])
def test_what_is_no_key_is_refused_by_its_header(key):
    answer = post(place(), f"{HOME}/runs", {}, key)
    assert (answer.status, json.loads(answer.body)["field"]) == (400, "Idempotency-Key")


def test_every_operation_that_creates_something_takes_a_key():
    creating = {each.name for each in OPERATIONS if {201, 202} & each.answers.keys() and each.method == "POST"}
    assert {each.name for each in OPERATIONS if each.keyed} == creating - {"retryFailures"}
