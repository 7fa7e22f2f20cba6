"""Time for gcloud's parser, at which the workers of a run take turns, and deployments that tests start from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from infra.gcp import commands, labels, upload
from infra.gcp.description import DEPLOYMENT, FORMER_GRANT
from infra.gcp.steps import Step
from infra.gcp.target import Target
from tests.gcp.stand_in import NUMBER, PROJECT, StandIn
from tests.gcp.stand_in.cloud import REGION
from tests.gcp.stand_in.run import managed_by_functions

SECONDS = 600
KEPT = 64  # targets: each has some hundred steps


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give a test of this folder more time: of others, pytest does not tell it here."""
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


@pytest.fixture(scope="module", autouse=True)
def same_steps() -> Iterator[None]:
    """Have the steps for a target made once: a deployment makes them three times, and hundreds are of few targets."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("foundation", "functions", "workload", "alerts"):
            patch.setattr(commands, name, _kept(getattr(commands, name)))
        yield


def _kept(make: Callable[[Target], list[Step]]) -> Callable[[Target], list[Step]]:
    """Return what makes steps from all that they depend on, but keeps those of the latest targets."""
    made: dict[str, list[Step]] = {}

    def of(target: Target) -> list[Step]:
        known = repr((target, labels.KINDS))
        if known not in made:
            if len(made) == KEPT:
                made.clear()
            made[known] = make(target)
        return list(made[known])

    return of


@pytest.fixture(scope="module")
def whole() -> StandIn:
    """A whole deployment, which every test copies and none changes."""
    from tests.gcp.test_deploy import deployed

    cloud = StandIn()
    deployed(cloud)
    return cloud


@pytest.fixture
def former(whole: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """What a version before deployed with `gcloud functions deploy`, and another source to deploy."""
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    cloud = copy.deepcopy(whole)
    managed_by_functions(cloud)
    del cloud.things["bucket"], cloud.policies[f"bucket:gs://keeper-source-{NUMBER}"]
    (account,) = [item for item in DEPLOYMENT.accounts if item.name == "build"]
    policy = cloud.policies[f"project:{PROJECT}"]["bindings"]
    only = FORMER_GRANT.only
    assert only
    policy.append(
        {
            "role": FORMER_GRANT.role,
            "members": [f"serviceAccount:{account.id}@{PROJECT}.iam.gserviceaccount.com"],
            "condition": {
                "title": only.title,
                "expression": only.expression.format(number=NUMBER, region=REGION),
            },
        }
    )
    return cloud


@pytest.fixture
def upgraded(former: StandIn) -> StandIn:
    """The same, once this version was deployed over it."""
    from tests.gcp.test_deploy import deployed

    deployed(former)
    return former
