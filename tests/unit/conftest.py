"""Offices that many tests of the use cases begin with."""

from __future__ import annotations

import pytest

from tests.support.previewing import Admin, at
from tests.support.scenario import Scenario


@pytest.fixture
def scenario() -> Scenario:
    """A customer of three provisioned people."""
    scenario = Scenario()
    scenario.run()
    return scenario


@pytest.fixture
def admin() -> Admin:
    """A scenario in step, with u1 to u3 in scope."""
    scenario = Scenario()
    scenario.reconcile_to_the_end()
    return at(scenario)
