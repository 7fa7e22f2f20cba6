"""Which release is which: its labels on each function, and what the functions of a project serve.

A release is the image with the settings that functions are given. All functions are of one release, so that
`make rollback` can name it. A revision has the labels that its service had when it was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.gcp import services
from infra.gcp.description import DEPLOYMENT
from infra.gcp.gcloud import Gcloud
from infra.gcp.labels import DIGITS, KINDS, NONE, read
from infra.gcp.steps import AS_JSON, Command, gcloud
from infra.gcp.target import Target
from infra.gcp.variants import chosen

ACCOUNT: Command = ("gcloud", "config", "get", "account", AS_JSON)


def account(cloud: Gcloud) -> str:
    """Return the account that gcloud acts as."""
    return str(cloud.look(ACCOUNT) or "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release, as the labels of a service or of a revision tell it."""

    labels: Mapping[str, str]

    @property
    def id(self) -> str:
        """Return its name; empty where a version from before releases deployed it."""
        return self.labels.get("release", "")

    @property
    def deployed(self) -> str:
        """Return when it was deployed, as labelled; what sorts first is older."""
        return self.labels.get("deployed", "")

    @property
    def before(self) -> str:
        """Return the release that served before it, empty if none did."""
        before = self.labels.get("before", "")
        return "" if before == NONE else before

    @property
    def shown(self) -> str:
        """Return its name, with what people know it by."""
        at = read(self.deployed)
        version = self.labels.get("version", "")
        told = [
            f"of {at:%Y-%m-%d %H:%M} UTC" if at else "of an unknown time",
            f"version {version}" if version else "",
            f"commit {self.labels['commit']}" if self.labels.get("commit", version) != version else "",
            f"by {self.labels['deployer']}" if "deployer" in self.labels else "",
        ]
        return f"{self.id or 'without a name'} {', '.join(filter(None, told))}"

    def cannot_read(self, other: Release) -> list[str]:
        """Return what it could not read of what the other one writes; what the labels do not say is not judged."""
        oldest, newest, written = (
            [DIGITS.index(digit) for digit in release.labels.get(name, "")]
            for release, name in ((self, "reads"), (self, "writes"), (other, "writes"))
        )
        return [
            f"{_kind(place)}: schema {number}, but it reads {least} to {most}"
            for place, (least, most, number) in enumerate(zip(oldest, newest, written, strict=False))
            if not least <= number <= most
        ]


def _kind(place: int) -> str:
    return KINDS[place].name if place < len(KINDS) else f"kind {place + 1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What one function serves, and what was deployed last; the same until a rollback."""

    name: str
    revision: str
    release: Release
    deployed: Release
    pinned: bool  # traffic was sent to a revision by name
    sent: str = ""  # the revision that traffic was asked to go to; another one than serves where that was refused
    since: str = ""  # when that revision was made, and when the one that was deployed last: by Google's clock alone
    latest: str = ""
    left: frozenset[str] = frozenset()  # releases of revisions that are newer, and neither serve nor wait
    candidate: str = ""  # the revision whose smoke test failed or was interrupted; that of a first deployment serves

    @property
    def waiting(self) -> bool:
        """Whether what was deployed last has not got traffic yet."""
        return self.candidate not in ("", self.revision)

    @property
    def rolled_back(self) -> bool:
        """Whether it serves another release than the one that was served last."""
        return self.pinned and not self.waiting and self.release.id != self.deployed.id


def revisions_of(target: Target, name: str) -> Command:
    """Return the command that lists a function's revisions."""
    return (*gcloud("run", "revisions", "list", service=name, region=target.region, project=target.project), AS_JSON)


def labels_of(revision: Any) -> dict[str, str]:
    """Return a revision's labels."""
    return dict(revision["metadata"].get("labels", {}))


def made_at(revision: dict[str, Any]) -> str:
    """Return when a revision was made, by Google's clock."""
    return str(revision["metadata"]["creationTimestamp"])


