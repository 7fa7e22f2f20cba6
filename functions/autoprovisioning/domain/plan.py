"""Plan a run: decide for everybody, then sort the decisions by what may be done with them."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from .accounts import Attributes, Value, remembers, unchanged
from .changes import PlannedChange
from .comparison import aligned, in_step
from .connections import Connection
from .decision import (
    BackOff,
    Decision,
    Do,
    Fail,
    Nothing,
    Observed,
    Rules,
    at_rest,
    decide,
    idles,
    missed_twice,
    rests,
)
from .directory_user import DirectoryUser, Presence
from .entry import ACCOUNT, EXTERNAL_ID, Action, Entry, Status, addressees
from .errors import MappingFailure, NotAdoptable
from .keeper_listing import Listing, as_found, new_drift, without_repair
from .memberships import Memberships, removable, stays_suspended
from .observation import mapped, observed, observed_with
from .people import Listed, listed_of
from .recognition import Recognized
from .runs import Evidence, Look
from .unprovisioned import OwnerSearch


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A failure of one user that was found while planning; nothing is sent.

    `about` names what was attempted, `version` is the entry's at that time; `noted` is the entry as the plan would have
    it, None if it stays as recorded.
    """

    user_id: str
    email: str
    action: Action
    error: MappingFailure | NotAdoptable
    about: str
    version: int
    noted: Entry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLook:
    """A user to be read again first, and what is expected to be due.

    `listed_only`: only listings show it, and earlier looks could not find out more.
    """

    look: Look
    due: Do | None = None
    listed_only: bool = False

    @property
    def action(self) -> Action | None:
        """What is expected to be done, None if that is still to be found out."""
        return self.due.action if self.due is not None else None


@dataclass(slots=True, kw_only=True)
class Plan:
    """One connection's plan; `now` is when what it rests on was read last.

    `writes` add or update and go out in batches; `looks` take access away or give it back, so each user is read again
    first; `notes` only change the roster; `refusals` are failures already.
    """

    now: datetime
    writes: list[PlannedChange] = field(default_factory=list)
    looks: dict[str, PlannedLook] = field(default_factory=dict)
    notes: dict[str, tuple[Entry | None, Entry | None]] = field(default_factory=dict)  # as read, as it should be
    refusals: list[Refusal] = field(default_factory=list)
    unchanged: int = 0
    backing_off: list[str] = field(default_factory=list)  # whose earlier failure waits for its next attempt
    archived: int = 0  # users who keep their access, since archived ones are not operated on
    locked: int = 0  # entitled users whose account somebody else locked
    drifted: dict[str, tuple[str, ...]] = field(default_factory=dict)  # what somebody else changed in Keeper since
    wrote: dict[str, Attributes] = field(default_factory=dict)  # ... and what we had written of it
    active: int = 0  # people with an active account of ours, for the limits
    outside: int = 0  # entitled people whom a pilot leaves out: the roster is to have room for them, too

    def deprovisioning(self) -> dict[str, PlannedLook]:
        """Return the suspensions and deletions planned, by directory id."""
        return {
            user_id: planned
            for user_id, planned in self.looks.items()
            if planned.action is not None and planned.action.deprovisions
        }

    def drop_deprovisioning(self) -> int:
        """Take the suspensions and deletions out of the plan; returns how many there were."""
        dropped = self.deprovisioning()
        for user_id in dropped:
            del self.looks[user_id]
        return len(dropped)


def _entitled(user: DirectoryUser, in_scope: bool | None) -> bool:
    return in_scope is True and user.presence is Presence.ACTIVE


