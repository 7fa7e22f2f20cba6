"""The step that has Secret Manager log who reads a secret, which it does not do unless a project's IAM policy says so.

Google calls that log Data Access. What makes, changes or deletes a secret is logged in any case: reading a payload is
the only method of type DATA_READ, there is none of type DATA_WRITE, and ADMIN_READ would add who looked at names
(cloud.google.com/secret-manager/docs/audit-logging).
"""

from __future__ import annotations

import json
from typing import Any

from infra.gcp import access
from infra.gcp.steps import Step, gcloud
from infra.gcp.target import Target

SERVICE = "secretmanager.googleapis.com"
READS = "DATA_READ"
STDIN = "/dev/stdin"  # gcloud takes the name of a file, not "-"


def reads_of_secrets(target: Target) -> Step:
    """Return the step; what else is in the policy, exempted members included, is sent back as it was read.

    gcloud has no command for this field alone. It sends the whole policy with the etag that it was read with, so a
    change that somebody else has made meanwhile is not overwritten: Google refuses, and the policy is read anew.
    """
    look, _, _ = access.policy_commands(target, "project")
    return Step(
        title="Secret Manager logs who reads a secret: its Data Access log, added to the project's IAM policy",
        look=look,
        make=(gcloud("projects", "set-iam-policy", target.project, STDIN),),
        wanted={"auditConfigs": {SERVICE: {READS: True}}},
        find=lambda policy: {"auditConfigs": _logged(policy), "policy": policy},
        stdin=lambda found: json.dumps(_added(found["policy"])),
    )


def _logged(policy: dict[str, Any]) -> dict[str, dict[str, bool]]:
    """Return which types of each service are logged."""
    return {
        config["service"]: {each["logType"]: True for each in config.get("auditLogConfigs", ())}
        for config in policy.get("auditConfigs", ())
    }


def _added(policy: dict[str, Any]) -> dict[str, Any]:
    """Return the policy with ours in it.

    Raises:
        SystemExit: it has no etag. gcloud would ask whether to go on, and take the missing answer for a yes.
    """
    if not policy.get("etag"):
        raise SystemExit("Google returned the project's IAM policy without an etag, so it was not changed. Try again.")
    configs = [dict(config) for config in policy.get("auditConfigs", ())]
    ours = next((config for config in configs if config["service"] == SERVICE), None)
    if ours is None:
        configs.append(ours := {"service": SERVICE})
    ours["auditLogConfigs"] = [*ours.get("auditLogConfigs", ()), {"logType": READS}]
    return policy | {"auditConfigs": configs}
