"""Organizational units as the adapter reads them: by id and path, to the end, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from autoprovisioning.adapters.directory import GoogleDirectory
from autoprovisioning.domain.errors import ConfigurationRefused, Incomplete
from autoprovisioning.domain.scope import OrgUnit
from infra.local.directory.fixture import UNITS
from infra.local.simulation import DirectorySide
from tests.contract.directory_reader import answering
from tests.contract.listener import Listener

SALES = {"orgUnitId": "id:1", "orgUnitPath": "/Sales"}
NAVY = {"orgUnitId": "id:2", "orgUnitPath": "/Navy"}


def test_units_come_with_ids_that_a_rename_leaves(workspace: DirectorySide, directory: GoogleDirectory) -> None:
    before = {unit.path: unit.id for unit in directory.org_units()}
    assert set(before) == set(UNITS) - {"/"}
    workspace.change_unit("/Sales", name="Revenue")
    after = {unit.path: unit.id for unit in directory.org_units()}
    assert (after["/Revenue"], after["/Revenue/EMEA"]) == (before["/Sales"], before["/Sales/EMEA"])


def test_only_what_is_needed_is_asked_for(listener: Listener) -> None:
    directory = answering(listener, {"organizationUnits": [SALES, NAVY]})
    assert directory.org_units() == [OrgUnit(id="id:2", path="/Navy"), OrgUnit(id="id:1", path="/Sales")]
    assert "type=all" in listener.requests[0].path
    assert "organizationUnits%28orgUnitId%2CorgUnitPath%29" in listener.requests[0].path


@pytest.mark.parametrize("answer", [{}, {"kind": "admin#directory#orgUnits"}, {"organizationUnits": []}])
def test_an_empty_listing_is_one(listener: Listener, answer: dict[str, Any]) -> None:
    assert answering(listener, answer).org_units() == []


NO_LISTINGS: list[Any] = [
    {"organizationUnits": [{"orgUnitPath": "/Sales"}]},
    {"organizationUnits": [SALES | {"orgUnitId": 7}]},
    {"organizationUnits": [SALES | {"orgUnitId": ""}]},
    {"organizationUnits": [SALES | {"orgUnitId": "x" * 257}]},
    {"organizationUnits": [{"orgUnitId": "id:1"}]},
    {"organizationUnits": [SALES | {"orgUnitPath": ["/Sales"]}]},
    {"organizationUnits": [SALES | {"orgUnitPath": "Sales"}]},
    {"organizationUnits": [SALES | {"orgUnitPath": "/" + "x" * 2_000}]},
    {"organizationUnits": [SALES, NAVY | {"orgUnitId": "id:1"}]},
    {"organizationUnits": [SALES, NAVY | {"orgUnitPath": "/Sales"}]},
    {"organizationUnits": {"0": SALES}},
    {"organizationUnits": [SALES, None]},
    {"error": "none"},
]


@pytest.mark.parametrize("answer", NO_LISTINGS)
def test_what_tells_not_every_unit_is_incomplete(listener: Listener, answer: Any) -> None:
    with pytest.raises(Incomplete, match=r"orgunits\.list"):
        answering(listener, answer).org_units()


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_units_that_cannot_be_listed_are_incomplete(listener: Listener, status: int) -> None:
    with pytest.raises(Incomplete, match=r"orgunits\.list"):
        answering(listener, {"error": {"code": status, "message": "no"}}, status=status).org_units()


def test_units_that_may_not_be_listed_are_a_matter_of_the_configuration(listener: Listener) -> None:
    refusal = {"error": {"code": 403, "message": "Not Authorized", "errors": [{"reason": "forbidden"}]}}
    with pytest.raises(ConfigurationRefused, match="organizational unit scopes"):
        answering(listener, refusal, status=403).org_units()


@pytest.mark.parametrize("told", [{}, {"orgUnitPath": None}, {"orgUnitPath": 7}, {"orgUnitPath": ["/"]}])
def test_a_unit_that_a_user_does_not_tell_is_not_the_root(listener: Listener, told: dict[str, Any]) -> None:
    user = answering(listener, {"id": "u1", "primaryEmail": "ada@example.com", **told}).user("u1")
    assert user is not None
    assert user.org_unit_path == ""
