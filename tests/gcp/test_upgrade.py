"""An upgrade from a version that deployed to Cloud Functions, which goes on managing the functions; destroying them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from infra.gcp import commands, destroy
from infra.gcp.description import DEPLOYMENT, MOVED
from infra.gcp.diff import diff
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.rollback import rollback
from infra.gcp.steps import shown
from tests.gcp.stand_in import PROJECT, StandIn
from tests.gcp.stand_in.run import BASE_IMAGES
from tests.gcp.test_deploy import NAMES, TARGET, changes_of, deployed, nobody
from tests.gcp.test_revisions import numbers, serving

STILL = f"\nCloud Functions still manages {', '.join(function.name for function in DEPLOYMENT.functions)}. "
THIRD = "fedcba9876543210"


def rolled_back(cloud: StandIn) -> None:
    rollback(TARGET, Gcloud(cloud, sleep=lambda seconds: None), lambda text: None)


# ---- an upgrade


def test_an_upgrade_asks_nothing_and_leaves_the_functions_to_cloud_functions(former):
    """Nothing that it does cannot be undone."""
    functions = copy.deepcopy(former.things["function"])
    said = deployed(former, ask=nobody)
    assert former.things["function"] == functions
    assert any(text.startswith(STILL) and f"for good: make detach {TARGET.settings}" in text for text in said)


def test_an_upgrade_keeps_addresses_and_revisions_and_may_be_rolled_back(former):
    addresses = {name: item["status"]["url"] for name, item in former.things["service"].items()}
    first, functions = serving(former), copy.deepcopy(former.things["function"])
    before = len(former.changes())
    deployed(former)
    changed = [shown(command) for command in former.changes()[before:]]
    assert [text for text in changed if "pubsub" in text or "scheduler" in text or " iap " in text] == []
    assert {name: item["status"]["url"] for name, item in former.things["service"].items()} == addresses
    assert BASE_IMAGES not in str([item["spec"]["template"] for item in former.things["service"].values()])
    assert "gcf-v2-sources" not in str(former.policies)
    assert set(numbers(former).values()) == {2}
    rolled_back(former)
    assert (serving(former), former.things["function"]) == (first, functions)
    deployed(former, again=True)
    assert (set(numbers(former).values()), former.things["function"]) == ({2}, functions)


def test_what_is_still_managed_is_deployed_over_again_and_again(upgraded, monkeypatch):
    functions = copy.deepcopy(upgraded.things["function"])
    assert changes_of(upgraded) == []
    monkeypatch.setattr(commands, "source_digest", lambda: THIRD)
    assert len(changes_of(upgraded)) == 1 + 2 * len(MOVED)
    assert changes_of(upgraded) == []
    assert (set(numbers(upgraded).values()), upgraded.things["function"]) == ({3}, functions)


def test_a_difference_to_cloud_functions_is_none_but_is_told(upgraded):
    said: list[str] = []
    assert diff(TARGET, Gcloud(upgraded), said.append) == 0
    assert said[-1].startswith(STILL)


@pytest.mark.parametrize("ends", ["a build", "a revision", "the smoke test"])
def test_an_upgrade_that_fails_leaves_everything_as_it_was(former, ends):
    first, functions = serving(former), copy.deepcopy(former.things["function"])
    if ends == "a build":
        former.failures = [("builds submit", "build failed; check build logs for details", 1)]
    elif ends == "a revision":
        former.broken = {"reconcile"}
    else:
        former.sick = {"reconcile"}
    with pytest.raises((SystemExit, GcloudFailed)):
        deployed(former)
    assert (serving(former), former.things["function"]) == (first, functions)


UPGRADE = 1 + 2 + 1 + 2 * len(MOVED) + 1 + 1  # the lock, the bucket, the build, revisions, traffic, a grant, the lock


@pytest.mark.parametrize("index", range(UPGRADE))
def test_an_upgrade_ends_well_whichever_answer_was_lost(former, index):
    former.lost = {former.acted + index}
    before = former.acted
    deployed(former)
    assert former.acted - before == UPGRADE, "nothing was done twice"
    assert set(numbers(former).values()) == {2}
    assert len(former.things["revision"]) == 2 * len(MOVED)
    assert changes_of(former) == []


@pytest.mark.parametrize("after", range(UPGRADE))
def test_an_upgrade_goes_on_wherever_it_was_broken_off_and_something_serves_always(former, after):
    former.interrupt_after = former.acted + after
    with pytest.raises(KeyboardInterrupt):
        deployed(former)
    former.interrupt_after = None
    assert set(numbers(former)) == NAMES
    deployed(former, unlock=True)
    assert set(numbers(former).values()) == {2}
    assert changes_of(former) == []


# ---- destroying what is still managed


@pytest.fixture(params=["before the upgrade", "after it"])
def still_managed(former: StandIn, request: pytest.FixtureRequest) -> StandIn:
    if request.param == "after it":
        deployed(former)
    return former


def destroyed(cloud: StandIn, **allowed: Any) -> list[str]:
    said: list[str] = []
    gcloud = Gcloud(cloud, sleep=lambda seconds: None)
    destroy.destroy(TARGET, gcloud, said.append, lambda question: PROJECT, destroy.Wanted(), **allowed)
    return said


def gone(cloud: StandIn) -> bool:
    return not (cloud.things["function"] or cloud.things["service"] or cloud.things["account"])


def test_functions_that_were_never_detached_are_destroyed_with_their_services(still_managed):
    before = len(still_managed.changes())
    said = destroyed(still_managed)
    assert gone(still_managed)
    assert {"  delete     Function console", "  Service console"} <= set(said)
    changed = [shown(command) for command in still_managed.changes()[before:]]
    assert sum(text.startswith("gcloud functions delete ") for text in changed) == len(MOVED)
    assert not any(text.startswith("gcloud run services delete ") for text in changed), "they went with the functions"


# The lock, jobs, subscriptions, functions, and one thing more.
DESTRUCTION = 1 + len(DEPLOYMENT.jobs) + len(DEPLOYMENT.topics) + len(MOVED) + 1


@pytest.mark.parametrize("index", range(DESTRUCTION))
def test_a_destruction_ends_well_whichever_answer_was_lost(former, index):
    former.lost = {former.acted + index}
    destroyed(former)
    assert gone(former)


@pytest.mark.parametrize("after", range(DESTRUCTION))
def test_a_destruction_goes_on_wherever_it_was_broken_off(former, after):
    former.interrupt_after = former.acted + after
    with pytest.raises(KeyboardInterrupt):
        destroyed(former)
    former.interrupt_after = None
    destroyed(former, unlock=True)
    assert gone(former)


def test_a_function_that_has_lost_its_service_is_destroyed(former):
    del former.things["service"]["console"]
    destroyed(former)
    assert gone(former)


def test_the_service_of_somebody_elses_function_is_not_destroyed_below_it(former):
    """It runs as our account if somebody deployed over it by hand."""
    former.things["function"]["console"]["serviceConfig"]["serviceAccountEmail"] = "somebody@example.com"
    said = "\n".join(destroyed(former))
    stay = said.partition("These stay")[2].partition("Done.")[0]
    assert "  Function console\n" in stay
    assert "  Service console\n" in stay
    assert (list(former.things["function"]), list(former.things["service"])) == (["console"], ["console"])
