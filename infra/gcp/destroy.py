"""`make destroy`: list what a deployment made, and remove it after a confirmation; the audit only on request.

It holds the lock from the confirmation on, and releases it last.

Our own roles stay: without a grant they allow nothing, and Google keeps a deleted role's id from being used again.
The log of who reads secrets stays too: nothing marks it as ours, and without secrets it costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from infra.gcp import access, budget, build, lock, marks, monitoring, preflight, release, sink, watching
from infra.gcp.commands import database_look
from infra.gcp.deploy import learn_number
from infra.gcp.description import DATABASE, DEPLOYMENT, KEYS, REPOSITORY, SOURCES, TOKEN_SECRETS, Account
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.marks import Whose
from infra.gcp.steps import AS_JSON, FOUND, Command, binding, filled, gcloud, shown
from infra.gcp.target import Target

AUDIT = ("keep", "delete")
PLACE = "{place}"  # in a command: the location of what was found
TOKEN_SECRET = re.compile(rf"{TOKEN_SECRETS}[0-9a-f]{{12,32}}")  # with the id of a connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What else is to be removed: the audit, its backups, and what an earlier version left without marks."""

    audit: bool = False
    backups: bool = False
    adopt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Something to remove: the commands, for each name that is found in the look's answer."""

    title: str
    look: Command
    commands: tuple[Command, ...]
    find: Callable[[Any], list[Any]]
    name: Callable[[Any], str]  # of what was found, as the commands take it
    called: Callable[[Any], str]  # and as people read it
    whose: Callable[[Any], Whose]
    place: Callable[[Any], str] = lambda _: ""  # for PLACE
    by_hand: str = ""  # what to do if an administrator of the project may be refused; the rest then goes on
    holder: Removal | None = None  # if that is missing or not ours, this is not ours either
    manager: Removal | None = None  # if that is there and not ours, this is not ours either
    takes: Command = ()  # the look at what goes with it


def removals(
    target: Target, *, audit: bool, backups: bool = False, database: Whose = Whose.OURS, uid: str = ""
) -> list[Removal]:
    """Return what is removed, in order: first what calls functions, last what they store; the audit on request.

    Whose the database is must be given: nothing in its description says so (preflight.py::Seen.whose_database); and its
    uid, since backups outlive a database, and an earlier one of the same name may have left some.
    The account that records the region goes last: by it the remains of an interrupted destruction are found.
    """
    project, region = {"project": target.project}, {"region": target.region, "project": target.project}
    place = {"location": target.region, "project": target.project}
    deployment = DEPLOYMENT
    topics, subscriptions = ("pubsub", "topics"), ("pubsub", "subscriptions")
    job = marks.of_job(target.account("scheduler"))
    identities = {item.name: _account(target, item, project) for item in deployment.accounts}
    services = {item.name: _service(target, item.name, region) for item in deployment.functions}
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
        *(service.manager for service in services.values() if service.manager),
        *services.values(),
        _one(f"Repository {REPOSITORY}", ("artifacts", "repositories"), REPOSITORY, place, marks.by_label),
        _bucket(target),
        *(_one(f"Topic {name}", topics, name, project, marks.by_label) for name in deployment.topics),
        _listed("Alert policy", ("alpha", "monitoring", "policies"), project, _our_policy),
        _listed("Uptime check", ("monitoring", "uptime"), project, watching.our_check(target), look="list-configs"),
        _listed("Dashboard", ("monitoring", "dashboards"), project, watching.our_dashboard),
        _listed("Where alerts go:", ("beta", "monitoring", "channels"), project, watching.our_channel),
        *(
            _one(f"Metric {path.stem}", ("logging", "metrics"), path.stem, project, marks.by_description)
            for path in monitoring.metrics()
        ),
        _secrets(project),
        *_bindings(target, identities),
        *([_backups(target, database)] if audit else []),
        *([stored_backups(target, database, uid)] if backups else []),
        *([_database(target, database)] if audit else []),
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


