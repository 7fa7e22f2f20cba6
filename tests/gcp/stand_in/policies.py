"""The IAM policy of anything, and who is known to be granted something."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from google.iam.v1 import policy_pb2
from google.protobuf.json_format import Parse

from tests.gcp.api_messages import problems
from tests.gcp.stand_in.cloud import PROJECT, Cloud, Handler, Refused


def known_member(cloud: Cloud, member: str) -> None:
    kind, _, address = member.partition(":")
    if kind == "serviceAccount" and address not in cloud.agents and address not in cloud.things.get("account", {}):
        raise Refused(f"INVALID_ARGUMENT: Service account {address} does not exist.")


def bind(kind: str) -> Handler:
    def act(cloud: Cloud, names: list[str], flags: dict[str, Any], stdin: str) -> Any:
        name = _resource(cloud, kind, names, flags)
        if flags["member"] == "allUsers":  # as an organization says that restricts sharing to its domain
            raise Refused("FAILED_PRECONDITION: One or more users do not belong to a permitted customer.")
        known_member(cloud, flags["member"])
        member = _kept(flags["member"])
        if flags["role"].startswith(f"projects/{PROJECT}/roles/"):
            cloud.thing("role", flags["role"].rpartition("/")[2])
        policy, condition = cloud.policy(f"{kind}:{name}"), _condition(flags)
        cloud.since.setdefault((f"{kind}:{name}", flags["role"], member), cloud.clock)
        assert kind == "project" or not condition
        for binding in policy["bindings"]:
            if binding["role"] == flags["role"] and binding.get("condition", {}) == condition:
                binding["members"] = sorted({*binding["members"], member})
                break
        else:
            more = {"condition": condition} if condition else {}
            policy["bindings"].append({"role": flags["role"], "members": [member], **more})
        return _changed(cloud, policy)

    return act


def _changed(cloud: Cloud, policy: dict[str, Any]) -> dict[str, Any]:
    """Return a policy with its next etag, after seeing that it is one."""
    policy["etag"] = cloud.etag()
    assert problems(policy, "iam.v1", "Policy") == []
    _parsed(json.dumps(policy))
    return policy


@lru_cache(10_000)  # hundreds of deployments make the same policies
def _parsed(policy: str) -> None:
    """Raise ParseError where a policy is none."""
    Parse(policy, policy_pb2.Policy())


def replace(cloud: Cloud, names: list[str], flags: dict[str, Any], stdin: str) -> Any:
    """Set a project's whole policy, as `gcloud projects set-iam-policy` does: what is left out is taken away.

    Its update mask has the keys of the file, and bindings and etag in any case.
    """
    assert names == [PROJECT, "/dev/stdin"]
    given, policy = json.loads(stdin), cloud.policy(f"project:{PROJECT}")
    if given.get("etag") != policy["etag"]:
        raise Refused(
            "ABORTED: There were concurrent policy changes. Please retry the whole read-modify-write with exponential "
            "backoff. The request's ETag did not match the current policy's ETag."
        )
    for binding in given["bindings"]:
        for member in binding["members"]:
            known_member(cloud, member)
    policy.update({"bindings": [], **given, "version": 3})
    return _changed(cloud, policy)


def _kept(member: str) -> str:
    """Return a member as a policy keeps it: the address in lower case."""
    kind, _, address = member.partition(":")
    return f"{kind}:{address.lower()}" if address else kind


def _condition(flags: dict[str, Any]) -> dict[str, str]:
    text = flags.get("condition", "None")
    if text == "None":
        return {}
    title, _, expression = text.removeprefix("title=").partition(",expression=")
    return {"title": title, "expression": expression}


def unbind(kind: str, *, several: bool = True) -> Handler:
    """Return what takes a role from a member; `several`: a condition must be named, or all of them be meant."""

    def act(cloud: Cloud, names: list[str], flags: dict[str, Any], stdin: str) -> Any:
        assert ("all" in flags) is not ("condition" in flags) or not several
        condition = _condition(flags)
        policy = cloud.policy(f"{kind}:{_resource(cloud, kind, names, flags)}")
        member = _kept(flags["member"])
        bound = [
            binding
            for binding in policy["bindings"]
            if binding["role"] == flags["role"] and ("all" in flags or binding.get("condition", {}) == condition)
        ]
        if not any(member in binding["members"] for binding in bound):
            raise Refused("Policy binding with the specified principal, role, and condition not found!")
        for binding in bound:
            binding["members"] = [each for each in binding["members"] if each != member]
        policy["bindings"] = [binding for binding in policy["bindings"] if binding["members"]]
        return _changed(cloud, policy)

    return act


def policy(kind: str) -> Handler:
    def act(cloud: Cloud, names: list[str], flags: dict[str, Any], stdin: str) -> Any:
        return cloud.policy(f"{kind}:{_resource(cloud, kind, names, flags)}")

    return act


def _resource(cloud: Cloud, kind: str, names: list[str], flags: dict[str, Any]) -> str:
    name = str(flags["service"] if kind == "iap" else names[0])
    if kind != "project":
        cloud.thing("service" if kind == "iap" else kind, name)
    return name
