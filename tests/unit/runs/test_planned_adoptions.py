"""What is planned is carried out as planned: recorded plans tell all that decides about an adoption."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from autoprovisioning.domain.entry import Action
from tests.support.in_memory import FakeAccounts
from tests.support.scenario import Scenario


def test_a_users_own_account_is_adopted_as_planned_though_the_directory_does_not_say_how_old_the_user_is(
    scenario: Scenario, monkeypatch
):
    account = scenario.keeper.seed("dan@example.com", external_id="u4", age=timedelta(days=2000))
    scenario.hire("u4", "dan@example.com")
    scenario.plan()
    (batch,) = scenario.fakes.queue.batches
    scenario.fakes.queue.batches = []
    (change,) = (each for each in batch.changes if each.action is Action.CREATE)
    planned = replace(change, scim_id=account.scim_id, looked_up=True, ours=True, created=None)
    looked_up: list[object] = []
    monkeypatch.setattr(FakeAccounts, "find", lambda _accounts, lookups: looked_up.extend(lookups))
    scenario.apply(replace(batch, changes=(planned,)))
    entry = scenario.entry("u4")
    assert entry is not None
    assert (entry.scim_id, entry.failure, looked_up) == (account.scim_id, None, [])
