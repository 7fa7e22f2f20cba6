"""Inquiries: what only a worker can answer, how it is told, and that nothing is lost over it."""

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
from autoprovisioning.domain.directory_user import Group, Scope
from autoprovisioning.domain.errors import BadInput, Busy, Forbidden, NotFound, Rejected, Throttled, Transient
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.requests import INQUIRY, Inquiry, InquiryKind, RequestState
from autoprovisioning.domain.runs import Look
from tests.support.in_memory import FakeKeeper
from tests.support.scenario import Office
from tests.support.settings import with_settings

ACTOR = Actor(address="admin@example.com", directory_id="u0")


def ask(office: Office, user_id: str, kind: InquiryKind) -> Look:
    """Ask, and return what was published."""
    inquire(office.services, "c1", user_id, kind, ACTOR, Role.SUPER)
    return office.desk.queue.looks.pop()


def answer(office: Office, look: Look, message_id: str = "m") -> Inquiry | None:
    """Deliver it, and return the inquiry as it is then."""
    now = office.desk.clock.now
    answer_inquiry(office.services, Asked(look=look, message_id=message_id, published=now), now + timedelta(minutes=1))
    return stored(office, look.inquiry.partition("/")[2])


def stored(office: Office, inquiry_id: str) -> Inquiry | None:
    return find(office.services, INQUIRY, "c1", inquiry_id)


def by(office: Office, user_id: str) -> list[Actor]:
    """Return who the audit says acted on a user."""
    events = office.desk.store.events["c1"].values()
    return [Actor(address=event.actor, directory_id=event.actor_id) for event in events if event.user_id == user_id]


def texts(inquiry: Inquiry) -> str:
    return " | ".join(step.text for step in inquiry.result.steps)


def test_an_inquiry_waits_and_is_published_with_who_asked(office):
    inquiry = inquire(office.services, "c1", "u1", InquiryKind.EXPLAIN, ACTOR, Role.DELEGATED)
    (look,) = office.desk.queue.looks
    assert stored(office, inquiry.id) == inquiry
    assert (inquiry.state, inquiry.expires - inquiry.asked_at) == (RequestState.WAITING, timedelta(hours=1))
    assert (look.user_id, look.inquiry) == ("u1", f"c1/{inquiry.id}")
    assert inquiry.asked_by == ACTOR


REFUSED = [
    ("c9", "u1", InquiryKind.EXPLAIN, State.ON, NotFound, "no connection"),
    ("c1", "u1", InquiryKind.EXPLAIN, State.DELETING, NotFound, "no connection"),
    ("c1", "ada@example.com", InquiryKind.PROVISION, State.ON, BadInput, "no directory id"),
    ("c1", "u1", InquiryKind.PROVISION, State.OFF, BadInput, "Turn it on first"),
    ("c1", "u1", InquiryKind.PROVISION, State.DRAFT, BadInput, "Finish the set-up"),
    ("c1", "u1", InquiryKind.PROVISION, State.PAUSED, BadInput, "Reauthorize it first"),
]


@pytest.mark.parametrize(("connection_id", "user_id", "kind", "state", "error", "text"), REFUSED)
def test_what_cannot_be_asked_is_refused_with_the_mend(office, connection_id, user_id, kind, state, error, text):
    office.services.connections.change("c1", lambda connection: replace(connection, state=state))
    with pytest.raises(error, match=text):
        inquire(office.services, connection_id, user_id, kind, ACTOR, Role.SUPER)
    assert office.desk.queue.looks == []


def test_a_delegated_administrator_has_nobody_provisioned(office):
    with pytest.raises(Forbidden, match="only super administrators"):
        inquire(office.services, "c1", "u1", InquiryKind.PROVISION, ACTOR, Role.DELEGATED)
    assert office.desk.queue.looks == []


FOUND = [
    ("u1", "by the SCIM id of the roster"),
    ("u4", "by the directory id, as its externalId"),
    ("u5", "by the user's address, but it carries another directory id"),
    ("u6", "by the user's address, but it carries no directory id"),
    ("u7", "there is no account of this user"),
]


