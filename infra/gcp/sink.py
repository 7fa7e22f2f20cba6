"""Steps for the organization's log sink, which publishes Workspace's audit log to a topic of ours, if SINK asks for it.

The sink belongs to the organization, where the person who deploys may have no rights: then the deployment does
everything else, says who must run which commands, and goes on as without a sink. That one publishes is seen by the
topic's IAM policy, which belongs to the project. What was set is recorded in labels of the topic: later deployments
need not be told again, and each finds the sinks that it must remove.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from autoprovisioning.domain import workspace_changes as changes
from infra.gcp.description import PUBLISHER, WORKSPACE_CHANGES
from infra.gcp.marks import LABEL
from infra.gcp.steps import AS_JSON, FOUND, Command, Exactly, Step, binding, gcloud, shown
from infra.gcp.target import FULL_RUNS, NONE, OFF, ON, ORGANIZATION, WRITER, Target

NAME = "keeper-workspace-changes"  # plus the project: an organization may have several deployments
GROUP, SINKS = ("pubsub", "topics"), ("logging", "sinks")
DESCRIPTION = f"Changes of users and members, for Keeper ({LABEL})"
AGENT = "@gcp-sa-logging.iam.gserviceaccount.com"  # ends the identity of every log sink
SETTING, PLACES = "sink", "sink-in"  # labels; the second: organizations that may have one of ours, the wanted one first
PUBLIC = "public-webhook"  # the same of PUBLIC_WEBHOOK, which depends on it
RUNS = "full-runs"  # and of FULL_RUNS, which counts with a sink alone
BETWEEN = "_"


def recorded(topic: Any) -> tuple[str, tuple[str, ...]]:
    """Return what the topic's labels say: SINK as it was deployed last, and the organizations that may have a sink."""
    labels = (topic or {}).get("labels") or {}
    places = tuple(each for each in labels.get(PLACES, "").split(BETWEEN) if each.isdigit())
    return _known(labels.get(SETTING), ORGANIZATION, NONE), places


def full_runs_recorded(topic: Any) -> str:
    """Return what the topic's labels say of FULL_RUNS as it was deployed last."""
    return _known(((topic or {}).get("labels") or {}).get(RUNS), *FULL_RUNS)


def webhook_recorded(topic: Any) -> str:
    """Return what the topic's labels say of PUBLIC_WEBHOOK as it was deployed last."""
    return _known(((topic or {}).get("labels") or {}).get(PUBLIC), ON, OFF)


def _known(value: Any, *values: str) -> str:
    """Return a label's value; empty for one that no deployment gave it."""
    return value if value in values else ""


def topic(target: Target) -> Command:
    """Return the command that describes the topic."""
    return (*gcloud(*GROUP, "describe", WORKSPACE_CHANGES, project=target.project), AS_JSON)


def ancestors(target: Target) -> Command:
    """Return the command that says which organization the project is in."""
    return (*gcloud("projects", "get-ancestors", target.project), AS_JSON)


def name(target: Target) -> str:
    """Return the sink's name."""
    return f"{NAME}-{target.project}"


def destination(target: Target) -> str:
    """Return where it publishes."""
    return f"pubsub.googleapis.com/projects/{target.project}/topics/{WORKSPACE_CHANGES}"


def look(target: Target, organization: str) -> Command:
    """Return the command that describes the sink of an organization."""
    return (*gcloud(*SINKS, "describe", name(target), organization=organization), AS_JSON)


def entries(organization: str) -> str:
    """Return the filter: the methods that `workspace_events` follows, of both services, and nothing else."""
    events = [*changes.MEMBERS, *changes.MANY, *changes.ENTER, *changes.OTHERS]
    methods = "|".join((*map(_method, events), f"{_method(changes.FIELD_CHANGED.rstrip('_'))}.*"))
    log = f'logName="organizations/{organization}/logs/cloudaudit.googleapis.com%2Factivity"'
    groups = f'protoPayload.serviceName="{changes.GROUPS}" AND protoPayload.methodName="{changes.UPDATE_MEMBERSHIP}"'
    admin = f'protoPayload.serviceName="{changes.ADMIN}" AND protoPayload.methodName=~"AdminService[.]({methods})$"'
    return f"{log} AND (({groups}) OR ({admin}))"


