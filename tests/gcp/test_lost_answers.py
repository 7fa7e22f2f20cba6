"""A command that was carried out, and whose answer never came: the state that is left is as if it had come."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from infra.gcp import commands, destroy, monitoring
from infra.gcp.description import DEPLOYMENT, KEYS
from infra.gcp.gcloud import Gcloud
from infra.gcp.steps import shown
from tests.gcp.gcloud_parser import TARGET as KNOWN
from tests.gcp.stand_in import StandIn
from tests.gcp.test_deploy import deployed
from tests.gcp.test_rollback_and_destroy import backed_up

STEPS = commands.all_steps(KNOWN)
LOCKED = 2  # the lock is taken, and given back
MADE = sum(len(step.make) for step in STEPS) + LOCKED
REMOVALS = destroy.removals(KNOWN, audit=True, backups=True)
SEVERAL = {"Alert policy": len(monitoring.policies()), "Secret": len(KEYS)}
SEVERAL |= {f"Function {function.name}": 0 for function in DEPLOYMENT.functions}  # of versions before
REMOVED = sum(SEVERAL.get(removal.title, len(removal.commands)) for removal in REMOVALS) + LOCKED


@pytest.fixture
def deployment(whole: StandIn) -> StandIn:
    return with_backups(whole)


@pytest.fixture(scope="module")
def left(whole: StandIn) -> dict[str, Any]:
    """What a destruction leaves."""
    return inventory(destroyed(with_backups(whole)))


def with_backups(whole: StandIn) -> StandIn:
    cloud = copy.deepcopy(whole)
    cloud.acted = 0
    backed_up(cloud, 11, cloud.things["database"]["(default)"]["uid"])
    return cloud


def destroyed(cloud: StandIn) -> StandIn:
    gcloud = Gcloud(cloud, sleep=lambda seconds: None)
    everything = destroy.Wanted(audit=True, backups=True)
    destroy.destroy(KNOWN, gcloud, lambda text: None, lambda _: destroy.confirmation(KNOWN, everything), everything)
    return cloud


def inventory(cloud: StandIn) -> dict[str, Any]:
    """Return what there is, by its name; who may do what; what is logged of that; and how many keys were made."""
    things = {kind: sorted(there) for kind, there in cloud.things.items() if there}
    grants = {
        (what, binding["role"], member)
        for what, policy in cloud.policies.items()
        for binding in policy["bindings"]
        for member in binding["members"]
    }
    logged = {what: policy["auditConfigs"] for what, policy in cloud.policies.items() if "auditConfigs" in policy}
    return things | {"grants": grants, "logged": logged, "agents": cloud.agents, "keys": len(cloud.inputs)}


def test_the_indexes_are_those_of_all_commands(whole, deployment):
    assert whole.acted == MADE
    assert destroyed(deployment).acted == REMOVED


@pytest.mark.parametrize("index", range(MADE))
def test_a_deployment_ends_as_if_no_answer_had_been_lost(whole, index):
    cloud = StandIn()
    cloud.lost = {index}
    deployed(cloud)
    assert inventory(cloud) == inventory(whole), shown(cloud.changes()[index])


@pytest.mark.parametrize("index", range(REMOVED))
def test_a_destruction_ends_as_if_no_answer_had_been_lost(left, deployment, index):
    deployment.lost = {index}
    assert inventory(destroyed(deployment)) == left


@pytest.mark.parametrize("every", [2, 3])
def test_many_lost_answers_are_no_worse_than_one(whole, every):
    cloud = StandIn()
    cloud.lost = set(range(0, 3 * MADE, every))
    deployed(cloud)
    assert inventory(cloud) == inventory(whole)
    backed_up(cloud, 11, cloud.things["database"]["(default)"]["uid"])
    cloud.lost = {cloud.acted + index for index in range(0, 3 * REMOVED, every)}
    assert inventory(destroyed(cloud)) == inventory(destroyed(copy.deepcopy(whole)))
