"""`make destroy`: list what a deployment made, and take it away once that was confirmed; the audit only if told so.

Roles of our own stay: without a grant they allow nothing, and Google keeps a deleted role's id from being used again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from infra.gcp import access, lock, marks, monitoring, preflight, watching
from infra.gcp.commands import database_look
from infra.gcp.deploy import learn_number
from infra.gcp.description import DATABASE, DEPLOYMENT, KEYS, REPOSITORY, TOKEN_SECRETS, Account
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.marks import Whose
from infra.gcp.steps import AS_JSON, FOUND, Command, binding, filled, gcloud, shown
from infra.gcp.target import Target

AUDIT = ("keep", "delete")
TOKEN_SECRET = re.compile(rf"{TOKEN_SECRETS}[0-9a-f]{{12,32}}")  # with the id of a connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Something to take away: for each name that is found in the look's answer, the commands."""

    title: str
    look: Command
    commands: tuple[Command, ...]
    find: Callable[[Any], list[Any]]
    name: Callable[[Any], str]  # of what was found, as the commands take it
    called: Callable[[Any], str]  # and as people read it
    whose: Callable[[Any], Whose] = lambda _: Whose.OURS
    holder: Removal | None = None  # without which, or where it is not ours, this is not ours either


def removals(target: Target, *, audit: bool, database: Whose = Whose.OURS) -> list[Removal]:
    """Return what is taken away, in order: first what calls functions, last what they keep; the audit if told so.

    Whose the database is must be told: nothing in its description says so (preflight.py::Seen.whose_database).
    The account that records the region goes last: what a destruction that stopped has left is found by it.
    """
    project, region = {"project": target.project}, {"region": target.region, "project": target.project}
    place = {"location": target.region, "project": target.project}
    deployment = DEPLOYMENT
    topics, subscriptions = ("pubsub", "topics"), ("pubsub", "subscriptions")
    job = marks.of_job(target.account("scheduler"))
    identities = {item.name: _account(target, item, project) for item in deployment.accounts}
    return [
        *(_one(f"Job {item.name}", ("scheduler", "jobs"), item.name, place, job) for item in deployment.jobs),
        *(
            _one(
                f"Subscription {name}",
                subscriptions,
                name,
                project,
                marks.by_topic(f"projects/{target.project}/topics/{name}"),
            )
            for name in deployment.topics
        ),
        *(
            _one(
                f"Function {item.name}",
                ("functions",),
                item.name,
                region | {"gen2": True},
                marks.of_function(target.account(item.name)),
            )
            for item in deployment.functions
        ),
        _one(f"Repository {REPOSITORY}", ("artifacts", "repositories"), REPOSITORY, place, marks.by_label),
        *(_one(f"Topic {name}", topics, name, project, marks.by_label) for name in deployment.topics),
        _listed("Alert policy", ("alpha", "monitoring", "policies"), project, _our_policy),
        _listed("Uptime check", ("monitoring", "uptime"), project, _our_check, look="list-configs"),
        _listed("Dashboard", ("monitoring", "dashboards"), project, watching.our_dashboard),
        _listed("Where alerts go:", ("beta", "monitoring", "channels"), project, _our_channel),
        *(
            _one(f"Metric {path.stem}", ("logging", "metrics"), path.stem, project, marks.by_description)
            for path in monitoring.metrics()
        ),
        _secrets(project),
        *_bindings(target, identities),
        *([_backups(target, database), _database(target, database)] if audit else []),
        *reversed(identities.values()),
    ]


def _one(
    title: str, group: tuple[str, ...], name: str, where: dict[str, Any], whose: Callable[[Any], Whose]
) -> Removal:
    return Removal(
        title=title,
        look=(*gcloud(*group, "describe", name, **where), AS_JSON),
        commands=(gcloud(*group, "delete", name, **where, quiet=True),),
        find=lambda there: [there],
        name=lambda _: name,
        called=lambda _: title,
        whose=whose,
    )


