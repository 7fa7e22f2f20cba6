"""What the API reports: audit, failures, usage, runs, health, held plans, previews, and the directory."""

from __future__ import annotations

import base64
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

import pytest

from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.support.system import ADMIN, GROUP, GROUP_ID, System

ONE = f"/connections/{CONNECTION}"
CREATED = "Create User By Auto Provisioning"


def everything(system: System, path: str, **query: str | int) -> list[dict]:
    """Read a list to its end, page by page."""
    items: list[dict] = []
    cursor = ""
    while True:
        answer = system.api("GET", f"{path}?{urlencode({**query, 'cursor': cursor})}")
        assert answer.status == 200, answer.text
        page = answer.json()
        items += page["items"]
        assert len(page["items"]) <= int(query.get("limit", 50))
        cursor = page["cursor"]
        if not cursor:
            return items


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


# ---- the audit


def test_the_audit_is_read_page_by_page_newest_first(settled):
    whole = everything(settled, f"{ONE}/events")
    assert len([event for event in whole if event["name"] == CREATED]) == 12
    assert [event["at"] for event in whole] == sorted((event["at"] for event in whole), reverse=True)
    assert everything(settled, f"{ONE}/events", limit=5) == whole


def test_the_audit_is_filtered(settled):
    of_one = everything(settled, f"{ONE}/events", user="u3")
    assert {event["user_id"] for event in of_one} == {"u3"}
    assert everything(settled, f"{ONE}/events", user="person3@example.com") == of_one
    assert len(everything(settled, f"{ONE}/events", name=CREATED)) == 12
    assert {event["actor"] for event in everything(settled, f"{ONE}/events", actor="make connect")} == {"make connect"}
    now = datetime.now(UTC)
    later = (now + timedelta(hours=1)).isoformat()
    assert everything(settled, f"{ONE}/events", since=later) == []
    assert everything(settled, f"{ONE}/events", until=later, name=CREATED) == everything(
        settled, f"{ONE}/events", name=CREATED
    )


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("cursor=of-somebody-else", "cursor"),
        ("name=Party", "name"),
        ("since=yesterday", "since"),
        ("since=2026-01-01T00:00:00", "since"),
        ("since=0001-01-01T00:00:00%2B14:00", "since"),
        ("until=9999-12-31T23:00:00-14:00", "until"),
        ("colour=red", "colour"),
    ],
)
def test_a_query_that_does_not_fit_is_refused_by_its_field(settled, query, field):
    answer = settled.api("GET", f"{ONE}/events?{query}")
    assert (answer.status, answer.json()["field"]) == (400, field)


def test_the_audit_is_downloaded_whole_and_no_cell_is_a_formula(system):
    system.directory.patch("u1", {"name": {"givenName": "=HYPERLINK(1)", "familyName": "Ångström"}})
    system.connect()
    system.sync()
    answer = system.api("GET", f"{ONE}/events.csv?name={quote(CREATED)}")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="events-{CONNECTION}.csv"'
    found = rows(answer.text)
    assert len(found) == 12
    [row] = [row for row in found if row["user id"] == "u1"]
    assert "Ångström" in row["after"]
    cells = [cell for row in found for cell in row.values()]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))]


def test_failures_are_listed_and_downloaded(system):
    system.keeper.settings(taken_addresses=["person1@example.com"], reserved_domains=[])
    system.keeper.settings(seats=3)
    system.connect()
    system.sync()
    failing = everything(system, f"{ONE}/failures", limit=3)
    assert failing
    assert {"user_id", "email", "code", "reason", "attempts", "next_attempt"} <= set(failing[0])
    answer = system.api("GET", f"{ONE}/failures.csv")
    assert {row["user id"] for row in rows(answer.text)} == {failure["user_id"] for failure in failing}


def test_usage_counts_every_day_by_googles_names(settled):
    told = settled.api("GET", f"{ONE}/usage").json()
    assert len(told["days"]) == 30
    assert told["days"][-1]["day"] == told["last"]
    assert told["totals"][CREATED] == 12
    assert sum(day["counts"].get(CREATED, 0) for day in told["days"]) == 12
    assert len(settled.api("GET", f"{ONE}/usage?days=7").json()["days"]) == 7
    assert settled.api("GET", f"{ONE}/usage?days=91").status == 400


# ---- runs and health


def ask_for_run(system: System) -> str:
    """Request a run and return the address of its status."""
    answer = system.api("POST", f"{ONE}/runs")
    assert (answer.status, answer.json()["state"], answer.json()["asked_by"]) == (202, "waiting", ADMIN)
    return answer.headers["Location"].removeprefix("/api/v1")


