"""Offices that many tests of the use cases begin with."""

from __future__ import annotations

import pytest

from tests.support.previewing import Admin, at
from tests.support.scenario import Office


@pytest.fixture
def office() -> Office:
    """A customer of three provisioned people."""
    office = Office()
    office.run()
    return office


@pytest.fixture
def admin() -> Admin:
    """An office in step, with u1 to u3 in scope."""
    office = Office()
    office.reconcile_to_the_end()
    return at(office)
