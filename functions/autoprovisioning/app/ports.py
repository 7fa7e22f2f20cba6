"""What the use cases need from outside, as Protocols of a few verbs each.

Every adapter translates its SDK's errors into `domain.errors`; every outside call has a timeout and bounded retries
inside the adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from autoprovisioning.domain.accounts import Account, Attributes, Capabilities, Found, Lookup, Write, Written
from autoprovisioning.domain.adoption import Confirmed
from autoprovisioning.domain.connections import Connection, Deleted
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.guard import GuardState
from autoprovisioning.domain.holds import Hold
from autoprovisioning.domain.roster import Entry
from autoprovisioning.domain.runs import AskedRun, Batch, Counts, Look, Run, RunKind
from autoprovisioning.domain.unprovisioned import Report
from autoprovisioning.domain.users import DirectoryUser, Group, OrgUnit

T = TypeVar("T")
R = TypeVar("R")
Clock = Callable[[], datetime]
NewId = Callable[[], str]
Pair = tuple[str, str]  # directory id, SCIM id
Telling = Callable[[T, T], Event]  # what the audit says of a change, from before and after


class Directory(Protocol):
    """The Workspace directory, read only.

    Raises Transient (after bounded retries of 403 usageLimits, 429, 5xx and timeouts), ConfigurationRefused, and
    BadInput where it refuses what is searched for.
    """

    def user(self, user_id: str) -> DirectoryUser | None:
        """Read one user by id; None is "no such user", or none any more, which alone proves nothing.

        A user whom the directory does not show, or not in a way that can be told, has presence UNKNOWN.
        """

    def users(self, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        """List every user of the customer, a page at a time; `fields` are the profile fields the mappings read.

        Raises Incomplete when a page cannot be read. A user of whom an item does not tell has presence UNKNOWN.
        """

    def deleted_users(self) -> Iterator[Sequence[DirectoryUser]]:
        """List the users deleted in the last 20 days (showDeleted), a page at a time; raises Incomplete."""

    def members(self, group_id: str) -> Iterator[Sequence[str]]:
        """List the ids of a group's derived user members, a page at a time; raises Incomplete."""

    def search_users(self, text: str) -> Sequence[DirectoryUser]:
        """Find at most 20 users whose name or address begins with the text, or whose id it is."""

    def search_groups(self, letters: str) -> Sequence[Group]:
        """Find at most 20 groups whose name or address begins with the letters."""

    def org_units(self) -> Sequence[OrgUnit]:
        """Return all organizational units by path, the root not included; raises Incomplete."""

    def is_member(self, group_id: str, user_id: str) -> bool | None:
        """Ask about one user and one group, nested membership included; None cannot be told; may raise Incomplete.

        False alone never counts as leaving. A derived listing that lacks the user is no answer about this one alone.
        """

    def group(self, key: str) -> Group | None:
        """Find a group by id or e-mail address; None is a 404."""

    def probe(self) -> bool:
        """Say whether these credentials read some user of this customer."""

    def watch(self, channel: Channel, event: str) -> Channel:
        """Open a notification channel (`event` empty: every event); returns it as Google granted it."""

    def stop(self, channel: Channel) -> None:
        """Stop a channel; one that is gone already counts as stopped."""


