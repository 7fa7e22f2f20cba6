"""The full run that is scheduled: made, or, while the audit log tells of changes, put off, except for leavers.

An event that was lost must not keep a leaver in. So between two full runs the suspended and the deleted users are
listed, which takes a few requests, and compared with the rosters. They, and whoever waits for a time or an attempt, are
looked at again, one by one. Where that is no proof, or they are many, a full run is made.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from autoprovisioning.app.provisioning.adoption_grounds import deleted_users
from autoprovisioning.app.provisioning.volume_guard import spent
from autoprovisioning.app.runs.reconcile import reconcile
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import ConfigurationRefused, Transient
from autoprovisioning.domain.full_runs import full_run_due, last_full, why_often
from autoprovisioning.domain.holds import OPEN, Book, Hold, Standing
from autoprovisioning.domain.leavers import Reason, crowd, reason_to_look
from autoprovisioning.domain.observation import rules_of
from autoprovisioning.domain.runs import Evidence, Look, Run, RunKind
from autoprovisioning.domain.sources import AllHeard

log = logging.getLogger(__name__)

LATEST = 60  # runs: two days of drift runs, and some that were asked for
ONE_BY_ONE = 100  # with more users than this, a full run is made


class _Everybody(Exception):
    """A full run must be made; the text says why."""


def reconcile_on_schedule(services: Services, deadline: datetime) -> Sequence[Run]:
    """Make the full run that is scheduled now, or look at who may have to leave where everybody need not be.

    Raises:
        Transient: the directory could not be read, or nothing could be published.
    """
    if not services.through.full_runs_may_wait:
        return reconcile(services, RunKind.FULL, deadline)
    connections = services.connections.all()
    try:
        looks = _looks(services, [each for each in connections if each.state is State.ON])
    except _Everybody as why:
        log.info("Everybody is looked at: %s", why)
        return reconcile(services, RunKind.FULL, deadline)
    services.queue.look_again(looks)
    log.info("The full run waits", extra={"json_fields": {"looked_at": len(looks)}})
    return ()


def _looks(services: Services, connections: Sequence[Connection]) -> Sequence[Look]:
    """Return whom to look at; raises _Everybody."""
    told = services.sources.all()
    plans = {connection.id: services.holds.standing(connection.id) for connection in connections}
    listed = [(connection, _listed_at(services, connection, told, plans[connection.id])) for connection in connections]
    rosters = {connection.id: services.roster.load(connection) for connection in connections}  # before the directory
    found = _unfit(services, connections) if connections else {}
    looks: dict[str, Look] = {}
    for connection, listed_at in listed:
        if connection.waits_until(services.clock()) is None:
            book = Book(plans[connection.id])
            looks |= _of_one(services, connection, rosters[connection.id], found, book=book, listed_at=listed_at)
    if len(looks) > ONE_BY_ONE:
        raise _Everybody(f"{len(looks)} users would be read one by one")
    return list(looks.values())


def _listed_at(services: Services, connection: Connection, told: AllHeard, plans: Sequence[Hold]) -> datetime:
    """Return when the last full run began, where the next one may wait."""
    through, now = services.through, services.clock()
    runs = services.runs.latest(connection.id, LATEST)
    if full_run_due(runs, through.full_run_every, now):
        raise _Everybody("a full run is due")
    held, at_limit = any(hold.those(*OPEN, Standing.APPROVED) for hold in plans), spent(services, connection)
    if why := why_often(connection, runs, told, now, sweep_every=through.sweep_every, held=held, spent=at_limit):
        raise _Everybody(why)
    last = last_full(runs)
    assert last is not None  # noqa: S101 - else one is due
    return last.started


def _unfit(services: Services, connections: Sequence[Connection]) -> dict[str, DirectoryUser]:
    """List who is suspended, archived where that counts as suspended, or deleted."""
    archived = any(connection.settings.archived_as_suspended for connection in connections)
    flags = (Presence.SUSPENDED, Presence.ARCHIVED) if archived else (Presence.SUSPENDED,)
    try:
        pages = (page for flag in flags for page in services.directory.users_who_are(flag))
        found = {user.id: user for page in pages for user in page}
        return found | {user.id: user for user in deleted_users(services.directory)}
    except (Transient, ConfigurationRefused) as error:
        raise _Everybody(f"who is suspended or deleted could not be listed: {error}") from error


def _of_one(
    services: Services,
    connection: Connection,
    roster: Mapping[str, Entry],
    found: Mapping[str, DirectoryUser],
    *,
    book: Book,
    listed_at: datetime,
) -> dict[str, Look]:
    """Return whom to look at on one connection; as in a sweep, more leavers than the limit are one plan."""
    reasons = dict(_reasons(services, connection, roster, found, book=book, listed_at=listed_at))
    if Reason.LISTING in reasons.values():
        raise _Everybody("only listings can tell whether somebody has left")
    leavers = sum(reason is Reason.LEAVER for reason in reasons.values())
    if crowd(leavers, roster, connection.settings.limit):
        raise _Everybody(f"{leavers} users at once have to leave, who are held as one plan")
    now = services.clock()
    return {
        user_id: Look(user_id=user_id, evidence=Evidence(listed=_listed(found.get(user_id))), asked_at=now)
        for user_id in reasons
    }


def _reasons(
    services: Services,
    connection: Connection,
    roster: Mapping[str, Entry],
    found: Mapping[str, DirectoryUser],
    *,
    book: Book,
    listed_at: datetime,
) -> Iterator[tuple[str, Reason]]:
    rules, now = rules_of(connection, {}), services.clock()
    for user_id, entry in roster.items():
        user = found.get(user_id)
        if (user is None and entry.quiet) or not connection.operates_on(user_id):
            continue
        reason = reason_to_look(entry, user, rules, book, now, listed_at=listed_at)
        if reason is not None:
            yield user_id, reason


def _listed(user: DirectoryUser | None) -> bool:
    return user is not None and user.presence is not Presence.DELETED