@pytest.mark.parametrize(("user_id", "how"), FOUND)
def test_looking_finds_the_account_and_changes_nothing(office, user_id, how):
    for number in (4, 5, 6, 7):
        office.hire(f"u{number}", f"new{number}@example.com")
    office.keeper.seed("other@example.com", "u4")
    office.keeper.seed("new5@example.com", "stranger")
    office.keeper.seed("new6@example.com")
    store, accounts = office.desk.store, dict(office.keeper.accounts)
    before = (dict(store.shards), dict(store.events["c1"]), dict(store.connections))
    told = answer(office, ask(office, user_id, InquiryKind.EXPLAIN))
    assert (told.state, told.problem) == (RequestState.DONE, "")
    assert how in texts(told)
    expected = {"u1": office.keeper.of("u1"), "u7": []}.get(user_id)
    if expected is not None:
        assert [told.result.account] == (expected or [None])
    assert (dict(store.shards), dict(store.events["c1"]), dict(store.connections)) == before
    assert office.keeper.accounts == accounts


def test_provisioning_now_makes_the_account_tells_the_steps_and_names_who_asked(office):
    office.hire("u4", "dan@example.com")
    told = answer(office, ask(office, "u4", InquiryKind.PROVISION))
    (account,) = office.keeper.of("u4")
    assert (told.state, told.problem, told.result.account) == (RequestState.DONE, "", account)
    assert [step.text.partition(":")[0] for step in told.result.steps] == [
        "Read the roster", "Read the directory", "Decided. Due now", "Recorded as",
        "Read the roster", "Read the directory", "Decided. In step", "Keeper answered in 0.00 s",
    ]  # fmt: skip
    assert "dan@example.com" not in texts(told), "steps name attributes, never their values"
    assert by(office, "u4") == [ACTOR]


def test_provisioning_now_does_not_wait_for_the_next_attempt(office):
    office.hire("u4", "dan@example.com")
    office.keeper.faults.append(Rejected("400"))
    office.deliver(office.sent[-1])
    assert office.entry("u4").failure is not None
    told = answer(office, ask(office, "u4", InquiryKind.PROVISION))
    assert (told.state, told.result.account) == (RequestState.DONE, office.keeper.of("u4")[0])


def test_a_refusal_is_the_answer(office):
    office.keeper.seed("dan@example.com", "stranger")
    office.hire("u4", "dan@example.com")
    told = answer(office, ask(office, "u4", InquiryKind.PROVISION))
    assert (told.state, told.problem) == (RequestState.FAILED, office.entry("u4").failure.text)
    assert told.result.account.external_id == "stranger"
    assert [step.text for step in told.result.steps if step.failed] == ["Recorded as: Failures."]


def test_with_several_connections_each_step_says_whose_it_is(office):
    version = office.desk.tokens.add("c2", "secret")
    group = Group(id="g2", email="sales@example.com")
    later = with_settings(
        replace(office.connection, id="c2", order=5, token_version=version), name="Sales", scope=Scope(groups=(group,))
    )
    office.services.connections.create(later)
    office.hire("u4", "dan@example.com")
    told = answer(office, ask(office, "u4", InquiryKind.PROVISION))
    whose = [step.text.partition(": ")[0] for step in told.result.steps[:-1]]
    assert whose == ["Keeper"] * 7 + ["Sales"] * 3
    decided = "Sales: Decided. The user belongs to the connection Keeper: nothing is to be done here."
    assert told.result.steps[-2].text == decided


def test_when_the_time_is_over_the_account_is_not_looked_for_any_more(office):
    office.hire("u4", "dan@example.com")
    look = ask(office, "u4", InquiryKind.PROVISION)
    office.keeper.afterwards.append(lambda: office.desk.clock.advance(timedelta(minutes=1)))
    told = answer(office, look)
    assert (told.state, told.result.account) == (RequestState.FAILED, None)
    assert "the time for this answer is over" in told.problem
    assert len(office.keeper.of("u4")) == 1


def test_what_the_guard_holds_is_told():
    office = Office(limit=1)
    office.run()
    for user_id in ("u1", "u2"):
        office.suspend(user_id)
    office.deliver(office.sent[-2])
    told = answer(office, ask(office, "u2", InquiryKind.PROVISION))
    assert told.result.account.active
    assert any(step.failed and step.text.startswith("Held by the volume guard") for step in told.result.steps)


def test_keeper_failing_ends_the_inquiry_at_once_and_the_change_is_caught_up(office):
    office.hire("u4", "dan@example.com")
    look = ask(office, "u4", InquiryKind.PROVISION)
    office.keeper.faults.append(Transient("Keeper answered 503"))
    with pytest.raises(Transient):
        answer(office, look)
    told = stored(office, look.inquiry.partition("/")[2])
    assert (told.state, told.problem) == (RequestState.FAILED, "Keeper answered 503")
    assert answer(office, look) == told, "the message is delivered again, the answer stands"
    assert len(office.keeper.of("u4")) == 1