def _method(event: str) -> str:
    """Return an event's method: that of ADD_GROUP_MEMBER is addGroupMember."""
    first, *others = event.lower().split("_")
    return first + "".join(map(str.title, others))


def made(target: Target) -> list[Step]:
    """Return the steps that record the setting, and make the sink; it must be recorded before it is made."""
    if not target.sink:
        return []
    steps = [record(target, (*made_in(target), *target.sinks_in))]
    if target.sink == ORGANIZATION and (target.organization_open or not target.publishes):
        steps.append(_sink(target))
    return steps


def published(target: Target) -> list[Step]:
    """Return the step that lets the sink publish; its identity must be known."""
    if target.sink != ORGANIZATION or not target.writer:
        return []
    return [
        Step(
            title=f"{_short(target.writer)} has {PUBLISHER} on topic:{WORKSPACE_CHANGES}: what the sink finds",
            look=policy(target),
            make=(_grant(target),),
            find=binding(PUBLISHER, target.writer),
            by_hand=f"Until it is granted, everything goes on as without a sink. Then: make deploy {target.settings}",
        )
    ]


def ended(target: Target) -> list[Step]:
    """Return the steps that remove the sinks of other organizations, and whatever else of a sink's may publish.

    With SINK=none these are all. They come last, once all functions do without, or the wanted sink publishes: before
    that, what is there may be the only source.
    """
    if not target.sink or (target.sink == ORGANIZATION and not target.publishes):
        return []
    elses = [_removed(target, each) for each in target.sinks_in if each not in made_in(target)]
    alone = target.sink != ORGANIZATION or target.writer
    return [*elses, *([_nobody_else(target)] if alone else [])]


def publishers(policy: Any) -> list[str]:
    """Return the identities of log sinks that may publish, as the topic's IAM policy says."""
    bound = [item for item in (policy or {}).get("bindings", ()) if item["role"] == PUBLISHER]
    return sorted({member for item in bound for member in item.get("members", ()) if member.endswith(AGENT)})


def of_another(member: str, organization: str) -> bool:
    """Say whether an identity names an organization, and not this one: it publishes what another one's sink finds."""
    named = re.match(r"serviceAccount:service-org-([0-9]+)@", member)
    return named is not None and named[1] != organization


def revoke(target: Target, member: str = FOUND) -> Command:
    """Return the command that keeps an identity from publishing."""
    where = {"role": PUBLISHER, "project": target.project}
    return gcloud(*GROUP, "remove-iam-policy-binding", WORKSPACE_CHANGES, member=member, **where)


def deletion(target: Target, organization: str) -> Command:
    """Return the command that deletes the sink."""
    return gcloud(*SINKS, "delete", name(target), organization=organization, quiet=True)


def every(organization: str) -> Command:
    """Return the command that lists an organization's sinks."""
    return (*gcloud(*SINKS, "list", organization=organization), AS_JSON)


def ours(target: Target) -> Callable[[Any], list[Any]]:
    """Return what finds ours in a list: it has our name, and publishes to our topic."""
    wanted = (name(target), destination(target))
    return lambda listed: [each for each in listed or () if (each.get("name"), each.get("destination")) == wanted]


def labels(target: Target, organizations: Iterable[str]) -> dict[str, str]:
    """Return the labels that record the setting."""
    places = BETWEEN.join(dict.fromkeys(organizations))
    webhook = {PUBLIC: target.public_webhook} if target.public_webhook else {}
    full_runs = {RUNS: target.full_runs} if target.full_runs else {}
    return {SETTING: target.sink} | ({PLACES: places} if places else {}) | webhook | full_runs


def removal_by_hand(target: Target, organization: str) -> str:
    """Say who must do what, where the sink may not be removed."""
    command = shown(deletion(target, organization))
    return f"Somebody who has roles/logging.configWriter on organization {organization} runs: {command}"


