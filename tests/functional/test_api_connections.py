"""Connections through the API: set up, read, edited by several at once, tried, turned on and off, deleted."""

from __future__ import annotations

import json

import pytest

from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.support.system import ADMIN, GROUP, GROUP_ID, System

ONE = f"/connections/{CONNECTION}"
NEVER = {"suspend_after": None, "delete_after": None}


@pytest.fixture
def connected(system):
    """A connection that is on, of a customer nobody of whom is provisioned yet."""
    system.connect()
    return system


def etag(system: System, path: str = ONE) -> str:
    return system.api("GET", path).headers["ETag"]


def edit(system: System, change: dict, if_match: str = ""):
    return system.api("PATCH", ONE, change, {"If-Match": if_match or etag(system)})


def new(system: System, **more):
    return {"name": "Keeper EU", "endpoint": system.keeper.endpoint, "token": system.keeper.token, **more}


# ---- setting up


def test_a_connection_is_set_up_as_a_draft_with_googles_defaults(system):
    answer = system.api("POST", "/connections", new(system))
    made = answer.json()
    assert (answer.status, answer.headers["Location"]) == (201, f"/api/v1/connections/{made['id']}")
    assert (made["name"], made["state"], made["shown_state"], made["token_set"]) == (
        "Keeper EU",
        "draft",
        "Draft",
        True,
    )
    at_once = {"suspend_after": 0, "delete_after": None}
    assert made["deprovisioning"] == {"app_off": at_once, "suspended": at_once, "deleted": at_once}
    assert {"target": "userName", "source": "primaryEmail", "mandatory": True} in made["mapping"]
    read = system.api("GET", f"/connections/{made['id']}")
    assert (read.json(), read.headers["ETag"]) == (made, answer.headers["ETag"])
    assert system.keeper.token not in answer.text + read.text


