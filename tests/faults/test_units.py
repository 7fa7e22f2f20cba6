"""Organizational units are renamed, moved and deleted: scopes follow them by id, or nobody knows who is in scope."""

from __future__ import annotations

import json

import pytest

from tests.support.system import CONNECTION, System, customer

SELLERS = {f"u{number}" for number in range(1, 9)}
NOT_LISTED = "The organizational unit /Sales is no longer in the directory"


@pytest.fixture
def sales(system: System) -> System:
    """Thirty people, eight of them in /Sales, and a connection that provisions /Sales alone."""
    state = customer(30)
    for user in state["users"]:
        user["orgUnitPath"] = "/Sales" if user["id"] in SELLERS else "/Engineering"
    system.directory.control("PUT", "state", state)
    assert system.provisioned((), org_units=("/Sales",))["created"] == len(SELLERS)
    return system


def paths(system: System) -> list[str]:
    return [unit.path for unit in system.services().connections.get(CONNECTION).settings.scope.org_units]


def configured(system: System) -> list[str]:
    return [str(event["reason"]) for event in system.events() if event["actor"] == "reconcile"]


def notes(system: System) -> tuple[str, ...]:
    (run, *_) = system.world.console("GET", f"connections/{CONNECTION}/runs")["items"]
    return tuple(run["notes"])


def concerns(system: System) -> list[str]:
    return [concern["what"] for concern in system.world.console("GET", f"connections/{CONNECTION}/health")["concerns"]]


def store_paths_only(system: System) -> None:
    """Store the connection as versions did that kept paths alone."""
    from google.cloud import firestore

    document = firestore.Client(project=system.world.cloud.project).document(f"connections/{CONNECTION}")
    document.update({"schema": firestore.DELETE_FIELD, "scope.org_units": ["/Sales"]})


MOVES = [
    ({"name": "Revenue"}, "/Revenue", "rename"),
    ({"parentOrgUnitPath": "/Engineering"}, "/Engineering/Sales", "move"),
]


@pytest.mark.parametrize(("change", "path", "kind"), MOVES)
def test_a_renamed_or_moved_unit_is_followed(sales, change, path, kind):
    edition = sales.services().connections.get(CONNECTION).edition
    sales.directory.change_unit("/Sales", **change)
    summary = sales.sync()
    assert (summary["suspended"], summary["held"], summary["unchanged"]) == (0, 0, len(SELLERS))
    assert sales.active() == SELLERS
    assert paths(sales) == [path]
    assert configured(sales) == [f"Followed the {kind} of /Sales to {path}."]
    assert sales.services().connections.get(CONNECTION).edition == edition
    sales.sync()
    assert len(configured(sales)) == 1


def test_a_notification_between_a_rename_and_the_next_run_suspends_nobody(sales):
    sales.directory.change_unit("/Sales", name="Revenue")
    for user_id in sorted(SELLERS):
        assert sales.look(user_id, event="update") == 204
    assert sales.active() == SELLERS
    assert paths(sales) == ["/Sales"], "only a run writes what it follows"


@pytest.mark.parametrize("lagging", ["users", "units"])
def test_users_and_units_read_on_both_sides_of_a_rename_prove_nothing(sales, lagging):
    """Google promises no snapshot: a rename comes between two requests, or one of the two is answered from a cache."""
    listing = sales.directory.call("GET", "customer/my_customer/orgunits?type=all")
    renamed = json.loads(json.dumps(listing).replace("/Sales", "/Revenue"))
    if lagging == "users":
        sales.directory.fault(match={"method": "orgunits.list"}, body=renamed, times=None)
    else:
        sales.directory.change_unit("/Sales", name="Revenue")
        sales.directory.fault(match={"method": "orgunits.list"}, body=listing, times=None)
    summary = sales.sync()
    assert (summary["suspended"], summary["held"]) == (0, 0)
    for user_id in sorted(SELLERS):
        assert sales.look(user_id, event="update") == 204
    assert sales.active() == SELLERS
    assert any("does not list" in note for note in notes(sales))