class Accounts(Protocol):
    """The accounts of one Keeper node, over SCIM 2.0, with one access token.

    Single calls raise AuthorizationRefused, Throttled, Transient or Permanent errors; the many-at-once calls put the
    error into each result instead.
    """

    def probe(self) -> None:
        """Ask for one user (`/Users?count=1`): raises AuthorizationRefused where the token is not accepted."""

    def capabilities(self) -> Capabilities:
        """Tell what the server offers; one that does not say offers nothing."""

    def get(self, scim_id: str) -> Account | None:
        """Read one account; None is a 404, and raises Permanent where another one is shown."""

    def find(self, lookups: Sequence[Lookup]) -> Iterator[Found]:
        """Look each user up by externalId, then userNames; results come as they complete, concurrently."""

    def list(self) -> Iterator[Sequence[Account]]:
        """List every account of the node, a page at a time, each once; raises Incomplete.

        An account that cannot be addressed is among them, with its flaw.
        """

    def write(self, writes: Sequence[Write], deadline: datetime) -> Iterator[Written]:
        """Carry the writes out, in Bulk where offered, else concurrently; results come as they complete.

        Ambiguous creates are resolved by a listing before anything is sent again. A write whose fate stays unknown
        comes back as Unresolved, one that the deadline or a refused token left unsent as NotSent or
        AuthorizationRefused.
        """

    def remarks(self) -> Sequence[str]:
        """Tell what this server refuses and what is done instead, as far as it was met with; one sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a commit adds to the record of a run: `counts` are incremented, `done` names a batch that is finished.

    `continued` counts the batches published to carry on with the rest of the finished one.
    """

    run_id: str
    at: datetime | None  # None: counted, but nothing of the run was settled
    counts: Counts = field(default_factory=dict)
    done: str = ""
    continued: int = 0
    seats_exhausted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What one roster commit writes, all or nothing; None removes an entry."""

    entries: Mapping[str, Entry | None] = field(default_factory=dict)
    events: Sequence[Event] = ()
    progress: Progress | None = None


class Roster(Protocol):
    """The rosters of all connections, sharded by a hash of the directory id, written by compare-and-set.

    A failure in an entry is mirrored to failures/{user}, one that is pending to pending/{user}, and events count into
    the day's usage, in the same commit.
    """

    def entry(self, connection: Connection, user_id: str) -> Entry | None:
        """Read one entry."""

    def entries(self, connection: Connection, user_ids: Iterable[str]) -> dict[str, Entry]:
        """Read the entries of these users, of those who have one."""

    def load(self, connection: Connection) -> dict[str, Entry]:
        """Read every entry of a connection."""

    def applied(self, connection: Connection, change_ids: Sequence[str]) -> dict[str, Attributes]:
        """Return, by change id, the attributes that accounts had after these changes; unknown ones are left out."""

    def shard(self, connection: Connection, user_id: str) -> int:
        """Name the shard of a user, 0 to connection.shards - 1."""

    def commit(
        self,
        connection: Connection,
        user_ids: Iterable[str],
        edit: Callable[[Mapping[str, Entry]], tuple[Edit, T]],
    ) -> T:
        """Read the shards of these users, let `edit` decide from their entries, write its Edit; retried on contention.

        `edit` is pure and may be called again with newer entries; it gets the entries of the users named (those that
        exist). An Edit without entries, events and progress writes nothing. Raises Contention.
        """

    def commit_in_parts(
        self,
        connection: Connection,
        user_ids: Iterable[str],
        edit: Callable[[Sequence[str], Mapping[str, Entry]], tuple[Edit, T]],
    ) -> list[T]:
        """Commit for many users who need not be written all or nothing: one commit may not hold the shards of all.

        `edit` is called for each part with its users, each of whom is in exactly one, and their entries; the results
        are those of the parts. An error leaves the parts before it written.
        """


class Connections(Protocol):
    """Configuration and state of the connections."""

    def all(self) -> Sequence[Connection]:
        """Return every connection, in their order."""

    def get(self, connection_id: str) -> Connection | None:
        """Read one connection."""

    def deleted(self) -> Sequence[Deleted]:
        """Return the connections whose configuration was deleted, latest first: their audit is still there."""

    def create(self, connection: Connection, event: Event | None = None) -> None:
        """Store a new one, and the event with it; raises Stale where the id was ever used."""

    def begin_set_up(self, connection_id: str, now: datetime) -> None:
        """Note that a token is about to be stored for a connection that is not there yet."""

    def begun_set_ups(self) -> Mapping[str, datetime]:
        """Return the set-ups that were begun and whose end was not noted, by connection id."""

    def end_set_up(self, connection_id: str) -> None:
        """Note that a set-up ended, with a connection or without any token."""

    def change(
        self,
        connection_id: str,
        edit: Callable[[Connection], Connection | None],
        tell: Telling[Connection] | None = None,
    ) -> Connection | None:
        """Apply `edit` by compare-and-set, growing `revision`; None from `edit` changes nothing and is returned.

        The event that `tell` makes of before and after is stored with the change, or neither is.
        """

    def purge(self, connection_id: str) -> None:
        """Forget everything of a connection but its events, its usage and its tombstone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who adopts an account, with which change; a user who tries again claims it anew."""

    user_id: str
    change_id: str


class Records(Protocol):
    """The small documents: runs, guard, holds, leases, events of no single user."""

    def put_run(self, run: Run) -> None:
        """Store a run's record whole."""

    def run(self, connection_id: str, run_id: str) -> Run | None:
        """Read a run's record."""

    def open_runs(self, connection_id: str) -> Sequence[Run]:
        """Return the runs in state OBSERVING or PLANNED."""

    def put_asked(self, asked: AskedRun) -> None:
        """Store that a run was asked for."""

    def asked(self, connection_id: str, request_id: str) -> AskedRun | None:
        """Read that; one that has expired may be there for some time."""

    def run_asked_for(self, connection_id: str, request_id: str) -> Run | None:
        """Return the first run that was opened because of a request."""

    def change_run(self, connection_id: str, run_id: str, edit: Callable[[Run], Run | None]) -> Run | None:
        """Apply `edit` to a run's own fields (never `done` and `counts`, which commits add to) by compare-and-set."""

    def change_guard(self, connection_id: str, edit: Callable[[GuardState], GuardState | None]) -> GuardState | None:
        """Apply `edit` to the guard by compare-and-set; None from `edit` changes nothing and is returned.

        It has room for every reservation that `ROOM` admits.
        """

    def hold(self, connection_id: str, digest: str) -> Hold | None:
        """Read a held plan with its members."""

    def holds(self, connection_id: str) -> Sequence[Hold]:
        """Return the held plans that wait, are approved, or keep somebody by rejection, newest first, with members."""

    def put_hold(self, connection_id: str, hold: Hold, raised: Event | None = None) -> None:
        """Store a held plan, and the event that tells of it."""

    def change_hold(
        self,
        connection_id: str,
        digest: str,
        edit: Callable[[Hold], Hold | None],
        tell: Callable[[Hold, Hold], Event | None] | None = None,
    ) -> Hold | None:
        """Apply `edit` to a held plan's verdicts by compare-and-set, never to its members; None changes nothing.

        The event that `tell` makes of before and after, if any, is stored with the change, or neither is.
        """

    def claim_account(self, connection_id: str, scim_id: str, claim: Claim, instead_of: Claim | None = None) -> Claim:
        """Claim an account for adoption and return the claim in force: another's, where they came first.

        The user's own earlier claim is replaced, and so is `instead_of`, provided that it is in force still.
        """

    def swept(self, connection_id: str) -> frozenset[str]:
        """Return what `put_swept` stored."""

    def put_swept(self, connection_id: str, names: frozenset[str]) -> None:
        """Remember which differences the scope sweep published; an unbounded set is cut short."""

    def record(self, connection_id: str, events: Sequence[Event]) -> None:
        """Append events that belong to no roster change."""

    def lease(self, name: str, holder: str, now: datetime, length: timedelta) -> int | None:
        """Take a lease and return its fence (grows with each holder), or None while another holds it."""

    def release(self, name: str, holder: str) -> None:
        """Give a lease back early."""