def test_settings_can_be_given_at_once(system):
    more = {
        "scope": {"groups": [GROUP], "org_units": ["/Sales"]},
        "deprovisioning": {"deleted": {"suspend_after": 7, "delete_after": 30}},
        "limit": {"percent": 12.5},
        "patch_dialect": "keeper",
        "repair_drift": False,
        "archived_as_suspended": True,
    }
    made = system.api("POST", "/connections", new(system, **more)).json()
    assert made["scope"] == {
        "groups": [{"id": GROUP_ID, "email": GROUP, "name": "Keeper users"}],
        "org_units": ["/Sales"],
    }
    assert made["deprovisioning"]["deleted"] == {"suspend_after": 7, "delete_after": 30}
    assert made["deprovisioning"]["app_off"] == {"suspend_after": 0, "delete_after": None}
    assert made["limit"] == {"minimum": 10, "percent": 12.5}
    assert (made["patch_dialect"], made["archived_as_suspended"], made["repair_drift"]) == ("keeper", True, False)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"token": "wrong-0123"}, "token"),
        ({"token": None}, "token"),
        ({"token": ""}, "token"),
        ({"endpoint": "https://keeper.example.com/api"}, "endpoint"),
        ({"endpoint": 7}, "endpoint"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"nickname": "x"}, "nickname"),
        ({"mapping": [{"target": "title"}]}, "mapping[0].source"),
        ({"mapping": [{"target": "title", "source": "organizations[primary].title"}]}, "mapping"),
        ({"scope": {"groups": ["nobody@example.com"]}}, "scope.groups"),
        ({"scope": {"groups": "all"}}, "scope.groups"),
        ({"scope": {"org_units": ["Sales"]}}, "scope.org_units"),
        ({"scope": {"org_units": ["/Nowhere"]}}, "scope.org_units"),
        ({"deprovisioning": {"app_off": {"suspend_after": -1}}}, "deprovisioning.app_off.suspend_after"),
        (
            {"deprovisioning": {"app_off": {"suspend_after": 9, "delete_after": 9}}},
            "deprovisioning.app_off.delete_after",
        ),
        ({"limit": {"percent": 0}}, "limit.percent"),
        ({"patch_dialect": "esperanto"}, "patch_dialect"),
        ({"repair_drift": "no"}, "repair_drift"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field_and_nothing_is_stored(system, change, field):
    answer = system.api("POST", "/connections", new(system, **change))
    problem = answer.json()
    assert (answer.status, problem["status"], problem["field"]) == (400, 400, field)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["problem"]
    assert problem["mend"]
    assert system.api("GET", "/connections").json() == {"items": [], "cursor": ""}


def test_a_second_connection_to_the_same_node_is_refused(connected):
    answer = connected.api("POST", "/connections", new(connected))
    assert (answer.status, answer.json()["field"]) == (400, "endpoint")


# ---- reading


def test_a_connection_that_has_not_changed_is_not_sent_again(connected):
    tag = etag(connected)
    answer = connected.api("GET", ONE, headers={"If-None-Match": tag})
    assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", tag)
    assert connected.api("GET", ONE, headers={"If-None-Match": '"0.000000000000"'}).status == 200
    connected.api("POST", f"{ONE}/turn-off")
    answer = connected.api("GET", ONE, headers={"If-None-Match": tag})
    assert (answer.status, answer.json()["state"]) == (200, "off")


def test_connections_are_listed_with_their_state(connected):
    connected.keeper.rotate()
    connected.sync()
    [listed] = connected.api("GET", "/connections").json()["items"]
    assert (listed["id"], listed["state"]) == (CONNECTION, "paused")
    assert listed["shown_state"] == "Paused: needs reauthorization"
    assert listed["paused_reason"]


# ---- editing


def test_only_what_is_named_is_changed(connected):
    before = connected.api("GET", ONE).json()
    change = {"name": "Keeper", "deprovisioning": {"suspended": {"suspend_after": 14}}, "scope": {"org_units": ["/"]}}
    answer = edit(connected, change)
    after = answer.json()
    assert answer.status == 200
    assert after["edition"] == before["edition"] + 1
    assert after["deprovisioning"]["suspended"] == {"suspend_after": 14, "delete_after": None}
    assert after["deprovisioning"]["deleted"] == before["deprovisioning"]["deleted"]
    assert after["scope"] == {"groups": before["scope"]["groups"], "org_units": ["/"]}
    assert after["mapping"] == before["mapping"]
    [event] = [event for event in connected.events() if event["reason"] == "Edited"][-1:]
    assert event["actor"] == ADMIN


def test_null_means_never(connected):
    after = edit(connected, {"deprovisioning": {"app_off": NEVER}}).json()
    assert after["deprovisioning"]["app_off"] == NEVER


def test_the_second_of_two_who_edit_at_once_gets_a_conflict(connected):
    seen_by_both = etag(connected)
    assert edit(connected, {"name": "First"}, seen_by_both).status == 200
    answer = edit(connected, {"name": "Second"}, seen_by_both)
    assert (answer.status, answer.json()["code"]) == (412, "stale")
    assert connected.api("GET", ONE).json()["name"] == "First"


def test_what_a_worker_notes_meanwhile_is_no_conflict(connected):
    tag = etag(connected)
    connected.keeper.rotate()
    connected.sync()
    assert connected.state() == "paused"
    assert edit(connected, {"name": "Still mine"}, tag).status == 200


@pytest.mark.parametrize("operation", [("PATCH", ONE), ("POST", f"{ONE}/previews")])
@pytest.mark.parametrize(
    ("if_match", "status"), [(None, 428), ('"0"', 412), ("nonsense", 412), ("", 412), ('W/"{}"', 412)]
)
def test_a_change_must_name_the_edition_it_is_meant_for(settled, operation, if_match, status):
    edition = settled.api("GET", ONE).json()["edition"]
    headers = {} if if_match is None else {"If-Match": if_match.format(edition)}
    answer = settled.api(*operation, {"name": "Other"}, headers)
    assert (answer.status, answer.json()["status"]) == (status, status)


@pytest.mark.parametrize("if_match", ['"{}"', '"0", "{}.whatever"', "*"])
def test_the_edition_alone_and_any_of_several_will_do(connected, if_match):
    edition = connected.api("GET", ONE).json()["edition"]
    assert edit(connected, {"name": "Mine"}, if_match.format(edition)).status == 200


def test_a_new_endpoint_needs_its_own_token(settled):
    answer = edit(settled, {"endpoint": settled.keeper.endpoint.replace("127.0.0.1", "localhost")})
    assert (answer.status, answer.json()["field"]) == (400, "token")


def test_a_new_token_is_tried_before_it_is_saved_and_resumes(connected):
    connected.keeper.rotate()
    connected.sync()
    refused = edit(connected, {"token": "wrong-token-0123456789"})
    assert (refused.status, refused.json()["field"]) == (400, "token")
    assert connected.state() == "paused"
    answer = edit(connected, {"token": connected.keeper.token})
    assert (answer.status, answer.json()["state"]) == (200, "on")
    assert connected.keeper.token not in answer.text


# ---- trying


def test_a_token_is_tried_and_nothing_is_saved(settled):
    found = settled.api("POST", f"{ONE}/check", {"token": settled.keeper.token})
    assert found.status == 200
    assert found.json() == {"accepted": True, "bulk": True, "max_operations": 1000, "max_payload": 1_048_576}
    refused = settled.api("POST", f"{ONE}/check", {"token": "wrong-0123", "endpoint": settled.keeper.endpoint})
    assert (refused.status, refused.json()["field"]) == (400, "token")


def test_keeper_out_of_reach_is_503(settled):
    settled.keeper.fault(match={"method": "GET"}, times=None, drop_before=True)
    answer = settled.api("POST", f"{ONE}/check", {"token": settled.keeper.token})
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0


# ---- states


def test_a_draft_is_finished_turned_on_and_off(system):
    path = f"/connections/{system.api('POST', '/connections', new(system)).json()['id']}"
    states = [system.api("POST", f"{path}/{step}").json()["shown_state"] for step in ("finish", "turn-on", "turn-off")]
    assert states == ["Off", "On", "Off"]
    assert system.api("POST", f"{path}/turn-off").json()["shown_state"] == "Off", "again changes nothing"


def test_deleting_needs_the_name_and_forgets_the_connection(connected):
    connected.sync()
    refused = connected.api("DELETE", ONE, {"confirmation": "keeper!"})
    assert (refused.status, refused.json()["field"]) == (400, "confirmation")
    accounts = connected.keeper.accounts()
    name = connected.api("GET", ONE).json()["name"]
    answer = connected.api("DELETE", ONE, {"confirmation": name})
    assert (answer.status, answer.headers["Location"]) == (202, f"/api/v1{ONE}")
    wait_for(lambda: connected.api("GET", ONE).status == 404, "the deletion")
    [gone] = connected.api("GET", "/deleted-connections").json()["items"]
    assert (gone["id"], gone["name"]) == (CONNECTION, name)
    kept = connected.api("GET", f"{ONE}/events").json()["items"]
    assert kept[0]["reason"] == "Deleted the configuration"
    assert connected.api("GET", f"{ONE}/events.csv").text.count("\n") == len(kept) + 1
    assert connected.keeper.accounts() == accounts


def test_a_deletion_with_work_in_flight_is_accepted_and_finished_later(connected):
    name = connected.api("GET", ONE).json()["name"]
    connected.directory.fault(match={"method": "users.list"}, delay=2)
    request = connected.services().queue
    from autoprovisioning.domain.runs import RunKind

    request.request_run(RunKind.FULL)
    wait_for(lambda: connected.services().runs.open(CONNECTION), "the run")
    answer = connected.api("DELETE", ONE, {"confirmation": name})
    assert (answer.status, answer.headers["Location"]) == (202, f"/api/v1{ONE}")
    assert connected.api("GET", ONE).json()["shown_state"] == "Being deleted"
    for method, path in (("PATCH", ONE), ("POST", f"{ONE}/turn-on"), ("POST", f"{ONE}/finish")):
        assert connected.api(method, path, {}, {"If-Match": etag(connected)}).status == 404


def test_no_token_is_ever_told_logged_or_recorded(connected):
    """Good, wrong and misplaced tokens, through every operation that takes one."""
    wrong, misplaced = "wrong-token-0123456789abcdef", "misplaced-0123456789ABCDEF-token"
    tokens = [connected.keeper.token, wrong, misplaced]
    answers = [
        edit(connected, {"token": wrong}),
        edit(connected, {"patch_dialect": misplaced}),
        edit(connected, {misplaced: "x"}),
        edit(connected, {"endpoint": f"https://keepersecurity.com/{misplaced}", "token": wrong}),
        edit(connected, {"deprovisioning": {"app_off": {"suspend_after": misplaced}}}),
        connected.api("POST", f"{ONE}/check", {"token": wrong}),
        connected.api("POST", "/connections", new(connected, name=misplaced * 4)),
        connected.through_proxy("PATCH", f"/api{ONE}", f'{{"token": "{misplaced}'.encode(), {"If-Match": "*"}),
    ]
    assert {answer.status for answer in answers} <= {400, 404, 415}
    answers.append(edit(connected, {"token": connected.keeper.token}))
    answers += [connected.api("GET", ONE), connected.api("GET", "/connections"), connected.api("GET", f"{ONE}/events")]
    assert {answer.status for answer in answers[-4:]} == {200}
    said = {"answers": "".join(f"{answer.headers}{answer.text}" for answer in answers)}
    said |= connected.logs() | {"events": json.dumps(connected.events(), default=str)}
    for where, text in said.items():
        for token in tokens:
            assert token not in text, where
