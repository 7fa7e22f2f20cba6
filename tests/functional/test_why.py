"""Why, and provision now, through the whole local cloud; before and after in the audit as Firestore keeps it."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from autoprovisioning.app.administration.explain import Explanation, explain
from autoprovisioning.app.administration.inquire import inquire
from autoprovisioning.app.administration.roles import Role
from autoprovisioning.domain.decision import BackOff
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Action, Status
from autoprovisioning.domain.errors import BadInput, NotFound
from autoprovisioning.domain.event_search import Filters
from autoprovisioning.domain.events import Actor, Event, EventName
from autoprovisioning.domain.holds import Standing
from autoprovisioning.domain.requests import INQUIRY, Inquiry, InquiryKind, RequestState
from autoprovisioning.domain.settings import VolumeLimit
from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.support.system import ADMIN, GROUP, GROUP_ID, System, person

BY = Actor(address=ADMIN, directory_id="u0")


def told(system: System, user_id: str) -> list[Event]:
    """Return a user's audit as the console reads it, oldest first."""
    from autoprovisioning.bootstrap import reports

    return list(reversed(reports().events(CONNECTION, Filters(user=user_id), "", 50).items))


def why(system: System, user_id: str) -> Explanation:
    from autoprovisioning.bootstrap import reports

    services = system.services()
    return explain(services, reports(), services.connections.get(CONNECTION), user_id)


def ask(system: System, user_id: str, kind: InquiryKind) -> str:
    """Ask as the console does; the answer comes through Pub/Sub."""
    return inquire(system.services(), CONNECTION, user_id, kind, BY, Role.SUPER).id


def answered(system: System, inquiry_id: str, seconds: float = 20) -> Inquiry:
    def found() -> Inquiry | None:
        inquiry = system.services().requests.get(INQUIRY, CONNECTION, inquiry_id)
        return inquiry if inquiry is not None and not inquiry.under_way else None

    answer: Inquiry = wait_for(found, "the answer", seconds)
    return answer


def texts(inquiry: Inquiry) -> list[str]:
    return [step.text for step in inquiry.result.steps]


def accounts_of(system: System, user_id: str) -> list[dict[str, Any]]:
    return [account for account in system.keeper.accounts() if account.get("externalId") == user_id]


def test_a_rename_shows_what_was_there_before_by_notification_and_by_a_run(system):
    system.restored()
    system.directory.patch("u1", {"name": {"familyName": "Hopper"}})
    system.await_account("u1", lambda account: account["name"]["familyName"] == "Hopper")
    wait_for(lambda: len(told(system, "u1")) == 2, "the event")
    wait_for(lambda: system.look("u1") == 204 and system.entry("u1").mark is None, "quiet")
    system.directory.weather(lose=True)
    for user_id in ("u1", "u2"):
        system.directory.patch(user_id, {"name": {"familyName": "Lovelace"}})
    system.sync()
    wait_for(lambda: len(told(system, "u1")) == 3, "the run's event, or that of a look which the run asked for")
    created, noticed, planned = told(system, "u1")
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
    assert told(system, "u2")[-1].before == {"displayName": "Given2 Family2", "name.familyName": "Family2"}
    assert system.entry("u1").applied_by == planned.id


def test_an_account_that_is_adopted_shows_what_it_had_and_access_is_shown_as_active(system):
    system.restored()
    theirs = {"userName": "person30@example.com", "displayName": "Somebody", "active": True}
    system.keeper.control("PUT", "accounts", [*system.keeper.accounts(), theirs])
    system.directory.weather(lose=True)
    system.directory.insert(person(30))
    system.directory.join(GROUP_ID, "u30")
    assert system.look("u30") == 204
    (adopted,) = told(system, "u30")
    assert adopted.name is EventName.ADOPTED
    assert (adopted.before["displayName"], adopted.changed["displayName"]) == ("Somebody", "Given30 Family30")
    assert adopted.before["name.familyName"] is None
    for suspended, name in ((True, EventName.SUSPENDED), (False, EventName.UNSUSPENDED)):
        system.directory.patch("u30", {"suspended": suspended})
        assert system.look("u30") == 204
        event = told(system, "u30")[-1]
        assert (event.name, event.changed, event.before) == (name, {"active": not suspended}, {"active": suspended})
    system.directory.patch("u30", {"name": {"familyName": "Hopper"}})
    assert system.look("u30") == 204
    assert told(system, "u30")[-1].before["name.familyName"] == "Family30", "what was written last, not who was let in"