def test_a_second_delivery_leaves_the_answer_to_the_first(office):
    office.hire("u4", "dan@example.com")
    look = ask(office, "u4", InquiryKind.PROVISION)
    waited: list[RequestState] = []

    def again() -> None:
        with pytest.raises(Busy):
            answer(office, look)
        waited.append(stored(office, look.inquiry.partition("/")[2]).state)

    office.keeper.meanwhile.append(again)
    told = answer(office, look)
    assert waited == [RequestState.WAITING]
    assert told.state is RequestState.DONE


def test_clicked_twice_at_once_makes_one_account(office):
    office.hire("u4", "dan@example.com")
    look = ask(office, "u4", InquiryKind.PROVISION)
    again = inquire(office.services, "c1", "u4", InquiryKind.PROVISION, ACTOR, Role.SUPER)
    assert (again.id, office.desk.queue.looks) == (look.inquiry.partition("/")[2], []), "one waits already"
    answers: list[Inquiry] = []
    office.keeper.meanwhile.append(lambda: answers.append(answer(office, look, "m2")))  # delivered twice
    told = answer(office, look, "m1")
    assert told.result.account == office.keeper.of("u4")[0]
    assert "Another worker is at this user" in texts(answers[0])
    assert len(office.keeper.of("u4")) == 1


@pytest.mark.parametrize(("kind", "accounts"), [(InquiryKind.EXPLAIN, 0), (InquiryKind.PROVISION, 1)])
def test_an_expired_inquiry_is_answered_no_more_but_who_is_to_be_provisioned_is(office, kind, accounts):
    office.hire("u4", "dan@example.com")
    look = ask(office, "u4", kind)
    office.desk.clock.advance(timedelta(hours=1))
    assert answer(office, look) is None
    assert len(office.keeper.of("u4")) == accounts


def test_a_dead_token_is_the_answer_and_pauses_the_connection_as_anywhere(office):
    office.hire("u4", "dan@example.com")
    look = ask(office, "u4", InquiryKind.PROVISION)
    office.keeper.accepts.clear()
    told = answer(office, look)
    assert told.state is RequestState.FAILED
    assert "must reauthorize it" in told.problem
    assert (office.connection.state, office.entry("u4").pending) == (State.PAUSED, True)
    told = answer(office, ask(office, "u4", InquiryKind.EXPLAIN))
    assert told.state is RequestState.FAILED
    assert texts(told).startswith("The connection is paused")


def test_a_paused_connection_whose_token_works_can_be_looked_into(office):
    office.services.connections.change("c1", lambda connection: replace(connection, state=State.PAUSED))
    told = answer(office, ask(office, "u1", InquiryKind.EXPLAIN))
    assert (told.state, told.result.account) == (RequestState.DONE, office.keeper.of("u1")[0])
    assert texts(told).startswith("The connection is paused")


def test_a_connection_without_a_token_says_so(office):
    office.services.connections.change("c1", lambda connection: replace(connection, token_version=""))
    told = answer(office, ask(office, "u1", InquiryKind.EXPLAIN))
    assert told.state is RequestState.FAILED
    assert "Enter Keeper's access token" in told.problem


def test_a_connection_that_is_gone_meanwhile_says_so(office):
    look = ask(office, "u1", InquiryKind.EXPLAIN)
    del office.desk.store.connections["c1"]
    told = answer(office, look)
    assert (told.state, told.problem) == (RequestState.FAILED, "The connection was deleted meanwhile.")


@pytest.mark.parametrize("state", [State.OFF, State.DRAFT, State.DELETING])
def test_who_was_not_provisioned_since_the_connection_was_turned_off_meanwhile_is_not_said_to_be(office, state):
    office.hire("u4", "dan@example.com")
    look = ask(office, "u4", InquiryKind.PROVISION)
    office.services.connections.change("c1", lambda connection: replace(connection, state=state))
    told = answer(office, look)
    assert (told.state, told.result.account) == (RequestState.FAILED, None)
    assert told.problem.startswith("Nothing was done: the connection is not on any more")
    assert office.keeper.of("u4") == []


def test_a_connection_that_was_asked_to_wait_is_left_alone(office):
    until = office.desk.clock.now + timedelta(seconds=30)
    office.services.connections.change("c1", lambda connection: replace(connection, throttled_until=until))
    told = answer(office, ask(office, "u1", InquiryKind.EXPLAIN))
    assert (told.state, told.problem) == (RequestState.FAILED, "Keeper asked this connection to wait 30 s more")


