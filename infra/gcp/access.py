"""Steps for who may do what: service accounts, roles of our own, and each grant on the resource it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from infra.gcp import marks
from infra.gcp.description import FORMER_GRANT, INVOKER, SOURCES, Account, Deployment, Grant, Role
from infra.gcp.steps import AS_JSON, FOUND, Command, Exactly, Step, binding, gcloud
from infra.gcp.target import Target

RECORD = "keeper-directory"  # the account that records the region: made before anything that has one, removed last
IAP_ACCESSOR = "roles/iap.httpsResourceAccessor"
GROUPS = {  # what a grant is on -> the group of commands that knows its IAM policy
    "project": ("projects",),
    "account": ("iam", "service-accounts"),
    "topic": ("pubsub", "topics"),
    "subscription": ("pubsub", "subscriptions"),
    "secret": ("secrets",),
    "service": ("run", "services"),
    "repository": ("artifacts", "repositories"),
    "bucket": ("storage", "buckets"),
}


def accounts(target: Target, deployment: Deployment) -> list[Step]:
    """Return the steps that make the service accounts."""
    return [_account(target, account) for account in deployment.accounts]


def _account(target: Target, account: Account) -> Step:
    recorded = target.region if account.id == RECORD else ""
    told = marks.described(account.purpose, recorded)
    texts = {"display_name": account.id, "description": told, "project": target.project}
    group, address = ("iam", "service-accounts"), target.account(account.name)
    return Step(
        title=f"Service account {account.id}: {account.purpose}",
        look=(*gcloud(*group, "describe", address, project=target.project), AS_JSON),
        make=(gcloud(*group, "create", account.id, **texts),),
        wanted={"displayName": account.id, "description": told},
        change=(gcloud(*group, "update", address, **texts),),
        owned=marks.Owned(what=f"service account {account.id}", whose=marks.by_display_name(account.id)),
    )


def roles(target: Target, deployment: Deployment) -> list[Step]:
    """Return the steps that make the roles of our own; what they allow besides is left to what serves meanwhile."""
    return [step for role in deployment.roles for step in (_role(target, role), _kept(target, role))]


def nothing_more(target: Target, deployment: Deployment) -> list[Step]:
    """Return the steps that take from our roles what nobody needs any more, once what needed it serves no longer."""
    return [_narrowed(target, role) for role in deployment.roles]


def _role(target: Target, role: Role) -> Step:
    permissions = ",".join(role.permissions)
    return Step(
        title=f"Role {role.id}: {', '.join(role.permissions)}",
        look=_role_look(target, role),
        make=(_role_command(target, role, "create", permissions),),
        wanted={"title": role.title, "includedPermissions": sorted(role.permissions)},
        change=(_role_command(target, role, "update", FOUND),),
        find=lambda there: (
            there | {"includedPermissions": sorted(_permissions(there) & {*role.permissions}), "all": there}
        ),
        names=lambda found: [",".join(sorted(_permissions(found["all"]) | {*role.permissions}))],
        owned=marks.Owned(what=f"role {role.id}", whose=marks.by_title),
    )


def _kept(target: Target, role: Role) -> Step:
    """Return the step that brings a deleted role back: for a week it is told as any other, and allows nothing."""
    return Step(
        title=f"Role {role.id} is not deleted",
        look=_role_look(target, role),
        make=(),
        wanted={"deleted": False},
        change=(gcloud("iam", "roles", "undelete", role.id, project=target.project),),
        find=lambda there: {"deleted": bool(there.get("deleted"))},
    )


def _narrowed(target: Target, role: Role) -> Step:
    return Step(
        title=f"Role {role.id} allows nothing else",
        look=_role_look(target, role),
        make=(),
        wanted={"unwanted": Exactly([])},
        change=(_role_command(target, role, "update", ",".join(role.permissions)),),
        find=lambda there: {"unwanted": sorted(_permissions(there) - {*role.permissions})},
    )


def _role_look(target: Target, role: Role) -> Command:
    return (*gcloud("iam", "roles", "describe", role.id, project=target.project), AS_JSON)


def _role_command(target: Target, role: Role, verb: str, permissions: str) -> Command:
    texts = {"title": role.title, "permissions": permissions, "stage": "GA", "project": target.project}
    return gcloud("iam", "roles", verb, role.id, **texts)


def _permissions(role: Any) -> set[str]:
    return set(role.get("includedPermissions", ()))


def grants(target: Target, deployment: Deployment, on: str = "") -> Iterator[tuple[str, Grant]]:
    """Yield every grant, or each one on a resource, with its member."""
    for account in deployment.accounts:
        for grant in account.grants:
            if on in ("", grant.on):
                yield f"serviceAccount:{target.account(account.name)}", grant
    for agent in deployment.agents:
        for grant in agent.grants:
            if on in ("", grant.on):
                yield f"serviceAccount:{target.filled(agent.address, deployment)}", grant


def grants_on(what: str, target: Target, deployment: Deployment) -> list[Step]:
    """Return the steps that grant roles on one resource."""
    return [_grant(target, deployment, member, grant) for member, grant in grants(target, deployment, what)]


def _grant(target: Target, deployment: Deployment, member: str, grant: Grant) -> Step:
    expression, role = condition(target, grant), role_name(target, grant.role)
    look, add, _ = policy_commands(target, grant.on)
    flags = {"member": member, "role": role}
    if grant.on == "project":
        flags["condition"] = f"title={grant.only.title},expression={expression}" if grant.only else "None"
    limit = f" ({grant.only.what} only)" if grant.only else ""
    return Step(
        title=f"{_short(target, member)} has {grant.role} on {grant.on}{limit}: {grant.why}",
        look=look,
        make=(*_agent_made(target, deployment, grant), add(**flags)),
        find=binding(role, member, expression),
    )


def _short(target: Target, member: str) -> str:
    """Return a service account's name: ours without its domain, Google's with the part that says whose it is."""
    address = member.removeprefix("serviceAccount:").removesuffix(".iam.gserviceaccount.com")
    return address.removesuffix(f"@{target.project}")


def _agent_made(target: Target, deployment: Deployment, grant: Grant) -> tuple[Command, ...]:
    """Return what brings a Google-run identity into being; before its first grant only."""
    service = next((agent.service for agent in deployment.agents if agent.grants[0] is grant), "")
    create = ("beta", "services", "identity", "create")
    return (gcloud(*create, service=service, project=target.project),) if service else ()


def condition(target: Target, grant: Grant) -> str:
    """Return the IAM condition of a grant, as an expression; empty for none."""
    if grant.only is None:
        return ""
    return grant.only.expression.format(project=target.project, number=target.number, region=target.region)


def role_name(target: Target, role: str) -> str:
    """Return a role's full name; one without a slash is one of ours."""
    return role if "/" in role else f"projects/{target.project}/roles/{role}"


