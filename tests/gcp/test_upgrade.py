"""From a version that deployed to Cloud Functions: what it deployed serves until the new release does."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from infra.gcp import commands, destroy, services
from infra.gcp.description import DEPLOYMENT, FORMER_GRANT
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.preflight import Consent
from infra.gcp.rollback import rollback
from infra.gcp.steps import shown
from tests.gcp.stand_in import NUMBER, PROJECT, StandIn
from tests.gcp.stand_in.run import BASE_IMAGES, managed_by_functions
from tests.gcp.test_deploy import NAMES, TARGET, changes_of, deployed
from tests.gcp.test_revisions import KNOWN, SECOND, numbers, serving


@pytest.fixture
def cloud(whole: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A whole deployment, and another source to deploy."""
    monkeypatch.setattr(commands, "source_digest", lambda: SECOND)
    return copy.deepcopy(whole)


@pytest.fixture
def former(cloud: StandIn) -> StandIn:
    """What a version before deployed with `gcloud functions deploy`."""
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
                "expression": only.expression.format(number=NUMBER, region=TARGET.region),
            },
        }
    )
    return cloud


def upgraded(cloud: StandIn, **allowed: Any) -> list[str]:
    return deployed(cloud, **{"consent": Consent(confirmed=True)} | allowed)


def test_leaving_cloud_functions_is_confirmed_and_nothing_changes_before(former):
    before, things = len(former.changes()), copy.deepcopy(former.things)
    asked: list[str] = []
    with pytest.raises(SystemExit, match="Nothing was changed"):
        deployed(former, ask=lambda question: asked.append(question) or "no")
    assert (len(former.changes()), former.things) == (before, things)
    assert asked[0].startswith("Cloud Functions manages apply-changes, console, ")
    deployed(former, ask=lambda question: PROJECT)
    assert former.things["function"] == {}


def test_an_upgrade_keeps_addresses_and_revisions_and_may_be_rolled_back(former):
    addresses = {name: item["status"]["url"] for name, item in former.things["service"].items()}
    first = serving(former)
    before = len(former.changes())
    upgraded(former)
    changed = [shown(command) for command in former.changes()[before:]]
    detached = [place for place, text in enumerate(changed) if text.startswith("gcloud functions detach ")]
    assert len(detached) == 7
    assert min(detached) > max(place for place, text in enumerate(changed) if "--to-latest" in text)
    assert [text for text in changed if "pubsub" in text or "scheduler" in text or " iap " in text] == []
    assert {name: item["status"]["url"] for name, item in former.things["service"].items()} == addresses
    assert BASE_IMAGES not in str([item["spec"]["template"] for item in former.things["service"].values()])
    assert "gcf-v2-sources" not in str(former.policies)
    assert set(numbers(former).values()) == {2}
    assert changes_of(former) == []
    rollback(TARGET, Gcloud(former), lambda text: None)
    assert serving(former) == first


@pytest.mark.parametrize("ends", ["a build", "a revision", "the smoke test"])
def test_until_what_is_deployed_serves_there_is_a_way_back_into_cloud_functions(former, ends):
    first, functions = serving(former), dict(former.things["function"])
    if ends == "a build":
        former.failures = [("builds submit", "build failed; check build logs for details", 1)]
    elif ends == "a revision":
        former.broken = {"reconcile"}
    else:
        former.sick = {"reconcile"}
    with pytest.raises((SystemExit, GcloudFailed)):
        upgraded(former)
    assert (serving(former), former.things["function"]) == (first, functions)


def test_functions_that_were_not_told_before_the_question_leave_only_after_another(former):
    """While its API is not enabled, Cloud Functions tells nothing; a deployment enables it."""
    former.enabled.discard("cloudfunctions.googleapis.com")
    functions, asked = dict(former.things["function"]), []
    with pytest.raises(SystemExit, match="That does not match"):
        deployed(former, ask=lambda question: asked.append(question) or "no")
    assert asked[0].startswith("Cloud Functions manages apply-changes, console, ")
    assert former.things["function"] == functions
    deployed(former, ask=lambda question: asked.append(question) or PROJECT)
    assert (former.things["function"], len(asked)) == ({}, 2)


def test_functions_of_somebody_else_are_left_to_them(former):
    function = former.things["function"]["console"]
    function["serviceConfig"]["serviceAccountEmail"] = "somebody@example.com"
    assert services.formers(KNOWN, DEPLOYMENT, [function]) == []
    elsewhere = function | {"name": function["name"].replace("europe-west1", "europe-west2")}
    assert services.formers(KNOWN, DEPLOYMENT, [elsewhere]) == []


def test_functions_in_a_region_that_a_list_leaves_out_are_not_deployed_over(former):
    former.unreachable = {"europe-west1"}
    before, things = len(former.changes()), copy.deepcopy(former.things)
    with pytest.raises(
        SystemExit, match=r"Cloud Functions manages .*console.* does not show them.*Nothing was changed"
    ):
        upgraded(former)
    assert (former.changes()[before:], former.things) == ([], things)
    former.unreachable = set()
    upgraded(former)
    assert former.things["function"] == {}


def test_a_label_that_stays_after_leaving_cloud_functions_hinders_nothing(former):
    upgraded(former)
    for service in former.things["service"].values():
        service["metadata"]["labels"]["goog-managed-by"] = "cloudfunctions"
    assert changes_of(former) == []


UPGRADE = (
    1 + 2 + 1 + 7 + 7 + 7 + 1 + 1
)  # the lock, the bucket, the build, leaving, revisions, traffic, a grant, the lock


@pytest.mark.parametrize("index", range(UPGRADE))
def test_an_upgrade_ends_well_whichever_answer_was_lost(former, index):
    former.lost = {former.acted + index}
    before = former.acted
    upgraded(former)
    assert former.acted - before == UPGRADE, "nothing was done twice"
    assert former.things["function"] == {}
    assert set(numbers(former).values()) == {2}
    assert len(former.things["revision"]) == 14
    assert changes_of(former) == []


@pytest.mark.parametrize("after", range(UPGRADE))
def test_an_upgrade_goes_on_wherever_it_was_broken_off_and_something_serves_always(former, after):
    former.interrupt_after = former.acted + after
    with pytest.raises(KeyboardInterrupt):
        upgraded(former)
    former.interrupt_after = None
    assert set(numbers(former)) == NAMES
    upgraded(former, unlock=True)
    assert set(numbers(former).values()) == {2}
    assert changes_of(former) == []


def test_functions_that_were_never_detached_are_destroyed_too(former):
    said: list[str] = []
    destroy.destroy(TARGET, Gcloud(former), said.append, lambda question: PROJECT, destroy.Wanted())
    assert former.things["function"] == former.things["service"] == {}
    assert "  delete     Function console" in said