def ended(system: System, address: str) -> dict:
    """Poll a request's status as Retry-After says, until it has ended."""

    def told() -> dict | None:
        answer = system.api("GET", address)
        return answer.json() if "Retry-After" not in answer.headers else None

    return wait_for(told, "the end of the run")


def test_a_run_is_asked_for_and_followed_to_its_end(system):
    system.connect()
    told = ended(system, ask_for_run(system))
    assert told["state"] == "done"
    run = told["run"]
    assert (run["kind"], run["counts"]["created"], run["batches_done"]) == ("full", 12, run["batches"])
    assert system.api("GET", f"{ONE}/runs/{run['id']}").json() == run
    assert system.api("GET", f"{ONE}/runs/unheard-of").status == 404
    assert system.api("GET", f"{ONE}/runs?limit=1").json()["items"] == [run]


def test_two_who_ask_are_each_told_of_their_own_run(system):
    system.connect()
    system.freeze("reconcile")
    first, second = ask_for_run(system), ask_for_run(system)
    assert system.api("GET", first).json()["state"] == "waiting"
    system.thaw("reconcile")
    runs = [ended(system, address)["run"]["id"] for address in (first, second)]
    assert len(set(runs)) == 2
    assert set(runs) == {run["id"] for run in everything(system, f"{ONE}/runs", limit=1)}


def test_a_run_that_the_directory_keeps_from_beginning_is_told_as_refused(system):
    system.connect()
    system.directory.fault(match={"method": "users.list"}, times=None, status=503)
    told = ended(system, ask_for_run(system))
    assert (told["state"], told["run"]["state"]) == ("refused", "refused")
    assert told["run"]["notes"]


def test_a_run_is_given_up_where_the_connection_is_turned_off_before_it_begins(system):
    system.connect()
    system.freeze("reconcile")
    address = ask_for_run(system)
    system.api("POST", f"{ONE}/turn-off")
    told = ended(system, address)
    assert (told["state"], told["run"]) == ("given up", None)
    assert "Off" in told["detail"]
    system.thaw("reconcile")


def test_a_request_that_comes_too_late_opens_a_run_in_nobodys_name(system):
    system.connect()
    data = base64.b64encode(b'{"kind": "full", "request": "late"}').decode()
    old = {"message": {"messageId": "m1", "data": data, "publishTime": "2026-01-01T00:00:00Z"}}
    sent = {"Content-Type": "application/json"}
    assert system.ask("reconcile", "POST", json.dumps(old).encode(), sent).status == 204
    assert len(everything(system, f"{ONE}/runs")) == 1
    assert system.services().runs.asked_for(CONNECTION, "late") is None


def test_a_run_that_nobody_asked_for_is_not_found(settled):
    assert settled.api("GET", f"{ONE}/run-requests/unheard-of").status == 404


def test_nothing_runs_on_a_connection_that_is_off(system):
    system.connect()
    system.api("POST", f"{ONE}/turn-off")
    answer = system.api("POST", f"{ONE}/runs")
    assert (answer.status, answer.json()["code"]) == (409, "wrong_state")


def test_health_tells_what_is_wrong_and_what_ends_it(system):
    system.restored()

    def well() -> dict | None:
        told = system.api("GET", f"{ONE}/health").json()
        return told if not told["concerns"] else None

    told = wait_for(well, "the proof of the channel")
    assert told["last_success"]["counts"]["created"] == 12
    assert told["last_hour"]["changes"] == 12
    assert told["live_until"]
    system.keeper.rotate()
    system.sync()
    [concern, *_] = system.api("GET", f"{ONE}/health").json()["concerns"]
    assert "Paused" in concern["what"]
    assert "token" in concern["mend"]


# ---- held plans


def held(system: System) -> dict:
    """Let a plan be held: everybody leaves."""
    system.provisioned(limit=_limit(3))
    for number in range(1, 12):
        system.directory.leave(GROUP_ID, f"u{number}")
    system.sync()
    [hold] = [hold for hold in system.api("GET", f"{ONE}/holds").json()["items"] if hold["state"] == "waiting"]
    return hold


def _limit(users: int):
    from autoprovisioning.domain.settings import VolumeLimit

    return VolumeLimit(minimum=users, percent=1.0)


def decide(system: System, digest: str, decision: str):
    return system.api("POST", f"{ONE}/holds/{digest}", {"decision": decision})


