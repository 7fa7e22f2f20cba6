"""What must be true at every moment: an end state heals what short harm was done, so each step is watched.

At each write to Keeper: it is marked, by the mark that the roster holds; the user was entitled to it by the truth of
the last minutes; a suspension, a deletion and a reactivation follow upon a reading of that very user; and it passes
the brakes (`tests/simulation/brakes.py`). At each commit to a roster: nobody changes an entry but from what it is, or
under a mark of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta

from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.domain.accounts import Account, Write, WriteKind
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.entry import Action, Entry, Status, Trigger
from autoprovisioning.domain.locks import Lock, Locks
from autoprovisioning.domain.runs import Batch
from autoprovisioning.domain.teams import Team
from tests.simulation.brakes import Brakes
from tests.simulation.directory import SimDirectory
from tests.simulation.keeper import Effect, Node
from tests.simulation.scheduler import Killed, Process, Scheduler
from tests.simulation.state import Archive
from tests.simulation.team_laws import TeamLaws
from tests.simulation.truth import SERVING, Truth
from tests.support.entries import contradiction

SKEW = timedelta(minutes=2)
FLAGS = frozenset("pending version failure".split())  # may be set on an entry that changed meanwhile


class Broken(AssertionError):
    """An invariant does not hold; `law` names it."""

    def __init__(self, law: str, told: str) -> None:
        super().__init__(f"{law}: {told}")
        self.law = law


class Watch:
    """Watches the writes and the commits of one history."""

    def __init__(
        self,
        scheduler: Scheduler,
        truth: Truth,
        directory: SimDirectory,
        archive: Archive,
        *,
        skewed: bool,
        given: int,
    ) -> None:
        self._scheduler = scheduler
        self._truth = truth
        self._patience = truth.patience
        self._archive = archive
        self._skewed = skewed
        self.brakes = Brakes(scheduler, truth, archive, self.broken, given)
        self.teams = TeamLaws(scheduler, truth, directory, archive, self.broken)
        self.marks: dict[str, tuple[str, str]] = {}  # change id -> connection, user
        self._marked_at: dict[str, datetime] = {}
        self._actions: dict[str, Action] = {}
        self._asked: dict[tuple[str, str], datetime] = {}  # connection, user: since when another look is wanted
        self._locking: dict[str, Lock] = {}  # by change id, as marked
        self._of_batches: set[str] = set()  # change ids that a batch planned
        self._had_since: dict[tuple[str, str], datetime] = {}  # connection, user: since when the roster has an account

    def broken(self, law: str, told: str) -> None:
        """End the history: it has shown what it is about."""
        task = self._scheduler.current
        who = task.process.name if task is not None else "the end"
        self._scheduler.defects.append((who, Broken(law, told)))
        if task is not None and not task.over:
            raise Killed

    def had_since(self, connection_id: str, user_id: str) -> datetime:
        """Return since when a roster has had an account of a user's, now where it has none."""
        return self._had_since.get((connection_id, user_id), self._scheduler.now)

    # ---- commits

    def commit(self, connection: Connection, entries: Mapping[str, Entry], change: Edit) -> None:
        """Judge an edit, by the entries that it was made from."""
        task = self._scheduler.current
        if task is None:
            return
        process = task.process
        wrote = process.memory.setdefault("wrote", {})
        for user_id, becomes in change.entries.items():
            was = entries.get(user_id)
            self._own_mark(connection, process, user_id, was, becomes)
            self._judge(connection, process, user_id, was, becomes)
            why = contradiction(becomes) if becomes is not None else ""
            if why:
                self.broken("no entry contradicts itself", f"{connection.id}/{user_id}: {why}: {becomes}")
            wrote[connection.id, user_id] = becomes
            self.brakes.edited(connection, user_id, becomes)
            if becomes is None or becomes.status is Status.NONE:
                self._had_since.pop((connection.id, user_id), None)
            else:
                self._had_since.setdefault((connection.id, user_id), self._scheduler.now)
            mark = becomes.mark if becomes is not None else None
            if mark is not None and (was is None or was.mark is None or was.mark.change_id != mark.change_id):
                process.memory.setdefault("marks", set()).add(mark.change_id)
                self.marks[mark.change_id] = (connection.id, user_id)
                self._marked_at[mark.change_id] = self._scheduler.now
                self._actions[mark.change_id] = mark.action
                if _planned(process.memory.get("batch"), connection, user_id) is not None:
                    self._of_batches.add(mark.change_id)
                else:
                    process.memory.setdefault("open", {})[connection.id, user_id] = mark.change_id
            self._asked_again(connection, process, user_id, was, becomes)
            if was is not None and was.mark is not None and was.again and mark is None:
                waits = becomes is not None and becomes.pending  # for a new token: a run looks at everybody then
                if not waits:
                    process.memory.setdefault("again", {})[connection.id, user_id] = self._scheduler.now

    def _asked_again(
        self, connection: Connection, process: Process, user_id: str, was: Entry | None, becomes: Entry | None
    ) -> None:
        """See that a request to look again stays on the entry until somebody has read the user, or listed everybody."""
        key, wanted = (connection.id, user_id), was is not None and was.again
        if becomes is None or becomes.again is wanted:
            return
        if becomes.again:
            self._asked[key] = self._scheduler.now
            return
        looked = process.memory.get("read", {}).get(user_id)
        listed = f"loaded {connection.id}" in process.memory
        if not listed and (looked is None or looked < self._asked.get(key, looked)):
            self.broken("who asked to look again is answered", f"{connection.id}/{user_id}: {was} -> {becomes}")

    def _own_mark(
        self, connection: Connection, process: Process, user_id: str, was: Entry | None, becomes: Entry | None
    ) -> None:
        """See that a look that marked an entry records under that very mark, or reads the entry again."""
        key, marked = (connection.id, user_id), process.memory.get("open", {})
        if key not in marked:
            return
        if was is None or _mark_of(was) != marked[key]:
            again = becomes is not None and _mark_of(becomes) == marked[key]  # the commit that marks lost its race
            if was != becomes and not again:
                self.broken(
                    "an outcome is recorded under its own mark", f"{connection.id}/{user_id}: {was} -> {becomes}"
                )
        elif becomes is None or becomes.mark is None:
            del marked[key]

    def _judge(
        self, connection: Connection, process: Process, user_id: str, was: Entry | None, becomes: Entry | None
    ) -> None:
        differing = _differing(was, becomes)
        if not differing or (was is None and becomes is not None and differing <= FLAGS):
            return
        mine = process.memory.get("marks", ())
        mark = was.mark if was is not None else None
        if mark is not None and mark.change_id in mine:
            return
        if mark is not None and mark.live(self._scheduler.clock()):
            if not (differing == {"again"} and becomes is not None and becomes.again):
                self.broken("a live mark is its owner's", f"{connection.id}/{user_id}: {sorted(differing)} changed")
            return
        if differing <= FLAGS:
            return
        payload = process.memory.get("batch")
        planned = _planned(payload, connection, user_id)
        version = was.version if was is not None else 0
        if planned is not None and version == planned:
            return
        known = process.memory.get("entries", {})
        key = (connection.id, user_id)
        empty = was is None and not any(connection_id == connection.id for connection_id, _ in known)  # a first run
        read = known.get(key) if key in known or f"loaded {connection.id}" in process.memory or empty else _NEVER
        if _same_decision(process.memory["wrote"].get(key), was):
            return  # as it left it itself
        if read is _NEVER or not _same_decision(read, was):
            told = f"{connection.id}/{user_id}: {sorted(differing)} changed on version {version}, which was not read"
            self.broken("decided on the newest version", told)

    def done(self, process: Process) -> None:
        """Judge a delivery that was acknowledged: every request to look again has been answered."""
        glanced, published = process.memory.get("glanced", {}), process.memory.get("published", {})
        for (connection_id, user_id), since in process.memory.get("again", {}).items():
            connection = self._truth.connections.get(connection_id)
            if connection is None or connection.state is not State.ON or not connection.operates_on(user_id):
                continue  # everybody is looked at once it goes on
            looked = max((at for at in (glanced.get(user_id), published.get(user_id)) if at is not None), default=None)
            if looked is None or looked < since:
                self.broken("who asked to look again is answered", f"{user_id}, since {since}")

    # ---- writes

    def write(self, node: Node, write: Write) -> None:
        """Judge a write right before it takes effect."""
        task = self._scheduler.current
        assert task is not None
        process = task.process
        if write.key not in process.memory.get("marks", ()):
            self.broken("nothing is written without a mark", f"{node.name}: {write}")
        connection_id, user_id = self.marks[write.key]
        connection = self._truth.connections.get(connection_id)
        locking = self._locking.get(write.key)
        if connection is None:
            return  # deleted while the write was under way
        self._switched_on(connection_id, user_id, write)
        if locking is not None:
            self._lock(process, connection, node, locking, write)
            return
        self._marked(connection, user_id, write)
        self._of_an_open_run(process, write)
        before = node.accounts.get(write.scim_id)
        if before is not None and not self._theirs(node, before, connection, user_id):
            if before.external_id not in ("", user_id):
                told = f"{user_id} writes to {before.scim_id} of {before.external_id}"
                self.broken("nobody's account is handed on", told)
            if not before.external_id and write.external_id != user_id:
                told = f"{user_id} writes to {before.scim_id}: {write}"
                self.broken("a foreign account is adopted or left alone", told)
        takes = write.kind is WriteKind.DELETE or write.active is False
        gives = write.kind is WriteKind.CREATE or (write.active is True and before is not None and not before.active)
        if takes:
            self._reread(process, user_id, write)
            self._due(connection_id, user_id, delete=write.kind is WriteKind.DELETE)
        if gives:
            # What was made, but not as written, is made whole by an update, which is planned like the creation was.
            creates = write.kind is WriteKind.CREATE or bool(write.attributes)
            if not creates:
                self._reread(process, user_id, write)
            self._entitled(connection_id, user_id, self._patience.planned if creates else self._patience.looked)
        if write.attributes:
            self._said_lately(connection_id, user_id, write)
        self.teams.write(process, connection, node, user_id, write, before)
        if not node.refuses(write):
            self.brakes.write(process, connection, user_id, self._actions[write.key], write, before)

    def moved(self, node: Node, effect: Effect) -> None:
        """Take over which memberships a write has changed."""
        connection_id, user_id = self.marks[effect.write.key]
        if effect.joined or effect.left:
            self.teams.moved(connection_id, node.teams, user_id, effect)

    def team(self, connection_id: str, node: Node, before: Team | None, name: str, external_id: str) -> None:
        """Judge a team that is to be made, or renamed, right before that."""
        connection = self._truth.connections.get(connection_id)
        if connection is not None:
            was = node.teams.there.get(before.id) if before is not None else None
            self.teams.team(connection, node, was, name, external_id, creates=before is None)

    def _switched_on(self, connection_id: str, user_id: str, write: Write) -> None:
        marked_at = self._marked_at[write.key]
        off = self._truth.off_since.get(connection_id)
        if off is not None and off < marked_at:
            self.broken("nothing is begun on a connection that is off", f"{connection_id} is off since {off}: {write}")
        outside = self._truth.outside_since(connection_id, user_id)
        if outside is not None and outside < marked_at:
            told = f"{connection_id}/{user_id}, outside since {outside}: {write}"
            self.broken("nobody outside a pilot is operated on", told)

    def locks(self, connection_id: str, known: Locks, becomes: Locks) -> None:
        """Take note of the marks on accounts that nobody provisions: whoever sends a request made one."""
        task = self._scheduler.current
        for key, lock in becomes.items():
            if task is not None and lock.until is not None and lock != known.get(key):
                task.process.memory.setdefault("marks", set()).add(lock.change_id)
                self.marks[lock.change_id] = (connection_id, "")
                self._marked_at[lock.change_id] = self._scheduler.now
                self._locking[lock.change_id] = lock

    def locks_by(self, change_id: str) -> bool:
        """Say whether a change is about an account that nobody provisions; one that came to nothing has a line, too."""
        return change_id in self._locking

    def _lock(self, process: Process, connection: Connection, node: Node, lock: Lock, write: Write) -> None:
        """Judge a write to an account that nobody provisions: it is locked as decided, or unlocked as asked."""
        before, told = node.accounts.get(write.scim_id), f"{connection.id}: {write}, {lock}"
        if before is None or before.active is write.active:
            return
        if write.kind is not WriteKind.PATCH or write.attributes or write.external_id or write.active is lock.waits:
            self.broken("an account outside a roster is locked or unlocked, and nothing else", told)
        now, changed = self._scheduler.now, node.hands.get(write.scim_id)
        lately = changed is not None and now - changed <= self._patience.reread
        chosen = (lock.account.external_id, lock.account.user_name.casefold())
        if (before.external_id, before.user_name.casefold()) != chosen and not lately:
            self.broken("the account is still the one that was chosen", f"{told}: {before}")
        for other in self._archive.connections():
            for entry in self._archive.entries(other).values():
                since = self.had_since(other.id, entry.user_id)
                if entry.scim_id == write.scim_id and now - since > self._patience.reread:
                    self.broken("what is locked so is on no roster", f"{told}: {other.id}/{entry}")
        if not lock.waits:
            if not lock.unlock_by:
                self.broken("what was locked so is unlocked as asked only", told)
            return
        if not self.brakes.chosen(process, connection, lock.key):
            self.broken("an account outside a roster is locked as approved only", told)
        for user_id in self._truth.people:
            if self._owns(user_id, before) and not lately:
                self.broken("an entitled person's account is never locked as nobody's", f"{told}: {user_id}")

    def _owns(self, user_id: str, account: Account) -> bool:
        """Say whether an account has had the id or the address of somebody entitled, for as long as anybody looks."""
        for connection_id in self._truth.connections:
            lately = list(self._truth.lately(connection_id, user_id, self._patience.looked))
            wanted = self._truth.wanted_lately(connection_id, user_id, self._patience.looked)
            names = {str(desired.get("userName")).casefold() for desired in wanted}
            theirs = account.external_id == user_id or names == {account.user_name.casefold()}
            if theirs and lately and not any(standing.triggers or standing.archived for standing in lately):
                return True
        return False

    def _marked(self, connection: Connection, user_id: str, write: Write) -> None:
        entry = self._archive.entry(connection, user_id)
        held = entry.mark.change_id if entry is not None and entry.mark is not None else ""
        if held != write.key and not self._skewed:
            self.broken("the roster holds the mark of what is written", f"{connection.id}/{user_id}: {write}")

    def _theirs(self, node: Node, account: Account, connection: Connection, user_id: str) -> bool:
        """Say whether an account is a user's whatever its externalId is: taken over, or changed by hand."""
        entry = self._archive.entry(connection, user_id)
        held = entry is not None and entry.scim_id == account.scim_id
        return held and (user_id in node.were[account.scim_id] or (entry is not None and entry.taken_over))

    def _of_an_open_run(self, process: Process, write: Write) -> None:
        batch = process.memory.get("batch")
        if not isinstance(batch, Batch):
            return
        runs = self._archive.runs(batch.connection_id)
        finished = next((run.finished for run in runs if run.id == batch.run_id), None)
        if finished is not None and finished + SKEW < self._marked_at[write.key] and write.key in self._of_batches:
            self.broken("a closed run writes nothing", f"run {batch.run_id}, closed at {finished}: {write}")

    def _reread(self, process: Process, user_id: str, write: Write) -> None:
        at = process.memory.get("read", {}).get(user_id)
        if at is None or self._scheduler.now - at > self._patience.reread:
            self.broken("read again before access changes", f"{user_id} was last read at {at}: {write}")

    def _entitled(self, connection_id: str, user_id: str, within: timedelta) -> None:
        lately = list(self._truth.lately(connection_id, user_id, within))
        if all(standing.triggers or standing.archived or standing.outside for standing in lately):
            self.broken("access is given to the entitled", f"{connection_id}/{user_id}: {lately[:2]}")

    def _due(self, connection_id: str, user_id: str, *, delete: bool) -> None:
        lately = list(self._truth.lately(connection_id, user_id, self._patience.looked))
        unknown = user_id not in self._truth.people  # an administrator took over what has no directory id
        if unknown or self._has_another(connection_id, user_id):
            return
        left = self.left_since(connection_id, user_id)
        if left is not None:
            lately = [replace(each, triggers={**each.triggers, Trigger.APP_OFF: left}) for each in lately]
        if not any(self._truth.due(connection_id, standing, delete=delete, slack=SKEW) for standing in lately):
            what = "deleted" if delete else "suspended"
            self.broken("access is taken when due", f"{connection_id}/{user_id} is {what}: {lately[:2]}")

    def _has_another(self, connection_id: str, user_id: str) -> bool:
        """Say whether another connection that entitles somebody, too, has let them in."""
        for other in self._truth.connections.values():
            if other.id == connection_id or other.state not in SERVING:
                continue
            entry = self._archive.entry(other, user_id)
            entitled = any(
                not standing.triggers for standing in self._truth.lately(other.id, user_id, self._patience.planned)
            )
            if entitled and entry is not None and entry.status in (Status.ACTIVE, Status.LOCKED):
                return True
        return False

    def left_since(self, connection_id: str, user_id: str) -> datetime | None:
        """Return since when a connection has lost somebody: out of its scope, or one that let them in has them still.

        Who comes back into a scope stays with the connection that they left it for.
        """

        def elsewhere(start: datetime, end: datetime) -> bool:
            return any(
                connection != connection_id
                and since <= start
                and self._truth.in_scope_throughout(connection, user_id, start, end)
                for (connection, user), since in self._had_since.items()
                if user == user_id
            )

        return self._truth.left_since(connection_id, user_id, elsewhere)

    def _said_lately(self, connection_id: str, user_id: str, write: Write) -> None:
        wanted = self._truth.wanted_lately(connection_id, user_id, self._patience.planned)
        for name, value in write.attributes.items():
            if wanted and all(desired.get(name) != value for desired in wanted):
                self.broken("what is written is what the directory said lately", f"{user_id}: {name}={value!r}")


_NEVER = object()
_NAMES = [each.name for each in fields(Entry)]


def _differing(was: Entry | None, becomes: Entry | None) -> set[str]:
    if was == becomes:
        return set()
    if was is None or becomes is None:
        whole = becomes or was
        empty = Entry(user_id=whole.user_id) if whole is not None else None
        return {name for name in _NAMES if getattr(whole, name) != getattr(empty, name)} | {"version"}
    return {name for name in _NAMES if getattr(was, name) != getattr(becomes, name)}


def _same_decision(read: object, was: Entry | None) -> bool:
    """Say whether what was read is still current, apart from flags that others set meanwhile."""
    if read is None or was is None:
        return read is was
    return isinstance(read, Entry) and (read == was or (read.version, _mark_of(read)) == (was.version, _mark_of(was)))


def _mark_of(entry: Entry) -> str:
    return entry.mark.change_id if entry.mark is not None else ""


def _planned(payload: object, connection: Connection, user_id: str) -> int | None:
    if not isinstance(payload, Batch) or payload.connection_id != connection.id:
        return None
    return next((change.version for change in payload.changes if change.user_id == user_id), None)
