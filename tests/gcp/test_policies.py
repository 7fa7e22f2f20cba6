"""Every IAM policy and role that a deployment amounts to is one of the API's own messages (google.iam)."""

from __future__ import annotations

import pytest
from google.cloud.iam_admin_v1 import Role
from google.iam.v1 import policy_pb2
from google.protobuf.json_format import ParseDict, ParseError

from infra.gcp.description import DEPLOYMENT
from tests.gcp.stand_in import StandIn
from tests.gcp.test_deploy import deployed


@pytest.fixture(scope="module")
def cloud() -> StandIn:
    cloud = StandIn()
    deployed(cloud)
    return cloud


def test_each_policy_is_a_message_with_roles_and_members(cloud):
    assert {key.partition(":")[0] for key in cloud.policies} >= {"project", "topic", "subscription", "service", "iap"}
    for key, known in cloud.policies.items():
        policy = ParseDict(known, policy_pb2.Policy())
        assert all(binding.role and binding.members for binding in policy.bindings), key


def test_a_condition_is_part_of_the_message(cloud):
    (project,) = (known for key, known in cloud.policies.items() if key.startswith("project:"))
    policy = ParseDict(project, policy_pb2.Policy())
    conditions = [binding.condition for binding in policy.bindings if binding.HasField("condition")]
    assert conditions
    assert all(condition.title and condition.expression for condition in conditions)


def test_each_role_of_our_own_is_a_message_with_permissions(cloud):
    roles = [ParseDict(known, Role.pb(Role())) for known in cloud.things["role"].values()]
    assert {role.name.rpartition("/")[2] for role in roles} == {role.id for role in DEPLOYMENT.roles}
    assert all(role.included_permissions for role in roles)


@pytest.mark.parametrize("wrong", [{"bindings": [{"rôle": "x"}]}, {"binding": []}, {"bindings": [{"members": "x"}]}])
def test_what_is_no_policy_is_noticed(wrong):
    with pytest.raises(ParseError):
        ParseDict(wrong, policy_pb2.Policy())


@pytest.mark.parametrize("wrong", [{"permissions": []}, {"includedPermissions": "x"}, {"stage": "SOON"}])
def test_what_is_no_role_is_noticed(wrong):
    with pytest.raises(ParseError):
        ParseDict(wrong, Role.pb(Role()))
