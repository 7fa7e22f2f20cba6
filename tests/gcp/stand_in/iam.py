"""Projects, APIs, identities and roles."""

from __future__ import annotations

from typing import Any

from tests.gcp.api_messages import problems
from tests.gcp.stand_in.cloud import NUMBER, PROJECT, Cloud, Handler, Refused, delete, describe, listed
from tests.gcp.stand_in.policies import bind, policy, replace, unbind

AGENTS = {
    "cloudbuild.googleapis.com": "gcp-sa-cloudbuild",
    "cloudfunctions.googleapis.com": "gcf-admin-robot",
    "cloudscheduler.googleapis.com": "gcp-sa-cloudscheduler",
    "iap.googleapis.com": "gcp-sa-iap",
    "pubsub.googleapis.com": "gcp-sa-pubsub",
    "run.googleapis.com": "serverless-robot-prod",
}


def _project(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    if names != [PROJECT]:
        raise Refused(  # not found, as gcloud tells it: apitools' 403, whose text it makes of request and account
            f"(gcloud.projects.describe) [you@example.com] does not have permission to access projects instance "
            f"[{names[0]}] (or it may not exist): The caller does not have permission."
        )
    return {"projectId": PROJECT, "projectNumber": NUMBER, "lifecycleState": "ACTIVE", "name": "Keeper"}


def _ancestors(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    above = [{"id": "42", "type": "folder"}, *({"id": each, "type": "organization"} for each in cloud.organizations)]
    return [{"id": PROJECT, "type": "project"}, *above]


def _enable(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    cloud.enabled |= set(names)


def _enabled(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    found = [
        {"config": {"name": name}, "name": f"projects/{NUMBER}/services/{name}", "state": "ENABLED"}
        for name in sorted(cloud.enabled)
    ]
    assert [problems(item, "serviceusage.v1", "GoogleApiServiceusageV1Service") for item in found] == [[]] * len(found)
    return found


def _agent(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    cloud.agents.add(f"service-{NUMBER}@{AGENTS[flags['service']]}.iam.gserviceaccount.com")


def _make_account(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    address = f"{names[0]}@{PROJECT}.iam.gserviceaccount.com"
    account = {
        "name": f"projects/{PROJECT}/serviceAccounts/{address}",
        "projectId": PROJECT,
        "uniqueId": str(10**20 + len(cloud.things.get("account", {})) + 1),
        "email": address,
        "displayName": flags["display-name"],
        "description": flags["description"],
    }
    return cloud.put("account", address, account, new=True)


def _update_account(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    there = cloud.thing("account", names[0])
    more = {"displayName": flags["display-name"], "description": flags["description"]}
    return cloud.put("account", names[0], there | more)


def _make_role(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    return cloud.put("role", names[0], _role(names[0], flags), new=True)


def _update_role(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    there = cloud.thing("role", names[0])
    return cloud.put("role", names[0], _role(names[0], flags) | ({"deleted": True} if there.get("deleted") else {}))


def _undelete_role(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    there = cloud.thing("role", names[0])
    if not there.get("deleted"):
        raise Refused("FAILED_PRECONDITION: You can't undelete a role that isn't deleted.")
    return cloud.put("role", names[0], {key: value for key, value in there.items() if key != "deleted"})


def _role(name: str, flags: Any) -> dict[str, Any]:
    return {
        "name": f"projects/{PROJECT}/roles/{name}",
        "title": flags["title"],
        "stage": flags["stage"],
        "includedPermissions": sorted(flags["permissions"].split(","), reverse=True),
        "etag": "BwY=",
    }


HANDLERS: dict[str, Handler] = {
    "projects describe": _project,
    "projects get-ancestors": _ancestors,
    "projects get-iam-policy": policy("project"),
    "projects set-iam-policy": replace,
    "projects add-iam-policy-binding": bind("project"),
    "projects remove-iam-policy-binding": unbind("project"),
    "services list": _enabled,
    "services enable": _enable,
    "services identity create": _agent,
    "iam service-accounts create": _make_account,
    "iam service-accounts update": _update_account,
    "iam service-accounts list": listed("account"),
    "iam service-accounts describe": describe("account"),
    "iam service-accounts delete": delete("account"),
    "iam service-accounts get-iam-policy": policy("account"),
    "iam service-accounts add-iam-policy-binding": bind("account"),
    "iam roles create": _make_role,
    "iam roles update": _update_role,
    "iam roles undelete": _undelete_role,
    "iam roles describe": describe("role"),
}