def policy_commands(target: Target, what: str) -> tuple[Command, partial[Command], partial[Command]]:
    """Return the commands for a resource's IAM policy: the one that reads it, that adds to it, that removes."""
    kind, _, name = what.partition(":")
    resource = {
        "project": target.project,
        "account": target.account(name),
        "bucket": f"gs://{SOURCES}-{target.number}",
    }.get(kind, name)
    where = {} if kind == "project" else {"project": target.project}
    if kind == "service":
        where["region"] = target.region
    if kind == "repository":
        where["location"] = target.region
    look, add, remove = (
        partial(gcloud, *GROUPS[kind], verb, resource, **where)
        for verb in ("get-iam-policy", "add-iam-policy-binding", "remove-iam-policy-binding")
    )
    return (*look(), AS_JSON), add, partial(remove, all=True)


def nothing_else(target: Target, deployment: Deployment) -> list[Step]:
    """Return the steps that revoke our accounts' roles on the whole project that are not granted here.

    Earlier versions granted some without a condition, and a conditional grant beside such a one restricts nothing.
    """
    look, _, _ = policy_commands(target, "project")
    remove = partial(gcloud, *GROUPS["project"], "remove-iam-policy-binding", target.project)
    return [
        _revoked(
            f"{account.id} has no other role on the whole project",
            look,
            remove(member=f"serviceAccount:{target.account(account.name)}", role=FOUND, condition="None"),
            f"serviceAccount:{target.account(account.name)}",
            {role_name(target, item.role) for item in account.grants if (item.on, item.only) == ("project", None)},
        )
        for account in deployment.accounts
    ]


