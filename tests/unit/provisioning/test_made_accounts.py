"""An account that a creation made, though locked, is let in by the next write, whichever run comes first."""

from __future__ import annotations

from dataclasses import replace

from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.keeper_listing import Listing, as_found
from tests.support.builders import ADA, NOW, entry


def test_a_drift_run_takes_no_account_that_we_just_made_for_locked_by_somebody_else():
    ours = replace(entry(), fingerprint="", applied_by="")
    account = Account(
        scim_id=ours.scim_id, user_name="ada@example.com", external_id=ours.user_id, active=False, attributes=dict(ADA)
    )
    listing = Listing([account], {})
    assert as_found(ours, listing, ADA, NOW, entitled=True) == ours
    assert as_found(replace(ours, applied_by="c0"), listing, ADA, NOW, entitled=True).status == "locked"