class Planner:
    """Plans one connection: fed with every user listed, then told what the listing lacked."""

    def __init__(
        self,
        connection: Connection,
        roster: Mapping[str, Entry],
        rules: Rules,
        now: datetime,
        listing: Listing | None = None,
        recognized: Recognized | None = None,
    ) -> None:
        """Plan against `roster` as read; `listing` is Keeper's own, where drift is looked for."""
        self._connection = connection
        self.listing = listing
        self._roster = roster
        self._rules = replace(rules, holder=lambda address: self._holders.get(address, ""))
        self._now = now
        self._recognized = recognized or Recognized()
        self._met: set[str] = set()
        self.search: OwnerSearch | None = None  # for the owners of accounts that nobody provisions
        self.memberships: Memberships | None = None  # of teams, if they are to be kept in step
        self.listed: dict[str, Listed] | None = None  # who is on the roster, or entitled to be, if that is to be kept
        self.plan = Plan(now=now, active=sum(entry.status is Status.ACTIVE for entry in roster.values()))

    def read_at(self, now: datetime) -> None:
        """Take the time at which those who are judged from here on were read: nothing is dated before it was seen."""
        self._now = self.plan.now = now

    def see(
        self,
        user: DirectoryUser,
        in_scope: bool | None,
        left: Callable[[], tuple[str, ...]] = tuple,
        *,
        moving: bool = False,
        outdated: bool = False,
    ) -> None:
        """Judge one user that the directory listed; `left` returns the connections whose scopes they provably left.

        `moving`: they are to get access on another connection, which has to wait. If it has not, the look that takes
        access here gives it there first. `outdated`: the account was another connection's after it was suspended here.
        """
        if self.search is not None:
            self.search.see(user, in_scope)
        entry = self._roster.get(user.id)
        served = entry is not None or self._rules.operates_on(user.id)  # asked of those alone whom nobody knows
        if self.listed is not None and (
            entry is not None or (served and in_scope and user.presence is Presence.ACTIVE)
        ):
            sent = entry.sent_teams if entry is not None else ()
            inside = None
            if self.memberships is not None:
                leaves = self._leaves_teams(entry, entitled=_entitled(user, in_scope))
                inside = self.memberships.inside(user.id, sent, leaves=leaves)
            self.listed[user.id] = listed_of(user, inside)
        if entry is not None:
            self._met.add(user.id)
        elif in_scope is False or not served:
            self.plan.outside += _entitled(user, in_scope)
            return  # not ours, never was: most of a large customer
        teams, undecided = self._teams(entry, user, in_scope)
        rests = entry is not None and self._rests(entry, user, in_scope, teams, undecided)
        if entry is not None and rests and self._as_applied(entry, user):
            self.plan.unchanged += 1
            return
        desired, failure = mapped(self._connection, user)
        seen = observed_with(
            user, in_scope, desired, failure, moving=moving, outdated=outdated, teams=teams, undecided=undecided
        )
        self._judge(entry, seen, lambda: Evidence(left=left(), listed=True))

    def _rests(
        self,
        entry: Entry,
        user: DirectoryUser,
        in_scope: bool | None,
        teams: tuple[str, ...] | None,
        undecided: tuple[str, ...],
    ) -> bool:
        return self.listing is None and _entitled(user, in_scope) and at_rest(entry, teams, undecided)

    def _as_applied(self, entry: Entry, user: DirectoryUser) -> bool:
        """Say whether the user's attributes are those that were applied last."""
        mapping = self._connection.settings.mapping
        if self._recognized.knows(user, mapping, entry):
            return True
        desired, _ = mapped(self._connection, user)
        same = bool(desired) and unchanged(entry.fingerprint, desired)
        if same:
            self._recognized.note(user, mapping, entry)
        return same

    def _teams(
        self, entry: Entry | None, user: DirectoryUser, in_scope: bool | None
    ) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
        """Return the teams that the user's account is to be in, and those of them that stay in doubt.

        Whoever has no access yet joins none.
        """
        if self.memberships is None:
            return None, ()
        entitled = _entitled(user, in_scope)
        made = entry is None or (entitled and (entry.status is Status.NONE or ACCOUNT in entry.drift))
        sent, asked = (entry.sent_teams, entry.asked) if entry is not None and not made else ((), ())  # new: in none
        shut_out = entry is not None and entry.status in (Status.SUSPENDED, Status.LOCKED)
        joins = entitled and not shut_out
        leaves = self._leaves_teams(entry, entitled=entitled)
        undecided = self.memberships.undecided(user.id, asked, joins=joins, leaves=leaves) if asked else ()
        wanted = self.memberships.wanted(user.id, sent, joins=joins, leaves=leaves)
        if entry is not None and not removable(entry) and not {*sent} <= {*wanted}:
            # The brake has not counted them: from the next run on it does. What is in doubt stays so until then.
            undecided = tuple(sorted({*undecided, *({*asked} - {*wanted})}))
            wanted = tuple(sorted({*wanted, *sent}))
        return wanted, undecided

    def _leaves_teams(self, entry: Entry | None, *, entitled: bool) -> bool:
        """Say whether a user is to be in no team, whatever their groups are."""
        removes = self._connection.settings.teams.remove_suspended
        return removes and entry is not None and stays_suspended(entry, entitled=entitled)

    def see_alone(self, seen: Observed) -> None:
        """Judge one user of the roster who was read alone."""
        self._judge(self._roster[seen.user_id], seen, Evidence)

    def lacks(self, deleted: Container[str]) -> bool:
        """Say whether somebody with an account was not listed and is not among the deleted: deleted meanwhile, say.

        Whom the last listing lacked as well was not: had they been deleted since, they would be among the deleted now.
        """
        return any(
            user_id not in self._met and user_id not in deleted and self._rules.operates_on(user_id)
            for user_id, entry in self._roster.items()
            if entry.status is not Status.NONE and not entry.gone and entry.missing_since is None
        )

    def close(self, deleted: Mapping[str, DirectoryUser], complete: bool, members: Container[str] = ()) -> None:
        """Judge the roster's users whom the listing lacked: deleted ones and, if it was complete, missing ones.

        `members` are those of the scope groups: a member missing from a complete listing is outside the organization.
        """
        if self.search is not None:
            for gone in deleted.values():
                self.search.see(gone, None)
        for user_id, entry in self._roster.items():
            if user_id in self._met:
                continue
            user = deleted.get(user_id)
            if user is not None:
                self._judge(entry, observed(self._connection, user, None), Evidence)
            elif not self._rules.operates_on(user_id):
                continue
            elif complete:
                self._missing(entry, outsider=user_id in members)
            elif entry.mark is not None and (entry.failure is None or self._now >= entry.failure.next_attempt):
                self._look(entry.user_id, None, Evidence())

    def _missing(self, entry: Entry, *, outsider: bool) -> None:
        """Judge a user whom a complete listing lacks: the look asks by id, and "no such user" as well is the proof."""
        if entry.status is Status.NONE and entry.mark is None:
            if not outsider:  # outsiders are remembered, or each sweep would look at them again
                self._note(entry.user_id, entry, None)
            return
        supposed = Observed(
            user_id=entry.user_id, presence=Presence.DELETED, in_scope=None, email=entry.email, since=None
        )
        found = self._as_found(entry, supposed)
        if found.mark is not None and rests(found, found.mark, supposed, self._rules, self._now):
            self.plan.backing_off.append(entry.user_id)
            return
        decision = decide(found, supposed, self._rules, self._now)
        match decision:
            case BackOff():
                self._back_off(entry, replace(found, pending=False))  # and no more: no proof that the user is gone
            case Nothing(unsure=False) if found.gone and found.mark is None:
                self._idle(entry.user_id, entry, decision.noted)
            case _:
                self._note(entry.user_id, entry, found)
                due = decision if isinstance(decision, Do) and decision.action.deprovisions else None
                self._look(entry.user_id, due, Evidence(missing=True), listed_only=missed_twice(found, self._now))

    def _judge(self, entry: Entry | None, seen: Observed, evidence: Callable[[], Evidence]) -> None:
        if entry is not None and entry.mark is not None:
            if not self._rules.operates_on(entry.user_id):
                return  # what became of the change is found out once the pilot is over
            if rests(entry, entry.mark, seen, self._rules, self._now):
                self.plan.backing_off.append(entry.user_id)
            else:
                self._look(entry.user_id, None, Evidence())
            return
        found = self._as_found(entry, seen) if entry is not None else None
        decision = decide(found, seen, self._rules, self._now)
        if found is not None:
            self.plan.locked += found.status is Status.LOCKED and seen.entitled
            archived = seen.presence is Presence.ARCHIVED and idles(seen, self._rules)
            self.plan.archived += found.status is Status.ACTIVE and archived
        self._sort(entry, found, seen, decision, evidence)

    def _sort(
        self,
        entry: Entry | None,
        found: Entry | None,
        seen: Observed,
        decision: Decision,
        evidence: Callable[[], Evidence],
    ) -> None:
        match decision:
            case Do() if decision.action.rereads:
                # Timers run or end, and a failure is over, whether or not it is done.
                if found is not None:
                    found = replace(found, timers=decision.noted.timers, failure=decision.noted.failure)
                self._note(seen.user_id, entry, found)
                listed_only = seen.presence is Presence.ACTIVE and missed_twice(decision.noted, self._now)
                self._look(seen.user_id, decision, evidence(), listed_only=listed_only)
            case Do():
                self._write(entry, decision, seen)
            case Fail():
                noted = decision.noted
                refusal = Refusal(
                    user_id=noted.user_id,
                    email=noted.email,
                    action=decision.action,
                    error=decision.error,
                    about=decision.about(),
                    version=noted.version,
                    noted=noted,
                )
                self.plan.refusals.append(refusal)
            case BackOff():
                self._back_off(entry, decision.noted)
            case Nothing():
                self._idle(seen.user_id, entry, decision.noted)
                if decision.unsure:
                    self._look(seen.user_id, None, evidence())

    @cached_property
    def _holders(self) -> Mapping[str, str]:
        return addressees(self._roster)

    def _as_found(self, entry: Entry, seen: Observed) -> Entry:
        if entry.again:
            entry = replace(entry, again=False)  # whoever asked for another look has had it with this, held or not
        if self.listing is None or not self._rules.operates_on(entry.user_id):
            return entry
        found = as_found(entry, self.listing, seen.desired, self._now, entitled=seen.entitled)
        drift = new_drift(entry, found)
        if drift:
            self.plan.drifted[entry.user_id] = drift
            self.plan.wrote[entry.user_id] = {name: seen.desired[name] for name in drift if name in seen.desired}
        return found if self._connection.settings.repair_drift else without_repair(entry, found)

    def _idle(self, user_id: str, entry: Entry | None, noted: Entry | None) -> None:
        """Keep what was noticed about a user for whom nothing is to be done."""
        self._note(user_id, entry, noted)
        self.plan.unchanged += noted is not None and (noted.status is not Status.NONE or noted == entry)

    def _back_off(self, entry: Entry | None, noted: Entry) -> None:
        self.plan.backing_off.append(noted.user_id)
        self._note(noted.user_id, entry, noted)

    def _note(self, user_id: str, read: Entry | None, noted: Entry | None) -> None:
        if noted != read:
            self.plan.notes[user_id] = (read, noted)

    def _look(self, user_id: str, due: Do | None, evidence: Evidence, *, listed_only: bool = False) -> None:
        look = Look(user_id=user_id, event="", evidence=evidence, retry_failures=self._rules.retry_failures)
        self.plan.looks[user_id] = PlannedLook(look=look, due=due, listed_only=listed_only)

    def _write(self, entry: Entry | None, decision: Do, seen: Observed) -> None:
        noted = decision.noted
        if entry is not None:
            self._note(seen.user_id, entry, noted)
        self.plan.writes.append(
            PlannedChange(
                user_id=seen.user_id,
                email=seen.email,
                version=noted.version + (seen.user_id in self.plan.notes),  # it is recorded before the batch goes out
                action=decision.action,
                attributes=decision.attributes,
                scim_id=noted.scim_id,
                aliases=seen.aliases if decision.action is Action.CREATE else (),
                found=self._drift(entry, decision.attributes),
                created=seen.created,
                teams=decision.teams,
                undecided=decision.undecided,
            )
        )

    def _drift(self, entry: Entry | None, desired: Attributes) -> Attributes | None:
        """Return what Keeper's own listing shows where it differs, for the audit: somebody changed it there."""
        if self.listing is None or entry is None:
            return None
        account = self.listing.get(entry.scim_id)
        if account is None:
            return None
        shown = aligned(account, desired)
        found: dict[str, Value] = {
            target: shown[target]
            for target in desired
            if target in self.listing.told
            and not in_step(entry, target, shown, desired)
            and not remembers(entry.shown, target, shown[target])
        }
        return found | ({EXTERNAL_ID: account.external_id} if self.listing.disowned(account, entry) else {})
