"""Steps for the identities that Google's services act with in the project, each with the role that belongs to it.

Enabling an API also makes its identity and grants the role, but some time later, and occasionally not at all: then the
first build or the first function lacks a permission. Made at once, they are known by the time they are needed.
"""

from __future__ import annotations

from infra.gcp import access
from infra.gcp.steps import Step, binding, gcloud
from infra.gcp.target import Target

DOMAINS = {  # of the identities that the deployment itself depends on; Identity-Aware Proxy's has no role of its own
    "cloudbuild": "gcp-sa-cloudbuild",
    "cloudscheduler": "gcp-sa-cloudscheduler",
    "pubsub": "gcp-sa-pubsub",
    "run": "serverless-robot-prod",
}


def steps(target: Target) -> list[Step]:
    """Return a step for each identity."""
    return [_agent(target, service, domain) for service, domain in DOMAINS.items()]


def _agent(target: Target, service: str, domain: str) -> Step:
    look, grant, _ = access.policy_commands(target, "project")
    role, member = (
        f"roles/{service}.serviceAgent",
        f"serviceAccount:service-{target.number}@{domain}.iam.gserviceaccount.com",
    )
    create = ("beta", "services", "identity", "create")
    return Step(
        title=f"Google's identity {domain} has {role} on project: acts for {service}.googleapis.com",
        look=look,
        make=(
            gcloud(*create, service=f"{service}.googleapis.com", project=target.project),
            grant(member=member, role=role, condition="None"),
        ),
        find=binding(role, member),
    )
