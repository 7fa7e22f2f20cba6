"""Why, and provision now, through the whole local cloud; before and after in the audit as Firestore keeps it."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from autoprovisioning.app.administration.explain import Explanation, explain
from autoprovisioning.app.administration.inquire import inquire
from autoprovisioning.app.administration.roles import Role
from autoprovisioning.app.ports.reports import Filters
from autoprovisioning.domain.decision import BackOff
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Action, Status
from autoprovisioning.domain.errors import BadInput, NotFound
from autoprovisioning.domain.events import Actor, Event, EventName
from autoprovisioning.domain.holds import Standing
from autoprovisioning.domain.requests import INQUIRY, Inquiry, InquiryKind, RequestState
from autoprovisioning.domain.settings import VolumeLimit
from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.support.system import ADMIN, GROUP, GROUP_ID, Town, person

BY = Actor(address=ADMIN, directory_id="u0")


def told(town: Town, user_id: str) -> list[Event]:
    """Return a user's audit as the console reads it, oldest first."""
    from autoprovisioning.bootstrap import reports

    return list(reversed(reports().events(CONNECTION, Filters(user=user_id), "", 50).items))


def why(town: Town, user_id: str) -> Explanation:
    from autoprovisioning.bootstrap import reports

    desk = town.desk()
    return explain(desk, reports(), desk.connections.get(CONNECTION), user_id)


def ask(town: Town, user_id: str, kind: InquiryKind) -> str:
    """Ask as the console does; the answer comes through Pub/Sub."""
    return inquire(town.desk(), CONNECTION, user_id, kind, BY, Role.SUPER).id


def answered(town: Town, inquiry_id: str, seconds: float = 20) -> Inquiry:
    def found() -> Inquiry | None:
        inquiry = town.desk().requests.get(INQUIRY, CONNECTION, inquiry_id)
        return inquiry if inquiry is not None and not inquiry.under_way else None

    answer: Inquiry = wait_for(found, "the answer", seconds)
    return answer


def texts(inquiry: Inquiry) -> list[str]:
    return [step.text for step in inquiry.result.steps]


def accounts_of(town: Town, user_id: str) -> list[dict[str, Any]]:
    return [account for account in town.keeper.accounts() if account.get("externalId") == user_id]


def test_a_rename_shows_what_was_there_before_by_notification_and_by_a_run(town):
    town.provisioned()
    town.directory.patch("u1", {"name": {"familyName": "Hopper"}})
    town.await_account("u1", lambda account: account["name"]["familyName"] == "Hopper")
    wait_for(lambda: len(told(town, "u1")) == 2, "the event")
    wait_for(lambda: town.look("u1") == 204 and town.entry("u1").mark is None, "quiet")
    town.directory.weather(lose=True)
    for user_id in ("u1", "u2"):
        town.directory.patch(user_id, {"name": {"familyName": "Lovelace"}})
    town.sync()
    wait_for(lambda: len(told(town, "u1")) == 3, "the run's event, or that of a look which the run asked for")
    created, noticed, planned = told(town, "u1")
    assert (created.before, created.after["name.familyName"]) == ({}, "Family1")
    assert (noticed.before, noticed.changed) == (
        {"displayName": "Given1 Family1", "name.familyName": "Family1"},
        {"displayName": "Given1 Hopper", "name.familyName": "Hopper"},
    )
    assert noticed.actor.startswith("notification ")
    assert planned.before == noticed.changed
    assert planned.changed == {"displayName": "Given1 Lovelace", "name.familyName": "Lovelace"}
    assert planned.actor.startswith("run ")
    assert planned.after == created.after | planned.changed
    assert told(town, "u2")[-1].before == {"displayName": "Given2 Family2", "name.familyName": "Family2"}
    assert town.entry("u1").applied_by == planned.id


def test_an_account_that_is_adopted_shows_what_it_had_and_access_is_shown_as_active(town):
    town.provisioned()
    theirs = {"userName": "person30@example.com", "displayName": "Somebody", "active": True}
    town.keeper.control("PUT", "accounts", [*town.keeper.accounts(), theirs])
    town.directory.weather(lose=True)
    town.directory.insert(person(30))
    town.directory.join(GROUP_ID, "u30")
    assert town.look("u30") == 204
    (adopted,) = told(town, "u30")
    assert adopted.name is EventName.ADOPTED
    assert (adopted.before["displayName"], adopted.changed["displayName"]) == ("Somebody", "Given30 Family30")
    assert adopted.before["name.familyName"] is None
    for suspended, name in ((True, EventName.SUSPENDED), (False, EventName.UNSUSPENDED)):
        town.directory.patch("u30", {"suspended": suspended})
        assert town.look("u30") == 204
        event = told(town, "u30")[-1]
        assert (event.name, event.changed, event.before) == (name, {"active": not suspended}, {"active": suspended})
    town.directory.patch("u30", {"name": {"familyName": "Hopper"}})
    assert town.look("u30") == 204
    assert told(town, "u30")[-1].before["name.familyName"] == "Family30", "what was written last, not who was let in"