def _account(target: Target, account: Account, project: dict[str, str]) -> Removal:
    group, whose = ("iam", "service-accounts"), marks.by_display_name(account.id)
    return _one(f"Service account {account.id}", group, target.account(account.name), project, whose)


def _listed(
    title: str, group: tuple[str, ...], where: dict[str, Any], ours: Callable[[Any], bool], look: str = "list"
) -> Removal:
    return Removal(
        title=title,
        look=(*gcloud(*group, look, **where), AS_JSON),
        commands=(gcloud(*group, "delete", FOUND, **where, quiet=True),),
        find=lambda there: [item for item in there if ours(item)],
        name=lambda item: str(item["name"]),
        called=lambda item: f"{title} {item.get('displayName', item['name'])}",
    )


def _our_policy(policy: Any) -> bool:
    names = {path.stem for path in monitoring.policies()}
    return watching.ours(policy) and policy["userLabels"].get("alert") in names


def _our_check(check: Any) -> bool:
    return bool(check.get("displayName") == watching.WEBHOOK_TITLE)


def _our_channel(channel: Any) -> bool:
    return str(channel.get("displayName", "")).startswith(watching.CHANNEL_TITLE)


def _secrets(project: dict[str, str]) -> Removal:
    """Return the removal of our keys, and of the tokens of Keeper that the functions have stored."""

    def name(secret: Any) -> str:
        return str(secret["name"].rpartition("/")[2])

    def whose(secret: Any) -> Whose:
        return marks.by_label(secret) if name(secret) in KEYS else Whose.OURS

    return Removal(
        title="Secret",
        look=(*gcloud("secrets", "list", **project), AS_JSON),
        commands=(gcloud("secrets", "delete", FOUND, **project, quiet=True),),
        find=lambda there: [
            item for item in there if name(item) in (*KEYS, lock.NAME) or TOKEN_SECRET.fullmatch(name(item))
        ],
        name=name,
        called=lambda item: f"Secret {name(item)}",
        whose=whose,
    )


def _bindings(target: Target, identities: dict[str, Removal]) -> list[Removal]:
    """Return the grants on the project; those on other things go with them."""
    look, _, revoke = access.policy_commands(target, "project")
    found = []
    for account in DEPLOYMENT.accounts:
        member = f"serviceAccount:{target.account(account.name)}"
        for grant in account.grants:
            if grant.on == "project":
                role, expression = access.role_name(target, grant.role), access.condition(target, grant)
                found.append(
                    Removal(
                        title=f"{grant.role} of {account.id}",
                        look=look,
                        commands=(revoke(member=member, role=role),),
                        find=partial(_bound, binding(role, member, expression)),
                        name=lambda _: "it",
                        called=partial(_granted, f"{grant.role} of {account.id}"),
                        holder=identities[account.name],
                    )
                )
    return found


def _bound(find: Callable[[Any], Any], policy: Any) -> list[Any]:
    return [policy] if find(policy) else []


def _granted(title: str, _: Any) -> str:
    return title


def _backups(target: Target, whose: Whose) -> Removal:
    group, where = ("firestore", "backups", "schedules"), {"database": DATABASE, "project": target.project}

    def name(schedule: Any) -> str:
        return str(schedule["name"].rpartition("/")[2])

    return Removal(
        title="Schedule of backups",
        look=(*gcloud(*group, "list", **where), AS_JSON),
        commands=(gcloud(*group, "delete", **where, backup_schedule=FOUND, quiet=True),),
        find=list,
        name=name,
        called=lambda item: f"Schedule of backups {name(item)}",
        whose=lambda _: whose,
    )


def _database(target: Target, whose: Whose) -> Removal:
    where = {"database": DATABASE, "project": target.project}
    unprotect = gcloud("firestore", "databases", "update", **where, delete_protection=False)
    return Removal(
        title="Firestore, with the audit",
        look=database_look(target),
        commands=(unprotect, gcloud("firestore", "databases", "delete", **where, quiet=True)),
        find=lambda there: [there],
        name=lambda _: DATABASE,
        called=lambda _: f"Firestore database {DATABASE}, with the audit",
        whose=lambda _: whose,
    )