def _service(target: Target, name: str, region: dict[str, Any]) -> Removal:
    """Return the removal of a service, to be made after that of its manager, the function in Cloud Functions.

    If that is there, its service goes with it: one that lost its service is broken, and stays.
    """
    account = target.account(name)
    service = _one(f"Service {name}", ("run", "services"), name, region, marks.of_service(account))
    former = _one(f"Function {name}", ("functions",), name, region | {"gen2": True}, marks.of_function(account))
    return replace(service, manager=replace(former, takes=service.look))


def _bucket(target: Target) -> Removal:
    """Return the removal of the bucket that builds read from, with what is in it."""
    made = build.bucket(target)
    where = f"gs://{SOURCES}-{target.number}"
    return Removal(
        title=f"Bucket {SOURCES}-{target.number}",
        look=made.look,
        commands=(gcloud("storage", "rm", where, recursive=True, project=target.project, quiet=True),),
        find=lambda there: [there],
        name=lambda _: where,
        called=lambda _: f"Bucket {SOURCES}-{target.number}",
        whose=made.owned.whose if made.owned else lambda _: Whose.ANOTHERS,
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
        whose=lambda _: Whose.OURS,  # `ours` has told
    )


def _our_policy(policy: Any) -> bool:
    names = {path.stem for path in monitoring.policies()}
    return watching.ours(policy) and policy["userLabels"].get("alert") in names


def _secrets(project: dict[str, str]) -> Removal:
    """Return the removal of our keys, and of the tokens of Keeper that the functions have stored."""

    def name(secret: Any) -> str:
        return str(secret["name"].rpartition("/")[2])

    def whose(secret: Any) -> Whose:
        """Judge a key by its label. Functions label no token, and may make what is named so and nothing else."""
        labelled = marks.by_label(secret)
        return labelled if name(secret) in KEYS or labelled is Whose.ANOTHERS else Whose.OURS

    return Removal(
        title="Secret",
        look=(*gcloud("secrets", "list", **project), AS_JSON),
        commands=(gcloud("secrets", "delete", FOUND, **project, quiet=True),),
        find=lambda there: [item for item in there if name(item) in KEYS or TOKEN_SECRET.fullmatch(name(item))],
        name=name,
        called=lambda item: f"Secret {name(item)}",
        whose=whose,
    )


def _budget(target: Target, seen: preflight.Seen, say: Callable[[str], None]) -> list[Removal]:
    """Return the removal of the budget, if one may be there, and the billing account's may be looked at."""
    remedy = f"By hand: delete the budget {budget.title(target)!r}, at https://console.cloud.google.com/billing."
    try:
        account = (seen.look(budget.of_project(target)) or {}).get("billingAccountName", "")
        removal = Removal(
            title="Budget",
            look=budget.listed(replace(target, billing_account=account)),
            commands=(budget.deletion(target),),
            find=lambda there: list(filter(budget.ours(target), there)),
            name=lambda item: str(item["name"]),
            called=lambda item: f"Budget {item['displayName']}",
            whose=lambda _: Whose.OURS,  # its name, with the project in it, was looked for
            by_hand=remedy,
        )
        return [removal] if account and seen.look(removal.look) else []
    except GcloudFailed as error:
        if target.budget:
            say(f"Whether there is a budget cannot be seen: {error.said}\n{remedy}")
        return []


def _sinks(target: Target, seen: preflight.Seen, say: Callable[[str], None]) -> list[Removal]:
    """Return the removal of the organizations' log sinks, as far as they are recorded and may be looked at."""
    _, organizations = sink.recorded(seen.look(sink.topic(target)))
    found = []
    for organization in organizations:
        remedy = f"By hand: {sink.removal_by_hand(target, organization)}"
        try:
            seen.look(sink.every(organization))
        except GcloudFailed as error:
            say(f"Whether organization {organization} has a log sink cannot be seen: {error.said}\n{remedy}")
            continue
        found.append(
            Removal(
                title="Log sink",
                look=sink.every(organization),
                commands=(sink.deletion(target, organization),),
                find=sink.ours(target),
                name=lambda there: str(there["name"]),
                called=partial(_sink_of, organization),
                whose=lambda _: Whose.OURS,  # its name, with the project in it, and its topic were looked for
                by_hand=remedy,
            )
        )
    return found


