"""`make destroy`: take away what a deployment made, after a typed confirmation. The audit stays unless told otherwise.

Roles of our own stay: without a grant they allow nothing, and Google keeps a deleted role's id from being used again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from infra.gcp import access, lock, monitoring, watching
from infra.gcp.deploy import learn_number
from infra.gcp.description import DATABASE, DEPLOYMENT, KEYS, REPOSITORY, TOKEN_SECRETS
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.steps import AS_JSON, FOUND, Command, binding, filled, gcloud, shown
from infra.gcp.target import Target

AUDIT = ("keep", "delete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Something to take away: for each name that is found in the look's answer, the commands."""

    title: str
    look: Command
    commands: tuple[Command, ...]
    names: Callable[[Any], list[str]]


def removals(target: Target, *, audit: bool) -> list[Removal]:
    """Return what is taken away, in order: first what calls functions, last what they keep; the audit if told so."""
    project, region = {"project": target.project}, {"region": target.region, "project": target.project}
    place = {"location": target.region, "project": target.project}
    deployment = DEPLOYMENT
    topics = ("pubsub", "topics")
    return [
        *(_one(f"Job {job.name}", ("scheduler", "jobs"), job.name, place) for job in deployment.jobs),
        *(_one(f"Subscription {name}", ("pubsub", "subscriptions"), name, project) for name in deployment.topics),
        *(
            _one(f"Function {item.name}", ("functions",), item.name, region | {"gen2": True})
            for item in deployment.functions
        ),
        _one(f"Repository {REPOSITORY}", ("artifacts", "repositories"), REPOSITORY, place),
        *(_one(f"Topic {name}", topics, name, project) for name in deployment.topics),
        _listed("Alert policies", ("alpha", "monitoring", "policies"), project, _our_policy),
        _listed("Uptime check", ("monitoring", "uptime"), project, _our_check, look="list-configs"),
        _listed("Dashboard", ("monitoring", "dashboards"), project, _our_dashboard),
        _listed("Where alerts go", ("beta", "monitoring", "channels"), project, _our_channel),
        *(_one(f"Metric {path.stem}", ("logging", "metrics"), path.stem, project) for path in monitoring.metrics()),
        _listed("Secrets", ("secrets",), project, _our_secret),
        *_bindings(target),
        *(
            _one(f"Service account {item.id}", ("iam", "service-accounts"), target.account(item.name), project)
            for item in deployment.accounts
        ),
        *([_backups(target), _database(target)] if audit else []),
    ]


def _one(title: str, group: tuple[str, ...], name: str, where: dict[str, Any]) -> Removal:
    look = (*gcloud(*group, "describe", name, **where), AS_JSON)
    return Removal(
        title=title, look=look, commands=(gcloud(*group, "delete", name, **where, quiet=True),), names=lambda _: [name]
    )


def _listed(
    title: str, group: tuple[str, ...], where: dict[str, Any], ours: Callable[[Any], bool], look: str = "list"
) -> Removal:
    delete = gcloud(*group, "delete", FOUND, **where, quiet=True)
    return Removal(
        title=title,
        look=(*gcloud(*group, look, **where), AS_JSON),
        commands=(delete,),
        names=lambda there: [_name(item) for item in there if ours(item)],
    )


def _name(item: Any) -> str:
    """Return a resource's name as its delete command takes it: a secret's own, the full one of anything else."""
    return str(item["name"].rpartition("/secrets/")[2])


def _our_policy(policy: Any) -> bool:
    names = {path.stem for path in monitoring.policies()}
    labels = policy.get("userLabels", {})
    return labels.get("system") == "keeper-autoprovisioning" and labels.get("alert") in names


def _our_check(check: Any) -> bool:
    return bool(check.get("displayName") == watching.WEBHOOK_TITLE)


def _our_dashboard(dashboard: Any) -> bool:
    return "keeper-autoprovisioning" in dashboard.get("labels", {})


def _our_channel(channel: Any) -> bool:
    return str(channel.get("displayName", "")).startswith(watching.CHANNEL_TITLE)


