"""All groups of the customer, as the adapter lists them: to the end, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from autoprovisioning.adapters.directory import GoogleDirectory
from autoprovisioning.domain.errors import ConfigurationRefused, Incomplete
from autoprovisioning.domain.scope import Group
from infra.local.simulation import DirectorySide
from tests.contract.directory_reader import answering
from tests.contract.listener import Listener

ENGINEERS = {"id": "g1", "email": "engineers@example.com", "name": "Engineers"}


def test_every_group_is_listed_with_name_and_address(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any]
) -> None:
    state = customer | {"groups": [{"id": f"g{n}", "email": f"g{n}@example.com", "name": f"G {n}"} for n in range(450)]}
    workspace.control("PUT", "state", state | {"members": {}})
    listed = directory.all_groups()
    assert len(listed) == 450
    assert Group(id="g449", email="g449@example.com", name="G 449") in listed


def test_only_what_is_needed_is_asked_for(listener: Listener) -> None:
    assert answering(listener, {"groups": [ENGINEERS]}).all_groups() == [Group(**ENGINEERS)]
    (request,) = listener.requests
    assert "customer=my_customer" in request.path
    assert "groups%28id%2Cemail%2Cname%29" in request.path
    assert "maxResults=200" in request.path


@pytest.mark.parametrize("answer", [{}, {"kind": "admin#directory#groups"}, {"groups": []}])
def test_an_empty_listing_is_one(listener: Listener, answer: dict[str, Any]) -> None:
    assert answering(listener, answer).all_groups() == []


@pytest.mark.parametrize(
    "answer",
    [
        {"groups": [ENGINEERS, {"email": "x@example.com"}]},
        {"groups": [ENGINEERS | {"id": "x" * 300}]},
        {"groups": ["g1"]},
        {"groups": {"g1": ENGINEERS}},
        {"users": []},
    ],
)
def test_what_is_no_listing_of_groups_proves_nothing(listener: Listener, answer: dict[str, Any]) -> None:
    with pytest.raises(Incomplete):
        answering(listener, answer).all_groups()


def test_a_listing_that_breaks_off_proves_nothing_and_a_refusal_is_the_set_ups(
    workspace: DirectorySide, directory: GoogleDirectory
) -> None:
    workspace.fault(match={"method": "groups.list"}, status=403, reason="forbidden", times=None)
    with pytest.raises(ConfigurationRefused):
        directory.all_groups()
    workspace.control("DELETE", "faults")
    workspace.fault(match={"method": "groups.list"}, status=404, times=None)
    with pytest.raises(Incomplete):
        directory.all_groups()
