"""What an older version planned is judged by the rules of today."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.domain.entry import Action
from tests.support.scenario import Scenario


@pytest.mark.parametrize("own", [False, True])
def test_an_adoption_planned_by_an_older_version_is_chosen_anew(scenario: Scenario, own):
    account = scenario.keeper.seed("dan@example.com", external_id="u4" if own else "", age=timedelta(days=2000))
    scenario.hire("u4", "dan@example.com")
    scenario.plan()
    (batch,) = scenario.fakes.queue.batches
    scenario.fakes.queue.batches = []
    (change,) = (each for each in batch.changes if each.action is Action.CREATE)
    older = replace(change, scim_id=account.scim_id, looked_up=True, created=None)
    scenario.apply(replace(batch, changes=(older,)))
    entry = scenario.entry("u4")
    assert entry is not None
    assert scenario.keeper.accounts[account.scim_id].external_id == ("u4" if own else "")
    assert entry.scim_id == (account.scim_id if own else "")
    assert (entry.failure is None) is own