def test_a_deleted_unit_leaves_the_scope_unknown_and_says_so(sales):
    sales.directory.weather(lose=True)
    for user_id in SELLERS:
        sales.directory.patch(user_id, {"orgUnitPath": "/Engineering"})
    sales.directory.delete_unit("/Sales")
    summary = sales.sync()
    assert {summary[name] for name in ("suspended", "created", "held", "failed")} == {0}
    for user_id in ("u1", "u20"):
        assert sales.look(user_id, event="update") == 204
    assert sales.active() == SELLERS
    assert [note for note in notes(sales) if note.startswith(NOT_LISTED)]
    assert [concern for concern in concerns(sales) if concern.startswith(NOT_LISTED)]
    assert configured(sales) == [f"{NOT_LISTED}."]
    sales.world.reconcile("sweep")
    assert '"alert": "scope_unknown"' in sales.log("reconcile")
    sales.directory.patch("u1", {"suspended": True})
    sales.look("u1", event="update")
    assert not sales.account("u1")["active"], "a suspended user has no access, whatever the scope is"


def test_a_new_unit_under_the_old_path_lets_nobody_in(sales):
    sales.directory.change_unit("/Sales", name="Revenue")
    sales.directory.add_unit("/Sales")
    sales.directory.patch("u20", {"orgUnitPath": "/Sales"})
    summary = sales.sync()
    assert (summary["created"], summary["suspended"], summary["held"]) == (0, 0, 0)
    assert sales.look("u20", event="update") == 204
    assert sales.active() == SELLERS


FAILINGS = [{"status": 503}, {"status": 403, "reason": "forbidden"}, {"body": {"no": "listing"}}]


@pytest.mark.parametrize("answer", FAILINGS)
def test_a_failing_listing_of_units_deprovisions_and_creates_nobody(sales, answer):
    sales.directory.weather(lose=True)
    sales.directory.patch("u1", {"orgUnitPath": "/Engineering"})
    sales.directory.patch("u20", {"orgUnitPath": "/Sales"})
    sales.directory.fault(match={"method": "orgunits.list"}, times=None, **answer)
    summary = sales.sync()
    assert {summary[name] for name in ("suspended", "created", "held", "failed")} == {0}
    for user_id in ("u1", "u20"):
        assert sales.look(user_id, event="update") == 204
    assert sales.active() == SELLERS
    assert any(note.startswith("The organizational units could not be listed") for note in notes(sales))
    assert '"alert": "listing_incomplete"' in sales.log("reconcile")
    assert any(concern.startswith("The last run could not read the directory") for concern in concerns(sales))
    assert paths(sales) == ["/Sales"]
    sales.directory.control("DELETE", "faults")
    summary = sales.sync()
    assert (summary["suspended"], summary["created"]) == (1, 1)


def test_a_connection_stored_with_paths_alone_is_migrated_by_its_next_run(sales):
    store_paths_only(sales)
    assert sales.sync()["unchanged"] == len(SELLERS)
    (unit,) = sales.services().connections.get(CONNECTION).settings.scope.org_units
    assert (unit.id.startswith("id:"), unit.path) == (True, "/Sales")
    assert configured(sales) == ["Noted the id of the organizational unit /Sales."]
    sales.directory.change_unit("/Sales", name="Revenue")
    assert sales.sync()["suspended"] == 0
    assert sales.active() == SELLERS


def test_a_unit_renamed_before_the_migration_leaves_the_scope_unknown(sales):
    store_paths_only(sales)
    sales.directory.change_unit("/Sales", name="Revenue")
    summary = sales.sync()
    assert (summary["suspended"], summary["held"]) == (0, 0)
    assert sales.active() == SELLERS
    assert [note for note in notes(sales) if note.startswith(NOT_LISTED)]