def _sink_of(organization: str, there: Any) -> str:
    return f"Log sink {there['name']} of organization {organization}"


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
                        whose=identities[account.name].whose,
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


def stored_backups(target: Target, whose: Whose, uid: str) -> Removal:
    """Return the removal of the backups that there are of the database, wherever they are kept."""
    group, project = ("firestore", "backups"), {"project": target.project}

    def ours(backup: Any) -> Whose:
        return whose if backup.get("databaseUid") == uid and uid else Whose.UNMARKED

    return Removal(
        title="Backup",
        look=(*gcloud(*group, "list", **project), AS_JSON),
        commands=(gcloud(*group, "delete", backup=FOUND, location=PLACE, **project, quiet=True),),
        find=lambda there: [each for each in there if str(each.get("database")).endswith(f"/databases/{DATABASE}")],
        name=lambda backup: str(backup["name"].rpartition("/")[2]),
        called=lambda backup: f"Backup of {backup.get('snapshotTime', 'now')[:16]} until {backup['expireTime'][:16]}",
        whose=ours,
        place=lambda backup: str(backup["name"].split("/")[3]),
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


def confirmation(target: Target, wanted: Wanted) -> str:
    """Return what must be typed."""
    more = " and backups" if wanted.backups else ""
    return f"{target.project} with its audit{more}" if wanted.audit else target.project


def destroy(
    target: Target,
    cloud: Gcloud,
    say: Callable[[str], None],
    ask: Callable[[str], str],
    wanted: Wanted,
    *,
    unlock: bool = False,
    now: datetime | None = None,
) -> None:
    """Remove what is ours, once the project's name was typed; what is gone already is left out.

    Raises:
        GcloudFailed: something could not be removed; a repeated call goes on from there.
        Held: a deployment, a rollback or another destruction is under way.
        SystemExit: there is no such project, it is in another region, or something else was typed, or there is more
            than was listed; nothing was changed.
    """
    target = learn_number(target, cloud)
    scope = _Scope(cloud, adopt=wanted.adopt)
    taken = _listed_before(target, cloud, say, scope, wanted)
    if not taken and cloud.look(lock.look(target)) is None:
        say("\nThere is nothing to remove.")
        return
    typed = confirmation(target, wanted)
    preflight.typed(f"\nType {typed!r} to go on: ", typed, ask)
    at, by = now or datetime.now(UTC), release.account(cloud)
    with lock.held(target, cloud, say, purpose="destroy", by=by, at=at, unlock=unlock) as held:
        cloud.forget_all()
        planned = _planned(target, cloud, wanted, lambda _: None)  # what cannot be seen was said before
        more = [called for called in scope.listed(planned)[0] if called not in taken]
        if more:
            raise SystemExit(f"There is more by now: {', '.join(more)}. Nothing was changed: run it again.")
        for removal in planned:
            _remove_or_leave(removal, scope, cloud, say, held.see)
    _tell_what_is_left(say, wanted)


def _planned(target: Target, cloud: Gcloud, wanted: Wanted, say: Callable[[str], None]) -> list[Removal]:
    preflight.same_region(target, cloud)
    seen = preflight.Seen(target, cloud)
    if seen.unrecorded and not wanted.adopt:
        raise SystemExit(
            "An earlier version made this deployment, without marks that say what is ours. Nothing was changed: "
            "make destroy ADOPT=yes lists what it takes for ours, and asks."
        )
    uid = str((seen.look(database_look(target)) or {}).get("uid", ""))
    database = seen.whose_database()
    ours = removals(target, audit=wanted.audit, backups=wanted.backups, database=database, uid=uid)
    return [*_budget(target, seen, say), *_sinks(target, seen, say), *ours]


def _listed_before(
    target: Target, cloud: Gcloud, say: Callable[[str], None], scope: _Scope, wanted: Wanted
) -> list[str]:
    """Say what goes and what stays; returns what goes."""
    planned = _planned(target, cloud, wanted, say)
    kept = "Firestore stays, with configuration and audit."
    if wanted.audit:
        kept = "The audit is deleted too, with its backups." if wanted.backups else "The audit is deleted too."
    say(f"This removes the whole deployment from {target.project}: provisioning stops at once. {kept}")
    say("Access tokens of Keeper are deleted from Secret Manager. Accounts in Keeper stay as they are.")
    taken, left = scope.listed(planned)
    say(f"\n{len(taken)} things are removed:")
    for called in taken:
        say(f"  {called}")
    if left:
        say("\nThese stay, since they are not marked as ours (ADOPT=yes removes those of an earlier version, too):")
        for called in left:
            say(f"  {called}")
    if wanted.audit and not wanted.backups:
        backups = stored_backups(target, Whose.OURS, "")
        stored = [backups.called(item) for item in scope.there(backups)]
        if stored:
            say("\nThese backups, with the audit in them, stay until they expire (BACKUPS=delete deletes them, too):")
        for called in stored:
            say(f"  {called}")
    return taken


def _tell_what_is_left(say: Callable[[str], None], wanted: Wanted) -> None:
    say("\nDone. APIs stay enabled, our own roles stay without grants, and logs stay until they expire.")
    say("By hand: remove the client id under API controls > Domain-wide delegation in the Admin console; delete what")
    say("earlier versions left, if nobody else uses it: the bucket gcf-v2-sources-*, the repository gcf-artifacts.")
    if not wanted.audit:
        say("Firestore is still there, protected and backed up daily: make destroy AUDIT=delete deletes it too.")


class _Scope:
    """Finds what of a removal is there and ours."""

    def __init__(self, cloud: Gcloud, *, adopt: bool) -> None:
        self._cloud = cloud
        self._takes = {Whose.OURS, Whose.UNMARKED} if adopt else {Whose.OURS}

    def listed(self, planned: list[Removal]) -> tuple[list[str], list[str]]:
        """Return what is removed and what stays, as people read it."""
        found = [(removal, item) for removal in planned for item in self.there(removal)]
        taken = [removal.called(item) for removal, item in found if self.ours(removal, item)]
        return taken, [removal.called(item) for removal, item in found if not self.ours(removal, item)]

    def there(self, removal: Removal) -> list[Any]:
        """Return what is there of a removal."""
        answer = self._cloud.look(removal.look)
        return [] if answer is None else removal.find(answer)

    def ours(self, removal: Removal, item: Any) -> bool:
        """Say whether a thing may be removed."""
        if removal.holder is not None:
            return any(self.ours(removal.holder, each) for each in self.there(removal.holder))
        if removal.manager is not None and not all(
            self.ours(removal.manager, each) for each in self.there(removal.manager)
        ):
            return False
        return removal.whose(item) in self._takes


def _remove_or_leave(
    removal: Removal, scope: _Scope, cloud: Gcloud, say: Callable[[str], None], see: Callable[[], None]
) -> None:
    """Remove what is there; if it may be left to do by hand, a refusal is reported and the rest goes on."""
    try:
        cloud.patiently(partial(_remove, removal, scope, cloud, say, see))
    except GcloudFailed as error:
        if not removal.by_hand:
            raise
        say(f"             refused: {error.said}\n             {removal.by_hand}")


def _remove(
    removal: Removal, scope: _Scope, cloud: Gcloud, say: Callable[[str], None], see: Callable[[], None]
) -> None:
    """Remove what is there now: after an attempt whose answer was lost, that may be nothing."""
    try:
        for item in scope.there(removal):
            if scope.ours(removal, item):
                see()
                say(f"  delete     {removal.called(item)}")
                for command in removal.commands:
                    (named,) = filled(command, [removal.name(item)])
                    placed = tuple(part.replace(PLACE, removal.place(item)) for part in named)
                    say(f"             {shown(placed)}")
                    _act(placed, cloud)
    finally:
        cloud.forget(removal.look)
        cloud.forget(removal.takes)


def _act(command: Command, cloud: Gcloud) -> None:
    try:
        cloud.act(command)
    except GcloudFailed as error:
        if not error.missing:  # gone already, though the look, which may lag behind, still showed it
            raise
