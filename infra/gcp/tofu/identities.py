"""Service accounts, roles of our own, Google's identities, and every grant on the resource it is for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infra.gcp import access, agents, marks
from infra.gcp.description import INVOKER, Account, Agent, Deployment, Grant
from infra.gcp.target import Target
from infra.gcp.tofu.resource import APIS, Resource, named, value_of

# What a grant is on -> the resource for one member of its policy, its arguments, and its id when it is imported.
POLICIES = {
    "project": ("google_project_iam_member", {}, "{project}"),
    "account": (
        "google_service_account_iam_member",
        {"service_account_id": "${{google_service_account.{ours}.name}}"},
        "projects/{project}/serviceAccounts/keeper-{name}@{project}.iam.gserviceaccount.com",
    ),
    "topic": (
        "google_pubsub_topic_iam_member",
        {"topic": "${{google_pubsub_topic.{ours}.name}}"},
        "projects/{project}/topics/{name}",
    ),
    "subscription": (
        "google_pubsub_subscription_iam_member",
        {"subscription": "${{google_pubsub_subscription.{ours}.name}}"},
        "projects/{project}/subscriptions/{name}",
    ),
    "secret": (
        "google_secret_manager_secret_iam_member",
        {"secret_id": "${{google_secret_manager_secret.{ours}.secret_id}}"},
        "projects/{project}/secrets/{name}",
    ),
    "repository": (
        "google_artifact_registry_repository_iam_member",
        {"repository": "${{google_artifact_registry_repository.{ours}.name}}", "location": "{region}"},
        "projects/{project}/locations/{region}/repositories/{name}",
    ),
    "bucket": (
        "google_storage_bucket_iam_member",
        {"bucket": "${{google_storage_bucket.sources.name}}"},
        "b/{name}-{number}",
    ),
}


def resources(target: Target, deployment: Deployment) -> Iterator[Resource]:
    """Yield them."""
    for account in deployment.accounts:
        yield _account(target, account)
    for role in deployment.roles:
        body = {"role_id": role.id, "title": role.title, "permissions": sorted(role.permissions), "stage": "GA"}
        yield Resource(
            kind="google_project_iam_custom_role",
            name=named(role.id),
            body=body | {"project": target.project, "depends_on": [APIS]},
            there=f"projects/{target.project}/roles/{role.id}",
        )
    services = {agent.service.partition(".")[0] for agent in deployment.agents} | set(agents.DOMAINS)
    for service in sorted(services):
        # Google makes it when it is asked to, and returns its address: only the provider google-beta can ask.
        yield Resource(
            kind="google_project_service_identity",
            name=service,
            body={"provider": "google-beta", "service": f"{service}.googleapis.com", "depends_on": [APIS]},
        )
    for service in agents.DOMAINS:
        yield _agent_role(target, service)
    for member, owner, grant in grants(deployment):
        if grant.role != INVOKER:  # who may invoke a service is one list: workload.py
            yield _grant(target, member, owner, grant)


def _account(target: Target, account: Account) -> Resource:
    recorded = target.region if account.id == access.RECORD else ""
    return Resource(
        kind="google_service_account",
        name=named(account.name),
        body={
            "account_id": account.id,
            "display_name": account.id,
            "description": marks.described(account.purpose, recorded),
            "project": target.project,
            "depends_on": [APIS],
        },
        there=f"projects/{target.project}/serviceAccounts/{target.account(account.name)}",
    )


def _agent_role(target: Target, service: str) -> Resource:
    role = f"roles/{service}.serviceAgent"
    member = value_of(f"google_project_service_identity.{service}", "member")
    address = f"service-{target.number}@{agents.DOMAINS[service]}.iam.gserviceaccount.com"
    return Resource(
        kind="google_project_iam_member",
        name=f"agent_of_{service}",
        body={"project": target.project, "role": role, "member": member},
        there=f"{target.project} {role} serviceAccount:{address}",
    )


def grants(deployment: Deployment) -> Iterator[tuple[str, Account | Agent, Grant]]:
    """Yield every grant with an expression for its member, and with who that is."""
    for account in deployment.accounts:
        for grant in account.grants:
            yield value_of(f"google_service_account.{named(account.name)}", "member"), account, grant
    for agent in deployment.agents:
        for grant in agent.grants:
            service = agent.service.partition(".")[0]
            yield value_of(f"google_project_service_identity.{service}", "member"), agent, grant


def grant_address(owner: Account | Agent, grant: Grant) -> str:
    """Return what the configuration calls a grant."""
    kind, _, _ = grant.on.partition(":")
    return f"{POLICIES[kind][0]}.{_grant_name(owner, grant)}"


def _grant_name(owner: Account | Agent, grant: Grant) -> str:
    who = owner.name if isinstance(owner, Account) else f"agent_{owner.service.partition('.')[0]}"
    return named(f"{who}_{grant.role.removeprefix('roles/')}_{grant.on}")


def _grant(target: Target, member: str, owner: Account | Agent, grant: Grant) -> Resource:
    what, _, name = grant.on.partition(":")
    kind, arguments, there = POLICIES[what]
    places = {
        "project": target.project,
        "number": target.number,
        "region": target.region,
        "ours": named(name),
        "name": name,
    }
    role = access.role_name(target, grant.role)
    reference = role if "/" in grant.role else value_of(f"google_project_iam_custom_role.{named(grant.role)}", "name")
    body: dict[str, Any] = {key: text.format(**places) for key, text in arguments.items()}
    body |= {"role": reference, "member": member}
    if what not in ("account", "bucket"):  # their own names contain the project
        body["project"] = target.project
    if grant.only:
        body["condition"] = [{"title": grant.only.title, "expression": access.condition(target, grant)}]
    address = (
        target.account(owner.name)
        if isinstance(owner, Account)
        else owner.address.format(project=target.project, number=target.number)
    )
    title = f" {grant.only.title}" if grant.only else ""
    return Resource(
        kind=kind,
        name=_grant_name(owner, grant),
        body=body,
        there=f"{there.format(**places)} {role} serviceAccount:{address}{title}",
    )