def test_why_tells_of_those_in_step_and_those_who_are_not(town):
    town.provisioned()
    town.directory.weather(lose=True)
    town.directory.insert(person(40))
    town.directory.patch("u2", {"archived": True})
    town.directory.patch("u3", {"name": {"familyName": "Hopper"}})
    town.directory.delete("u4")
    town.directory.leave(GROUP_ID, "u5")
    assert town.look("u4", evidence={"missing": True}) == 204

    in_step = why(town, "u1")
    assert (in_step.standing.in_scope, [group.email for group in in_step.standing.groups]) == (True, [GROUP])
    assert (in_step.action, in_step.to_write) == (None, {})
    assert {row.target: row.value for row in in_step.mapped}["userName"] == "person1@example.com"
    assert [event.name for event in in_step.events] == [EventName.CREATED]
    assert in_step.words.startswith("In step: ")

    outside = why(town, "u40")
    assert (outside.entry, outside.standing.in_scope, outside.events) == (None, False, ())
    assert outside.words == "The user is not in the provisioning scope and has no account: nothing is to be done."

    archived = why(town, "u2")
    assert archived.user.presence is Presence.ARCHIVED
    assert archived.words.startswith("Archived users are not operated on")

    renamed = why(town, "u3")
    assert set(renamed.to_write) == {"displayName", "name.familyName"}
    assert renamed.words.startswith("Due now: update displayName, name.familyName, because")

    deleted = why(town, "u4")
    assert (deleted.user.presence, deleted.email) == (Presence.DELETED, "person4@example.com")
    assert deleted.entry.status is Status.SUSPENDED
    assert [event.name for event in deleted.events] == [EventName.SUSPENDED, EventName.CREATED]

    left = why(town, "u5")
    assert (left.standing.in_scope, left.action) == (None, None)

    with pytest.raises(NotFound):
        why(town, "nobody")


def test_why_tells_of_a_failure_and_of_a_hold(town):
    town.provisioned(limit=VolumeLimit(minimum=1, percent=1.0))
    town.directory.weather(lose=True)
    town.keeper.settings(taken_addresses=["person41@example.com"])
    town.directory.insert(person(41))
    town.directory.join(GROUP_ID, "u41")
    for user_id in ("u1", "u2"):
        town.directory.patch(user_id, {"suspended": True})
    summary = town.sync()
    assert (summary["failed"], summary["held"]) == (1, 2)

    failing = why(town, "u41")
    assert (failing.entry.failure.code, isinstance(failing.decision, BackOff)) == ("address_taken", True)
    assert failing.words.startswith("The last attempt failed; it is made again on ")
    assert [event.name for event in failing.events] == [EventName.FAILED]

    held = why(town, "u1")
    assert (held.action, held.held) == (Action.SUSPEND, Standing.WAITING)
    assert held.words.startswith("Held until an administrator approves it under Held plans")
    town.keeper.control("DELETE", "requests")
    why(town, "u1")
    assert not town.keeper.requests()["total"], "an explanation never asks Keeper"


def test_looking_into_keeper_answers_within_seconds_and_changes_nothing(town):
    town.provisioned()
    before = town.snapshot()
    town.keeper.control("DELETE", "requests")
    answer = answered(town, ask(town, "u1", InquiryKind.EXPLAIN))
    assert (answer.state, answer.problem) == (RequestState.DONE, "")
    assert answer.result.account.scim_id == town.account("u1")["id"]
    assert answer.result.account.attributes["name.familyName"] == "Family1"
    assert "by the SCIM id of the roster" in texts(answer)[-1]
    assert town.snapshot() == before


def test_provision_now_makes_the_account_within_seconds_and_only_one_when_clicked_twice(town):
    town.provisioned()
    town.directory.weather(lose=True)
    town.directory.insert(person(42))
    town.directory.join(GROUP_ID, "u42")
    town.keeper.settings(latency_ms=50)
    began = time.monotonic()
    asked: list[str] = []
    clicks = [threading.Thread(target=lambda: asked.append(ask(town, "u42", InquiryKind.PROVISION))) for _ in range(2)]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()
    (inquiry_id,) = set(asked)  # whoever clicked last got the one that waited
    answer = answered(town, inquiry_id)
    assert time.monotonic() - began < 10
    assert answer.state is RequestState.DONE
    wait_for(lambda: town.entry("u42").mark is None, "its end")
    (account,) = accounts_of(town, "u42")
    assert account["id"] == answer.result.account.scim_id
    steps = texts(answer)
    assert sum("Recorded as: Create User By Auto Provisioning." in text for text in steps) == 1
    assert not any("person42@example.com" in text for text in steps)
    (event,) = told(town, "u42")
    assert (event.name, event.actor, event.actor_id) == (EventName.CREATED, ADMIN, "u0")


def test_keeper_being_down_is_told_at_once_and_the_change_is_caught_up_later(town):
    town.provisioned()
    town.directory.weather(lose=True)
    town.directory.patch("u1", {"name": {"familyName": "Hopper"}})
    town.keeper.fault(match={"path": "/Users"}, status=503, times=None)
    answer = answered(town, ask(town, "u1", InquiryKind.PROVISION), 30)
    assert answer.state is RequestState.FAILED
    assert answer.problem
    assert any(step.failed for step in answer.result.steps)
    town.keeper.control("DELETE", "faults")
    town.await_account("u1", lambda account: account["name"]["familyName"] == "Hopper", 60)
    assert len(accounts_of(town, "u1")) == 1


def test_a_paused_connection_is_not_provisioned_but_can_be_asked_why(town):
    town.provisioned()
    old = town.keeper.token
    town.keeper.rotate()
    town.sync()
    assert (town.state(), town.keeper.token != old) == ("paused", True)
    with pytest.raises(BadInput, match="Reauthorize it first"):
        ask(town, "u1", InquiryKind.PROVISION)
    answer = answered(town, ask(town, "u1", InquiryKind.EXPLAIN))
    assert answer.state is RequestState.FAILED
    assert "must reauthorize it" in answer.problem
    assert texts(answer)[0].startswith("The connection is paused")
    assert why(town, "u1").words.startswith("In step: ")