def test_a_held_plan_is_shown_with_its_users_and_approved_by_its_digest(system):
    hold = held(system)
    assert system.api("GET", "/connections").json()["items"][0]["shown_state"] == "Held: waiting for approval"
    assert hold["counts"] == {"suspend": 11}
    members = everything(system, f"{ONE}/holds/{hold['digest']}", limit=4)
    addresses = {f"u{number}": f"person{number}@example.com" for number in range(1, 12)}
    assert {member["user_id"]: member["email"] for member in members} == addresses
    assert {member["action"] for member in members} == {"suspend"}
    assert system.api("GET", f"{ONE}/holds/{hold['digest']}?cursor=x").json()["field"] == "cursor"
    approved = decide(system, hold["digest"], "approve")
    assert (approved.status, approved.json()["state"], approved.json()["decided_by"]) == (200, "approved", ADMIN)
    wait_for(lambda: system.active() == {"u0"}, "the suspensions")
    again = decide(system, hold["digest"], "reject")
    assert (again.status, again.json()["code"]) == (412, "stale")


def test_an_unknown_digest_is_not_found(settled):
    assert decide(settled, "0" * 32, "approve").status == 404
    assert settled.api("GET", f"{ONE}/holds/{'0' * 32}").status == 404


def test_the_digest_of_a_plan_that_changed_since_approves_nothing(system):
    hold = held(system)
    system.directory.leave(GROUP_ID, "u0")
    system.sync()
    answer = decide(system, hold["digest"], "approve")
    assert (answer.status, answer.json()["code"]) == (412, "stale")
    assert len(system.active()) == 12


# ---- previews


def previewed(system: System, change: dict) -> tuple[str, dict]:
    """Ask for a preview and wait for it; returns its address and what it tells."""
    tag = system.api("GET", ONE).headers["ETag"]
    answer = system.api("POST", f"{ONE}/previews", change, {"If-Match": tag})
    assert answer.status == 202, answer.text
    assert answer.json()["state"] == "waiting"
    address = answer.headers["Location"].removeprefix("/api/v1")

    def finished() -> dict | None:
        told = system.api("GET", address).json()
        return told if told["state"] in ("done", "failed") else None

    return address, wait_for(finished, "the preview")


def test_a_preview_tells_what_an_edit_would_do_and_is_saved(system):
    system.restored()
    accounts = system.keeper.accounts()
    state = system.directory.control("GET", "state")
    state["groups"].append({"id": "g-few", "email": "few@example.com", "name": "Few"})
    state["members"]["g-few"] = [{"id": "u1", "email": "person1@example.com", "type": "USER", "role": "MEMBER"}]
    system.directory.control("PUT", "state", state)
    address, told = previewed(system, {"scope": {"groups": ["few@example.com"]}})
    assert (told["state"], told["counts"]["suspend"], told["held"]) == ("done", 11, True)
    users = everything(system, f"{address}/users", would="suspend", limit=4)
    assert len(users) == 11
    assert system.api("GET", f"{address}/users?would=dance").json()["field"] == "would"
    downloaded = rows(system.api("GET", f"{address}/users.csv").text)
    assert {row["user id"] for row in downloaded} == {user["user_id"] for user in users}
    assert system.keeper.accounts() == accounts
    saved = system.api("POST", f"{address}/save")
    assert saved.status == 200
    assert [group["email"] for group in saved.json()["scope"]["groups"]] == ["few@example.com"]
    again = system.api("POST", f"{address}/save")
    assert (again.status, again.json()["code"]) == (412, "stale")


def test_a_preview_takes_neither_endpoint_nor_token(settled):
    tag = settled.api("GET", ONE).headers["ETag"]
    for name in ("endpoint", "token"):
        answer = settled.api("POST", f"{ONE}/previews", {name: "x"}, {"If-Match": tag})
        assert (answer.status, answer.json()["field"]) == (400, name)


def test_an_unknown_preview_is_not_found(settled):
    for path in ("", "/users", "/users.csv"):
        assert settled.api("GET", f"{ONE}/previews/unheard-of{path}").status == 404
    assert settled.api("POST", f"{ONE}/previews/unheard-of/save").status == 404


def test_a_preview_that_is_not_done_has_no_users_yet(system):
    system.restored()
    system.freeze("reconcile")
    tag = system.api("GET", ONE).headers["ETag"]
    address = system.api("POST", f"{ONE}/previews", {}, {"If-Match": tag}).headers["Location"].removeprefix("/api/v1")
    waiting = system.api("GET", address)
    assert (waiting.json()["state"], waiting.headers["Retry-After"]) == ("waiting", "1")
    for method, path in (("GET", "/users"), ("GET", "/users.csv"), ("POST", "/save")):
        assert system.api(method, address + path).status == 409
    system.thaw("reconcile")


# ---- the directory