def record(target: Target, organizations: Iterable[str], when: str = "") -> Step:
    """Return the step that records the setting, and which organizations may have a sink of ours."""
    wanted = labels(target, organizations)
    where = f", organization {wanted[PLACES].replace(BETWEEN, ' and ')}" if PLACES in wanted else ""
    others = {"PUBLIC_WEBHOOK": target.public_webhook, "FULL_RUNS": target.full_runs}
    settings = "".join(f", {name}={value}" for name, value in others.items() if value)
    update = {"update_labels": ",".join(f"{key}={value}" for key, value in wanted.items()), "project": target.project}
    if PLACES not in wanted:
        update["remove_labels"] = PLACES
    return Step(
        title=f"Recorded at topic {WORKSPACE_CHANGES}{when and f', {when}'}: SINK={target.sink}{where}{settings}",
        look=topic(target),
        make=(),
        wanted={"labels": {PLACES: None, **wanted}},
        change=(gcloud(*GROUP, "update", WORKSPACE_CHANGES, **update),),
    )


def _sink(target: Target) -> Step:
    organization, filtered = target.organization, entries(target.organization)
    told = {
        "organization": organization,
        "log_filter": filtered,
        "description": DESCRIPTION,
    }
    make = gcloud(*SINKS, "create", name(target), destination(target), **told)
    return Step(
        title=f"Log sink {name(target)} of organization {organization}: publishes changes of users and members",
        look=look(target, organization),
        make=(make,),
        wanted={"destination": destination(target), "filter": filtered, "disabled": False, "exclusions": []},
        change=(
            gcloud(
                *(*SINKS, "update", name(target), destination(target)), **told, disabled=False, clear_exclusions=True
            ),
        ),
        by_hand="Nothing else depends on it: everything goes on as without a sink. Have somebody who has "
        f"roles/logging.configWriter on organization {organization} (is that the right one? gcloud organizations list) "
        "run these two commands, the second one also as whoever deploys, with the identity that the first one prints:\n"
        f"               {shown(make)}\n"
        f"               {grant_by_hand(target)}\n"
        f"             Then: make deploy {target.settings}",
    )


def grant_by_hand(target: Target) -> str:
    """Return the grant as somebody types it who may see the sink."""
    seen = shown(gcloud(*SINKS, "describe", name(target), organization=target.organization))
    add = gcloud(*GROUP, "add-iam-policy-binding", WORKSPACE_CHANGES, role=PUBLISHER, project=target.project)
    writer = f"$({seen} --format='value(writerIdentity)')"
    return f'{shown(add)} --member="{writer}"'


def _grant(target: Target) -> Command:
    member = target.writer or WRITER
    return gcloud(
        *GROUP, "add-iam-policy-binding", WORKSPACE_CHANGES, member=member, role=PUBLISHER, project=target.project
    )


def policy(target: Target) -> Command:
    """Return the command that says who may publish."""
    return (*gcloud(*GROUP, "get-iam-policy", WORKSPACE_CHANGES, project=target.project), AS_JSON)


def _removed(target: Target, organization: str) -> Step:
    return Step(
        title=f"No log sink {name(target)} of organization {organization}",
        look=every(organization),
        make=(),
        wanted={"unwanted": Exactly([])},
        change=(deletion(target, organization),),
        find=lambda listed: {"unwanted": [each["name"] for each in ours(target)(listed)]},
        by_hand=f"It publishes nothing here any more. {removal_by_hand(target, organization)}",
    )


def _nobody_else(target: Target) -> Step:
    return Step(
        title=f"No other log sink publishes to topic {WORKSPACE_CHANGES}",
        look=policy(target),
        make=(),
        wanted={"unwanted": Exactly([])},
        change=(revoke(target),),
        find=lambda policy: {"unwanted": [each for each in publishers(policy) if each != target.writer]},
        names=lambda found: list(found["unwanted"]),
    )


def made_in(target: Target) -> tuple[str, ...]:
    """Return the organization that is to have the sink; empty for none."""
    return (target.organization,) if target.sink == ORGANIZATION else ()


def _short(writer: str) -> str:
    return writer.removeprefix("serviceAccount:").removesuffix(".iam.gserviceaccount.com")
