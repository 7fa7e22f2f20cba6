"""Time for gcloud's parser, at which the workers of a run take turns, and a deployment that tests start from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.gcp import commands
from tests.gcp.stand_in import StandIn

HERE = Path(__file__).parent
SECONDS = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(SECONDS))


@pytest.fixture(scope="module")
def same_source() -> Iterator[None]:
    """Have the source hashed once, not for each of hundreds of deployments."""
    digest = commands.source_digest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "source_digest", lambda: digest)
        yield


@pytest.fixture(scope="module")
def whole(same_source: None) -> StandIn:
    """A whole deployment, which every test copies and none changes."""
    from tests.gcp.test_deploy import deployed

    cloud = StandIn()
    deployed(cloud)
    return cloud
