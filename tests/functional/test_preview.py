"""Previews through the real functions: asked for, computed by `reconcile` beside a run, and kept to by the next run."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.requests import PREVIEW, Proposal
from autoprovisioning.domain.scope import Scope
from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.support.builders import requested
from tests.support.plain_browser import Browser
from tests.support.settings import changed
from tests.support.system import ADMIN, GROUP, GROUP_ID, System, person

BY = Actor(address=ADMIN, directory_id="u0")
FINISHED = ("done", "failed")


def settings(system: System, **changes: Any) -> Any:

    return changed(system.services().connections.get(CONNECTION).settings, **changes)


def ask(system: System, connection_id: str = CONNECTION, **changes: Any) -> Any:
    from autoprovisioning.app.administration.preview import ask_preview

    services = system.services()
    edition = services.connections.get(connection_id).edition
    return ask_preview(services, connection_id, edition, settings(system, **changes), BY)


def computed(system: System, asked: Any) -> Any:
    """Wait for a preview, and return it."""

    def finished() -> Any:
        preview = system.services().requests.get(PREVIEW, asked.connection_id, asked.id)
        return preview if preview.state.value in FINISHED else None

    return wait_for(finished, "the preview")


def told(system: System, preview: Any) -> dict[str, set[str]]:
    """Return the directory ids of a preview's lines, by what would happen."""
    kinds: dict[str, set[str]] = {}
    for line in system.services().preview_lines.every(preview):
        kinds.setdefault(line.would.value, set()).add(line.user_id)
    return kinds


NAMES = {
    "Create User By Auto Provisioning": "create",
    "Adopt User By Auto Provisioning": "adopt",
    "Update Auto Provisioned User": "update",
    "Suspend Auto Provisioned User": "suspend",
    "Unsuspend Auto Provisioned User": "unsuspend",
    "Delete Auto Provisioned User": "delete",
    "Failures": "fail",
}


def happened(system: System, known: int) -> dict[str, set[str]]:
    """Return the directory ids of the audit's lines after the first so many, by what happened."""
    kinds: dict[str, set[str]] = {}
    for event in system.events()[known:]:
        if event["user_id"]:
            kinds.setdefault(NAMES[event["name"]], set()).add(event["user_id"])
    return kinds


@pytest.fixture
def working(system):
    """A provisioned connection without notifications, so that nothing happens until the next run."""
    system.connect()
    system.sync()
    return system


def changed_directory(system: System) -> None:
    """Let something of every kind happen in the directory."""
    theirs = [
        {"userName": "person31@example.com", "active": True},
        {"userName": "person32@example.com", "externalId": "u99", "active": True},
    ]
    system.keeper.control("PUT", "accounts", [*system.keeper.accounts(), *theirs])
    for number in (30, 31, 32):
        system.directory.insert(person(number))
        system.directory.join(GROUP, f"u{number}")
    system.directory.patch("u1", {"name": {"familyName": "Byron"}})
    system.directory.leave(GROUP_ID, "u2")
    system.directory.patch("u3", {"suspended": True})
    system.directory.delete("u4")


def test_the_next_run_does_what_the_preview_of_an_edit_said(working):
    from autoprovisioning.app.administration.preview import save_preview

    changed_directory(working)
    before = working.snapshot()
    preview = computed(working, ask(working, name="Vault"))
    assert (preview.state.value, preview.problem, preview.result.held) == ("done", "", False)
    said = told(working, preview)
    assert said == {
        "create": {"u30"},
        "adopt": {"u31"},
        "fail": {"u32"},
        "update": {"u1"},
        "suspend": {"u2", "u3", "u4"},
    }
    assert preview.result.counts == {"create": 1, "adopt": 1, "fail": 1, "update": 1, "suspend": 3, "unchanged": 8}
    assert working.snapshot() == before

    known = len(working.events())
    save_preview(working.services(), CONNECTION, preview.id, BY)
    working.sync()
    wait_for(lambda: not working.services().runs.open(CONNECTION), "the run")
    assert happened(working, known) == said


def test_turning_on_a_draft_does_what_its_preview_said(system):
    from autoprovisioning.app.administration.configure import finish, set_up, turn_on
    from autoprovisioning.domain.settings import Settings

    system.keeper.control("PUT", "accounts", [{"userName": "person1@example.com", "active": True}])
    wanted = Settings(endpoint=system.keeper.endpoint, scope=Scope.named(groups=(GROUP,)))
    set_up(system.services(), wanted, system.keeper.token, BY, CONNECTION)
    preview = computed(system, ask(system))
    everybody = {f"u{number}" for number in range(12)}
    assert told(system, preview) == {"adopt": {"u1"}, "create": everybody - {"u1"}}
    assert system.active() == {""}
    finish(system.services(), CONNECTION, BY)
    turn_on(system.services(), CONNECTION, BY, run=False)
    system.sync()
    assert happened(system, 0) == told(system, preview)


def old_accounts(system: System) -> None:
    """Let a hire find an account that is older, and another one an account under an alias."""
    created = {"meta": {"created": "2001-01-01T00:00:00Z"}, "active": True}
    seeds = [{"id": "old", "userName": "person31@example.com"}, {"id": "shared", "userName": "support@example.com"}]
    system.keeper.control("PUT", "accounts", [*system.keeper.accounts(), *(seed | created for seed in seeds)])
    for number in (31, 32):
        system.directory.insert(person(number))
        system.directory.join(GROUP, f"u{number}")
    system.directory.call("POST", "users/u32/aliases", {"alias": "support@example.com"})


