"""Two workers and one user: what meets what, step by step."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.provisioning.converge import converge
from autoprovisioning.app.provisioning.read_user import Asked
from autoprovisioning.app.runs.apply_batch import apply_batch
from autoprovisioning.domain.entry import Action, Status
from autoprovisioning.domain.errors import Busy, Rejected, Transient
from autoprovisioning.domain.runs import Look, RunState
from tests.support.scenario import GROUP, LATER, Office, person


class Killed(BaseException):
    """The worker is gone; nobody handles this."""


@pytest.fixture
def office() -> Office:
    """u1, u2 and u3 have accounts."""
    started = Office()
    started.run()
    started.check_access()
    return started


def say(office: Office, user_id: str) -> None:
    """Deliver a notification about a user."""
    office.deliver(Look(user_id=user_id, event="update", asked_at=office.desk.clock.now))


def name_of(office: Office, user_id: str) -> object:
    (account,) = office.keeper.of(user_id)
    return account.attributes["name.givenName"]


def test_a_notification_that_meets_a_batch_at_work_is_looked_at_afterwards(office):
    office.rename("u1", "Ada")

    def newer() -> None:
        office.rename("u1", "Augusta")
        say(office, "u1")

    office.plan()
    office.keeper.meanwhile.append(newer)
    office.work_off()
    assert name_of(office, "u1") == "Augusta"


def test_a_notification_that_meets_another_at_work_is_left_to_its_owner(office):
    office.rename("u1", "Ada")

    def newer() -> None:
        office.rename("u1", "Augusta")
        say(office, "u1")

    office.keeper.meanwhile.append(newer)
    say(office, "u1")
    assert name_of(office, "u1") == "Augusta"
    assert office.entry("u1").mark is None


def test_the_same_message_delivered_twice_at_once_waits(office):
    office.rename("u1", "Ada")
    now = office.desk.clock.now
    asked = Asked(look=Look(user_id="u1", event="update"), message_id="m", published=now)
    refused: list[Busy] = []

    def again() -> None:
        with pytest.raises(Busy) as caught:
            converge(office.services, asked, now + timedelta(minutes=1))
        refused.append(caught.value)

    office.keeper.meanwhile.append(again)
    converge(office.services, asked, now + timedelta(minutes=1))
    assert refused[0].retry_after == 90
    assert name_of(office, "u1") == "Ada"


def test_a_batch_delivered_twice_at_once_writes_once(office):
    office.rename("u1", "Ada")
    office.plan()
    (batch,) = office.desk.queue.batches
    now = office.desk.clock.now

    def again() -> None:
        with pytest.raises(Transient):
            apply_batch(office.services, batch, "m", now, now + timedelta(minutes=8))

    office.keeper.meanwhile.append(again)
    apply_batch(office.services, batch, "m", now, now + timedelta(minutes=8))
    run = office.services.runs.get("c1", batch.run_id)
    assert (run.state, run.counts["updated"]) == (RunState.DONE, 1)


@pytest.mark.parametrize(
    ("change", "status", "action"),
    [
        ("suspend", Status.SUSPENDED, Action.SUSPEND),
        ("delete", Status.SUSPENDED, Action.SUSPEND),
    ],
)
def test_a_worker_killed_after_its_write_leaves_a_mark_that_the_next_look_settles(office, change, status, action):
    getattr(office, change)("u1")
    look = office.sent[-1]

    def die() -> None:
        (account,) = office.keeper.of("u1")
        office.keeper.accounts[account.scim_id] = replace(account, active=False)  # the write arrived
        raise Killed

    office.desk.clock.advance(timedelta(minutes=2))
    office.keeper.meanwhile.append(die)
    with pytest.raises(Killed):
        office.deliver(look)
    assert office.entry("u1").mark.action is action

    office.desk.clock.advance(LATER)
    office.run()
    entry = office.entry("u1")
    assert (entry.mark, entry.status) == (None, status)
    (recovered,) = [event for event in office.desk.store.events["c1"].values() if event.recovered]
    assert (recovered.user_id, recovered.attempted) == ("u1", action)


def test_a_worker_killed_before_its_write_arrived_is_made_up_for(office):
    office.hire("u4", "dan@example.com")

    def die() -> None:
        raise Killed

    office.keeper.meanwhile.append(die)
    with pytest.raises(Killed):
        office.deliver(office.sent[-1])
    assert office.keeper.of("u4") == []
    office.desk.clock.advance(LATER)
    office.run()
    office.check_access()


def test_a_free_account_under_the_address_is_adopted_not_doubled(office):
    office.keeper.seed("dan@example.com")
    office.hire("u4", "dan@example.com")
    office.deliver(office.sent[-1])
    office.check_access()
    assert len([account for account in office.keeper.accounts.values() if account.user_name == "dan@example.com"]) == 1


def test_a_stale_suspension_does_not_lock_out_who_returned(office):
    office.suspend("u1")
    office.plan()
    office.restore("u1")
    office.work_off()
    office.check_access()
    assert office.entry("u1").status is Status.ACTIVE


def test_a_batch_of_a_run_that_was_taken_over_is_dropped(office):
    office.rename("u1", "Ada")
    office.plan()
    (batch,) = office.desk.queue.batches
    stale = replace(batch, fence=batch.fence - 1)
    before = dict(office.keeper.accounts)
    office.apply(stale)
    assert office.keeper.accounts == before
    assert office.desk.queue.looks == []


def test_an_account_claimed_by_somebody_who_never_got_it_is_free_again_later(office):
    office.keeper.seed("dan@example.com")
    office.hire("u4", "dan@example.com")
    office.keeper.faults.append(Rejected("400"))
    office.deliver(office.sent[-1])
    office.delete("u4")
    office.desk.clock.advance(timedelta(hours=1))
    office.deliver(office.sent[-1])
    office.directory.removed.clear()  # the directory lists the deleted for 20 days
    office.directory.live["u5"] = person("u5", "dan@example.com", "Dan")
    office.directory.memberships[GROUP.id].add("u5")
    say(office, "u5")
    office.check_access(("u4", "u5"))
    assert len([account for account in office.keeper.accounts.values() if account.user_name == "dan@example.com"]) == 1


def test_an_account_being_adopted_is_not_adopted_by_the_next_one_with_its_address(office):
    office.keeper.seed("dan@example.com")
    office.hire("u4", "dan@example.com")

    def passed_on() -> None:
        office.readdress("u4", "eve@example.com")
        office.directory.live["u5"] = person("u5", "dan@example.com", "Dan")
        office.directory.memberships[GROUP.id].add("u5")
        say(office, "u5")

    office.keeper.meanwhile.append(passed_on)
    office.deliver(office.sent[-1])
    office.check_ownership()
    assert office.entry("u5").failure.code == "address_taken"
    office.desk.clock.advance(LATER)
    for user_id in ("u4", "u5"):
        say(office, user_id)
    office.check_access(("u4", "u5"))
    office.check_ownership()