def test_before_the_first_full_run_nobody_is_provisioned_one_by_one():
    office = Office()
    office.services.connections.change("c1", lambda connection: replace(connection, roster_layout=""))
    told = answer(office, ask(office, "u1", InquiryKind.PROVISION))
    assert "its first full run, which looks at everybody, is still to come" in texts(told)
    assert not any(step.failed for step in told.result.steps)
    assert office.keeper.of("u1") == []


def test_being_throttled_over_a_question_makes_nobody_else_wait(office, monkeypatch):
    look = ask(office, "u1", InquiryKind.EXPLAIN)

    def busy(_keeper: FakeKeeper, _user_id: str):
        raise Throttled("429", retry_after=7)

    entry_of = office.entry("u1")
    office.keeper.accounts.pop(entry_of.scim_id)
    monkeypatch.setattr(FakeKeeper, "of", busy)
    told = answer(office, look)
    assert (told.state, told.problem) == (RequestState.FAILED, "429")
    assert office.connection.throttled_until is None


def asked(office: Office, **changes: Any) -> Inquiry:
    given: dict[str, Any] = {"user_id": "u4", "kind": InquiryKind.PROVISION, "actor": ACTOR, **changes}
    return inquire(office.services, "c1", given["user_id"], given["kind"], given["actor"], Role.SUPER)


def test_whoever_asks_again_while_it_waits_gets_that_one(office):
    office.hire("u4", "dan@example.com")
    first = asked(office)
    office.desk.clock.advance(INQUIRY.patience - timedelta(seconds=1))
    assert {asked(office) for _ in range(50)} == {first}
    assert len(office.desk.queue.looks) == 1


def test_another_person_user_or_question_is_asked_of_its_own(office):
    changes = (
        {},
        {"actor": Actor(address="b@example.com", directory_id="u9")},
        {"user_id": "u1"},
        {"kind": InquiryKind.EXPLAIN},
    )
    assert len({asked(office, **change).id for change in changes}) == 4
    renamed = asked(office, actor=Actor(address="renamed@example.com", directory_id=ACTOR.directory_id))
    assert renamed.asked_by == ACTOR, "the same person, whose address changed, gets the one that waits"
    assert len(office.desk.queue.looks) == 4


def test_asked_again_after_the_answer_it_is_asked_anew(office):
    office.hire("u4", "dan@example.com")
    first = answer(office, ask(office, "u4", InquiryKind.EXPLAIN))
    assert first.state is RequestState.DONE
    office.desk.clock.advance(timedelta(seconds=1))
    second = ask(office, "u4", InquiryKind.EXPLAIN)
    assert answer(office, second).state is RequestState.DONE
    assert stored(office, first.id) == first, "what was told stays as it was"


def test_an_answer_that_never_comes_is_waited_for_no_longer_than_five_minutes(office):
    asked(office)
    office.desk.clock.advance(INQUIRY.patience)
    asked(office)
    assert len(office.desk.queue.looks) == 2


def test_an_inquiry_that_could_not_be_published_waits_for_nothing(office, monkeypatch):
    def down(looks):
        raise Transient("Pub/Sub is away")

    with monkeypatch.context() as broken:
        broken.setattr(office.services.queue, "look_again", down)
        with pytest.raises(Transient):
            asked(office)
    again = asked(office)
    assert (again.state, len(office.desk.queue.looks)) == (RequestState.WAITING, 1)


FORGED = [
    lambda look: replace(look, inquiry="c1/0123456789abcdef"),
    lambda look: replace(look, inquiry=""),
    lambda look: replace(look, user_id="u5"),
]


@pytest.mark.parametrize("forged", FORGED)
def test_a_message_writes_nobodys_name_into_the_audit(office, forged):
    """Whoever may publish can have a user looked at, but not say who wanted that."""
    office.hire("u4", "dan@example.com")
    office.hire("u5", "eve@example.com")
    look = forged(ask(office, "u4", InquiryKind.PROVISION))
    answer(office, look, "m7")
    assert by(office, look.user_id) == [Actor(address="notification m7")]


def test_who_only_had_a_user_looked_up_provisioned_nobody(office):
    office.hire("u4", "dan@example.com")
    look = ask(office, "u4", InquiryKind.EXPLAIN)
    answer(office, look)
    answer(office, replace(look, event="provision"), "m7")
    assert by(office, "u4") == [Actor(address="notification m7")]