def confirmation(target: Target, *, audit: bool) -> str:
    """Return what must be typed."""
    return f"{target.project} with its audit" if audit else target.project


def destroy(
    target: Target,
    cloud: Gcloud,
    say: Callable[[str], None],
    ask: Callable[[str], str],
    *,
    audit: bool,
    adopt: bool = False,
) -> None:
    """Take away what is ours, once the project's name was typed; what is gone already is left out.

    Raises:
        GcloudFailed: something could not be taken away; a repeated call goes on from there.
        SystemExit: there is no such project, it is in another region, or something else was typed; nothing was changed.
    """
    target = learn_number(target, cloud)
    preflight.same_region(target, cloud)
    seen = preflight.Seen(target, cloud)
    if seen.unrecorded and not adopt:
        raise SystemExit(
            "An earlier version made this deployment, without marks that tell what is ours. Nothing was changed: "
            "make destroy ADOPT=yes lists what it takes to be ours, and asks."
        )
    kept = (
        "The audit is deleted too; its backups expire within 14 days."
        if audit
        else "Firestore stays, with configuration and audit."
    )
    say(f"This takes the whole deployment out of {target.project}: provisioning stops at once. {kept}")
    say("Access tokens of Keeper are deleted from Secret Manager. Accounts in Keeper stay as they are.")
    scope = _Scope(cloud, adopt=adopt)
    planned = removals(target, audit=audit, database=seen.whose_database())
    taken, left = scope.listed(planned)
    say(f"\n{len(taken)} things are taken away:")
    for called in taken:
        say(f"  {called}")
    if left:
        say("\nThese stay, since they are not marked as ours (ADOPT=yes takes those of an earlier version, too):")
        for called in left:
            say(f"  {called}")
    wanted = confirmation(target, audit=audit)
    preflight.typed(f"\nType {wanted!r} to go on: ", wanted, ask)
    for removal in planned:
        cloud.patiently(partial(_remove, removal, scope, cloud, say))
    say(
        "\nDone. By hand: remove the client id under API controls > Domain-wide delegation in the Admin console; delete"
    )
    say("the bucket gcf-v2-sources-*, and the repository gcf-artifacts of earlier versions, if nobody else uses them.")
    if not audit:
        say("Firestore is still there, protected and backed up daily: make destroy AUDIT=delete deletes it too.")


class _Scope:
    """Tells what of a removal is there and ours."""

    def __init__(self, cloud: Gcloud, *, adopt: bool) -> None:
        self._cloud = cloud
        self._takes = {Whose.OURS, Whose.UNMARKED} if adopt else {Whose.OURS}

    def listed(self, planned: list[Removal]) -> tuple[list[str], list[str]]:
        """Return what is taken away and what stays, as people read it."""
        found = [(removal, item) for removal in planned for item in self.there(removal)]
        taken = [removal.called(item) for removal, item in found if self.ours(removal, item)]
        return taken, [removal.called(item) for removal, item in found if not self.ours(removal, item)]

    def there(self, removal: Removal) -> list[Any]:
        """Return what is there of a removal."""
        answer = self._cloud.look(removal.look)
        return [] if answer is None else removal.find(answer)

    def ours(self, removal: Removal, item: Any) -> bool:
        """Say whether a thing may be taken away."""
        if removal.holder is not None:
            return any(self.ours(removal.holder, each) for each in self.there(removal.holder))
        return removal.whose(item) in self._takes


def _remove(removal: Removal, scope: _Scope, cloud: Gcloud, say: Callable[[str], None]) -> None:
    """Take away what is there now: after a try whose answer was lost that may be nothing any more."""
    try:
        for item in scope.there(removal):
            if scope.ours(removal, item):
                say(f"  delete     {removal.called(item)}")
                for command in removal.commands:
                    for named in filled(command, [removal.name(item)]):
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
