"""Who adopts an account that two directory users come to want, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.domain.errors import Rejected, Transient, Unresolved
from tests.support.in_memory_state import FakeClaims
from tests.support.scenario import GROUP, Office, person

ADDRESS = "dan@example.com"


@pytest.fixture
def office() -> Office:
    office = Office()
    office.keeper.seed(ADDRESS)
    office.hire("first", ADDRESS)
    return office


def pass_on(office: Office) -> None:
    """Give the address to somebody else once the directory lists the one before no longer, and look at them."""
    office.directory.removed.clear()
    office.directory.live["second"] = person("second", ADDRESS, "Dan")
    office.directory.memberships[GROUP.id].add("second")
    office._notify("second", "add")
    office.deliver(office.sent[-1])


@pytest.mark.parametrize("refusal", [Rejected("400"), Transient("503")])
def test_the_next_one_with_the_address_gets_the_account_of_somebody_who_never_got_it(office, refusal):
    office.keeper.faults.append(refusal)
    office.deliver(office.sent[-1])
    office.delete("first")
    office.deliver(office.sent[-1])
    pass_on(office)
    office.check_access(("first", "second"))
    assert [account.user_name for account in office.keeper.of("second")] == [ADDRESS]
    assert len([account for account in office.keeper.accounts.values() if account.user_name == ADDRESS]) == 1


def test_it_also_goes_by_runs(office):
    office.keeper.faults.append(Rejected("400"))
    office.deliver(office.sent[-1])
    office.delete("first")
    office.directory.removed.clear()
    office.directory.live["second"] = person("second", ADDRESS, "Dan")
    office.directory.memberships[GROUP.id].add("second")
    office.reconcile_to_the_end()
    office.check_access(("first", "second"))
    office.check_ownership()
    assert [account.user_name for account in office.keeper.of("second")] == [ADDRESS]


def test_an_adoption_whose_outcome_is_unknown_keeps_its_claim_until_it_is_known(office):
    office.keeper.faults.append(Unresolved("lost on the way"))
    office.deliver(office.sent[-1])
    assert office.entry("first").mark is not None
    office.readdress("first", "eve@example.com")
    pass_on(office)
    assert office.entry("second").failure.code == "address_taken"
    assert office.keeper.named(ADDRESS).external_id == ""
    office.reconcile_to_the_end()
    office.check_access(("first", "second"))
    office.check_ownership()


class Overtaken(FakeClaims):
    """Claims; just before one is taken over something happens, once."""

    def __init__(self, office: Office, happening: Callable[[], None]) -> None:
        super().__init__(office.desk.store)
        self._happening: list[Callable[[], None]] = [happening]

    def claim(self, connection_id: str, scim_id: str, claim: Claim, instead_of: Claim | None = None) -> Claim:
        if instead_of is not None and self._happening:
            self._happening.pop()()
        return super().claim(connection_id, scim_id, claim, instead_of)


def test_whoever_tries_again_before_their_claim_is_taken_over_keeps_it(office):
    office.keeper.faults.append(Rejected("400"))
    office.deliver(office.sent[-1])

    def try_again() -> None:
        office.rename("first", "Mended")
        office.deliver(office.sent[-1])

    office.services = replace(office.services, claims=Overtaken(office, try_again))
    pass_on(office)
    office.check_ownership()
    assert office.keeper.named(ADDRESS).external_id == "first"
    assert office.entry("second").failure.code == "address_taken"


@pytest.mark.parametrize("by_run", [False, True])
def test_of_two_accounts_with_one_external_id_the_one_under_the_address_in_force_is_adopted(by_run):
    """A provisioner that makes a second account for a new address leaves the first one locked."""
    office = Office()
    office.keeper.seed("former@example.com", "u9", active=False)
    current = office.keeper.seed("dan@example.com", "u9")
    office.hire("u9", "dan@example.com")
    if by_run:
        office.reconcile_to_the_end()
    else:
        office.deliver(office.sent[-1])
    entry = office.entry("u9")
    assert entry is not None
    assert (entry.scim_id, entry.status.value) == (current.scim_id, "active")
