"""Inquiries: what only a worker can answer, how it is reported, and that nothing is lost over it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoprovisioning.app.administration.inquire import answer_inquiry, inquire
from autoprovisioning.app.administration.requests import find
from autoprovisioning.app.administration.roles import Role
from autoprovisioning.app.provisioning.read_user import Asked
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import BadInput, Busy, Forbidden, NotFound, Rejected, Throttled, Transient
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.requests import INQUIRY, Inquiry, InquiryKind, RequestState
from autoprovisioning.domain.runs import Look
from autoprovisioning.domain.scope import Group, Scope
from tests.support.in_memory import FakeKeeper
from tests.support.scenario import Scenario
from tests.support.settings import with_settings

ACTOR = Actor(address="admin@example.com", directory_id="u0")


def ask(scenario: Scenario, user_id: str, kind: InquiryKind) -> Look:
    """Ask, and return what was published."""
    inquire(scenario.services, "c1", user_id, kind, ACTOR, Role.SUPER)
    return scenario.fakes.queue.looks.pop()


def answer(scenario: Scenario, look: Look, message_id: str = "m") -> Inquiry | None:
    """Deliver it, and return the inquiry as it is then."""
    now = scenario.fakes.clock.now
    answer_inquiry(
        scenario.services, Asked(look=look, message_id=message_id, published=now), now + timedelta(minutes=1)
    )
    return stored(scenario, look.inquiry.partition("/")[2])


def stored(scenario: Scenario, inquiry_id: str) -> Inquiry | None:
    return find(scenario.services, INQUIRY, "c1", inquiry_id)


def by(scenario: Scenario, user_id: str) -> list[Actor]:
    """Return who the audit says acted on a user."""
    events = scenario.fakes.store.events["c1"].values()
    return [Actor(address=event.actor, directory_id=event.actor_id) for event in events if event.user_id == user_id]


def texts(inquiry: Inquiry) -> str:
    return " | ".join(step.text for step in inquiry.result.steps)


def test_an_inquiry_waits_and_is_published_with_who_asked(scenario):
    inquiry = inquire(scenario.services, "c1", "u1", InquiryKind.EXPLAIN, ACTOR, Role.DELEGATED)
    (look,) = scenario.fakes.queue.looks
    assert stored(scenario, inquiry.id) == inquiry
    assert (inquiry.state, inquiry.expires - inquiry.asked_at) == (RequestState.WAITING, timedelta(hours=1))
    assert (look.user_id, look.inquiry) == ("u1", f"c1/{inquiry.id}")
    assert inquiry.asked_by == ACTOR


REFUSED = [
    ("c9", "u1", InquiryKind.EXPLAIN, State.ON, NotFound, "no such connection"),
    ("c1", "u1", InquiryKind.EXPLAIN, State.DELETING, NotFound, "is being deleted"),
    ("c1", "ada@example.com", InquiryKind.PROVISION, State.ON, BadInput, "not a directory id"),
    ("c1", "u1", InquiryKind.PROVISION, State.OFF, BadInput, "Turn it on first"),
    ("c1", "u1", InquiryKind.PROVISION, State.DRAFT, BadInput, "Finish the set-up"),
    ("c1", "u1", InquiryKind.PROVISION, State.PAUSED, BadInput, "Reauthorize it first"),
]


@pytest.mark.parametrize(("connection_id", "user_id", "kind", "state", "error", "text"), REFUSED)
def test_what_cannot_be_asked_is_refused_with_the_mend(scenario, connection_id, user_id, kind, state, error, text):
    scenario.services.connections.change("c1", lambda connection: replace(connection, state=state))
    with pytest.raises(error, match=text):
        inquire(scenario.services, connection_id, user_id, kind, ACTOR, Role.SUPER)
    assert scenario.fakes.queue.looks == []


def test_a_delegated_administrator_has_nobody_provisioned(scenario):
    with pytest.raises(Forbidden, match="only super administrators"):
        inquire(scenario.services, "c1", "u1", InquiryKind.PROVISION, ACTOR, Role.DELEGATED)
    assert scenario.fakes.queue.looks == []


FOUND = [
    ("u1", "by the SCIM id that is on record"),
    ("u4", "by the directory id, as its externalId"),
    ("u5", "by the user's address, but it carries another directory id"),
    ("u6", "by the user's address, but it carries no directory id"),
    ("u7", "this user has no account"),
]


@pytest.mark.parametrize(("user_id", "how"), FOUND)
def test_looking_finds_the_account_and_changes_nothing(scenario, user_id, how):
    for number in (4, 5, 6, 7):
        scenario.hire(f"u{number}", f"new{number}@example.com")
    scenario.keeper.seed("other@example.com", "u4")
    scenario.keeper.seed("new5@example.com", "stranger")
    scenario.keeper.seed("new6@example.com")
    store, accounts = scenario.fakes.store, dict(scenario.keeper.accounts)
    before = (dict(store.shards), dict(store.events["c1"]), dict(store.connections))
    told = answer(scenario, ask(scenario, user_id, InquiryKind.EXPLAIN))
    assert (told.state, told.problem) == (RequestState.DONE, "")
    assert how in texts(told)
    expected = {"u1": scenario.keeper.of("u1"), "u7": []}.get(user_id)
    if expected is not None:
        assert [told.result.account] == (expected or [None])
    assert (dict(store.shards), dict(store.events["c1"]), dict(store.connections)) == before
    assert scenario.keeper.accounts == accounts


def test_provisioning_now_makes_the_account_tells_the_steps_and_names_who_asked(scenario):
    scenario.hire("u4", "dan@example.com")
    told = answer(scenario, ask(scenario, "u4", InquiryKind.PROVISION))
    (account,) = scenario.keeper.of("u4")
    assert (told.state, told.problem, told.result.account) == (RequestState.DONE, "", account)
    assert [step.text.partition(":")[0] for step in told.result.steps] == [
        "Read what is on record", "Read the directory", "Decided. Due now", "Recorded as",
        "Read what is on record", "Read the directory", "Decided. In step", "Keeper answered in 0.00 s",
    ]  # fmt: skip
    assert "dan@example.com" not in texts(told), "steps name attributes, never their values"
    assert by(scenario, "u4") == [ACTOR]


def test_provisioning_now_does_not_wait_for_the_next_attempt(scenario):
    scenario.hire("u4", "dan@example.com")
    scenario.keeper.faults.append(Rejected("400"))
    scenario.deliver(scenario.sent[-1])
    assert scenario.entry("u4").failure is not None
    told = answer(scenario, ask(scenario, "u4", InquiryKind.PROVISION))
    assert (told.state, told.result.account) == (RequestState.DONE, scenario.keeper.of("u4")[0])


def test_a_refusal_is_the_answer(scenario):
    scenario.keeper.seed("dan@example.com", "stranger")
    scenario.hire("u4", "dan@example.com")
    told = answer(scenario, ask(scenario, "u4", InquiryKind.PROVISION))
    assert (told.state, told.problem) == (RequestState.FAILED, scenario.entry("u4").failure.text)
    assert told.result.account.external_id == "stranger"
    assert [step.text for step in told.result.steps if step.failed] == ["Recorded as: Failures."]


def test_with_several_connections_each_step_says_whose_it_is(scenario):
    version = scenario.fakes.tokens.add("c2", "secret")
    group = Group(id="g2", email="sales@example.com")
    later = with_settings(
        replace(scenario.connection, id="c2", order=5, token_version=version),
        name="Sales",
        scope=Scope(groups=(group,)),
    )
    scenario.services.connections.create(later)
    scenario.hire("u4", "dan@example.com")
    told = answer(scenario, ask(scenario, "u4", InquiryKind.PROVISION))
    whose = [step.text.partition(": ")[0] for step in told.result.steps[:-1]]
    assert whose == ["Keeper"] * 7 + ["Sales"] * 3
    decided = "Sales: Decided. The user belongs to the connection Keeper: there is nothing to do here."
    assert told.result.steps[-2].text == decided


def test_when_the_time_is_over_the_account_is_not_looked_for_any_more(scenario):
    scenario.hire("u4", "dan@example.com")
    look = ask(scenario, "u4", InquiryKind.PROVISION)
    scenario.keeper.afterwards.append(lambda: scenario.fakes.clock.advance(timedelta(minutes=1)))
    told = answer(scenario, look)
    assert (told.state, told.result.account) == (RequestState.FAILED, None)
    assert "the time for this answer had run out" in told.problem
    assert len(scenario.keeper.of("u4")) == 1


def test_what_the_guard_holds_is_told():
    scenario = Scenario(limit=1)
    scenario.run()
    for user_id in ("u1", "u2"):
        scenario.suspend(user_id)
    scenario.deliver(scenario.sent[-2])
    told = answer(scenario, ask(scenario, "u2", InquiryKind.PROVISION))
    assert told.result.account.active
    assert any(step.failed and step.text.startswith("Held by the volume guard") for step in told.result.steps)


def test_keeper_failing_ends_the_inquiry_at_once_and_the_change_is_caught_up(scenario):
    scenario.hire("u4", "dan@example.com")
    look = ask(scenario, "u4", InquiryKind.PROVISION)
    scenario.keeper.faults.append(Transient("Keeper answered 503"))
    with pytest.raises(Transient):
        answer(scenario, look)
    told = stored(scenario, look.inquiry.partition("/")[2])
    assert (told.state, told.problem) == (RequestState.FAILED, "Keeper answered 503")
    assert answer(scenario, look) == told, "the message is delivered again, the answer stands"
    assert len(scenario.keeper.of("u4")) == 1


def test_a_second_delivery_leaves_the_answer_to_the_first(scenario):
    scenario.hire("u4", "dan@example.com")
    look = ask(scenario, "u4", InquiryKind.PROVISION)
    waited: list[RequestState] = []

    def again() -> None:
        with pytest.raises(Busy):
            answer(scenario, look)
        waited.append(stored(scenario, look.inquiry.partition("/")[2]).state)

    scenario.keeper.meanwhile.append(again)
    told = answer(scenario, look)
    assert waited == [RequestState.WAITING]
    assert told.state is RequestState.DONE


def test_clicked_twice_at_once_makes_one_account(scenario):
    scenario.hire("u4", "dan@example.com")
    look = ask(scenario, "u4", InquiryKind.PROVISION)
    again = inquire(scenario.services, "c1", "u4", InquiryKind.PROVISION, ACTOR, Role.SUPER)
    assert (again.id, scenario.fakes.queue.looks) == (look.inquiry.partition("/")[2], []), "one waits already"
    answers: list[Inquiry] = []
    scenario.keeper.meanwhile.append(lambda: answers.append(answer(scenario, look, "m2")))  # delivered twice
    told = answer(scenario, look, "m1")
    assert told.result.account == scenario.keeper.of("u4")[0]
    assert "Another worker is processing this user" in texts(answers[0])
    assert len(scenario.keeper.of("u4")) == 1


@pytest.mark.parametrize(("kind", "accounts"), [(InquiryKind.EXPLAIN, 0), (InquiryKind.PROVISION, 1)])
def test_an_expired_inquiry_is_answered_no_more_but_who_is_to_be_provisioned_is(scenario, kind, accounts):
    scenario.hire("u4", "dan@example.com")
    look = ask(scenario, "u4", kind)
    scenario.fakes.clock.advance(timedelta(hours=1))
    assert answer(scenario, look) is None
    assert len(scenario.keeper.of("u4")) == accounts


def test_a_dead_token_is_the_answer_and_pauses_the_connection_as_anywhere(scenario):
    scenario.hire("u4", "dan@example.com")
    look = ask(scenario, "u4", InquiryKind.PROVISION)
    scenario.keeper.accepts.clear()
    told = answer(scenario, look)
    assert told.state is RequestState.FAILED
    assert "must reauthorize it" in told.problem
    assert (scenario.connection.state, scenario.entry("u4").pending) == (State.PAUSED, True)
    told = answer(scenario, ask(scenario, "u4", InquiryKind.EXPLAIN))
    assert told.state is RequestState.FAILED
    assert texts(told).startswith("The connection is paused")


def test_a_paused_connection_whose_token_works_can_be_looked_into(scenario):
    scenario.services.connections.change("c1", lambda connection: replace(connection, state=State.PAUSED))
    told = answer(scenario, ask(scenario, "u1", InquiryKind.EXPLAIN))
    assert (told.state, told.result.account) == (RequestState.DONE, scenario.keeper.of("u1")[0])
    assert texts(told).startswith("The connection is paused")


def test_a_connection_without_a_token_says_so(scenario):
    scenario.services.connections.change("c1", lambda connection: replace(connection, token_version=""))
    told = answer(scenario, ask(scenario, "u1", InquiryKind.EXPLAIN))
    assert told.state is RequestState.FAILED
    assert "Enter Keeper's access token" in told.problem


def test_a_connection_that_is_gone_meanwhile_says_so(scenario):
    look = ask(scenario, "u1", InquiryKind.EXPLAIN)
    del scenario.fakes.store.connections["c1"]
    told = answer(scenario, look)
    assert (told.state, told.problem) == (RequestState.FAILED, "The connection has been deleted.")


@pytest.mark.parametrize("state", [State.OFF, State.DRAFT, State.DELETING])
def test_who_was_not_provisioned_since_the_connection_was_turned_off_meanwhile_is_not_said_to_be(scenario, state):
    scenario.hire("u4", "dan@example.com")
    look = ask(scenario, "u4", InquiryKind.PROVISION)
    scenario.services.connections.change("c1", lambda connection: replace(connection, state=state))
    told = answer(scenario, look)
    assert (told.state, told.result.account) == (RequestState.FAILED, None)
    assert told.problem.startswith("Nothing was done: the connection is no longer on")
    assert scenario.keeper.of("u4") == []


def test_a_connection_that_was_asked_to_wait_is_left_alone(scenario):
    until = scenario.fakes.clock.now + timedelta(seconds=30)
    scenario.services.connections.change("c1", lambda connection: replace(connection, throttled_until=until))
    told = answer(scenario, ask(scenario, "u1", InquiryKind.EXPLAIN))
    assert (told.state, told.problem) == (RequestState.FAILED, "Keeper asked this connection to wait another 30 s")


def test_before_the_first_full_run_nobody_is_provisioned_one_by_one():
    scenario = Scenario()
    scenario.services.connections.change("c1", lambda connection: replace(connection, roster_layout=""))
    told = answer(scenario, ask(scenario, "u1", InquiryKind.PROVISION))
    assert "its first full run, which looks at everybody, is still to come" in texts(told)
    assert not any(step.failed for step in told.result.steps)
    assert scenario.keeper.of("u1") == []


def test_being_throttled_over_a_question_makes_nobody_else_wait(scenario, monkeypatch):
    look = ask(scenario, "u1", InquiryKind.EXPLAIN)

    def busy(_keeper: FakeKeeper, _user_id: str):
        raise Throttled("429", retry_after=7)

    entry_of = scenario.entry("u1")
    scenario.keeper.accounts.pop(entry_of.scim_id)
    monkeypatch.setattr(FakeKeeper, "of", busy)
    told = answer(scenario, look)
    assert (told.state, told.problem) == (RequestState.FAILED, "429")
    assert scenario.connection.throttled_until is None


def asked(scenario: Scenario, **changes: Any) -> Inquiry:
    given: dict[str, Any] = {"user_id": "u4", "kind": InquiryKind.PROVISION, "actor": ACTOR, **changes}
    return inquire(scenario.services, "c1", given["user_id"], given["kind"], given["actor"], Role.SUPER)


def test_whoever_asks_again_while_it_waits_gets_that_one(scenario):
    scenario.hire("u4", "dan@example.com")
    first = asked(scenario)
    scenario.fakes.clock.advance(INQUIRY.patience - timedelta(seconds=1))
    assert {asked(scenario) for _ in range(50)} == {first}
    assert len(scenario.fakes.queue.looks) == 1


def test_another_person_user_or_question_is_asked_of_its_own(scenario):
    changes = (
        {},
        {"actor": Actor(address="b@example.com", directory_id="u9")},
        {"user_id": "u1"},
        {"kind": InquiryKind.EXPLAIN},
    )
    assert len({asked(scenario, **change).id for change in changes}) == 4
    renamed = asked(scenario, actor=Actor(address="renamed@example.com", directory_id=ACTOR.directory_id))
    assert renamed.asked_by == ACTOR, "the same person, whose address changed, gets the one that waits"
    assert len(scenario.fakes.queue.looks) == 4


def test_asked_again_after_the_answer_it_is_asked_anew(scenario):
    scenario.hire("u4", "dan@example.com")
    first = answer(scenario, ask(scenario, "u4", InquiryKind.EXPLAIN))
    assert first.state is RequestState.DONE
    scenario.fakes.clock.advance(timedelta(seconds=1))
    second = ask(scenario, "u4", InquiryKind.EXPLAIN)
    assert answer(scenario, second).state is RequestState.DONE
    assert stored(scenario, first.id) == first, "what was told stays as it was"


def test_an_answer_that_never_comes_is_waited_for_no_longer_than_five_minutes(scenario):
    asked(scenario)
    scenario.fakes.clock.advance(INQUIRY.patience)
    asked(scenario)
    assert len(scenario.fakes.queue.looks) == 2


def test_an_inquiry_that_could_not_be_published_waits_for_nothing(scenario, monkeypatch):
    def down(looks):
        raise Transient("Pub/Sub is away")

    with monkeypatch.context() as broken:
        broken.setattr(scenario.services.queue, "look_again", down)
        with pytest.raises(Transient):
            asked(scenario)
    again = asked(scenario)
    assert (again.state, len(scenario.fakes.queue.looks)) == (RequestState.WAITING, 1)


FORGED = [
    lambda look: replace(look, inquiry="c1/0123456789abcdef"),
    lambda look: replace(look, inquiry=""),
    lambda look: replace(look, user_id="u5"),
]


@pytest.mark.parametrize("forged", FORGED)
def test_a_message_writes_nobodys_name_into_the_audit(scenario, forged):
    """Somebody who may publish can have a user looked at, but not say who wanted that."""
    scenario.hire("u4", "dan@example.com")
    scenario.hire("u5", "eve@example.com")
    look = forged(ask(scenario, "u4", InquiryKind.PROVISION))
    answer(scenario, look, "m7")
    assert by(scenario, look.user_id) == [Actor(address="notification m7")]


def test_who_only_had_a_user_looked_up_provisioned_nobody(scenario):
    scenario.hire("u4", "dan@example.com")
    look = ask(scenario, "u4", InquiryKind.EXPLAIN)
    answer(scenario, look)
    answer(scenario, replace(look, event="provision"), "m7")
    assert by(scenario, "u4") == [Actor(address="notification m7")]
