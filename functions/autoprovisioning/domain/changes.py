"""A change on its way to Keeper, what became of it, and what that makes of the roster entry and the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime

from .account_teams import TeamChanges, in_teams, team_changes
from .accounts import (
    Attributes,
    Value,
    Write,
    WriteKind,
    changed_attributes,
    fingerprint,
    one_by_one,
    remembered,
    remembers,
    unchanged,
)
from .adoption import Beside, Seeker
from .decision import Do, Observed, about
from .entry import ACCOUNT, AT_ONCE, EXTERNAL_ID, Action, Entry, Failure, Mark, Status, failed
from .errors import (
    Contradicted,
    DirectoryFailed,
    Incomplete,
    KeeperFailed,
    ProvisioningError,
    Unresolved,
    Vanished,
)
from .normalization import same
from .scim_user import whole_families


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChange:
    """What is to be done at one account.

    `attributes` is everything desired (empty where the action does not write any). `scim_id` is set when the account to
    write to is known: the entry's, or one to adopt. `looked_up` says that Keeper was searched: where `scim_id` is empty
    then, it has none.
    """

    action: Action
    email: str
    attributes: Attributes = field(default_factory=dict)
    scim_id: str = ""
    aliases: tuple[str, ...] = ()
    looked_up: bool = False
    ours: bool = False  # the one to adopt has our externalId already: only what differs of it is written
    created: datetime | None = None  # when the directory user was
    confirmed: bool = False  # an administrator confirmed the adoption
    beside: tuple[Beside, ...] = ()  # accounts under aliases of the user
    teams: tuple[str, ...] | None = None  # which the write leaves the account in; None: as it is
    undecided: tuple[str, ...] = ()  # those of them that were asked for and stay in doubt: nothing is sent about them


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChange(AccountChange):
    """One write of a batch: create (adopting `scim_id` when given) or update, for the entry's version then."""

    user_id: str
    version: int
    attributes: Attributes
    found: Attributes | None = None  # what Keeper's own listing shows of the attributes that differ
    locked: bool = False  # the account to adopt was locked by someone else
    suspended: bool = False  # the account to adopt was locked by ourselves, on another connection

    @property
    def leaves(self) -> Status | None:
        """The status that the account to adopt has afterwards, where it has no access then."""
        return Status.LOCKED if self.locked else Status.SUSPENDED if self.suspended else None

    def known(self, entry: Entry | None) -> Entry:
        """Return the entry of the user, who may have had none when this was planned."""
        return entry or Entry(user_id=self.user_id, email=self.email, in_scope=True)

    def stands(self, entry: Entry) -> bool:
        """Say whether the entry is the one that this was planned on."""
        return entry.version == self.version and entry.mark is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(AccountChange):
    """One marked change: `entry` is the entry that holds its mark, `id` the mark's change id.

    `before` is what the account had of the mapping, as far as that is known; of one that is `ours`, what differs.
    `written` is what we wrote last.

    `leaves` is the status that the account found has afterwards, where that is not what the action makes of it: locked
    by someone else, and stays so; locked by ourselves, so that letting the user in is still to be done; active instead
    of suspended, so that suspending it is still to be done.
    """

    id: str
    entry: Entry
    adopts: bool = False
    leaves: Status | None = None
    recreates: bool = False  # the known account vanished from Keeper
    before: Attributes = field(default_factory=dict)
    written: Attributes = field(default_factory=dict)
    handed: bool = False  # the account may be on another connection's node by now: this node is asked first

    @classmethod
    def of(cls, planned: PlannedChange, change_id: str, entry: Entry) -> Change:
        """Return a planned change as it is to be marked on this entry."""
        shared = {name.name: getattr(planned, name.name) for name in fields(AccountChange)}
        adopts = planned.action is Action.CREATE and planned.scim_id != ""
        change = cls(id=change_id, entry=entry, before=planned.found or {}, adopts=adopts, **shared)
        return change.finds(planned.leaves)

    @classmethod
    def decided(cls, attempt: Do, seen: Observed, change_id: str) -> Change:
        """Return what was decided for one user, who was read alone, as it is to be marked on the entry noted then."""
        recreates, noted = attempt.action is Action.RECREATE, attempt.noted
        return cls(
            id=change_id,
            entry=noted,
            action=Action.CREATE if recreates else attempt.action,
            email=seen.email or noted.email,
            attributes=attempt.attributes,
            aliases=seen.aliases,
            scim_id="" if recreates else noted.scim_id,
            recreates=ACCOUNT in noted.drift,
            created=seen.created,
            handed=seen.handed,
            teams=attempt.teams,
            undecided=attempt.undecided,
        )

    def finds(self, leaves: Status | None) -> Change:
        """Return it for an account found that stays as `leaves` says; nobody joins a team who has no access."""
        locked = leaves in (Status.LOCKED, Status.SUSPENDED)
        return replace(self, leaves=leaves, teams=None if locked else self.teams)

    @property
    def user_id(self) -> str:
        """The directory id."""
        return self.entry.user_id

    @property
    def team_changes(self) -> TeamChanges:
        """The teams that the account is put into, and taken out of."""
        return team_changes(self.entry, self.scim_id, self.teams, self.undecided)

    @property
    def teams_by_us(self) -> tuple[str, ...] | None:
        """The teams that the account is in by our doing once this is done; None: nothing is sent about them."""
        return self.teams and tuple(team_id for team_id in self.teams if team_id not in self.undecided)

    def seeker(self) -> Seeker:
        """Return the user as the choice among accounts found sees them.

        Not by the address last applied: once the directory took it away it may be anybody's.
        """
        return Seeker.of(self.user_id, self.attributes, self.email, self.aliases, self.created)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a change: `error` None is success, then an empty `scim_id` says that there is no account left.

    `shown` is what Keeper showed of the account after it, None where it showed nothing. `made` is the id of an account
    of ours that is there although the change failed: made by the creation, or found with our externalId. `gone`: Keeper
    shows no account of a leaver, which is as good as locked; the id is kept, in case that was not so. `recovered`: the
    answer was lost, and the account was asked. `teams` are those that the account is in from then on, None where
    nothing was sent about them.
    """

    change: Change
    scim_id: str = ""
    error: ProvisioningError | None = None
    seconds: float = 0.0
    recovered: bool = False
    sent: Mapping[str, Value] = field(default_factory=dict)
    shown: Attributes | None = None
    made: str = ""
    gone: bool = False
    teams: tuple[str, ...] | None = None

    @property
    def there(self) -> bool:
        """Say whether Keeper has the account."""
        return bool(self.scim_id) and not self.gone


def write_for(change: Change) -> Write:
    """Render the SCIM write of a change: one POST, PATCH or DELETE."""
    match change.action:
        case Action.SUSPEND | Action.UNSUSPEND | Action.UNLOCK:
            external_id = change.user_id if change.adopts or EXTERNAL_ID in change.entry.drift else None
            active = None if change.leaves is Status.LOCKED else change.action is not Action.SUSPEND
            return Write(
                key=change.id,
                kind=WriteKind.PATCH,
                scim_id=change.scim_id,
                external_id=external_id,
                attributes={},
                active=active,
            )
        case Action.DELETE:
            return Write(key=change.id, kind=WriteKind.DELETE, scim_id=change.scim_id)
        case _ if not change.scim_id:
            return Write(
                key=change.id,
                kind=WriteKind.CREATE,
                scim_id="",
                external_id=change.user_id,
                attributes=change.attributes,
                active=True,
                joins=change.team_changes.joins,
            )
        case _:
            adopts = change.adopts and not change.ours
            labels = adopts or change.entry.taken_over or EXTERNAL_ID in change.entry.drift
            external_id = change.user_id if labels else None
            active = True if made(change.entry) and not change.adopts else None
            teams = change.team_changes
            return Write(
                key=change.id,
                kind=WriteKind.PATCH,
                scim_id=change.scim_id,
                external_id=external_id,
                attributes=sent_attributes(change),
                active=active,
                joins=teams.joins,
                leaves=teams.leaves,
            )


def made(entry: Entry) -> bool:
    """Say whether our creation made the account, but not as written: all of it is still to be written, access too."""
    return entry.status is Status.ACTIVE and not (entry.fingerprint or entry.applied_by)


def writes_nothing(change: Change) -> bool:
    """Say whether there is nothing to send.

    The account is ours and has everything already: a creation whose answer was lost, say. Or an update is about
    something that this version does not know, as a newer one planned it: its own next run asks for it again.
    """
    if change.ours:
        return bool(change.attributes) and not sent_attributes(change)
    return change.action is Action.UPDATE and write_for(change).empty


def sent_attributes(change: Change) -> dict[str, Value]:
    """Return the attributes that this change writes: all on creation and adoption, else those that differ."""
    desired = change.attributes
    if change.ours:
        changed = {target: value for target, value in desired.items() if target in change.before}
    elif not change.scim_id or change.adopts:
        return {target: value for target, value in desired.items() if value is not None}
    elif unchanged(change.entry.fingerprint, desired):
        return {}  # an update of teams alone: one digest tells
    else:
        changed = changed_attributes(change.entry.fingerprint, desired)
    return whole_families(changed, desired)


def sends_teams_alone(change: Change) -> bool:
    """Say whether memberships are all that an update sends, at most: neither attributes nor the account itself."""
    return bool(change.scim_id) and not change.adopts and not sent_attributes(change)


def marked(change: Change, message_id: str, until: datetime) -> Change:
    """Return a change whose entry is marked; of an update the mark tells what is sent, should its answer be lost."""
    sent = one_by_one(sent_attributes(change)) if change.action is Action.UPDATE else ""
    mark = Mark(change_id=change.id, message_id=message_id, action=change.action, until=until, sent=sent)
    return replace(change, entry=change.team_changes.asked(replace(change.entry, mark=mark)))


def not_moved(change: Change, sent: Attributes, shown: Attributes) -> Contradicted | None:
    """Return the failure of a change after which an attribute is shown as we wrote it last; None where none is.

    "Ann Lee" was to become "Ann Lee-Smith", and is shown still: that looks as if the new value had been cut.
    """
    stayed = [
        target.rpartition(":")[2]
        for target, value in sent.items()
        if target in shown and shown[target] == change.written.get(target) and not same(target, shown[target], value)
    ]
    if not stayed:
        return None
    return Contradicted(
        f"Keeper answered an update with success, but shows what was there before in: {', '.join(stayed)[:60]}. "
        "Look at this account in Keeper's Admin Console."
    )


# They say nothing of the user, but come again and again for this one. Unresolved is counted once the account is asked.
PASSING = (KeeperFailed, DirectoryFailed, Incomplete)
PASSING_CODES = frozenset(error.code for error in (*PASSING, Unresolved))


def counted(error: ProvisioningError, previous: Failure | None, what: str, now: datetime) -> Failure | None:
    """Count an error as a failure of one user; None where it is about the connection or the moment, not the user.

    `what` names what was attempted, as `decision.about` does.
    """
    passing = isinstance(error, (*PASSING, Unresolved))
    if error.defers and not passing:
        return None
    if previous is not None and passing is not (previous.code in PASSING_CODES):
        previous = None  # another kind of failure: attempts that cost no wait must not lengthen one
    return failed(previous, error.code, str(error), what, now, at_once=AT_ONCE if passing else 0)


def failure_of(outcome: Outcome, previous: Failure | None, now: datetime) -> Failure | None:
    """Return the failure that an outcome leaves at its user; None for success, and for what is not settled yet."""
    change, error = outcome.change, outcome.error
    if error is None or (isinstance(error, Unresolved) and not outcome.recovered):
        return None
    return counted(error, previous, about(change.action, change.attributes, error.about), now)


def ended(outcome: Outcome, now: datetime) -> bool:
    """Say whether a change is done or has failed; else it waits (for a retry, an approval, a new token)."""
    failure = failure_of(outcome, outcome.change.entry.failure, now)
    return outcome.error is None or (failure is not None and not failure.trying)


def recorded(entry: Entry, outcome: Outcome, now: datetime) -> Entry:
    """Return the entry with the outcome: state on success, a counted failure, or "pending" when it must be retried.

    One that stays unknown keeps its mark, run out, so that it is recovered.
    """
    if isinstance(outcome.error, Unresolved) and entry.mark is not None:
        return replace(entry, mark=replace(entry.mark, until=now))
    if outcome.error is None:
        return _succeeded(entry, outcome, now)
    if not (entry.scim_id or outcome.made):
        entry = replace(entry, asked=())  # nobody without an account is in a team
    change, moved = outcome.change, replace(entry, mark=None, version=entry.version + 1)
    if isinstance(outcome.error, Vanished):
        # It is created again within the limit only: the next look decides that, or a run, and holds it where need be.
        return replace(moved, pending=False, drift=(ACCOUNT,))
    failure = failure_of(outcome, entry.failure, now)
    if failure is None or (failure.trying and not outcome.made):  # nothing was decided anew: the plan may be sent again
        return replace(entry, mark=None, pending=True, failure=failure or entry.failure)
    failing = replace(moved, failure=failure, pending=failure.trying, email=entry.email or change.email)
    if not outcome.made:
        return failing
    status = change.leaves or Status.ACTIVE  # whoever leaves before it is mended must not keep it
    locked_at = now if status is not Status.ACTIVE else None
    deleted = failing.deleted and status is Status.SUSPENDED
    made = _with_account(replace(failing, deleted=deleted), outcome.made)
    return replace(made, status=status, locked_at=locked_at, asked=failing.asked)  # which the creation may have done


def _with_account(entry: Entry, scim_id: str) -> Entry:
    """Return the entry with an account; of the one before nothing holds, all of another one is still to be written."""
    if scim_id == entry.scim_id:
        return entry
    return replace(
        entry,
        scim_id=scim_id,
        fingerprint="",
        applied_by="",
        shown=None,
        deleted=False,
        drift=(),
        teams=(),
        asked=(),
        unseen=(),
    )


_STATUS_AFTER = {
    Action.CREATE: Status.ACTIVE,
    Action.SUSPEND: Status.SUSPENDED,
    Action.UNSUSPEND: Status.ACTIVE,
    Action.DELETE: Status.SUSPENDED,
    Action.UNLOCK: Status.ACTIVE,
}


def _succeeded(entry: Entry, outcome: Outcome, now: datetime) -> Entry:
    change, version = outcome.change, entry.version + 1
    # An update without teams settles nothing of a membership that was refused, perhaps just now.
    kept = entry.failure if change.action is Action.UPDATE and change.teams is None and entry.asked else None
    entry = replace(entry, mark=None, version=version, failure=kept, pending=False, last_action_at=now, drift=())
    entry = _with_account(entry, outcome.scim_id)
    renamed = entry.status is Status.SUSPENDED and not change.action.deprovisions
    locked_at = entry.locked_at if renamed else now  # an update of a suspended account locks nothing
    if outcome.gone:
        # Nothing that is gone is in a team.
        return replace(entry, status=Status.SUSPENDED, deleted=True, locked_at=locked_at, teams=(), asked=(), unseen=())
    if not outcome.scim_id:
        lost_at = now if remembers_lock(entry) else None
        return replace(entry, status=Status.NONE, locked_at=lost_at, taken_over=False)
    status = change.leaves or _STATUS_AFTER.get(change.action, entry.status)
    entry = replace(
        entry,
        status=status,
        deleted=change.action is Action.DELETE or (entry.deleted and status is Status.SUSPENDED),
        shown=_memory(entry, outcome),
        locked_at={Status.LOCKED: now, Status.SUSPENDED: locked_at}.get(status),
    )
    if outcome.teams is not None:
        entry = in_teams(entry, outcome.teams, change.undecided, now)
    if not change.action.writes:
        return entry
    email = str(change.attributes.get("userName") or change.email)
    applied = fingerprint(change.attributes)
    return replace(entry, fingerprint=applied, email=email, applied_by=change.id, taken_over=False)


def remembers_lock(entry: Entry) -> bool:
    """Say whether what the roster has of a user records a lock of ours, since when the account was not seen active."""
    return entry.status is Status.SUSPENDED or (entry.status is Status.NONE and entry.locked_at is not None)


def _memory(entry: Entry, outcome: Outcome) -> str | None:
    """Return what Keeper made of what was written last: renewed for what this change sent, else as it was."""
    desired, sent, shown, known = outcome.change.attributes, outcome.sent, outcome.shown, entry.shown
    if not sent:
        return known
    if not outcome.change.scim_id:
        sent = desired  # a new account: what it shows beside what was sent is Keeper's making too
    whole = all(target in sent for target, value in desired.items() if value is not None)
    if shown is None or (known is None and not whole):
        return None
    mine = {
        target: value
        for target, value in desired.items()
        if target in sent or remembers(known, target, shown.get(target))
    }
    return remembered(shown, mine)


def unmarked(entry: Entry) -> Entry | None:
    """Return the entry without its mark, of which nothing was sent; None where only the mark had made it."""
    if not (entry.version or entry.again):
        return None
    return replace(entry, mark=None, version=entry.version + 1, asked=entry.asked if entry.scim_id else ())
