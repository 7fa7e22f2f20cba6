"""Who reads a secret is logged; whatever else a project's IAM policy says stays, whoever changes it meanwhile."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from typing import Any

import pytest

from infra.gcp import audit_logs
from infra.gcp.audit_logs import SERVICE
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.steps import Command
from tests.gcp.gcloud_parser import TARGET as KNOWN
from tests.gcp.gcloud_parser import quiet
from tests.gcp.stand_in import FORMER, PROJECT, StandIn
from tests.gcp.test_deploy import changes_of, deployed
from tests.gcp.test_diff import differing
from tests.gcp.test_lost_answers import destroyed

OURS = {"service": SERVICE, "auditLogConfigs": [{"logType": "DATA_READ"}]}
OTHERS = {"service": "storage.googleapis.com", "auditLogConfigs": [{"logType": "DATA_WRITE"}]}
EVERYTHING = {"service": "allServices", "auditLogConfigs": [{"logType": "ADMIN_READ"}]}
EXEMPT = {"logType": "DATA_READ", "exemptedMembers": ["user:scanner@example.com"]}


@pytest.fixture
def cloud(whole: StandIn) -> StandIn:
    return copy.deepcopy(whole)


def policy_of(cloud: StandIn) -> dict[str, Any]:
    return cloud.policies[f"project:{PROJECT}"]


def set_policies(cloud: StandIn) -> list[Command]:
    return [command for command in cloud.changes() if "set-iam-policy" in command]


def test_a_deployment_has_it_logged_and_sets_the_policy_once(cloud):
    assert policy_of(cloud)["auditConfigs"] == [OURS]
    assert len(set_policies(cloud)) == 1
    assert changes_of(cloud) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([OTHERS, EVERYTHING], [OTHERS, EVERYTHING, OURS]),
        (
            [{"service": SERVICE, "auditLogConfigs": [{"logType": "ADMIN_READ"}]}, OTHERS],
            [{"service": SERVICE, "auditLogConfigs": [{"logType": "ADMIN_READ"}, {"logType": "DATA_READ"}]}, OTHERS],
        ),
        ([{"service": SERVICE}], [OURS]),
        (
            [{"service": SERVICE, "auditLogConfigs": [EXEMPT]}],  # somebody's decision, and not ours to take back
            [{"service": SERVICE, "auditLogConfigs": [EXEMPT]}],
        ),
    ],
    ids=["of other services", "of another type", "empty", "there already, with exemptions"],
)
def test_it_is_added_and_everything_else_stays(cloud, before, after):
    policy = policy_of(cloud)
    policy["auditConfigs"] = copy.deepcopy(before)
    policy["bindings"].append({"role": "roles/viewer", "members": [FORMER], "condition": {"expression": "true"}})
    policy["bindings"].append({"role": "roles/owner", "members": ["user:o@example.com", "deleted:user:x@y.z?uid=1"]})
    bindings = copy.deepcopy(policy["bindings"])
    deployed(cloud)
    assert policy_of(cloud)["auditConfigs"] == after
    assert policy_of(cloud)["bindings"] == bindings
    assert changes_of(cloud) == []


@pytest.mark.parametrize("times", [1, 3])
def test_a_change_that_somebody_makes_meanwhile_is_not_overwritten(cloud, times):
    del policy_of(cloud)["auditConfigs"]
    left = list(range(times))

    def raced(command: Command, stdin: str) -> Any:
        if "set-iam-policy" in command and left:
            who = f"user:newcomer-{left.pop()}@example.com"
            policy_of(cloud)["bindings"].append({"role": "roles/browser", "members": [who]})
            policy_of(cloud)["etag"] = cloud.etag()
        return cloud(command, stdin)

    from infra.gcp.deploy import run

    pauses: list[float] = []
    run([audit_logs.reads_of_secrets(KNOWN)], Gcloud(raced, sleep=pauses.append), lambda text: None)
    assert len(pauses) == times
    assert policy_of(cloud)["auditConfigs"] == [OURS]
    there = {member for item in policy_of(cloud)["bindings"] for member in item["members"]}
    assert {f"user:newcomer-{number}@example.com" for number in range(times)} <= there


def test_a_policy_that_is_told_without_its_etag_is_never_sent(cloud):
    step = audit_logs.reads_of_secrets(KNOWN)
    with pytest.raises(SystemExit, match="without an etag, so it was not changed"):
        step.stdin(step.find({"bindings": []}))


def test_a_lost_answer_does_not_set_it_twice(cloud):
    del policy_of(cloud)["auditConfigs"]
    before = len(set_policies(cloud))
    cloud.lost = {cloud.acted + 1}  # the lock comes first
    deployed(cloud)
    assert len(set_policies(cloud)) == before + 1
    assert policy_of(cloud)["auditConfigs"] == [OURS]


def test_who_may_not_set_the_policy_is_told_so(cloud):
    del policy_of(cloud)["auditConfigs"]
    cloud.failures = [("set-iam-policy", "PERMISSION_DENIED: Policy update access denied.", 1)]
    with pytest.raises(GcloudFailed, match="Policy update access denied"):
        deployed(cloud)
    assert "auditConfigs" not in policy_of(cloud)


def test_a_diff_names_what_is_not_logged(cloud):
    del policy_of(cloud)["auditConfigs"]
    assert differing(cloud)[1] == "             auditConfigs.secretmanager.googleapis.com.DATA_READ: nothing -> true"


def test_a_destruction_leaves_the_log_on(cloud):
    assert policy_of(destroyed(cloud))["auditConfigs"] == [OURS]


def test_gcloud_itself_reads_the_policy_from_standard_input(tmp_path):
    """Without an account it comes no further than that; what is no policy, it refuses before it asks for one."""
    (command,) = audit_logs.reads_of_secrets(KNOWN).make

    def says(policy: Any) -> str:
        given = {"env": {**os.environ, **quiet(str(tmp_path))}, "input": json.dumps(policy)}
        return subprocess.run(command, **given, capture_output=True, text=True, check=False).stderr

    assert "not a properly formatted YAML or JSON policy file" in says([])
    step = audit_logs.reads_of_secrets(KNOWN)
    assert "active account selected" in says(json.loads(step.stdin(step.find({"etag": "BwY=", "bindings": []}))))
