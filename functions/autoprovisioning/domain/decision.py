"""The decision for one directory user on one connection.

    directory user      in scope   account                     decision
    active              yes        none known                  CREATE (look up; adopt, create or fail, see below)
    active              yes        active                      UPDATE if a mapped attribute differs; timers cancelled
    active              yes        suspended by us             UNSUSPEND, timers cancelled
    active              yes        locked by someone else      UNLOCK, as an administrator approves; not where the
                                                               account carries another externalId
    active              yes        vanished from Keeper        RECREATE (guarded; then as CREATE)
    active              unknown    suspended by us             UPDATE if a mapped attribute differs (not once deleted)
    active              unknown    active                      UPDATE if a mapped attribute differs
    active              no         active                      trigger app off: SUSPEND or DELETE when due, else UPDATE
    suspended           any        none known                  nothing
    suspended           any        active                      trigger suspended, and app off when out of scope
    deleted             -          any of ours                 trigger deleted
    others              any        locked by someone else      asked when access is to be taken whether it still is
    active              yes        suspended by us, and then   asked whether it is locked, and then somebody else did
                                   active on another connection
    suspended, deleted  -          suspended by us             DELETE when due, once; until then UPDATE if one differs
    archived            -          any                         nothing, timers stand still (or as suspended, if chosen)
    outside the pilot   any        any                         nothing, timers stand still
    could not be read   -          any                         nothing

Whom complete listings lack, but of whom nothing tells alone, counts as not told ("unknown", "could not be read"): since
when is remembered, and from the second listing on (`missed_twice`) an administrator may let the listings count.

Who left for another connection's scope keeps the active account until that one has let them in (`domain.ownership`).
Which account found on CREATE may be adopted is decided in `domain.adoption`. What is not in scope and has no account
is nothing to us: no entry is made for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from .account_teams import leaves_teams, moves_teams
from .accounts import Attributes, changed_attributes, fingerprint, unchanged, whole_fingerprint
from .adoption import Confirmed, settled_by
from .deprovisioning import NEVER, Clock, Deprovisioning, Due, Span, due, observe
from .directory_user import Presence
from .entry import ACCOUNT, EXTERNAL_ID, Action, Entry, Failure, Mark, Status, Timer, Trigger
from .errors import AddressTaken, AdoptionInDoubt, MappingFailure

READING = "read"  # what was attempted where the directory does not show one user: it stands in the way of every reread
SECOND_LISTING = timedelta(minutes=15)  # what one listing lacked by accident, another one this much later has
RETENTION = timedelta(days=30)  # undelete is possible for 20; the rest is for people asking what happened


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One directory user as seen now, for one connection.

    `in_scope` is None where that could not be told. `desired` is empty where there is nothing to map (deleted, unknown)
    or the mapping failed; then `mapping_failure` says why. `missing` is True where complete listings lack the user and
    nothing tells of this one alone, False where the directory tells, and None where it was not asked. `moving` is True
    where the user belongs to another connection, which has not let them in yet. `handed` is True where the account may
    be on that one's node by now. `outdated` is True where the user returned, but the account was another connection's,
    and active there, since this one suspended it. `teams` are the ids of those that the account is to be in, as far as
    we put it there; None leaves them as they are. Those `undecided` among them were asked for and stay in doubt.
    """

    user_id: str
    presence: Presence
    in_scope: bool | None
    email: str = ""
    aliases: tuple[str, ...] = ()
    since: datetime | None = None
    desired: Attributes = field(default_factory=dict)
    mapping_failure: MappingFailure | None = None
    created: datetime | None = None  # the directory's creationTime: an account that is older was somebody else's
    missing: bool | None = None
    moving: bool = False
    handed: bool = False
    outdated: bool = False
    teams: tuple[str, ...] | None = None
    undecided: tuple[str, ...] = ()

    @property
    def entitled(self) -> bool:
        """Say whether the user is known to be entitled to access here."""
        return self.presence is Presence.ACTIVE and self.in_scope is True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a connection's configuration contributes to a decision, and what administrators confirmed on it."""

    deprovisioning: Deprovisioning
    clock: Clock = field(default_factory=Clock)
    archived_as_suspended: bool = False
    retry_failures: bool = False  # an administrator asked: do not wait for the next attempt
    by_groups: bool = False  # the scope names groups: who is in them is remembered, for the scope sweep
    unproven: bool = False  # whether the node is the connection's: what would be created or adopted there is guarded
    confirmed: Confirmed = field(default_factory=dict)  # adoptions; a doubt that one of them settles waits no longer
    operates_on: Callable[[str], bool] = lambda _user_id: True  # in a pilot: on those chosen only
    left_out: Callable[[str], Sequence[Span]] = lambda _user_id: ()  # of pilots
    # Who has an address on this connection: "" is nobody, None not known.
    holder: Callable[[str], str | None] = lambda _address: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """Nothing is to be done. `noted` is the entry with what was noticed (timers, scope); None: none is to be kept.

    `unsure` says that the account must be asked first whether it is locked still.
    """

    noted: Entry | None
    unsure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Do:
    """Something is to be done; `attributes` is everything desired, empty where the action writes none."""

    action: Action
    noted: Entry
    attributes: Attributes = field(default_factory=dict)
    trigger: Trigger | None = None
    teams: tuple[str, ...] | None = None  # which the write leaves the account in; None: as it is
    undecided: tuple[str, ...] = ()  # those of them that stay in doubt

    def about(self, told: str = "") -> str:
        """Name it, as `about` does."""
        return about(self.action, self.attributes, told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """Something would be done, but fails without a call to Keeper."""

    noted: Entry
    error: MappingFailure

    @property
    def action(self) -> Action:
        """What cannot be sent."""
        return Action.CREATE if self.noted.status is Status.NONE else Action.UPDATE

    def about(self, _told: str = "") -> str:
        """Name it, as `about` does."""
        return about(self.action, {}, str(self.error))


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOff:
    """Something would be done, but the failure of the attempt before waits: for that, and for nothing besides."""

    noted: Entry
    failure: Failure


Decision = Nothing | Do | Fail | BackOff


def decide(entry: Entry | None, seen: Observed, rules: Rules, now: datetime) -> Decision:
    """Decide by the table above; pure, so the same inputs always give the same decision.

    Whoever asked for another look has had it with this.
    """
    known = entry or Entry(user_id=seen.user_id, email=seen.email)
    missing_since = _missing_since(known, seen, now)
    if entry is not None and seen.presence is Presence.UNKNOWN:
        return Nothing(noted=replace(entry, again=False, missing_since=missing_since))
    noted = replace(
        known,
        again=False,
        in_scope=known.in_scope if seen.in_scope is None else seen.in_scope,
        timers=_timers(known, seen, rules, now),
        gone=seen.presence is Presence.DELETED,
        missing_since=missing_since,
    )
    unplaced, idle = seen.presence is Presence.ACTIVE and seen.in_scope is None, idles(seen, rules)
    if idle or (noted.status is Status.NONE and not (unplaced or seen.entitled)):
        # A scope group's member without an account is kept in mind, so that the sweep does not find them anew.
        kept = (seen.in_scope and rules.by_groups) or (idle and entry is not None)
        return Nothing(noted=replace(noted, pending=False, failure=None) if kept else None)
    if unplaced:
        return _unplaced(entry, noted, seen, rules, now)
    return _provision(noted, seen, rules, now) if seen.entitled else _deprovision(noted, seen, rules, now)


def settled(
    entry: Entry, desired: Attributes, teams: tuple[str, ...] | None = None, undecided: tuple[str, ...] = ()
) -> bool:
    """Say whether `decide` leaves the entry of an entitled user as it is, who is to have these attributes and teams.

    The fast way for nearly everybody in nearly every run.
    """
    return at_rest(entry, teams, undecided) and bool(desired) and unchanged(entry.fingerprint, desired)


def at_rest(entry: Entry, teams: tuple[str, ...] | None = None, undecided: tuple[str, ...] = ()) -> bool:
    """Say whether an entitled user's entry stays as it is, as long as their attributes do."""
    in_step = entry.status is Status.ACTIVE and entry.in_scope and entry.quiet and not entry.taken_over
    return in_step and (teams is None or not moves_teams(entry, teams, undecided))  # most have none: no call


def missed_twice(entry: Entry | None, now: datetime) -> bool:
    """Say whether complete listings have lacked the user for so long that an administrator may approve by them alone.

    `now` is that of another complete listing which lacks the user.
    """
    return entry is not None and entry.missing_since is not None and now - entry.missing_since >= SECOND_LISTING


def _missing_since(known: Entry, seen: Observed, now: datetime) -> datetime | None:
    """Tell since when listings alone say that the user is gone or left; None once anything else tells."""
    in_scope = seen.in_scope and seen.presence is not Presence.UNKNOWN  # a scope without groups holds everybody
    if in_scope or seen.missing is False or seen.presence is Presence.DELETED:
        return None
    return known.missing_since or (now if seen.missing else None)


def idles(seen: Observed, rules: Rules) -> bool:
    """Say whether the user is not operated on: archived, or outside the pilot."""
    archived = seen.presence is Presence.ARCHIVED and not rules.archived_as_suspended
    return archived or not rules.operates_on(seen.user_id)


def _timers(known: Entry, seen: Observed, rules: Rules, now: datetime) -> Mapping[Trigger, Timer]:
    """Carry the timers on; those of whom nothing is done stand still, and who is archived is suspended."""
    if known.status is Status.NONE:
        return {}
    triggers: dict[Trigger, datetime | None] = {}
    standing: Collection[Trigger] = tuple(Trigger) if idles(seen, rules) else ()
    if seen.in_scope is False or (Trigger.APP_OFF in known.timers and seen.in_scope is not True):
        triggers[Trigger.APP_OFF] = None
    if seen.presence in (Presence.SUSPENDED, Presence.ARCHIVED):
        # Where archived counts as suspended, one may follow upon the other, with a time of its own: it goes on.
        goes_on = rules.archived_as_suspended and Trigger.SUSPENDED in known.timers
        triggers[Trigger.SUSPENDED] = None if goes_on else seen.since
    if seen.presence is Presence.DELETED:
        # Nobody returned: triggers that ran before the deletion go on, the earliest due wins.
        triggers.update(dict.fromkeys(known.timers))
        # What never ran, since it was not operated on, does not begin now; that the user is deleted does.
        never = (trigger for trigger, timer in known.timers.items() if not timer.ran)
        standing = standing or {*never} - {Trigger.DELETED}
        triggers[Trigger.DELETED] = seen.since
    left_out = rules.left_out(seen.user_id) if triggers else ()
    return observe(known.timers, triggers, rules.clock, now, standing=standing, left_out=left_out)


_FOR_ENTITLED = {
    Status.NONE: Action.CREATE,
    Status.ACTIVE: Action.UPDATE,
    Status.SUSPENDED: Action.UNSUSPEND,
    Status.LOCKED: Action.UNLOCK,
}


def _provision(noted: Entry, seen: Observed, rules: Rules, now: datetime) -> Decision:
    """Entitled: active, and in scope."""
    if noted.status is Status.SUSPENDED and seen.outdated:
        return Nothing(noted=noted, unsure=True)
    action = _FOR_ENTITLED[noted.status]
    if ACCOUNT in noted.drift or (noted.status is Status.NONE and rules.unproven):
        action = Action.RECREATE
    if action is Action.UNLOCK and EXTERNAL_ID in noted.drift:
        return Nothing(noted=_clean(noted))
    if seen.mapping_failure is not None and action.writes:
        return _unless_failed(Fail(noted=noted, error=seen.mapping_failure), seen, rules, now)
    if action is Action.UNSUSPEND and seen.desired and leaves_teams(noted, seen.teams) and not noted.taken_over:
        first = _attempt(Action.UPDATE, noted, seen, rules, now)  # before the user can use what the teams share
        if not isinstance(first, BackOff):
            return first  # who is entitled is not kept out by what Keeper refuses
    if action is Action.UPDATE:
        return _update(noted, _clean(noted), seen, rules, now)
    return _attempt(action, noted, seen, rules, now)


def _unplaced(entry: Entry | None, noted: Entry, seen: Observed, rules: Rules, now: datetime) -> Decision:
    """Active, but whether in scope could not be told: what was written is kept up to date, and nothing else is done."""
    if noted.status is Status.NONE:
        return Nothing(noted=noted if entry is not None else None)
    if not _written(noted):
        return Nothing(noted=_clean(noted))
    if seen.mapping_failure is not None:
        return _unless_failed(Fail(noted=noted, error=seen.mapping_failure), seen, rules, now)
    return _update(noted, noted, seen, rules, now)


def _deprovision(noted: Entry, seen: Observed, rules: Rules, now: datetime) -> Decision:
    """With an account, and out of scope, suspended, archived as suspended, or deleted."""
    when = due(rules.deprovisioning, noted.timers, rules.clock, now)
    first = min(when.suspend, when.delete)
    if noted.status is Status.LOCKED and (noted.locked_at or first) <= first <= now:
        return Nothing(noted=noted, unsure=True)  # the lock was not seen since, and may have been lifted
    if not (seen.moving and noted.status is Status.ACTIVE):  # who moves stays until the other connection let them in
        if when.delete <= now and _keeps_current(noted):
            return _attempt(Action.DELETE, noted, seen, rules, now, trigger=when.delete_by)
        if when.suspend <= now and noted.status is Status.ACTIVE:
            return _attempt(Action.SUSPEND, noted, seen, rules, now, trigger=when.suspend_by)
    if noted.gone and _forgettable(noted, when, now):
        return Nothing(noted=None)
    if _written(noted) or (noted.deleted and not noted.taken_over and leaves_teams(noted, seen.teams)):
        return _update(noted, _clean(noted), seen, rules, now)
    return Nothing(noted=_clean(noted))


def _update(noted: Entry, in_step: Entry, seen: Observed, rules: Rules, now: datetime) -> Decision:
    """Write what differs, else keep the entry `in_step`, with the fingerprint of the mapping in force.

    A mapping that only lost a row writes nothing.
    """
    claims = EXTERNAL_ID in noted.drift or noted.taken_over
    beside = claims or moves_teams(noted, seen.teams, seen.undecided)
    if not seen.desired or (unchanged(noted.fingerprint, seen.desired) and not beside):
        return Nothing(noted=in_step)  # nearly everybody: one digest tells
    if beside or changed_attributes(noted.fingerprint, seen.desired):
        return _attempt(Action.UPDATE, noted, seen, rules, now)
    return Nothing(noted=replace(in_step, fingerprint=fingerprint(seen.desired)))


def _keeps_current(entry: Entry) -> bool:
    return entry.status is Status.ACTIVE or (entry.status is Status.SUSPENDED and not entry.deleted)


def _written(entry: Entry) -> bool:
    """Say whether the attributes are kept up to date, whatever becomes of the access."""
    return _keeps_current(entry) and not entry.taken_over


def _forgettable(noted: Entry, when: Due, now: datetime) -> bool:
    still_to_suspend = when.suspend < NEVER and noted.status is Status.ACTIVE
    if still_to_suspend or (when.delete < NEVER and _keeps_current(noted)):
        return False
    last = max(filter(None, (noted.last_action_at, *(timer.since for timer in noted.timers.values()))))
    return now - last >= RETENTION


def _clean(noted: Entry) -> Entry:
    """Drop the flags of an action that is no longer wanted."""
    drift = tuple(name for name in noted.drift if name in (ACCOUNT, EXTERNAL_ID))  # as long as they are so
    return replace(noted, pending=False, failure=None, drift=drift)


def about(action: Action, attributes: Attributes, text: str = "") -> str:
    """Name what is attempted, so that a failure is retried at once when that changes."""
    action = Action.CREATE if action is Action.RECREATE else action  # as which it is carried out
    return f"{action.value}:{whole_fingerprint(attributes)}{':' + text[:60] if text else ''}"


def stuck(entry: Entry, mark: Mark, seen: Observed, rules: Rules, now: datetime) -> str:
    """Name what a mark that ran out stands in the way of, as `about` does: what would be done if it were not there."""
    decision = decide(replace(entry, mark=None, failure=None), seen, rules, now)
    if isinstance(decision, Do):
        return decision.about()
    return about(mark.action, seen.desired if mark.action.writes else {})


def rests(entry: Entry, mark: Mark, seen: Observed, rules: Rules, now: datetime) -> bool:
    """Say whether a mark that ran out is to be left alone: its account could not be fetched, and nothing changed."""
    failure = entry.failure
    return failure is not None and _waits(failure, rules, now) and failure.about == stuck(entry, mark, seen, rules, now)


def _waits(failure: Failure, rules: Rules, now: datetime) -> bool:
    return now < failure.next_attempt and not rules.retry_failures


def _attempt(
    action: Action, noted: Entry, seen: Observed, rules: Rules, now: datetime, trigger: Trigger | None = None
) -> Decision:
    attempt = Do(action=action, noted=noted, trigger=trigger)
    if action.writes:
        attempt = replace(attempt, attributes=seen.desired, teams=seen.teams, undecided=seen.undecided)
    return _unless_failed(attempt, seen, rules, now)


def _unless_failed(attempt: Do | Fail, seen: Observed, rules: Rules, now: datetime) -> Decision:
    """Make the attempt, unless it is the one whose failure waits.

    A failure of another kind of change is over with its wait: nobody tries that while this is due, or is held.
    """
    failure = attempt.noted.failure
    if failure is None:
        return attempt
    if not _waits(failure, rules, now):
        about_this = failure.about.startswith((READING, attempt.about().partition(":")[0]))
        return attempt if about_this else replace(attempt, noted=replace(attempt.noted, failure=None))
    stands = _stands(failure, attempt, seen, rules)
    return BackOff(noted=replace(attempt.noted, pending=False), failure=failure) if stands else attempt


def _stands(failure: Failure, attempt: Do | Fail, seen: Observed, rules: Rules) -> bool:
    """Say whether a failure is about this attempt; one who has an address may have given it up since."""
    if failure.about == READING:
        return attempt.action.rereads
    told: str | None = ""
    if failure.code == AddressTaken.code:
        told = rules.holder(str(seen.desired.get("userName")).casefold())
    elif failure.code == AdoptionInDoubt.code:
        told = settled_by(rules.confirmed.get(seen.user_id, frozenset()))
    attempted = attempt.about(told or "")
    return failure.about.startswith(attempted) if told is None else failure.about == attempted
