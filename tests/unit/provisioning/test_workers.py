"""Two workers and one user: what meets what, step by step."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.provisioning.converge import converge
from autoprovisioning.app.provisioning.read_user import Asked
from autoprovisioning.app.runs.apply_batch import apply_batch
from autoprovisioning.domain.entry import Action, Status
from autoprovisioning.domain.errors import Busy, EarlierDelivery, Rejected, Transient
from autoprovisioning.domain.runs import Look, RunState
from autoprovisioning.domain.scope import Group
from tests.support.scenario import GROUP, LATER, Scenario, person


class Killed(BaseException):
    """The worker is gone; nobody handles this."""


@pytest.fixture
def scenario() -> Scenario:
    """u1, u2 and u3 have accounts."""
    started = Scenario()
    started.run()
    started.check_access()
    return started


def say(scenario: Scenario, user_id: str) -> None:
    """Deliver a notification about a user."""
    scenario.deliver(Look(user_id=user_id, event="update", asked_at=scenario.fakes.clock.now))


def name_of(scenario: Scenario, user_id: str) -> object:
    (account,) = scenario.keeper.of(user_id)
    return account.attributes["name.givenName"]


def test_a_notification_that_meets_a_batch_at_work_is_looked_at_afterwards(scenario):
    scenario.rename("u1", "Ada")

    def newer() -> None:
        scenario.rename("u1", "Augusta")
        say(scenario, "u1")

    scenario.plan()
    scenario.keeper.meanwhile.append(newer)
    scenario.work_off()
    assert name_of(scenario, "u1") == "Augusta"


def test_a_notification_that_meets_another_at_work_is_left_to_its_owner(scenario):
    scenario.rename("u1", "Ada")

    def newer() -> None:
        scenario.rename("u1", "Augusta")
        say(scenario, "u1")

    scenario.keeper.meanwhile.append(newer)
    say(scenario, "u1")
    assert name_of(scenario, "u1") == "Augusta"
    assert scenario.entry("u1").mark is None


def test_the_same_message_delivered_twice_at_once_waits(scenario):
    scenario.rename("u1", "Ada")
    now = scenario.fakes.clock.now
    asked = Asked(look=Look(user_id="u1", event="update"), message_id="m", published=now)
    refused: list[Busy] = []

    def again() -> None:
        with pytest.raises(Busy) as caught:
            converge(scenario.services, asked, now + timedelta(minutes=1))
        refused.append(caught.value)

    scenario.keeper.meanwhile.append(again)
    converge(scenario.services, asked, now + timedelta(minutes=1))
    assert refused[0].retry_after == 90
    assert name_of(scenario, "u1") == "Ada"


def test_whom_a_message_still_holds_on_one_connection_waits_for_it_whatever_fails_on_another(scenario, monkeypatch):
    sales = Group(id="g2", email="sales@example.com", name="Sales")
    second = scenario.connect("c2", sales, shared=False)
    scenario.leave("u1")
    scenario.directory.memberships[sales.id].add("u1")
    scenario.run()
    scenario.suspend("u1")
    now = scenario.fakes.clock.now
    asked = Asked(look=Look(user_id="u1", event="update"), message_id="m", published=now)

    def unreadable(_user_id: str) -> None:
        raise Transient("HTTP 503")

    def again() -> None:
        monkeypatch.setattr(scenario.directory, "user", unreadable)
        with pytest.raises(EarlierDelivery):
            converge(scenario.services, asked, now + timedelta(minutes=1))
        monkeypatch.undo()

    second.meanwhile.append(again)
    converge(scenario.services, asked, now + timedelta(minutes=1))
    assert [account.active for account in second.of("u1")] == [False]
    assert not second.meanwhile


def test_a_batch_delivered_twice_at_once_writes_once(scenario):
    scenario.rename("u1", "Ada")
    scenario.plan()
    (batch,) = scenario.fakes.queue.batches
    now = scenario.fakes.clock.now

    def again() -> None:
        with pytest.raises(Transient):
            apply_batch(scenario.services, batch, "m", now, now + timedelta(minutes=8))

    scenario.keeper.meanwhile.append(again)
    apply_batch(scenario.services, batch, "m", now, now + timedelta(minutes=8))
    run = scenario.services.runs.get("c1", batch.run_id)
    assert (run.state, run.counts["updated"]) == (RunState.DONE, 1)


@pytest.mark.parametrize(
    ("change", "status", "action"),
    [
        ("suspend", Status.SUSPENDED, Action.SUSPEND),
        ("delete", Status.SUSPENDED, Action.SUSPEND),
    ],
)
def test_a_worker_killed_after_its_write_leaves_a_mark_that_the_next_look_settles(scenario, change, status, action):
    getattr(scenario, change)("u1")
    look = scenario.sent[-1]

    def die() -> None:
        (account,) = scenario.keeper.of("u1")
        scenario.keeper.accounts[account.scim_id] = replace(account, active=False)  # the write arrived
        raise Killed

    scenario.fakes.clock.advance(timedelta(minutes=2))
    scenario.keeper.meanwhile.append(die)
    with pytest.raises(Killed):
        scenario.deliver(look)
    assert scenario.entry("u1").mark.action is action

    scenario.fakes.clock.advance(LATER)
    scenario.run()
    entry = scenario.entry("u1")
    assert (entry.mark, entry.status) == (None, status)
    (recovered,) = [event for event in scenario.fakes.store.events["c1"].values() if event.recovered]
    assert (recovered.user_id, recovered.attempted) == ("u1", action)


def test_a_worker_killed_before_its_write_arrived_is_made_up_for(scenario):
    scenario.hire("u4", "dan@example.com")

    def die() -> None:
        raise Killed

    scenario.keeper.meanwhile.append(die)
    with pytest.raises(Killed):
        scenario.deliver(scenario.sent[-1])
    assert scenario.keeper.of("u4") == []
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    scenario.check_access()


def test_a_free_account_under_the_address_is_adopted_not_doubled(scenario):
    scenario.keeper.seed("dan@example.com")
    scenario.hire("u4", "dan@example.com")
    scenario.deliver(scenario.sent[-1])
    scenario.check_access()
    assert (
        len([account for account in scenario.keeper.accounts.values() if account.user_name == "dan@example.com"]) == 1
    )


def test_a_stale_suspension_does_not_lock_out_who_returned(scenario):
    scenario.suspend("u1")
    scenario.plan()
    scenario.restore("u1")
    scenario.work_off()
    scenario.check_access()
    assert scenario.entry("u1").status is Status.ACTIVE


def test_a_batch_of_a_run_that_was_taken_over_is_dropped(scenario):
    scenario.rename("u1", "Ada")
    scenario.plan()
    (batch,), scenario.fakes.queue.batches = scenario.fakes.queue.batches, []
    scenario.fakes.clock.advance(scenario.services.timings.batch_mark)
    scenario.plan()
    before = dict(scenario.keeper.accounts)
    scenario.apply(batch)
    assert scenario.keeper.accounts == before
    assert scenario.fakes.queue.looks == []


def test_an_account_claimed_by_somebody_who_never_got_it_is_free_again_later(scenario):
    scenario.keeper.seed("dan@example.com")
    scenario.hire("u4", "dan@example.com")
    scenario.keeper.faults.append(Rejected("400"))
    scenario.deliver(scenario.sent[-1])
    scenario.delete("u4")
    scenario.fakes.clock.advance(timedelta(hours=1))
    scenario.deliver(scenario.sent[-1])
    scenario.directory.removed.clear()  # the directory lists the deleted for 20 days
    scenario.directory.live["u5"] = person("u5", "dan@example.com", "Dan")
    scenario.directory.memberships[GROUP.id].add("u5")
    say(scenario, "u5")
    scenario.check_access(("u4", "u5"))
    assert (
        len([account for account in scenario.keeper.accounts.values() if account.user_name == "dan@example.com"]) == 1
    )


def test_an_account_being_adopted_is_not_adopted_by_the_next_one_with_its_address(scenario):
    scenario.keeper.seed("dan@example.com")
    scenario.hire("u4", "dan@example.com")

    def passed_on() -> None:
        scenario.readdress("u4", "eve@example.com")
        scenario.directory.live["u5"] = person("u5", "dan@example.com", "Dan")
        scenario.directory.memberships[GROUP.id].add("u5")
        say(scenario, "u5")

    scenario.keeper.meanwhile.append(passed_on)
    scenario.deliver(scenario.sent[-1])
    scenario.check_ownership()
    assert scenario.entry("u5").failure.code == "address_taken"
    scenario.fakes.clock.advance(LATER)
    for user_id in ("u4", "u5"):
        say(scenario, user_id)
    scenario.check_access(("u4", "u5"))
    scenario.check_ownership()
