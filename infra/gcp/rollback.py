"""`make rollback`: every function serves one release again that was deployed before. Nothing is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from infra.gcp import build, lock, mounts, preflight, services, sink
from infra.gcp.description import DEPLOYMENT, WEBHOOK, WORKSPACE_CHANGES
from infra.gcp.gcloud import Gcloud
from infra.gcp.release import Release, Served, account, added_since, labels_of, made_at, revisions_of, see_moved, served
from infra.gcp.steps import Command, gcloud, shown
from infra.gcp.target import Target

Say = Callable[[str], None]
(FOLLOWS,) = [each.function for each in DEPLOYMENT.subscriptions if each.topic == WORKSPACE_CHANGES]


def serve(target: Target, name: str, revision: str) -> Command:
    """Return the command that sends all of a function's traffic to one revision, and to no candidate."""
    return gcloud(
        *("run", "services", "update-traffic", name),
        remove_tags=services.CANDIDATE,
        to_revisions=f"{revision}=100",
        region=target.region,
        project=target.project,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The newest revision of a function, of one release, that can serve."""

    revision: str
    made: str
    release: Release
    mounts: mounts.Mounts
    images: frozenset[str]  # as they were deployed


def rollback(
    target: Target,
    cloud: Gcloud,
    say: Say,
    release: str = "",
    *,
    unlock: bool = False,
    untested: bool = False,
    now: datetime | None = None,
) -> list[str]:
    """Let every function serve a release, the one before the last deployment unless named; returns those sent back.

    Raises:
        GcloudFailed: a function could not be rolled back; those before it are, and a repeated rollback does the rest.
        Held: a deployment or another rollback is under way.
        SystemExit: nothing is deployed, it is in another region, not every function can serve that release, or it never
            served and is not wanted untested; nothing was changed.
    """
    preflight.same_region(target, cloud)
    if not served(target, cloud):
        raise SystemExit(f"Nothing is deployed in {target.project}, {target.region}.")
    at, by = now or datetime.now(UTC), account(cloud)
    with lock.held(target, cloud, say, purpose="rollback", by=by, at=at, unlock=unlock) as held:
        cloud.forget_all()
        preflight.same_region(target, cloud)
        serving = served(target, cloud)
        revisions = {item.name: cloud.look(revisions_of(target, item.name)) or [] for item in serving}
        proven = None if untested else _proven(serving, revisions)
        ready = {name: _ready(several, proven) for name, several in revisions.items()}
        wanted = release or _before(serving)
        if not wanted:
            say("There is no release before the one that is deployed: nothing was changed.")
            return []
        _see_that_it_served(wanted, revisions, proven)
        added = added_since(wanted, revisions)
        for name in sorted(added):
            say(f"  stays      {name}: that release did not have it yet")
        serving = [item for item in serving if item.name not in added]
        back = _chosen(wanted, serving, {item.name: ready[item.name] for item in serving})
        _see_that_they_can_start(target, cloud, wanted, back)
        say(f"Back to release {next(iter(back.values())).release.shown}")
        if FOLLOWS in added:
            _silence(target, cloud, say, held)
        rolled, due = [], {}
        for item in serving:
            if item.release.id == wanted:
                say(f"  stays      {item.name}: {item.revision} is of that release")
                due[item.name] = item.revision
                if not item.waiting and item.sent == item.revision:
                    continue
            else:
                due[item.name] = back[item.name].revision
                say(f"  back       {item.name}: from {item.revision} to {due[item.name]}")
                rolled.append(item.name)
            command = serve(target, item.name, due[item.name])
            cloud.patiently(partial(_send, command, cloud, say, held))  # doing it twice does no harm
            cloud.forget(services.look(target, item.name))
        see_moved(target, cloud, due)
    say(f"\n{len(rolled)} functions were rolled back. Subscriptions, schedule, roles and indexes are as they were.")
    if cloud.look(services.look(target, WEBHOOK)) is None:
        say(f"There is no {WEBHOOK}: a release that had one opens no channel that works, until make deploy makes it.")
    say("The next make deploy moves every function to what it deploys; it asks first if that was rolled back here.")
    return rolled


def _silence(target: Target, cloud: Gcloud, say: Say, held: lock.Lock) -> None:
    """Keep log sinks from publishing: a release that does not follow changes makes a full run of each that is told.

    The sink itself belongs to the organization, where whoever is on call may have no rights.
    """
    for member in sink.publishers(cloud.look(sink.policy(target))):
        say(f"  silence    {member}: that release does not follow what the log sink publishes")
        cloud.patiently(partial(_revoke, target, member, cloud, say, held))


def _revoke(target: Target, member: str, cloud: Gcloud, say: Say, held: lock.Lock) -> None:
    if member in sink.publishers(cloud.look(sink.policy(target))):
        try:
            _send(sink.revoke(target, member), cloud, say, held)
        finally:
            cloud.forget(sink.policy(target))


def _send(command: Command, cloud: Gcloud, say: Say, held: lock.Lock) -> None:
    held.see()
    say(f"             {shown(command)}")
    cloud.act(command)


def _before(serving: list[Served]) -> str:
    """Return the release before the one that was deployed last, whatever serves now: repeating changes nothing."""
    last = max(serving, key=lambda item: item.latest).deployed
    if last.id and "before" not in last.labels:
        raise SystemExit("The deployed version is older than releases: name the release, RELEASE=... (make doctor).")
    return last.before


def _proven(serving: Sequence[Served], revisions: Mapping[str, list[Any]]) -> set[str]:
    """Return the releases that served: a deployment labels what it makes with the one that it replaces.

    What was deployed last counts, unless it waits for its traffic anywhere.
    """
    replaced = {Release(labels=labels_of(each)).before for several in revisions.values() for each in several}
    last = {release.id for item in serving for release in (item.release, item.deployed)}
    return replaced | (last - {item.deployed.id for item in serving if item.waiting})


def _see_that_it_served(wanted: str, revisions: Mapping[str, list[Any]], proven: set[str] | None) -> None:
    """See that a release has served before: what waits, or failed its smoke test, is not gone back to.

    Raises:
        SystemExit: nothing says that it did; nothing was changed.
    """
    known = {Release(labels=labels_of(each)).id for several in revisions.values() for each in several}
    if proven is not None and wanted in known - proven:
        raise SystemExit(
            f"Nothing says that release {wanted} ever served: it may have failed its smoke test. Nothing was changed. "
            "Check out its version and make deploy, which tries it first; UNTESTED=yes lets it serve untried."
        )


def _chosen(wanted: str, serving: list[Served], ready: Mapping[str, Mapping[str, Ready]]) -> dict[str, Ready]:
    """Return what each function is to serve.

    Raises:
        SystemExit: one of them has nothing of that release, or the release could not read what is written now.
    """
    without = [name for name, releases in ready.items() if wanted not in releases]
    if without:
        raise SystemExit(
            f"Release {wanted} has no ready revision of {', '.join(without)}: nothing was changed. "
            f"{_others(ready)} Or check out the version that you want, and run make deploy."
        )
    back = {name: releases[wanted] for name, releases in ready.items()}
    trouble = sorted({text for item in serving for text in back[item.name].release.cannot_read(item.release)})
    if trouble:
        raise SystemExit(
            f"Release {wanted} cannot read what the one that serves has written: {'; '.join(trouble)}. Nothing was "
            "changed. Fix the release that serves, and run make deploy."
        )
    return back


def _see_that_they_can_start(target: Target, cloud: Gcloud, wanted: str, back: Mapping[str, Ready]) -> None:
    """See that the release's image and the keys that it mounts are still there.

    Keys are disabled or destroyed after a rotation, and old images deleted (images.json); Cloud Run keeps its own copy
    of an image only while a revision serves.

    Raises:
        SystemExit: one is not; nothing was changed.
    """
    trouble = mounts.trouble(target, cloud, {name: ready.mounts for name, ready in back.items()})
    trouble += [f"{image} was deleted" for image in _gone(target, cloud, back)]
    if trouble:
        raise SystemExit(
            f"Release {wanted} could not start, since {'; '.join(trouble)}. Nothing was changed. Roll forward: "
            "check out the version that you want, and run make deploy, which builds its image again if there is none, "
            "and mounts the newest version of each key."
        )


def _gone(target: Target, cloud: Gcloud, back: Mapping[str, Ready]) -> list[str]:
    """Return which images of our repository no longer exist; those kept elsewhere are not judged."""
    there = {f"{item['package']}@{item['version']}" for item in cloud.look(build.listed(target)) or ()}
    home = f"{build.repository(target)}/"
    needed = {image for ready in back.values() for image in ready.images if image.startswith(home) and "@" in image}
    return sorted(needed - there)


def _others(ready: Mapping[str, Mapping[str, Ready]]) -> str:
    """Say which releases every function could serve, the newest first."""
    common = set.intersection(*(set(releases) for releases in ready.values()))
    last = next(iter(ready.values()))
    told = [
        f"\n  RELEASE={last[name].release.shown}" for name in sorted(common, key=lambda name: last[name].made)[::-1]
    ]
    return f"All functions can serve:{''.join(told)}\n" if told else "There is no release that all functions can serve."


def _ready(revisions: list[dict[str, Any]], proven: set[str] | None) -> dict[str, Ready]:
    """Return, by release, the newest revision that is ready; of those that are proven, unless that is None."""
    found: dict[str, Ready] = {}
    for revision in sorted(revisions, key=made_at):
        release = Release(labels=labels_of(revision))
        if release.id and _is_ready(revision) and (proven is None or release.id in proven):
            name = str(revision["metadata"]["name"])
            containers = (revision.get("spec") or {}).get("containers") or ()
            found[release.id] = Ready(
                revision=name,
                made=made_at(revision),
                release=release,
                mounts=mounts.of(revision),
                images=frozenset(str(each.get("image")) for each in containers),
            )
    return found


def _is_ready(revision: dict[str, Any]) -> bool:
    conditions = revision["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