class Adoptions(Protocol):
    """Which accounts administrators confirmed to be whose: pairs of directory id and SCIM id, never taken back."""

    def confirm(self, connection_id: str, pairs: Sequence[Pair], by: str, at: datetime, told: Event) -> None:
        """Add pairs, each kept once, and what the audit says of them: nothing is confirmed that it does not tell."""

    def confirmed(self, connection_id: str) -> Confirmed:
        """Return every pair of the connection."""


class UnprovisionedAccounts(Protocol):
    """The active accounts of a node that no roster entry holds, as the last drift run found them."""

    def put(self, connection_id: str, report: Report) -> None:
        """Store a report in place of the one before."""

    def get(self, connection_id: str) -> Report | None:
        """Read it; None where Keeper was not listed yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A Directory notification channel. `token` goes to Google only; it is an HMAC, see `app/channels.py`."""

    id: str
    address: str
    token: str = ""
    event: str = ""
    expires: datetime | None = None
    resource_id: str = ""
    opened: datetime | None = None
    proven: bool = False  # its sync message arrived: Google can reach the webhook and knows the token
    fingerprint: str = ""  # of the key that the token was made with


class Channels(Protocol):
    """The channels we opened."""

    def all(self) -> Sequence[Channel]:
        """Return every channel not yet removed; one only heard of has no address."""

    def put(self, channel: Channel) -> None:
        """Store one (never its token)."""

    def prove(self, channel_id: str, heard: datetime) -> None:
        """Note that its sync message arrived; a channel that is not known yet is noted too (sync may come first).

        Such a note expires `PROOF_KEPT` after it was heard: a late sync message may be of a removed channel.
        """

    def remove(self, channel_id: str) -> None:
        """Forget one."""


