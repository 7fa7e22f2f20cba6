"""One at a time changes a deployment: a lock, which is a secret without a version, whose labels name the holder.

Secret Manager makes a name only once, and deletes only what has the given etag: if two take the lock, or take it over,
at the same time, one is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from infra.gcp.gcloud import Gcloud, GcloudFailed, Unready
from infra.gcp.labels import fit, read, stamped
from infra.gcp.marks import LABEL, SYSTEM
from infra.gcp.steps import AS_JSON, Command, gcloud, shown
from infra.gcp.target import Target

NAME = "keeper-deployment-lock"
STALE = timedelta(hours=2)  # a deployment takes minutes; one that is overtaken stops before its next change
LOCK_ETAG, LOCK_ID = "LOCK_ETAG", "LOCK_ID"  # as `make plan` shows them

Say = Callable[[str], None]


def look(target: Target) -> Command:
    """Return the command that shows who holds it."""
    return (*gcloud("secrets", "describe", NAME, project=target.project), AS_JSON)


def take(target: Target, *, holder: str, since: str, id: str, does: str) -> Command:  # noqa: A002
    """Return the command that takes it; refused if somebody has it."""
    listed = f"{LABEL},holder={holder},since={since},id={id},does={does}"
    return gcloud("secrets", "create", NAME, labels=listed, replication_policy="automatic", project=target.project)


def give_back(target: Target, etag: str) -> Command:
    """Return the command that releases, or takes away, exactly the lock that was looked at."""
    return gcloud("secrets", "delete", NAME, etag=etag, project=target.project, quiet=True)


class Held(Exception):
    """Somebody else has the lock; the text says who, since when, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The lock of one project, as one who holds it sees it."""

    target: Target
    cloud: Gcloud
    purpose: str
    id: str
    by: str
    at: datetime
    known: set[str] = field(default_factory=set)  # its id, once a look has shown it

    def there(self) -> Any:
        """Return the lock as it is now, None if nobody has it."""
        self.cloud.forget(look(self.target))
        return self.cloud.look(look(self.target))

    def ours(self, there: Any) -> bool:
        """Say whether a lock is ours."""
        return there is not None and there.get("labels", {}).get("id") == self.id

    def see(self) -> None:
        """See that we still have it.

        Raises:
            Held: it was taken over.
        """
        there = self.there()
        if self.ours(there):
            self.known.add(self.id)
        elif there is not None:
            raise Held(
                f"The lock was taken over meanwhile: {_holder(there)}. Stopped, so that two deployments are not mixed."
            )
        elif self.known:  # otherwise it may not be visible yet: for a while after it was made a look may not find it
            raise Held(
                "The lock is gone: it was taken over and released. Stopped, so that two deployments are not mixed."
            )

    def take(self, say: Say, *, unlock: bool) -> None:
        """Take it, or take it over: with UNLOCK=yes, or if its holder has had it for too long.

        Raises:
            Held: somebody else has it.
            GcloudFailed: it could not be taken.
        """
        overtaken: list[str] = []

        def attempt() -> None:
            there = self.there()
            if self.ours(there):
                return
            if there is not None:
                self._may_overtake(there, overtaken, unlock=unlock)
                say(f"  unlock     {_holder(there)}: taken over")
                self._act(give_back(self.target, there.get("etag", "")), say)
            named = {"holder": fit(self.by), "since": stamped(self.at), "id": self.id, "does": self.purpose}
            say(f"  lock       {NAME}: nobody else changes the deployment meanwhile")
            self._act(take(self.target, **named), say)

        self.cloud.patiently(attempt)

    def _may_overtake(self, there: Any, overtaken: list[str], *, unlock: bool) -> None:
        """Allow taking over the lock that was seen first, and no later one; never what is no lock."""
        if not is_lock(there):
            raise Held(
                f"The secret {NAME} is not a lock of this deployment: it lacks a lock's labels. Nothing was "
                "changed: remove it, or give another PROJECT."
            )
        theirs = there.get("labels", {}).get("id", "")
        if (overtaken and theirs not in overtaken) or not (unlock or _stale(there, self.at)):
            hours = STALE / timedelta(hours=1)
            raise Held(
                f"{_holder(there)}. Wait until that has ended. If it was interrupted, UNLOCK=yes takes the lock over; "
                f"{hours:g} hours after it was taken, any deployment does. Nothing was changed."
            )
        overtaken.append(theirs)

    def release(self, say: Say) -> None:
        """Release it, if it is still ours, even if nobody reads the output any more."""

        def told(text: str) -> None:
            with suppress(OSError):
                say(text)

        try:
            self.cloud.patiently(lambda: self._release(told))
        except (GcloudFailed, Unready) as error:
            told(f"The lock {NAME} could not be released; the next deployment needs UNLOCK=yes.\n{error}")

    def _release(self, say: Say) -> None:
        there = self.there()
        if self.ours(there):
            say(f"  unlock     {NAME}")
            self._act(give_back(self.target, there.get("etag", "")), say)
        elif there is None:
            say(f"The lock {NAME} no longer exists. If it shows up later, UNLOCK=yes takes it over.")

    def _act(self, command: Command, say: Say) -> None:
        say(f"             {shown(command)}")
        self.cloud.act(command)


def is_lock(secret: Any) -> bool:
    """Say whether a secret under the lock's name is one; earlier versions gave it these labels and not our mark."""
    labels = secret.get("labels") or {}
    return labels.get("system", SYSTEM) == SYSTEM and {"holder", "since", "id", "does"} <= labels.keys()


def _stale(there: Any, at: datetime) -> bool:
    since = read(there.get("labels", {}).get("since", ""))
    return since is None or at - since >= STALE


def _holder(there: Any) -> str:
    labels = there.get("labels", {})
    since = read(labels.get("since", ""))
    told = f"{since:%Y-%m-%d %H:%M} UTC" if since else "an unknown time"
    return f"{labels.get('holder', 'Somebody')} has been running make {labels.get('does', 'deploy')} since {told}"


@contextmanager
def held(
    target: Target, cloud: Gcloud, say: Say, *, purpose: str, by: str, at: datetime, unlock: bool
) -> Iterator[Lock]:
    """Hold the lock.

    Raises:
        Held: somebody else has it.
        GcloudFailed: it could not be taken.
    """
    lock = Lock(target=target, cloud=cloud, purpose=purpose, id=secrets.token_hex(8), by=by, at=at)
    try:
        lock.take(say, unlock=unlock)
        yield lock
    finally:
        lock.release(say)
