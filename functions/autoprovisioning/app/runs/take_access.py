"""Take access from many users together: each is read alone, right before; what they share is read and written once.

Converging one user costs a dozen requests to Firestore, most of them about the connection, its held plans and its
guard. Where a plan takes access from many, those are the same for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from autoprovisioning.app.provisioning.marked_changes import Intent
from autoprovisioning.app.provisioning.read_user import Asked, Round
from autoprovisioning.app.provisioning.serving import served
from autoprovisioning.app.provisioning.volume_guard import those_that_may_go
from autoprovisioning.app.services import Services
from autoprovisioning.domain.changes import Change, Outcome, recorded
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.decision import Do, Nothing, decide
from autoprovisioning.domain.entry import Entry, Status
from autoprovisioning.domain.guard import Member, member_of
from autoprovisioning.domain.observation import rules_of

AT_ONCE = 16  # users who are read at the same time

Rosters = Mapping[str, Mapping[str, Entry]]  # those asked for, by connection


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaver:
    """A user whose access is to be taken, by what was read of them alone; `entry` is what the roster had before."""

    entry: Entry
    change: Change
    member: Member


def leavers(services: Services, connection: Connection, asked: Sequence[Asked], until: datetime) -> list[Intent]:
    """Return the suspensions and deletions to be made for these users, counted by the guard, to be marked and sent.

    Left out is everybody about whom anything else is to be done, found out or told: they are converged one by one. So
    is everybody if reading all of them takes until then: what is left of their time would not do for sending, and one
    by one each of them has as much.
    """
    connections = [connection if each.id == connection.id else each for each in served(services)]
    ids = [each.look.user_id for each in asked]
    rosters = {each.id: services.roster.entries(each, ids) for each in connections}  # before the directory is read
    if connection.id not in rosters:
        return []
    judging = _Judging(services, connection, connections, rosters, until)
    likely = [each for each in asked if judging.likely(each)]
    found = [each for each in services.executor.each(judging.judge, likely, AT_ONCE) if each is not None]
    if not found or services.clock() >= until:
        return []
    go = those_that_may_go(services, connection, {each.member: each.entry for each in found})
    return [Intent.of(each.change, each.entry) for each in found if each.member in go]


class _Judging:
    """Judges users one by one, beside each other; once the directory failed, or is too slow, no more are read."""

    def __init__(
        self,
        services: Services,
        connection: Connection,
        connections: Sequence[Connection],
        rosters: Rosters,
        until: datetime,
    ) -> None:
        self._services = services
        self._connection = connection
        self._connections = connections
        self._rosters = rosters
        self._until = until
        self._failed = False

    def likely(self, asked: Asked) -> bool:
        """Say whether the roster lets expect that access is to be taken and nothing else: otherwise why read twice?"""
        entry = self._rosters[self._connection.id].get(asked.look.user_id)
        if entry is not None and entry.last_action_at is not None and entry.last_action_at >= asked.published:
            return False  # an earlier delivery did it
        return (
            entry is not None
            and entry.status in (Status.ACTIVE, Status.SUSPENDED)
            and bool(entry.timers or asked.look.evidence.missing)
            and entry.mark is None
            and entry.failure is None
            and not entry.drift
        )

    def judge(self, asked: Asked) -> _Leaver | None:
        """Read one user, and decide; None where it does not come out as plain as it looked."""
        if self._failed or self._services.clock() >= self._until:
            return None
        try:
            return self._judged(asked)
        except Exception:  # noqa: BLE001 - the user is converged alone, which tells what is wrong
            self._failed = True
            return None

    def _judged(self, asked: Asked) -> _Leaver | None:
        connection, user_id = self._connection, asked.look.user_id
        entry = self._rosters[connection.id][user_id]
        entries = {each.id: self._rosters[each.id].get(user_id) for each in self._connections}
        seen = Round(self._services, self._connections, asked, entries).seen().at(connection, entry)
        rules, now = rules_of(connection, {}, retry_failures=asked.look.retry_failures), self._services.clock()
        decision = decide(entry, seen, rules, now)
        if not (isinstance(decision, Do) and decision.action.deprovisions) or seen.handed:
            return None
        noted, change = decision.noted, Change.decided(decision, seen, self._services.new_id())
        after = recorded(noted, Outcome(change=change, scim_id=change.scim_id), now)
        if decide(after, seen, rules, now) != Nothing(noted=after):
            return None  # a rename is due as well, say
        member = member_of(decision.action, noted, decision.trigger, {})
        return _Leaver(entry=entry, change=change, member=member)
