"""Who adopts an account that two directory users come to want, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.domain.errors import Rejected, Transient, Unresolved
from tests.support.in_memory_state import FakeClaims
from tests.support.scenario import GROUP, Scenario, person

ADDRESS = "dan@example.com"


@pytest.fixture
def scenario() -> Scenario:
    scenario = Scenario()
    scenario.keeper.seed(ADDRESS)
    scenario.hire("first", ADDRESS)
    return scenario


def pass_on(scenario: Scenario) -> None:
    """Give the address to somebody else once the directory lists the one before no longer, and look at them."""
    scenario.directory.removed.clear()
    scenario.directory.live["second"] = person("second", ADDRESS, "Dan")
    scenario.directory.memberships[GROUP.id].add("second")
    scenario._notify("second", "add")
    scenario.deliver(scenario.sent[-1])


@pytest.mark.parametrize("refusal", [Rejected("400"), Transient("503")])
def test_the_next_one_with_the_address_gets_the_account_of_somebody_who_never_got_it(scenario, refusal):
    scenario.keeper.faults.append(refusal)
    scenario.deliver(scenario.sent[-1])
    scenario.delete("first")
    scenario.deliver(scenario.sent[-1])
    pass_on(scenario)
    scenario.check_access(("first", "second"))
    assert [account.user_name for account in scenario.keeper.of("second")] == [ADDRESS]
    assert len([account for account in scenario.keeper.accounts.values() if account.user_name == ADDRESS]) == 1


def test_it_also_goes_by_runs(scenario):
    scenario.keeper.faults.append(Rejected("400"))
    scenario.deliver(scenario.sent[-1])
    scenario.delete("first")
    scenario.directory.removed.clear()
    scenario.directory.live["second"] = person("second", ADDRESS, "Dan")
    scenario.directory.memberships[GROUP.id].add("second")
    scenario.reconcile_to_the_end()
    scenario.check_access(("first", "second"))
    scenario.check_ownership()
    assert [account.user_name for account in scenario.keeper.of("second")] == [ADDRESS]


def test_an_adoption_whose_outcome_is_unknown_keeps_its_claim_until_it_is_known(scenario):
    scenario.keeper.faults.append(Unresolved("lost on the way"))
    scenario.deliver(scenario.sent[-1])
    assert scenario.entry("first").mark is not None
    scenario.readdress("first", "eve@example.com")
    pass_on(scenario)
    assert scenario.entry("second").failure.code == "address_taken"
    assert scenario.keeper.named(ADDRESS).external_id == ""
    scenario.reconcile_to_the_end()
    scenario.check_access(("first", "second"))
    scenario.check_ownership()


class Overtaken(FakeClaims):
    """Claims; just before one is taken over something happens, once."""

    def __init__(self, scenario: Scenario, happening: Callable[[], None]) -> None:
        super().__init__(scenario.fakes.store)
        self._happening: list[Callable[[], None]] = [happening]

    def claim(self, connection_id: str, scim_id: str, claim: Claim, instead_of: Claim | None = None) -> Claim:
        if instead_of is not None and self._happening:
            self._happening.pop()()
        return super().claim(connection_id, scim_id, claim, instead_of)


def test_whoever_tries_again_before_their_claim_is_taken_over_keeps_it(scenario):
    scenario.keeper.faults.append(Rejected("400"))
    scenario.deliver(scenario.sent[-1])

    def try_again() -> None:
        scenario.rename("first", "Mended")
        scenario.deliver(scenario.sent[-1])

    scenario.services = replace(scenario.services, claims=Overtaken(scenario, try_again))
    pass_on(scenario)
    scenario.check_ownership()
    assert scenario.keeper.named(ADDRESS).external_id == "first"
    assert scenario.entry("second").failure.code == "address_taken"


@pytest.mark.parametrize("by_run", [False, True])
def test_of_two_accounts_with_one_external_id_the_one_under_the_address_in_force_is_adopted(by_run):
    """A provisioner that makes a second account for a new address leaves the first one locked."""
    scenario = Scenario()
    scenario.keeper.seed("former@example.com", "u9", active=False)
    current = scenario.keeper.seed("dan@example.com", "u9")
    scenario.hire("u9", "dan@example.com")
    if by_run:
        scenario.reconcile_to_the_end()
    else:
        scenario.deliver(scenario.sent[-1])
    entry = scenario.entry("u9")
    assert entry is not None
    assert (entry.scim_id, entry.status.value) == (current.scim_id, "active")