def test_why_tells_of_those_in_step_and_those_who_are_not(system):
    system.restored()
    system.directory.weather(lose=True)
    system.directory.insert(person(40))
    system.directory.patch("u2", {"archived": True})
    system.directory.patch("u3", {"name": {"familyName": "Hopper"}})
    system.directory.delete("u4")
    system.directory.leave(GROUP_ID, "u5")
    assert system.look("u4", evidence={"missing": True}) == 204

    in_step = why(system, "u1")
    assert (in_step.standing.in_scope, [group.email for group in in_step.standing.groups]) == (True, [GROUP])
    assert (in_step.action, in_step.to_write) == (None, {})
    assert {row.target: row.value for row in in_step.mapped}["userName"] == "person1@example.com"
    assert [event.name for event in in_step.events] == [EventName.CREATED]
    assert in_step.words.startswith("In step: ")

    outside = why(system, "u40")
    assert (outside.entry, outside.standing.in_scope, outside.events) == (None, False, ())
    assert outside.words == "The user is not in the provisioning scope and has no account: there is nothing to do."

    archived = why(system, "u2")
    assert archived.user.presence is Presence.ARCHIVED
    assert archived.words.startswith("Archived users are not operated on")

    renamed = why(system, "u3")
    assert set(renamed.to_write) == {"displayName", "name.familyName"}
    assert renamed.words.startswith("Due now: update the name, last name, because")

    deleted = why(system, "u4")
    assert (deleted.user.presence, deleted.email) == (Presence.DELETED, "person4@example.com")
    assert deleted.entry.status is Status.SUSPENDED
    assert [event.name for event in deleted.events] == [EventName.SUSPENDED, EventName.CREATED]

    left = why(system, "u5")
    assert (left.standing.in_scope, left.action) == (None, None)

    with pytest.raises(NotFound):
        why(system, "nobody")


def test_why_tells_of_a_failure_and_of_a_hold(system):
    system.provisioned(limit=VolumeLimit(minimum=1, percent=1.0))
    system.directory.weather(lose=True)
    system.keeper.settings(taken_addresses=["person41@example.com"])
    system.directory.insert(person(41))
    system.directory.join(GROUP_ID, "u41")
    for user_id in ("u1", "u2"):
        system.directory.patch(user_id, {"suspended": True})
    summary = system.sync()
    assert (summary["failed"], summary["held"]) == (1, 2)

    failing = why(system, "u41")
    assert (failing.entry.failure.code, isinstance(failing.decision, BackOff)) == ("address_taken", True)
    assert failing.words.startswith("The last attempt failed; the next one is on ")
    assert [event.name for event in failing.events] == [EventName.FAILED]

    held = why(system, "u1")
    assert (held.action, held.held) == (Action.SUSPEND, Standing.WAITING)
    assert held.words.startswith("Held until an administrator approves it under Approvals")
    system.keeper.control("DELETE", "requests")
    why(system, "u1")
    assert not system.keeper.requests()["total"], "an explanation never asks Keeper"


def test_looking_into_keeper_answers_within_seconds_and_changes_nothing(system):
    system.restored()
    before = system.snapshot()
    system.keeper.control("DELETE", "requests")
    answer = answered(system, ask(system, "u1", InquiryKind.EXPLAIN))
    assert (answer.state, answer.problem) == (RequestState.DONE, "")
    assert answer.result.account.scim_id == system.account("u1")["id"]
    assert answer.result.account.attributes["name.familyName"] == "Family1"
    assert "by the SCIM id that is on record" in texts(answer)[-1]
    assert system.snapshot() == before


def test_provision_now_makes_the_account_within_seconds_and_only_one_when_clicked_twice(system):
    system.restored()
    system.directory.weather(lose=True)
    system.directory.insert(person(42))
    system.directory.join(GROUP_ID, "u42")
    system.keeper.settings(latency_ms=50)
    began = time.monotonic()
    asked: list[str] = []
    clicks = [
        threading.Thread(target=lambda: asked.append(ask(system, "u42", InquiryKind.PROVISION))) for _ in range(2)
    ]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()
    (inquiry_id,) = set(asked)  # the last click returned the one that was waiting
    answer = answered(system, inquiry_id)
    assert time.monotonic() - began < 10
    assert answer.state is RequestState.DONE
    wait_for(lambda: system.entry("u42").mark is None, "its end")
    (account,) = accounts_of(system, "u42")
    assert account["id"] == answer.result.account.scim_id
    steps = texts(answer)
    assert sum("Recorded as: Create User By Auto Provisioning." in text for text in steps) == 1
    assert not any("person42@example.com" in text for text in steps)
    (event,) = told(system, "u42")
    assert (event.name, event.actor, event.actor_id) == (EventName.CREATED, ADMIN, "u0")


def test_keeper_being_down_is_told_at_once_and_the_change_is_caught_up_later(system):
    system.restored()
    system.directory.weather(lose=True)
    system.directory.patch("u1", {"name": {"familyName": "Hopper"}})
    system.keeper.fault(match={"path": "/Users"}, status=503, times=None)
    answer = answered(system, ask(system, "u1", InquiryKind.PROVISION), 30)
    assert answer.state is RequestState.FAILED
    assert answer.problem
    assert any(step.failed for step in answer.result.steps)
    system.keeper.control("DELETE", "faults")
    system.await_account("u1", lambda account: account["name"]["familyName"] == "Hopper", 60)
    assert len(accounts_of(system, "u1")) == 1


def test_a_paused_connection_is_not_provisioned_but_can_be_asked_why(system):
    system.restored()
    old = system.keeper.token
    system.keeper.rotate()
    system.sync()
    assert (system.state(), system.keeper.token != old) == ("paused", True)
    with pytest.raises(BadInput, match="Reauthorize it first"):
        ask(system, "u1", InquiryKind.PROVISION)
    answer = answered(system, ask(system, "u1", InquiryKind.EXPLAIN))
    assert answer.state is RequestState.FAILED
    assert "must reauthorize it" in answer.problem
    assert texts(answer)[0].startswith("The connection is paused")
    assert why(system, "u1").words.startswith("In step: ")
