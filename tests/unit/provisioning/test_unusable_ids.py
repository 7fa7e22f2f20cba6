"""Accounts whose id cannot be used stand under somebody's address: a failure, never a second account."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.app.runs import reconcile
from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.runs import RunKind

FLAW = "The account's id in Keeper cannot be used: it is empty."
ONE_BY_ONE, BY_LISTING = 100, 0


@pytest.mark.parametrize("looked_up", [ONE_BY_ONE, BY_LISTING])
@pytest.mark.parametrize("external_id", ["", "u4"])
def test_who_would_get_it_has_a_failure_and_nobody_else(scenario, monkeypatch, looked_up, external_id):
    monkeypatch.setattr(reconcile, "LOOKUPS_ONE_BY_ONE", looked_up)
    for number, address in ((4, "dan@example.com"), (5, "eve@example.com"), (6, "fay@example.com")):
        scenario.hire(f"u{number}", address)
    scenario.keeper.accounts["x"] = Account(
        scim_id="", user_name="dan@example.com", external_id=external_id, active=True, flaw=FLAW
    )
    scenario.keeper.accounts["y"] = Account(
        scim_id="", user_name="nobody@example.com", external_id="", active=True, flaw=FLAW
    )
    scenario.plan()
    scenario.work_off()
    entry = scenario.entry("u4")
    assert entry is not None
    assert entry.failure is not None
    assert entry.failure.text == FLAW
    assert entry.scim_id == ""
    assert [len(scenario.keeper.of(user_id)) for user_id in ("u5", "u6")] == [1, 1]
    assert [account.user_name for account in scenario.keeper.accounts.values()].count("dan@example.com") == 1
    assert [account.active for account in scenario.keeper.accounts.values() if account.scim_id] == [True] * 5


def test_drift_is_found_beside_it(scenario):
    (account,) = scenario.keeper.of("u1")
    scenario.keeper.accounts["x"] = Account(
        scim_id="", user_name="dan@example.com", external_id="", active=True, flaw=FLAW
    )
    scenario.keeper.accounts["y"] = Account(scim_id="", user_name="", external_id="", active=True, flaw=FLAW)
    changed = {**account.attributes, "displayName": "Somebody"}
    scenario.keeper.accounts[account.scim_id] = replace(account, attributes=changed)
    scenario.plan(RunKind.DRIFT)
    scenario.work_off()
    assert scenario.keeper.accounts[account.scim_id].attributes == account.attributes
