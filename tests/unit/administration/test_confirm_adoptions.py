"""Confirming adoptions: only what a preview listed, told in the audit, and carried out at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.configure import turn_off
from autoprovisioning.app.administration.confirm_adoptions import Confirmation, confirm_adoptions
from autoprovisioning.app.administration.explain import explain
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.decision import Action, BackOff
from autoprovisioning.domain.errors import BadInput, NotFound, WrongState
from autoprovisioning.domain.events import EventName
from autoprovisioning.domain.requests import RequestState, Would
from autoprovisioning.domain.runs import RunKind
from tests.support.console import Told
from tests.support.previewing import ACTOR, Admin, at
from tests.support.scenario import Scenario

OLD = timedelta(days=2000)


@pytest.fixture
def admin(scenario) -> Admin:
    """Two hires whose adoption is in doubt, and one with an account under an alias."""
    for number, name in ((4, "dan"), (5, "eve")):
        scenario.keeper.seed(f"{name}@example.com", age=OLD)
        scenario.hire(f"u{number}", f"{name}@example.com")
    scenario.keeper.seed("maiden@example.com")
    scenario.hire("u6", "fay@example.com")
    scenario.alias("u6", "maiden@example.com")
    return at(scenario)


def confirm(admin: Admin, preview_id: str, *users: str) -> Confirmation:
    return confirm_adoptions(admin.scenario.services, "c1", preview_id, users or None, ACTOR)


def confirmed(scenario: Scenario) -> dict[str, frozenset[str]]:
    return dict(scenario.services.adoptions.confirmed("c1"))


def test_all_are_those_in_doubt_and_never_those_under_aliases(admin):
    done, lines = admin.preview()
    assert {line.user_id: (line.would, line.scim_id) for line in lines} == {
        "u4": (Would.DOUBT, "k4"), "u5": (Would.DOUBT, "k5"), "u6": (Would.CREATE, "k6"),
    }  # fmt: skip
    assert done.result.counts["doubt"] == 2
    assert [note for note in done.result.notes if "under an alias" in note and note.endswith(": 1")]
    assert confirm(admin, done.id) == Confirmation(count=2, run=True)
    assert confirmed(admin.scenario) == {"u4": {"k4"}, "u5": {"k5"}}
    assert admin.scenario.fakes.queue.runs == [RunKind.FULL]


def test_chosen_ones_may_be_under_an_alias_and_the_audit_counts_them(admin):
    done, _ = admin.preview()
    assert confirm(admin, done.id, "u6", "u4", "u4").count == 2
    assert confirmed(admin.scenario) == {"u4": {"k4"}, "u6": {"k6"}}
    told = list(admin.scenario.fakes.store.events["c1"].values())[-1]
    assert (told.name, told.actor, told.actor_id) == (EventName.CONFIGURED, ACTOR.address, ACTOR.directory_id)
    assert told.reason == "Confirmed adoptions: 1 in doubt, 1 of accounts under an alias"
    admin.scenario.run()
    assert {admin.scenario.entry(f"u{number}").scim_id for number in (4, 6)} == {"k4", "k6"}
    assert admin.scenario.keeper.accounts["k6"].user_name == "fay@example.com"


@pytest.mark.parametrize("users", [["u1"], ["u4", "u99"], ["k4"], [""]])
def test_what_the_preview_does_not_offer_is_refused_and_nothing_is_confirmed(admin, users):
    done, _ = admin.preview()
    with pytest.raises(BadInput, match="users"):
        confirm(admin, done.id, *users)
    assert confirmed(admin.scenario) == {}


def test_an_account_under_an_alias_cannot_be_confirmed_once_a_new_one_was_made(admin):
    done, _ = admin.preview()
    admin.scenario.run()
    with pytest.raises(BadInput, match="a new account after"):
        confirm(admin, done.id, "u6")
    assert confirm(admin, done.id, "u4").count == 1


def test_choosing_nobody_is_refused(admin):
    done, _ = admin.preview()
    with pytest.raises(BadInput, match="nobody is selected"):
        confirm_adoptions(admin.scenario.services, "c1", done.id, [], ACTOR)


def test_an_account_that_was_seen_is_confirmed_and_no_other_that_stands_there_later(admin):
    done, _ = admin.preview()
    del admin.scenario.keeper.accounts["k4"]
    another = admin.scenario.keeper.seed("dan@example.com", age=OLD)
    confirm(admin, done.id)
    admin.scenario.run()
    assert admin.scenario.keeper.accounts[another.scim_id].external_id == ""
    assert admin.scenario.entry("u4").failure.code == "adoption_in_doubt"
    assert admin.scenario.entry("u5").scim_id == "k5"


@pytest.mark.parametrize("state", [RequestState.WAITING, RequestState.RUNNING, RequestState.FAILED])
def test_a_preview_that_is_not_done_offers_nothing(admin, state):
    done, _ = admin.preview()
    other = replace(done, id="other", state=state)
    admin.scenario.services.requests.put(other)
    with pytest.raises(WrongState):
        confirm(admin, other.id)


def test_what_is_not_there_any_more_offers_nothing(admin):
    done, _ = admin.preview()
    with pytest.raises(NotFound):
        confirm(admin, "none")
    admin.scenario.wait()
    with pytest.raises(NotFound):
        confirm(admin, done.id)


def test_a_connection_that_is_being_deleted_keeps_nothing(admin):
    done, _ = admin.preview()
    admin.scenario.services.connections.change("c1", lambda known: replace(known, state=State.DELETING))
    with pytest.raises(NotFound):
        confirm(admin, done.id)
    assert confirmed(admin.scenario) == {}


def test_a_connection_that_is_off_adopts_once_it_is_on(admin):
    turn_off(admin.scenario.services, "c1", ACTOR)
    done, _ = admin.preview()
    assert confirm(admin, done.id) == Confirmation(count=2, run=False)
    assert admin.scenario.fakes.queue.runs == []


def test_where_nobody_is_in_doubt_nothing_is_told(scenario):
    admin = at(scenario)
    done, _ = admin.preview()
    events = len(scenario.fakes.store.events["c1"])
    assert confirm(admin, done.id) == Confirmation(count=0, run=False)
    assert len(scenario.fakes.store.events["c1"]) == events


def test_a_failure_that_backs_off_is_tried_at_once_when_confirmed_and_says_so(admin):
    scenario = admin.scenario
    for _ in range(6):
        scenario.fakes.clock.advance(timedelta(hours=1))
        scenario.run()
    failure = scenario.entry("u4").failure
    assert failure.next_attempt - scenario.fakes.clock.now > timedelta(hours=1)
    done, lines = admin.preview()
    assert {line.would for line in lines if line.user_id in ("u4", "u5")} == {Would.DOUBT}
    told = explain(scenario.services, Told(), scenario.connection, "u4")
    assert isinstance(told.decision, BackOff)
    confirm(admin, done.id, "u4")
    told = explain(scenario.services, Told(), scenario.connection, "u4")
    assert told.action is Action.CREATE
    scenario.run()
    assert scenario.entry("u4").scim_id == "k4"
    assert scenario.entry("u5").failure.attempts == failure.attempts


def test_a_doubt_that_a_confirmation_does_not_settle_backs_off_like_any_other(admin):
    scenario = admin.scenario
    scenario.run()
    done, _ = admin.preview()
    del scenario.keeper.accounts["k4"]
    scenario.keeper.seed("dan@example.com", age=OLD)
    confirm(admin, done.id, "u4")
    for attempts in (1, 1, 1):  # counted from one again, since something else is tried; then it waits
        scenario.run()
        assert scenario.entry("u4").failure.attempts == attempts
    scenario.fakes.clock.advance(timedelta(minutes=16))
    scenario.run()
    assert scenario.entry("u4").failure.attempts == 2


def test_a_user_who_was_in_doubt_and_whose_reason_is_gone_waits_for_the_next_attempt_as_the_preview_says(admin):
    scenario = admin.scenario
    scenario.run()
    scenario.keeper.accounts["k4"] = replace(scenario.keeper.accounts["k4"], created=scenario.fakes.clock.now)
    _, lines = admin.preview()
    [line] = [line for line in lines if line.user_id == "u4"]
    assert (line.would, line.scim_id) == (Would.FAIL, "")
    scenario.run()
    assert scenario.entry("u4").scim_id == ""
    scenario.fakes.clock.advance(timedelta(minutes=16))
    _, lines = admin.preview()
    assert [line.would for line in lines if line.user_id == "u4"] == [Would.ADOPT]
    scenario.run()
    assert scenario.entry("u4").scim_id == "k4"


def test_many_in_doubt_are_told_and_confirmed_by_one_listing(scenario):
    for number in range(30):
        scenario.keeper.seed(f"person{number}@example.com", age=OLD)
        scenario.hire(f"p{number}", f"person{number}@example.com")
    scenario.run()
    admin = at(scenario)
    done, lines = admin.preview()
    assert done.result.counts["doubt"] == len(lines) == 30
    assert confirm(admin, done.id).count == 30
    scenario.run()
    assert all(scenario.entry(f"p{number}").scim_id for number in range(30))


def test_the_preview_counts_the_accounts_whose_address_a_deleted_user_had(scenario):
    account = scenario.keeper.of("u1")[0]
    scenario.keeper.accounts[account.scim_id] = replace(account, external_id="")
    scenario.services.roster.commit(scenario.connection, ["u1"], lambda _known: (_forget("u1"), None))
    scenario.delete("u1")
    scenario.hire("u7", account.user_name)
    done, _ = at(scenario).preview()
    assert "To be confirmed although a recently deleted user had the address: 1" in done.result.notes


def _forget(user_id: str):
    from autoprovisioning.app.ports.roster import Edit

    return Edit(entries={user_id: None})


def test_what_is_confirmed_is_what_was_shown_though_the_same_was_asked_again(admin):
    shown, _ = admin.preview()
    del admin.scenario.keeper.accounts["k4"]
    another = admin.scenario.keeper.seed("dan@example.com", age=OLD)
    again, lines = admin.preview()
    assert another.scim_id in [line.scim_id for line in lines]
    assert again.id != shown.id
    confirm(admin, shown.id, "u4")
    assert confirmed(admin.scenario) == {"u4": {"k4"}}
