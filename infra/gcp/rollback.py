"""`make rollback`: the functions of the last deployment serve their revision from before it again. Nothing is built."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from infra.gcp.description import DEPLOYMENT
from infra.gcp.gcloud import Gcloud
from infra.gcp.steps import AS_JSON, Command, gcloud, shown
from infra.gcp.target import Target


def function_of(target: Target, name: str) -> Command:
    """Return the command that describes a function."""
    return (*gcloud("functions", "describe", name, gen2=True, region=target.region, project=target.project), AS_JSON)


def service_of(target: Target, name: str) -> Command:
    """Return the command that describes the service below a function."""
    return (*gcloud("run", "services", "describe", name, region=target.region, project=target.project), AS_JSON)


def revisions_of(target: Target, name: str) -> Command:
    """Return the command that lists a function's revisions."""
    return (*gcloud("run", "revisions", "list", service=name, region=target.region, project=target.project), AS_JSON)


def serve(target: Target, name: str, revision: str) -> Command:
    """Return the command that sends all of a function's traffic to one revision."""
    return gcloud(
        *("run", "services", "update-traffic", name),
        to_revisions=f"{revision}=100",
        region=target.region,
        project=target.project,
    )


def rollback(target: Target, cloud: Gcloud, say: Callable[[str], None]) -> list[str]:
    """Send traffic back; returns the functions that were. Repeated, it goes back one more revision.

    Raises:
        GcloudFailed: a function could not be rolled back; those before it are.
        SystemExit: nothing is deployed.
    """
    rolled = []
    for name in _last_deployed(target, cloud):
        serving = cloud.look(service_of(target, name))["status"]["traffic"][0]["revisionName"]
        before = previous(cloud.look(revisions_of(target, name)), serving)
        if before is None:
            say(f"  stays      {name}: there is nothing before {serving}")
            continue
        command = serve(target, name, before)
        say(f"  back       {name}: from {serving} to {before}\n             {shown(command)}")
        cloud.patiently(partial(cloud.act, command))  # done twice, it is the same
        rolled.append(name)
    say(f"\n{len(rolled)} functions were rolled back. Subscriptions, schedule, roles and indexes are as they were.")
    say("The next make deploy puts every function on the revision that it deploys.")
    return rolled


def _last_deployed(target: Target, cloud: Gcloud) -> list[str]:
    """Return the functions that the last deployment changed: those with the release of the newest one."""
    there = {function.name: cloud.look(function_of(target, function.name)) for function in DEPLOYMENT.functions}
    deployed = {name: function for name, function in there.items() if function is not None}
    if not deployed:
        raise SystemExit(f"Nothing is deployed in {target.project}, {target.region}.")
    newest = max(deployed.values(), key=lambda function: str(function["updateTime"]))
    return [name for name, function in deployed.items() if _release(function) == _release(newest)]


def _release(function: Any) -> str:
    return str(function.get("labels", {}).get("release", ""))


def previous(revisions: list[dict[str, Any]], serving: str) -> str | None:
    """Return the newest revision before the one that serves that is ready and not the same again."""
    known = {revision["metadata"]["name"]: revision for revision in revisions}
    if serving not in known:
        return None
    now = known[serving]
    older = [
        revision
        for revision in revisions
        if _made(revision) < _made(now) and _ready(revision) and revision["spec"] != now["spec"]
    ]
    return str(max(older, key=_made)["metadata"]["name"]) if older else None


def _made(revision: dict[str, Any]) -> str:
    return str(revision["metadata"]["creationTimestamp"])


def _ready(revision: dict[str, Any]) -> bool:
    conditions = revision["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