def former(target: Target) -> Step:
    """Return the step that revokes the role by which keeper-build read sources before they had a bucket of our own."""
    look, _, _ = policy_commands(target, "project")
    member, role, only = f"serviceAccount:{target.account('build')}", FORMER_GRANT.role, FORMER_GRANT.only
    expression, title = condition(target, FORMER_GRANT), only.title if only else ""
    bound = binding(role, member, expression)
    remove = gcloud(
        *(*GROUPS["project"], "remove-iam-policy-binding", target.project),
        member=member,
        role=role,
        condition=f"title={title},expression={expression}",
    )
    return Step(
        title="keeper-build reads no bucket of Cloud Functions any more",
        look=look,
        make=(),
        wanted={"unwanted": Exactly([])},
        change=(remove,),
        find=lambda policy: {"unwanted": [title] if bound(policy) else []},
        names=lambda found: list(found["unwanted"]),
    )


def _revoked(title: str, look: Command, remove: Command, member: str, wanted: set[str]) -> Step:
    """Return a step that revokes all roles of a member but the wanted ones, except those that a condition restricts."""

    def unwanted(policy: Any) -> Any:
        bound = [item for item in policy.get("bindings", ()) if not item.get("condition")]
        roles = {item["role"] for item in bound if member in item.get("members", ())}
        return {"unwanted": sorted(roles - wanted)}

    return _without_unwanted(title, look, remove, unwanted)


def entrance(name: str, target: Target) -> Command:
    """Return the command that says whom Identity-Aware Proxy lets through to a function."""
    where = {"resource_type": "cloud-run", "service": name, "region": target.region, "project": target.project}
    return (*gcloud("beta", "iap", "web", "get-iam-policy", **where), AS_JSON)


def let_in(name: str, target: Target) -> list[Step]:
    """Return the steps that let the wanted people, and nobody else, through Identity-Aware Proxy to a function."""
    group, grant = ("beta", "iap", "web"), {"member": target.may_enter, "role": IAP_ACCESSOR}
    where = {"resource_type": "cloud-run", "service": name, "region": target.region, "project": target.project}
    look = entrance(name, target)
    add = gcloud(*group, "add-iam-policy-binding", **grant, **where)
    title = f"Identity-Aware Proxy lets {target.may_enter} through to {name}"
    return [
        Step(title=title, look=look, make=(add,), find=binding(IAP_ACCESSOR, target.may_enter)),
        _nobody_else(
            f"Identity-Aware Proxy lets nobody else through to {name}",
            look,
            gcloud(*group, "remove-iam-policy-binding", member=FOUND, role=IAP_ACCESSOR, **where, all=True),
            {target.may_enter},
        ),
    ]


def invoked_by_no_other(name: str, target: Target, deployment: Deployment) -> Step:
    """Return the step that revokes the right to invoke a function from everybody who was not granted it here."""
    what = f"service:{name}"
    look, _, remove = policy_commands(target, what)
    wanted = {member for member, grant in grants(target, deployment, what) if grant.role == INVOKER}
    return _nobody_else(f"Nobody else has {INVOKER} on {what}", look, remove(member=FOUND, role=INVOKER), wanted)


def _nobody_else(title: str, look: Command, remove: Command, wanted: set[str]) -> Step:
    """Return a step that removes members whom nobody wants from the role that the command names."""
    (role,) = [part.removeprefix("--role=") for part in remove if part.startswith("--role=")]

    def unwanted(policy: Any) -> Any:
        bound = [item for item in policy.get("bindings", ()) if item["role"] == role]
        return {"unwanted": sorted({member for item in bound for member in item.get("members", ())} - wanted)}

    return _without_unwanted(title, look, remove, unwanted)


def _without_unwanted(title: str, look: Command, remove: Command, find: Callable[[Any], Any]) -> Step:
    """Return a step that removes, one by one, what is found to be unwanted."""
    return Step(
        title=title,
        look=look,
        make=(),
        wanted={"unwanted": Exactly([])},
        change=(remove,),
        find=find,
        names=lambda found: list(found["unwanted"]),
    )