class Tokens(Protocol):
    """Keeper access tokens in Secret Manager; versions are always addressed by number."""

    def read(self, connection_id: str, version: str) -> str:
        """Return a token; raises ConfigurationRefused where the version is disabled, destroyed or missing."""

    def add(self, connection_id: str, token: str) -> str:
        """Store a token (crc32c checked), read it back by number, and return that number."""

    def disable(self, connection_id: str, version: str) -> None:
        """Disable a version; one that is destroyed already counts as done."""

    def destroy(self, connection_id: str, version: str) -> None:
        """Destroy a version; one that is destroyed already counts as done."""

    def stored(self, connection_id: str) -> Mapping[str, datetime]:
        """Return the versions that are not destroyed, each with the time at which it was stored."""


class LookQueue(Protocol):
    """Pub/Sub, as the webhook needs it; returns once the service has accepted everything."""

    def look_again(self, looks: Sequence[Look]) -> None:
        """Publish to directory-changes."""


class Queue(LookQueue, Protocol):
    """Pub/Sub, to publish on."""

    def apply(self, batches: Sequence[Batch]) -> None:
        """Publish to planned-changes."""

    def request_run(self, kind: RunKind, *, retry_failures: bool = False, request: str = "") -> None:
        """Publish to run-requests: reconcile now instead of at the next scheduled time; `request` names an AskedRun."""

    def request_preview(self, connection_id: str, preview_id: str) -> None:
        """Publish to run-requests: compute a preview now."""


class Meter(Protocol):
    """Counts the outside requests of this process: scim_get, scim_post, directory_requests, firestore_reads ..."""

    def take(self) -> Counts:
        """Return the counts since the last call, and start over."""


class Executor(Protocol):
    """Work beside the caller's: use cases start no thread and sleep for no time themselves."""

    def each(self, work: Callable[[T], R], items: Sequence[T], at_once: int) -> Iterator[R]:
        """Do the work for every item, `at_once` of them at the same time at most; results come in the items' order.

        An error is raised in the place of its item, once what was under way has ended; what had not begun then is not.
        """

    def start(self, work: Callable[[], T]) -> Callable[[], T]:
        """Begin the work; returns what waits for its end, and then returns or raises what it did."""

    def repeat(self, name: str, work: Callable[[], bool], every: timedelta) -> AbstractContextManager[None]:
        """Do the work each time so long has passed, until it returns False or the block ends, which waits for it."""


AccountsFor = Callable[[Connection, str], Accounts]  # connection and access token -> its accounts