def _our_secret(secret: Any) -> bool:
    name = _name(secret)
    return name in (*KEYS, lock.NAME) or name.startswith(TOKEN_SECRETS)


def _bindings(target: Target) -> list[Removal]:
    """Return the grants on the project; those on other things go with them."""
    look, _, revoke = access.policy_commands(target, "project")
    mine = [(member, grant) for member, grant in access.grants(target, DEPLOYMENT) if grant.on == "project"]
    found = []
    for member, grant in mine:
        role, expression = access.role_name(target, grant.role), access.condition(target, grant)
        remove = revoke(member=member, role=role)
        title = f"{grant.role} of {member.removeprefix('serviceAccount:').partition('@')[0]}"
        bound = binding(role, member, expression)

        def names(there: str, bound: Callable[[str], bool] = bound) -> list[str]:
            return ["it"] if bound(there) else []

        found.append(Removal(title=title, look=look, commands=(remove,), names=names))
    return found


def _backups(target: Target) -> Removal:
    group, where = ("firestore", "backups", "schedules"), {"database": DATABASE, "project": target.project}
    return Removal(
        title="Schedule of backups",
        look=(*gcloud(*group, "list", **where), AS_JSON),
        commands=(gcloud(*group, "delete", **where, backup_schedule=FOUND, quiet=True),),
        names=lambda there: [item["name"].rpartition("/")[2] for item in there],
    )


def _database(target: Target) -> Removal:
    where = {"database": DATABASE, "project": target.project}
    look = (*gcloud("firestore", "databases", "describe", **where), AS_JSON)
    unprotect = gcloud("firestore", "databases", "update", **where, delete_protection=False)
    delete = gcloud("firestore", "databases", "delete", **where, quiet=True)
    return Removal(
        title="Firestore, with the audit", look=look, commands=(unprotect, delete), names=lambda _: [DATABASE]
    )


def confirmation(target: Target, *, audit: bool) -> str:
    """Return what must be typed."""
    return f"{target.project} with its audit" if audit else target.project


def destroy(
    target: Target, cloud: Gcloud, say: Callable[[str], None], ask: Callable[[str], str], *, audit: bool
) -> None:
    """Take everything away, once the project's name was typed; what is gone already is left out.

    Raises:
        GcloudFailed: something could not be taken away; a repeated call goes on from there.
        SystemExit: there is no such project, or something else was typed; nothing was changed.
    """
    target = learn_number(target, cloud)
    kept = "The audit is deleted too, for good." if audit else "Firestore stays, with configuration and audit."
    say(f"This takes the whole deployment out of {target.project}: provisioning stops at once. {kept}")
    say("Access tokens of Keeper are deleted from Secret Manager. Accounts in Keeper stay as they are.")
    wanted = confirmation(target, audit=audit)
    if ask(f"Type {wanted!r} to go on: ").strip() != wanted:
        raise SystemExit("That is not it. Nothing was changed.")
    for removal in removals(target, audit=audit):
        cloud.patiently(partial(_remove, removal, cloud, say))
    say(
        "\nDone. By hand: remove the client id under API controls > Domain-wide delegation in the Admin console; delete"
    )
    say("the bucket gcf-v2-sources-*, and the repository gcf-artifacts of earlier versions, if nobody else uses them.")
    if not audit:
        say("Firestore is still there, protected and backed up daily: make destroy AUDIT=delete deletes it too.")


def _remove(removal: Removal, cloud: Gcloud, say: Callable[[str], None]) -> None:
    """Take away what is there now: after a try whose answer was lost that may be nothing any more."""
    there = cloud.look(removal.look)
    try:
        for name in removal.names(there) if there is not None else ():
            say(f"  delete     {removal.title}")
            for command in removal.commands:
                for named in filled(command, [name]):
                    say(f"             {shown(named)}")
                    _act(named, cloud)
    finally:
        cloud.forget(removal.look)


def _act(command: Command, cloud: Gcloud) -> None:
    try:
        cloud.act(command)
    except GcloudFailed as error:
        if not error.missing:  # gone already, though the look, which may lag behind, still told it
            raise