def added_since(wanted: str, revisions: Mapping[str, list[Any]]) -> set[str]:
    """Return the functions that were first made after a release was: it had none of them.

    A function whose first revision is gone may have been part of it.
    """
    of_it = [each for several in revisions.values() for each in several if Release(labels=labels_of(each)).id == wanted]
    made = max(map(made_at, of_it), default="")
    return {
        name
        for name, several in revisions.items()
        if of_it and several and _is_first(min(several, key=made_at)) and min(map(made_at, several)) > made
    }


def _is_first(revision: dict[str, Any]) -> bool:
    """Say whether a revision is the first of its service: Cloud Run numbers them by the service's generation."""
    return "-00001-" in str(revision["metadata"]["name"])


def served(target: Target, cloud: Gcloud) -> list[Served]:
    """Return what each function that is there serves.

    Raises:
        GcloudFailed: that cannot be found out.
    """
    found = []
    for function in DEPLOYMENT.functions:
        service = cloud.look(services.look(target, function.name)) or {}
        told = service.get("status", {}).get("traffic", [])
        traffic = [share for share in told if share.get("revisionName")]  # none before the first revision started
        if not any(share.get("percent") for share in traffic):
            continue
        most = max(traffic, key=lambda share: int(share.get("percent", 0)))
        revisions = cloud.look(revisions_of(target, function.name)) or []
        known = {revision["metadata"]["name"]: labels_of(revision) for revision in revisions}
        made = {revision["metadata"]["name"]: made_at(revision) for revision in revisions}
        serving, candidate = most["revisionName"], services.candidate(service)
        since = made.get(serving, "")
        newer = {known[name].get("release", "") for name, at in made.items() if since and at > since}
        pinned = services.is_pinned(service)
        stay = (serving, candidate) if pinned else (serving, candidate, services.latest(service))
        stays = {known.get(name, {}).get("release", "") for name in stay}
        found.append(
            Served(
                name=function.name,
                revision=serving,
                release=Release(labels=known.get(serving, {})),
                deployed=Release(labels=service["metadata"].get("labels", {})),
                pinned=pinned,
                sent=services.sent_to(service),
                since=since,
                latest=made.get(services.latest(service), ""),
                left=frozenset(newer - stays),
                candidate=candidate,
            )
        )
    return found


def see_moved(target: Target, cloud: Gcloud, wanted: Mapping[str, str] | None = None) -> None:
    """See that functions serve the revisions that are wanted of them by name, or each its latest one.

    gcloud may say that traffic was moved where it was not.

    Raises:
        SystemExit: one does not.
    """
    names = [item.name for item in chosen(target).functions] if wanted is None else list(wanted)

    def wrong() -> str:
        found = {name: cloud.look(services.look(target, name)) or {} for name in names}
        due = {name: services.latest(found[name]) if wanted is None else wanted[name] for name in names}
        others = [name for name in names if services.served_by(found[name]) != due[name]]
        for name in others:
            cloud.forget(services.look(target, name))
        return "; ".join(f"{name} serves {services.served_by(found[name]) or 'several'}" for name in others)

    said = cloud.until(wrong)
    if said:
        raise SystemExit(
            f"Traffic was not moved, though gcloud says that it was: {said}. Run the same command again, which moves "
            "it; make doctor says what serves."
        )


def forget(target: Target, cloud: Gcloud) -> None:
    """Forget what functions serve, so that it is looked up again."""
    for function in DEPLOYMENT.functions:
        for look in (services.look, revisions_of):
            cloud.forget(look(target, function.name))


def before(release: str, serving: Iterable[Served]) -> str:
    """Return which release a deployment of this one replaces, as a label.

    If an interruption left two, the older one: every function has it.
    """
    there = list(serving)
    others = [item for item in there if item.release.id not in ("", release)]
    if others:
        return min(others, key=lambda other: other.since).release.id
    return next((item.release.before for item in there if item.release.before), NONE)
