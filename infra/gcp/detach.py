"""`make detach`: take functions that an earlier version deployed out of Cloud Functions, once nobody wants to go back.

Until then both Cloud Functions and Cloud Run may manage them; then Cloud Run alone, and that cannot be undone
(cloud.google.com/functions/docs/managing). So no deployment does it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from infra.gcp import build, lock, preflight, publishing, services
from infra.gcp.deploy import learn_number
from infra.gcp.gcloud import Gcloud
from infra.gcp.marks import Whose
from infra.gcp.release import account, served
from infra.gcp.steps import shown
from infra.gcp.target import Target
from infra.gcp.variants import chosen

Say = Callable[[str], None]
Ask = Callable[[str], str]


def detach(
    target: Target,
    cloud: Gcloud,
    say: Say,
    ask: Ask,
    *,
    confirmed: bool = False,
    unlock: bool = False,
    now: datetime | None = None,
) -> list[str]:
    """Take the functions out of Cloud Functions, once the project's name was typed; returns those that were.

    Raises:
        GcloudFailed: one could not be detached; a repeated call goes on from there.
        Held: a deployment, a rollback or the like is under way.
        SystemExit: there is no such project, it is in another region, a function is not ours, not all functions serve
            the release that was deployed last, something else was typed, or there is more than was listed: then
            nothing was changed. Or Cloud Functions still manages one, though gcloud says otherwise.
    """
    target = publishing.learn(preflight.as_it_is(learn_number(target, cloud), cloud), cloud)
    listed = _due(target, cloud)
    if not listed:
        say("There is nothing to do: Cloud Functions manages no function of this deployment.")
        return []
    say("These functions are taken out of Cloud Functions; from then on, Cloud Run alone manages them:")
    for name in listed:
        say(f"  {name}")
    say("They keep address, roles, revisions and traffic, and make rollback still works. This cannot be undone: the")
    say("earlier version that deployed them to Cloud Functions cannot be deployed to them any more.")
    if not confirmed:
        question = f"\nType {target.project!r} to go on (CONFIRM=yes skips this): "
        preflight.typed(question, target.project, ask)
    at, by = now or datetime.now(UTC), account(cloud)
    with lock.held(target, cloud, say, purpose="detach", by=by, at=at, unlock=unlock) as held:
        cloud.forget_all()
        names = _due(target, cloud)
        more = [name for name in names if name not in listed]
        if more:
            raise SystemExit(f"There is more by now: {', '.join(more)}. Nothing was changed: run it again.")
        for name in names:
            cloud.patiently(partial(_detach, target, name, cloud, say, held))
        _see_detached(target, cloud, names)
    say(f"\n{len(names)} functions were detached. See that all is well: make doctor {target.settings}")
    return names


def _due(target: Target, cloud: Gcloud) -> list[str]:
    """Return what Cloud Functions manages and may be taken out of it now.

    Raises:
        SystemExit: something is there that must not be.
    """
    preflight.same_region(target, cloud)
    managed = preflight.managed(target, cloud)
    strange = [f"{name} ({whose})" for name, whose in managed.items() if whose is not Whose.OURS]
    if strange:
        raise SystemExit(
            f"Cloud Functions manages functions under names of this deployment that do not run as its accounts: "
            f"{', '.join(strange)}. Nothing was changed: remove them, or give another PROJECT."
        )
    trouble = _unfinished(target, cloud) if managed else ""
    if trouble:
        raise SystemExit(f"{trouble} Nothing was changed. First: make deploy {target.settings}")
    return list(managed)


def _unfinished(target: Target, cloud: Gcloud) -> str:
    """Say why it is not true that all functions serve the release that was deployed last; empty if it is."""
    serving = {item.name: item for item in served(target, cloud)}
    there = {item.name: cloud.look(services.look(target, item.name)) or {} for item in chosen(target).functions}
    absent = [name for name in there if name not in serving]
    if absent:
        return f"No deployment was completed: no revision of {', '.join(absent)} serves."
    waiting = [name for name, item in serving.items() if item.candidate]
    if waiting:
        release = serving[waiting[0]].deployed.shown
        return f"A deployment was not completed: release {release} has not got the traffic of {', '.join(waiting)} yet."
    others = [name for name, service in there.items() if not services.serves_latest(service)]
    if others:
        return f"What was deployed last does not serve, as after a rollback: {', '.join(others)}."
    if len({item.release.id for item in serving.values()}) > 1:
        return "Functions serve several releases."
    image = f"{build.image(target)}@"
    built = [name for name, each in there.items() if not str(services.comparable(each)["image"]).startswith(image)]
    return f"Nothing was deployed since Cloud Functions built what serves: {', '.join(built)}." if built else ""


def _detach(target: Target, name: str, cloud: Gcloud, say: Say, held: lock.Lock) -> None:
    """Detach a function, unless that is done: after an attempt whose answer was lost, it may be."""
    look, command = services.former(target, name), services.detach(target, name)
    if cloud.look(look) is None:
        return
    held.see()
    say(f"  detach     {name}")
    say(f"             {shown(command)}")
    try:
        cloud.act(command)
    finally:
        cloud.forget(look)


def _see_detached(target: Target, cloud: Gcloud, names: list[str]) -> None:
    """See that Cloud Functions manages none of them any more.

    Raises:
        SystemExit: it does.
    """

    def left() -> str:
        looks = {name: services.former(target, name) for name in names}
        still = [name for name, look in looks.items() if cloud.look(look) is not None]
        for name in still:
            cloud.forget(looks[name])
        return f"Cloud Functions still manages {', '.join(still)}" if still else ""

    said = cloud.until(left)
    if said:
        raise SystemExit(f"{said}, though gcloud says that they were detached. Run the same command again.")