def test_the_directory_is_searched(settled):
    assert [user["id"] for user in settled.api("GET", "/directory/users?search=person1@").json()["items"]] == ["u1"]
    assert settled.api("GET", "/directory/users?search=Family11").json()["items"][0]["email"] == "person11@example.com"
    [group] = settled.api("GET", "/directory/groups?search=keep").json()["items"]
    assert group == {"id": GROUP_ID, "email": GROUP, "name": "Keeper users"}
    assert settled.api("GET", "/directory/org-units").status == 200
    assert settled.api("GET", "/directory/users").json()["field"] == "search"
    assert settled.api("GET", "/directory/users?search=").json()["field"] == "search"


def test_the_mapping_is_chosen_from_what_keeper_and_the_directory_have(settled):
    told = settled.api("GET", f"{ONE}/mapping/choices").json()
    mandatory = [choice["target"] for choice in told["targets"] if choice["mandatory"]]
    assert mandatory == ["displayName", "emails.primary", "emails.value", "userName"]
    assert {"primaryEmail", "name.fullName", "organizations[primary].title"} <= set(told["sources"])


EVERY = ["", "/usage", "/failures", "/failures.csv", "/events", "/events.csv", "/holds", "/runs", "/health"]


@pytest.mark.parametrize(
    "path", [f"{ONE}/usage", f"{ONE}/events?limit=3", f"{ONE}/runs", f"{ONE}/holds", "/connections", "/me"]
)
def test_what_has_not_changed_is_not_sent_again(settled, path):
    known = settled.api("GET", path).headers["ETag"]
    again = settled.api("GET", path, headers={"If-None-Match": known})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", known)
    assert settled.api("GET", path, headers={"If-None-Match": '"other"'}).status == 200


def test_what_has_changed_is_sent(system):
    system.restored()
    known = system.api("GET", f"{ONE}/events").headers["ETag"]
    system.api("POST", f"{ONE}/turn-off")
    answer = system.api("GET", f"{ONE}/events", headers={"If-None-Match": known})
    assert (answer.status, answer.json()["items"][0]["reason"]) == (200, "Turned off")
    assert answer.headers["ETag"] != known


def test_a_download_has_no_etag(settled):
    assert "ETag" not in settled.api("GET", f"{ONE}/events.csv").headers


@pytest.mark.parametrize("path", [*EVERY, "/mapping/choices", "/holds/abc", "/runs/abc", "/previews/abc"])
def test_an_unknown_connection_is_not_found(settled, path):
    answer = settled.api("GET", f"/connections/nowhere{path}")
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json")


# ---- why?


def inquired(system: System, user_id: str, kind: str) -> dict:
    """Ask a worker about a user and wait for the answer."""
    answer = system.api("POST", f"{ONE}/users/{user_id}/inquiries", {"kind": kind})
    assert (answer.status, answer.json()["state"], answer.headers["Retry-After"]) == (202, "waiting", "1")
    address = answer.headers["Location"].removeprefix("/api/v1")

    def answered() -> dict | None:
        told = system.api("GET", address).json()
        return told if told["state"] != "waiting" else None

    return wait_for(answered, "the answer")


def test_a_user_is_explained(settled):
    told = settled.api("GET", f"{ONE}/users/u1").json()
    assert (told["email"], told["presence"], told["action"], told["to_write"]) == (
        "person1@example.com",
        "active",
        None,
        {},
    )
    assert (told["standing"]["in_scope"], told["standing"]["groups"][0]["email"]) == (True, GROUP)
    assert {row["target"]: row["value"] for row in told["mapped"]}["userName"] == "person1@example.com"
    assert told["entry"]["status"] == "active"
    assert CREATED in [event["name"] for event in told["events"]]
    for unknown in ("nobody99", "not-an-id"):
        assert settled.api("GET", f"{ONE}/users/{unknown}").status == 404


def test_the_account_in_keeper_is_looked_up(system):
    system.restored()
    found = inquired(system, "u1", "explain")
    assert (found["state"], found["account"]["user_name"]) == ("done", "person1@example.com")


def test_a_user_is_provisioned_now_and_the_steps_are_told(system):
    system.restored()
    system.directory.weather(lose=True)
    system.directory.patch("u1", {"name": {"familyName": "Now"}})
    done = inquired(system, "u1", "provision")
    assert done["state"] == "done"
    assert done["steps"]
    assert system.account("u1")["name"]["familyName"] == "Now"


def test_a_question_of_an_unknown_kind_is_refused(settled):
    answer = settled.api("POST", f"{ONE}/users/u1/inquiries", {"kind": "gossip"})
    assert answer.status == 400, answer.body
    assert answer.json()["field"] == "kind"
    assert settled.api("GET", f"{ONE}/inquiries/unheard-of").status == 404
