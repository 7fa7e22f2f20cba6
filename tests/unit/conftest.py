"""An office that most tests of the use cases begin with."""

from __future__ import annotations

import pytest

from tests.office import Office


@pytest.fixture
def office() -> Office:
    """A customer of three provisioned people."""
    office = Office()
    office.run()
    return office
