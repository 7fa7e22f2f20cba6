"""The Directory simulator's organizational units, read and changed by Google's own client.

Every answer that `asked` returns was validated against the schema that the method promises, unknown properties refused.
"""

from __future__ import annotations

from typing import Any

from infra.local.directory.fixture import UNITS
from tests.contract.directory_servers import asked, error

ROOT = {"customerId": "my_customer"}


def listed(api: Any) -> dict[str, str]:
    """Return the ids of the units by path."""
    found = asked(api.orgunits().list(**ROOT, type="all"))["organizationUnits"]
    return {unit["orgUnitPath"]: unit["orgUnitId"] for unit in found}


def unit_of(api: Any, user_id: str) -> str:
    return str(asked(api.users().get(userKey=user_id))["orgUnitPath"])


def somebody_in(customer: dict[str, Any], path: str) -> str:
    return next(user["id"] for user in customer["users"] if user["orgUnitPath"] == path)


def test_units_are_listed_without_the_root_and_found_by_path_and_id(api: Any, customer: dict[str, Any]) -> None:
    units = listed(api)
    assert set(units) == set(UNITS) - {"/"}
    assert len(set(units.values())) == len(units)
    for key in ("Sales/EMEA", units["/Sales/EMEA"]):
        found = asked(api.orgunits().get(**ROOT, orgUnitPath=key))
        assert (found["orgUnitPath"], found["name"]) == ("/Sales/EMEA", "EMEA")
        assert (found["parentOrgUnitPath"], found["parentOrgUnitId"]) == ("/Sales", units["/Sales"])
    assert error(api.orgunits().get(**ROOT, orgUnitPath="Nothing"))[0] == 404
    masked = asked(api.orgunits().list(**ROOT, type="all", fields="organizationUnits(orgUnitId)"))
    assert {key for unit in masked["organizationUnits"] for key in unit} == {"orgUnitId"}


def test_a_renamed_unit_keeps_its_id_and_takes_along_what_is_below_and_everybody(
    api: Any, customer: dict[str, Any]
) -> None:
    before, below = listed(api), somebody_in(customer, "/Sales/EMEA")
    renamed = asked(api.orgunits().patch(**ROOT, orgUnitPath="Sales", body={"name": "Revenue"}))
    assert (renamed["orgUnitPath"], renamed["orgUnitId"]) == ("/Revenue", before["/Sales"])
    after = listed(api)
    assert "/Sales" not in after
    assert after["/Revenue/EMEA"] == before["/Sales/EMEA"]
    assert unit_of(api, below) == "/Revenue/EMEA"
    assert unit_of(api, somebody_in(customer, "/Finance")) == "/Finance"


def test_a_unit_moves_below_another_but_not_below_itself(api: Any, customer: dict[str, Any]) -> None:
    before, somebody = listed(api), somebody_in(customer, "/Sales")
    assert error(api.orgunits().patch(**ROOT, orgUnitPath="Sales", body={"parentOrgUnitPath": "/Sales/EMEA"}))[0] == 400
    assert error(api.orgunits().patch(**ROOT, orgUnitPath="Sales", body={"name": "Finance"}))[0] == 400
    asked(api.orgunits().patch(**ROOT, orgUnitPath=before["/Sales"], body={"parentOrgUnitPath": "/Finance"}))
    assert listed(api)["/Finance/Sales"] == before["/Sales"]
    assert unit_of(api, somebody) == "/Finance/Sales"


def test_only_an_empty_unit_is_deleted_and_a_new_one_of_its_name_is_another(api: Any) -> None:
    asked(api.orgunits().insert(**ROOT, body={"name": "Temporary", "parentOrgUnitPath": "/Sales"}))
    first = listed(api)["/Sales/Temporary"]
    assert error(api.orgunits().delete(**ROOT, orgUnitPath="Sales"))[:2] == (412, "conditionNotMet")
    asked(api.orgunits().patch(**ROOT, orgUnitPath="Sales/Temporary", body={"name": "Former"}))
    asked(api.orgunits().insert(**ROOT, body={"name": "Temporary", "parentOrgUnitPath": "/Sales"}))
    assert listed(api)["/Sales/Temporary"] != first
    asked(api.orgunits().delete(**ROOT, orgUnitPath=first))
    assert "/Sales/Former" not in listed(api)
