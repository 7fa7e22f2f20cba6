"""PUBLIC_WEBHOOK=off: a deployment without any public function, whose changes come from the log sink alone."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from autoprovisioning.config import load
from infra.gcp import commands, tofu
from infra.gcp.description import WEBHOOK
from infra.gcp.target import ALONE, Refused, Target
from infra.gcp.variants import chosen
from tests.gcp import provider_schema, test_tofu
from tests.gcp.gcloud_parser import TARGET as KNOWN
from tests.gcp.gcloud_parser import complaints
from tests.gcp.stand_in import StandIn
from tests.gcp.stand_in.cloud import ORGANIZATION
from tests.gcp.stand_in.run import managed_by_functions
from tests.gcp.test_deploy import TARGET, changes_of, container, deployed
from tests.gcp.test_diff import differing
from tests.gcp.test_rollback_and_destroy import left, roll_back
from tests.gcp.test_same_set import FRAMEWORK, used_by
from tests.gcp.test_sink import closed, destroyed, state, sunk
from tests.unit.test_docs import asked

__all__ = ["sunk"]

CLOSED = replace(TARGET, sink="organization", public_webhook="off")
OPEN = replace(TARGET, public_webhook="on")
OFF = replace(KNOWN, sink="organization", organization=ORGANIZATION, public_webhook="off")


@pytest.fixture(scope="module")
def shut(sunk: StandIn) -> StandIn:
    """A deployment without a public function, which every test copies and none changes."""
    cloud = copy.deepcopy(sunk)
    deployed(cloud, CLOSED)
    return cloud


@pytest.fixture
def cloud(shut: StandIn) -> StandIn:
    return copy.deepcopy(shut)


def given(cloud: StandIn, name: str) -> dict[str, str]:
    return {item["name"]: item.get("value", "(secret)") for item in container(cloud, name)["env"]}


def public(cloud: StandIn) -> list[str]:
    unasked = "run.googleapis.com/invoker-iam-disabled"
    return [name for name, item in cloud.things["service"].items() if unasked in item["metadata"]["annotations"]]


def alerts(cloud: StandIn) -> set[str]:
    return {alert["userLabels"]["alert"] for alert in cloud.things["alert"].values()}


def test_no_function_is_public_and_none_is_watched_that_is_not_there(cloud):
    assert WEBHOOK not in cloud.things["service"]
    assert public(cloud) == []
    assert not cloud.things["uptime"]
    assert "webhook-unreachable" not in alerts(cloud)
    assert given(cloud, "renew-watch")["PUBLIC_WEBHOOK"] == "off"
    assert "WEBHOOK_URL" not in given(cloud, "renew-watch")


def test_it_is_remembered(cloud):
    for target in (CLOSED, TARGET):
        assert changes_of(cloud, target) == []
        assert differing(cloud, target) == []


def test_on_restores_what_there_was(cloud, sunk):
    deployed(cloud, OPEN)
    assert public(cloud) == [WEBHOOK]
    assert "webhook-unreachable" in alerts(cloud)
    assert {name: given(cloud, name) for name in cloud.things["service"]} == (
        {name: given(sunk, name) for name in sunk.things["service"]}
    )
    assert changes_of(cloud) == []


def test_a_sink_lets_the_sweep_come_seldom_and_none_lets_it_come_often(sunk):
    cloud = copy.deepcopy(sunk)
    assert (given(cloud, "reconcile")["SWEEP_MINUTES"], given(cloud, "console")["AUDIT_LOG_SINK"]) == ("60", "on")
    deployed(cloud, replace(TARGET, sink="none"))
    assert not {"SWEEP_MINUTES", "AUDIT_LOG_SINK"} & given(cloud, "reconcile").keys()


def test_how_often_everybody_is_looked_at_counts_with_a_sink_alone_and_is_remembered(sunk):
    cloud = copy.deepcopy(sunk)
    assert "FULL_RUN_MINUTES" not in given(cloud, "reconcile")
    for target in (replace(TARGET, full_runs="hourly"), TARGET):
        deployed(cloud, target)
        assert {given(cloud, name)["FULL_RUN_MINUTES"] for name in ("reconcile", "console")} == {"60"}
        assert changes_of(cloud, target) == []
    deployed(cloud, replace(TARGET, full_runs="15min"))
    assert given(cloud, "reconcile")["FULL_RUN_MINUTES"] == "15"
    deployed(cloud, replace(TARGET, full_runs="daily", sink="none"))
    assert "FULL_RUN_MINUTES" not in given(cloud, "reconcile")


@pytest.mark.parametrize("sink", ["", "none"])
def test_it_is_refused_without_a_sink_before_anything_is_changed(whole, sink):
    cloud = copy.deepcopy(whole)
    with pytest.raises(SystemExit, match="PUBLIC_WEBHOOK=off leaves the log sink as the only source of changes"):
        deployed(cloud, replace(TARGET, sink=sink, public_webhook="off"))
    assert cloud.acted == whole.acted
    told = {"PROJECT": "keeper-prod", "REGION": "europe-west1", "ADMIN": "a@example.com", "ALERTS": "b@example.com"}
    with pytest.raises(Refused, match="PUBLIC_WEBHOOK=off leaves"):
        Target.given(told | {"SINK": "none", "PUBLIC_WEBHOOK": "off"})


def test_the_sink_may_not_go_while_no_function_is_public(cloud):
    with pytest.raises(SystemExit, match=f"{ALONE} Nothing was changed."):
        deployed(cloud, replace(TARGET, sink="none"))
    deployed(cloud, replace(OPEN, sink="none"))
    assert public(cloud) == [WEBHOOK]


def test_a_first_deployment_makes_no_public_function_though_the_sink_is_not_there_yet():
    cloud = StandIn()
    closed(cloud, sees=False)
    deployed(cloud, CLOSED)
    assert public(cloud) == []
    assert "AUDIT_LOG_SINK" not in given(cloud, "reconcile")
    assert not any("invoker-iam-check" in " ".join(command) for command in cloud.changes() if WEBHOOK in command)
    assert changes_of(cloud) == []


def test_a_webhook_stays_until_the_sink_publishes(whole):
    cloud = copy.deepcopy(whole)
    closed(cloud, sees=False)
    said = deployed(cloud, CLOSED)
    assert public(cloud) == [WEBHOOK]
    assert any("So the public webhook stays, too" in line for line in said)
    cloud.may_sink = cloud.sees_sinks = True
    deployed(cloud)
    assert public(cloud) == []


def test_a_function_that_cloud_functions_manages_is_detached_first(whole):
    cloud = copy.deepcopy(whole)
    managed_by_functions(cloud)
    with pytest.raises(SystemExit, match="which Cloud Functions still manages: make detach"):
        deployed(cloud, CLOSED)


@pytest.mark.parametrize("broken", ["interrupted", "lost"])
@pytest.mark.parametrize("turned", ["off", "on"])
def test_wherever_it_is_broken_off_it_goes_on(sunk, shut, broken, turned):
    before, target = (sunk, CLOSED) if turned == "off" else (shut, OPEN)
    after = copy.deepcopy(before)
    deployed(after, target)
    for index in range(0, after.acted - before.acted, 2):
        cloud = copy.deepcopy(before)
        if broken == "lost":
            cloud.lost = {cloud.acted + index, cloud.acted + index + 1}
        else:
            cloud.interrupt_after = cloud.acted + index
            with pytest.raises(KeyboardInterrupt):
                deployed(cloud, target)
            cloud.interrupt_after = None
        deployed(cloud, target, unlock=True)
        ignored = dict.fromkeys(("revision", "alert", "uptime"), None)  # numbered anew
        assert state(cloud) | ignored == state(after) | ignored
        assert (public(cloud), alerts(cloud)) == (public(after), alerts(after))


def test_a_rollback_says_that_the_webhook_is_not_there(cloud):
    said: list[str] = []
    assert roll_back(cloud, said=said)
    assert any(line.startswith(f"There is no {WEBHOOK}: ") for line in said)


def test_a_destruction_leaves_nothing_more(cloud):
    destroyed(cloud)
    assert "service" not in left(cloud)


def test_gcloud_takes_its_commands():
    steps = commands.all_steps(OFF)
    assert complaints(command for step in steps for command in step.commands) == {}
    titles = [step.title for step in steps]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("target", [OFF, replace(OFF, public_webhook="")], ids=["without a webhook", "with a sink"])
def test_every_function_is_given_what_it_reads(target):
    deployment = chosen(target)
    for function in deployment.functions:
        texts = {name: target.filled(text, deployment) for name, text in function.environment.items()}
        told = texts | dict.fromkeys(function.secrets, "of the secret")
        assert set(told) - FRAMEWORK <= set(asked()) & set(used_by(function))
        config = load(told, reads_directory=function.name != WEBHOOK)
        assert config.public_webhook or not config.webhook_url


def test_opentofu_makes_none_either():
    resources = list(tofu.resources(replace(test_tofu.TARGET, public_webhook="off")))
    assert [item.address for item in resources if provider_schema.problems(item.kind, item.body)] == []
    assert not {"google_cloud_run_v2_service.directory_webhook", "google_monitoring_uptime_check_config.webhook"} & {
        item.address for item in resources
    }
    assert [item for item in resources if item.body.get("invoker_iam_disabled")] == []