def test_an_adoption_in_doubt_is_confirmed_on_the_page_and_done_by_the_run_that_follows(working):
    old_accounts(working)
    working.sync()
    assert working.entry("u31").failure.code == "adoption_in_doubt"
    assert working.account("u32")["userName"] == "person32@example.com"
    preview = computed(working, ask(working))
    assert told(working, preview) == {"doubt": {"u31"}}
    page = Browser(working.through_proxy, working.world.console_url).open(
        f"/connections/{CONNECTION}/previews/{preview.id}?kind=doubt"
    )
    done = page.send("Confirm adoptions", "all")
    assert "Confirmed. A reconciliation has been requested" in done.text
    working.await_account("u31", lambda account: account["id"] == "old")
    assert told(working, computed(working, ask(working))) == {}
    assert "externalId" not in next(each for each in working.keeper.accounts() if each["id"] == "shared")


def test_the_api_confirms_what_a_preview_lists_and_nothing_else(working):
    old_accounts(working)
    preview = computed(working, ask(working))
    address = f"/connections/{CONNECTION}/previews/{preview.id}"
    lines = {line["user_id"]: line for line in working.api("GET", f"{address}/users").json()["items"]}
    assert {user_id: (line["would"], line["scim_id"]) for user_id, line in lines.items()} == {
        "u31": ("doubt", "old"),
        "u32": ("create", "shared"),
    }
    for body in ({}, {"users": []}, {"users": ["u1"]}, {"users": ["u31"], "all": True}, {"users": "u31"}):
        answer = working.api("POST", f"{address}/adoptions", body)
        assert (answer.status, answer.json()["field"]) == (400, "users"), body
    answer = working.api("POST", f"{address}/adoptions", {"users": ["u31", "u32"]})
    assert (answer.status, answer.json()) == (200, {"confirmed": 2, "run_requested": True})
    working.await_account("u31", lambda account: account["id"] == "old")
    working.await_account("u32", lambda account: account["id"] == "shared")
    assert working.account("u32")["userName"] == "person32@example.com"


def test_a_wider_scope_is_previewed_with_its_lines_in_pages(working):
    for number in range(100, 130):
        working.directory.insert(person(number))
    preview = computed(working, ask(working, scope_groups=()))
    assert preview.result.counts == {"create": 30, "unchanged": 12}
    first = working.services().preview_lines.page(preview, None, "", 20)
    second = working.services().preview_lines.page(preview, None, first.cursor, 20)
    assert (len(first.items), len(second.items), second.cursor) == (20, 10, "")
    addresses = [line.email for line in (*first.items, *second.items)]
    assert addresses == sorted(f"person{number}@example.com" for number in range(100, 130))


def test_a_scope_group_that_cannot_be_read_deprovisions_nobody_and_is_named(working):
    changed_directory(working)
    working.directory.fault(match={"method": "members.list"}, status=403, reason="forbidden", times=None)
    preview = computed(working, ask(working))
    assert preview.state.value == "done"
    assert set(told(working, preview)) <= {"update"}
    assert any(GROUP in note for note in preview.result.notes)
    assert any("complete listings" in note for note in preview.result.notes)


def test_a_refused_token_fails_the_preview_with_the_reason_and_pauses_nothing(working):
    working.keeper.rotate()
    preview = computed(working, ask(working))
    assert preview.state.value == "failed"
    assert "access token" in preview.problem
    assert working.state() == "on"


def test_what_keeper_fails_at_for_a_moment_is_tried_again(working):
    fault = working.keeper.fault(match={"method": "GET", "path": "/Users"}, status=429, times=8)
    asked = ask(working)
    wait_for(lambda: working.keeper.matched(fault), "the fault")
    working.keeper.control("DELETE", "faults")
    assert computed(working, asked).state.value == "done"


def test_a_preview_is_computed_while_a_reconciliation_is_under_way(working):
    services = working.services()
    assert services.leases.take("reconcile", "another", services.clock(), timedelta(minutes=2)) is not None
    try:
        assert computed(working, ask(working)).state.value == "done"
    finally:
        services.leases.release("reconcile", "another")


def test_an_expired_preview_is_acknowledged_and_left_alone(working):
    now = working.services().clock()
    proposal = Proposal(edition=0, settings=settings(working))
    long_ago = now - PREVIEW.kept - timedelta(minutes=1)
    expired = requested(PREVIEW, proposal, id="old", connection_id=CONNECTION, asked_at=long_ago)
    working.services().requests.put(expired)
    stored = document("old")
    assert working.push("reconcile", named("old")) == 204
    assert document("old") == stored


def named(preview_id: str, connection_id: str = CONNECTION) -> dict[str, str]:
    """Return the message that asks for a preview to be computed."""
    return {"work": "preview", "connection": connection_id, "request": preview_id}


def document(preview_id: str) -> dict[str, Any]:
    from autoprovisioning.bootstrap import _database

    client = _database().client
    return client.document(f"connections/{CONNECTION}/requests/{preview_id}").get().to_dict()


@pytest.mark.parametrize("connection_id", [CONNECTION, "unknown"])
def test_a_preview_that_is_not_there_is_acknowledged(working, connection_id):
    assert working.push("reconcile", named("unknown", connection_id)) == 204


@pytest.mark.parametrize("message", [named("unknown", ""), {"kind": "full", "preview": "an/older-one"}])
def test_a_preview_that_is_named_wrongly_is_acknowledged_and_starts_no_run(working, message):
    before = working.snapshot()
    assert working.push("reconcile", message) == 204
    assert working.snapshot() == before


def test_a_preview_can_be_asked_for_again_by_hand(working):
    asked = ask(working)
    done = computed(working, asked)
    answer = working.ask("reconcile", body=json.dumps(named(asked.id)).encode())
    assert (answer.status, answer.json()) == (200, {"preview": asked.id})
    assert working.services().requests.get(PREVIEW, CONNECTION, asked.id) == done
