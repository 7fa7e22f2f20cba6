"""Time for gcloud's parser, at which the workers of a run take turns, and a deployment that tests start from."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from infra.gcp import commands, upload
from tests.gcp.stand_in import StandIn

HERE = Path(__file__).parent
SECONDS = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(SECONDS))


@cache
def _source() -> tuple[str, str, str]:
    return commands.source_digest(), upload.version(commands.ROOT), upload.commit(commands.ROOT)


@pytest.fixture(scope="module", autouse=True)
def same_source() -> Iterator[None]:
    """Have git asked once, and the source hashed once, not for each of hundreds of deployments.

    A module about what is uploaded has a fixture of this name that does nothing.
    """
    digest, version, commit = _source()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "source_digest", lambda: digest)
        patch.setattr(upload, "version", lambda _: version)
        patch.setattr(upload, "commit", lambda _: commit)
        yield


@pytest.fixture(scope="module")
def whole() -> StandIn:
    """A whole deployment, which every test copies and none changes."""
    from tests.gcp.test_deploy import deployed

    cloud = StandIn()
    deployed(cloud)
    return cloud
