"""Converge one user: read the roster entry, then the directory; decide; carry it out; record it; look again if asked.

Every SCIM call is preceded by a mark on the roster entry and followed by the recorded outcome. Another message that
meets a live mark asks its owner to look again and is done; a redelivery of the same message is refused until the mark
runs out. A mark that ran out means that the outcome is unknown: the account itself tells, before anything is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from autoprovisioning.app.adopting import confirmed_for
from autoprovisioning.app.carry_out import carry_out
from autoprovisioning.app.guarding import may_recreate, reserve_one
from autoprovisioning.app.holding import is_rejected
from autoprovisioning.app.keeper import Keeper, first_found, refusal_of_one
from autoprovisioning.app.looking import Asked, RunOf, Seen, entry_of, look_at_both, nobody_waits
from autoprovisioning.app.observe import observed, rules_of
from autoprovisioning.app.ports import Edit, Progress
from autoprovisioning.app.scoping import SERVING
from autoprovisioning.app.services import Services
from autoprovisioning.app.unforeseen import unforeseen
from autoprovisioning.app.unmarking import unmark
from autoprovisioning.domain.accounts import Account, Lookup
from autoprovisioning.domain.changes import (
    Change,
    Outcome,
    count,
    counted,
    created_beside,
    ended,
    event_for,
    kept_back,
    recover,
    recovered_event,
    sending,
    settle,
)
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.errors import (
    AuthorizationRefused,
    Busy,
    ConfigurationRefused,
    Contention,
    DirectoryFailed,
    ProvisioningError,
    ReauthorizationRequired,
    Throttled,
    Transient,
    Unresolved,
    Unsafe,
)
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.plan import READING, Decision, Observed, decide, stuck
from autoprovisioning.domain.plan import about as what_is_attempted
from autoprovisioning.domain.roster import Action, Entry, Failure, Mark, Status, failed
from autoprovisioning.domain.words import in_words

log = logging.getLogger(__name__)

ROUNDS = 6  # suspend, then rename, then a look that was asked for meanwhile: enough for any honest sequence


def converge(services: Services, asked: Asked, deadline: datetime) -> None:
    """Bring one user's accounts into step on every connection.

    Raises:
        Transient: try this message again (the directory or Keeper failed, or another worker holds the user).
        ProvisioningError: one connection cannot be served as it is set up; the others were.
    """
    connections = [connection for connection in services.connections.all() if connection.state in SERVING]
    postponed: ProvisioningError | None = None
    for connection in connections:
        if not connection.shards:
            asked.tell(f"{connection.name}: its first full run, which looks at everybody, is still to come.")
            continue
        try:
            _Convergence(services, connections, connection, asked, deadline).run()
        except ReauthorizationRequired:
            asked.tell(f"{connection.name}: paused, it needs reauthorization. The user waits until then.", failed=True)
            continue  # the user is flagged as pending
        except ProvisioningError as error:
            postponed = postponed if isinstance(postponed, Transient) else error
    if postponed is not None:
        raise postponed


class _Convergence:
    def __init__(
        self,
        services: Services,
        connections: list[Connection],
        connection: Connection,
        asked: Asked,
        deadline: datetime,
    ) -> None:
        self._services = services
        self._connections = connections
        self._connection = connection
        self._asked = asked
        self._deadline = deadline
        self._keeper = Keeper(services, connection)
        self._attempted = READING
        self._by = asked.by

    def _tell(self, text: str, *, failed: bool = False) -> None:
        several = len(self._connections) > 1
        self._asked.tell(f"{self._connection.name}: {text}" if several else text, failed=failed)

    def run(self) -> None:
        try:
            for number in range(ROUNDS):
                if number and not self._still_served():
                    return
                if not self._round():
                    return
        except ProvisioningError:
            raise
        except Exception as error:  # noqa: BLE001 - one user's: whoever else is on this connection goes on
            self._surprised(error)
            return
        raise Contention("This user keeps changing while being converged", retry_after=5)

    def _surprised(self, error: Exception) -> None:
        """Make what nobody foresaw that user's failure; raises it where the roster has nothing of the user to fail."""
        problem = unforeseen(error)
        entry = entry_of(self._services, self._connection, self._asked.look.user_id)
        if entry is None or (entry.mark is not None and entry.mark.live(self._services.clock())):
            raise problem from error
        self._tell(str(problem), failed=True)
        if self._fail(entry, problem, self._attempted):
            raise problem from error

    def _still_served(self) -> bool:
        """Read the connection again: it may have been edited, turned off or deleted since the round before."""
        current = self._services.connections.get(self._connection.id)
        if current is None or current.state not in SERVING:
            return False
        if current != self._connection:
            self._connection, self._keeper = current, Keeper(self._services, current)
            self._connections = [current if other.id == current.id else other for other in self._connections]
        return True

    def _as_it_was(self) -> bool:
        """Say whether nobody turned off, edited or deleted the connection before our mark could be seen."""
        current = self._services.connections.get(self._connection.id)
        return current is not None and current.state in SERVING and current.edition == self._connection.edition

    def _round(self) -> bool:
        """Look, decide and act once; True: look again."""
        entry = entry_of(self._services, self._connection, self._asked.look.user_id)
        now = self._services.clock()
        if entry is not None and entry.mark is not None and entry.mark.live(now):
            self._tell("Another worker is at this user, and looks at them again when it is done.")
            return self._leave_to_owner(entry.mark, now)
        self._tell(f"Read the roster: {_known(entry)}.")
        seen = self._read(entry)
        if seen is None:
            return False
        in_scope = seen.placement.in_scope.get(self._connection.id)
        observation = replace(observed(self._connection, seen.user, in_scope), missing=seen.missing)
        confirmed = confirmed_for(self._services, self._connection, [entry])
        rules = rules_of(self._connection, confirmed, retry_failures=self._asked.retry_failures)
        if entry is not None and entry.mark is not None:
            self._tell("What became of the last change was not known: Keeper is asked.")
            self._attempted = stuck(entry, observation, rules, now)
            return self._recover(entry, observation)
        known = entry
        if entry is not None and entry.failure is not None and entry.failure.about == READING:
            known = replace(entry, failure=None)  # the user was read just now
        decision = decide(known, observation, rules, now)
        if decision.action is not None:
            self._attempted = what_is_attempted(decision.action, decision.attributes)
        self._tell_decision(entry, seen, observation, decision, now)
        if decision.action is None:
            return self._note(entry, decision)
        if self._connection.state is State.PAUSED:
            self._flag(entry, decision, pending=True)
            return False
        if decision.action.deprovisions and not self._reserved(decision):
            return self._hold(entry, decision)
        return self._act(entry, decision, observation)

    def _tell_decision(
        self, entry: Entry | None, seen: Seen, observation: Observed, decision: Decision, now: datetime
    ) -> None:
        if self._asked.tell is nobody_waits:
            return
        scope = {True: "in scope", False: "not in scope", None: "whether in scope could not be told"}
        read = f"Read the directory: {seen.user.presence.value}, {scope[observation.in_scope]}. {seen.user.untold}"
        self._tell(read.rstrip())
        holders = (other for other in self._connections if seen.placement.in_scope.get(other.id))
        owner = next((other.name for other in holders if other.id != self._connection.id), "")
        self._tell(f"Decided. {in_words(decision, entry, observation, self._connection, now, owner=owner)}")

    def _read(self, entry: Entry | None) -> Seen | None:
        """Look at both sides; None where the directory fails on this user again and again, and that was recorded."""
        self._attempted = READING
        try:
            return look_at_both(self._services, self._connections, self._connection, entry, self._asked)
        except (Transient, ConfigurationRefused) as error:
            old = self._services.clock() >= self._asked.published + self._services.timings.contradiction
            if not old or not self._directory_answers():
                raise
            if entry is None:  # whoever is to get an account is listed by the next full run, and not read alone for it
                log.warning("The directory fails to show a user who is on no roster: left to the next full run")
                self._tell(f"The directory fails to show this user: {error}", failed=True)
                return None
            again = error.retry_after if isinstance(error, Transient) else None
            if self._fail(entry, DirectoryFailed(str(error), retry_after=again), READING):
                raise
            return None

    def _directory_answers(self) -> bool:
        """Say whether the directory shows another user: then its failure is about the one asked for."""
        try:
            return self._services.directory.probe()
        except ProvisioningError:
            return False

    def _fail(self, entry: Entry, error: ProvisioningError, attempted: str) -> bool:
        """Count a failure at the entry, whose mark stays; True: the entry changed since, look again.

        Raises:
            ProvisioningError: the error itself, while the attempt is made again at once.
        """
        now = self._services.clock()
        failure = counted(error, entry.failure, attempted, now)
        if failure is None or failure.trying:
            waiting = replace(entry, pending=True, failure=failure or entry.failure)
            if waiting != entry:
                self._replace(entry, waiting)
            raise error
        failing = replace(entry, pending=False, failure=failure)
        action = entry.mark.action if entry.mark is not None else None
        return self._replace(entry, failing, (self._failed(self._services.new_id(), failing, action, failure, now),))

    def _leave_to_owner(self, mark: Mark, now: datetime) -> bool:
        """Another worker is at it: the same message waits, another one asks the owner to look again."""
        if mark.message_id == self._asked.message_id:
            raise Busy("This message is being worked on", retry_after=max(1.0, (mark.until - now).total_seconds()))
        user_id = self._asked.look.user_id

        def edit(entries: Mapping[str, Entry]) -> tuple[Edit, bool]:
            entry = entries.get(user_id)
            if entry is None or entry.mark is None or entry.mark.change_id != mark.change_id:
                return Edit(), True
            if entry.mark.again:
                return Edit(), False
            return Edit({user_id: replace(entry, mark=replace(entry.mark, again=True))}), False

        return self._services.roster.commit(self._connection, [user_id], edit)

    def _recover(self, entry: Entry, observation: Observed) -> bool:
        """Settle a mark that ran out: fetch the account, record what had happened; True: look again."""
        try:
            account = self._fetch(entry)
        except (Throttled, ReauthorizationRequired):
            raise
        except ProvisioningError as error:
            return self._fail(entry, self._keeper.judged(error, self._deadline), self._attempted)
        now, user_id = self._services.clock(), entry.user_id
        mark = entry.mark
        assert mark is not None  # noqa: S101 - the caller checked; keeps the types honest
        settled, _, took_effect = recover(entry, account, observation.desired, now)
        applied = self._services.roster.applied(self._connection, [entry.applied_by]) if took_effect else {}
        before = applied.get(entry.applied_by)
        event = recovered_event(
            entry, settled, account, observation.desired, before, self._by.address, now, self._by.directory_id
        )
        events = [event] if took_effect else []
        if not took_effect:
            failure = self._undone(entry, observation, now)
            settled = replace(settled, failure=failure, pending=failure.trying)
            if not failure.trying:
                events = [self._failed(mark.change_id, settled, mark.action, failure, now)]

        def edit(entries: Mapping[str, Entry]) -> tuple[Edit, None]:
            current = entries.get(user_id)
            if current is None or current.mark is None or current.mark.change_id != mark.change_id:
                return Edit(), None
            return Edit({user_id: settled}, events, self._counted(count(events))), None

        self._services.roster.commit(self._connection, [user_id], edit)
        return True

    def _undone(self, entry: Entry, observation: Observed, now: datetime) -> Failure:
        """Count an attempt that came to nothing: tried again at once at first, then ever more seldom."""
        assert entry.mark is not None  # noqa: S101 - the caller checked; keeps the types honest
        action = entry.mark.action
        attributes = observation.desired if action in (Action.CREATE, Action.UPDATE) else None
        text = "Keeper did not carry this out, nor said why. It is tried again; if that goes on, ask Keeper's support."
        failure = counted(Unresolved(text), entry.failure, what_is_attempted(action, attributes), now)
        assert failure is not None  # noqa: S101 - what stays unresolved is counted
        return failure

    def _fetch(self, entry: Entry) -> Account | None:
        """Return the account an expired mark was about: by its id, else the one that carries our externalId.

        Raises:
            Rejected: Keeper refuses to show it, although the token works.
        """
        for _ in range(2):
            accounts = self._keeper.accounts()
            try:
                account = accounts.get(entry.scim_id) if entry.scim_id else None
                return account or first_found(accounts, Lookup(entry.user_id, entry.user_id, ()))
            except Throttled as error:
                self._keeper.throttle(error)
                raise
            except AuthorizationRefused:
                if not self._keeper.after_refusal():
                    raise refusal_of_one() from None
        raise Transient("Keeper refused a token that was replaced meanwhile", retry_after=5)

    def _note(self, entry: Entry | None, decision: Decision) -> bool:
        """Nothing to send: keep what was noticed, and let no plan made before this look undo it."""
        if decision.failure is not None:
            return self._record_failure(entry, decision)
        noted = decision.noted
        if self._plan_in_flight():
            noted = noted or Entry(self._asked.look.user_id, in_scope=False)
        elif noted == entry:
            return False
        return self._replace(entry, noted)

    def _plan_in_flight(self) -> bool:
        """Say whether a plan made before this look may still be applied: then even "nothing to do" is recorded."""
        if self._of_this_connection() is not None:
            return False
        return bool(self._services.records.open_runs(self._connection.id))

    def _replace(self, entry: Entry | None, noted: Entry | None, events: tuple[Event, ...] = ()) -> bool:
        """Write an entry unless it changed since it was read; True: it did, look again."""
        user_id = self._asked.look.user_id
        version = entry.version if entry is not None else 0

        def edit(entries: Mapping[str, Entry]) -> tuple[Edit, bool]:
            current = entries.get(user_id)
            if current != entry:
                return Edit(), True
            fresh = replace(noted, version=version + 1) if noted is not None else None
            return Edit({user_id: fresh}, events, self._counted(count(list(events)))), False

        return self._services.roster.commit(self._connection, [user_id], edit)

    def _record_failure(self, entry: Entry | None, decision: Decision) -> bool:
        """Record a failure that needs no call to Keeper to be known (a mandatory attribute without a value)."""
        assert decision.failure is not None and decision.noted is not None  # noqa: S101, PT018 - told by the caller
        now, text = self._services.clock(), str(decision.failure)
        action = Action.CREATE if decision.noted.status is Status.NONE else Action.UPDATE
        failure = failed(
            decision.noted.failure, decision.failure.code, text, what_is_attempted(action, None, text), now
        )
        event = self._failed(self._services.new_id(), decision.noted, action, failure, now)
        return self._replace(entry, replace(decision.noted, failure=failure), (event,))

    def _flag(self, entry: Entry | None, decision: Decision, *, pending: bool = False) -> bool:
        """Flag the user as waiting for reauthorization, or else for an approval; False where the flag stands."""
        user_id, noted = self._asked.look.user_id, decision.noted
        held, trigger = (None, None) if pending else (decision.action, decision.trigger)

        def edit(entries: Mapping[str, Entry]) -> tuple[Edit, bool]:
            current = entries.get(user_id)
            base = noted if current == entry else current  # what was noticed on the way is kept, if nothing is newer
            if base is None:
                return Edit(), False
            flagged = replace(base, pending=pending, held=held, held_by=trigger)
            if flagged == current:
                return Edit(), False
            flagged = replace(flagged, version=base.version + 1)
            return Edit({user_id: flagged}, (), self._counted({"held": 1} if held else {})), True

        return self._services.roster.commit(self._connection, [user_id], edit)

    def _reserved(self, decision: Decision) -> bool:
        """Reserve a suspension or deletion; whom an administrator rejected stays held for the same reason."""
        services, connection, look, action = self._services, self._connection, self._asked.look, decision.action
        assert action is not None and decision.noted is not None  # noqa: S101, PT018 - told by the caller
        if not look.hold and decision.noted.held is action and is_rejected(services, connection, look.user_id, action):
            return False
        return reserve_one(services, connection, look, action)

    def _hold(self, entry: Entry | None, decision: Decision) -> bool:
        self._tell("Held by the volume guard, or by an administrator's decision: see Held plans.", failed=True)
        if self._flag(entry, decision):
            log.error(
                "Change held by the volume guard",
                extra={"json_fields": {"alert": "change_held", "connection": self._connection.id}},
            )
        return False

    def _act(self, entry: Entry | None, decision: Decision, observation: Observed) -> bool:
        """Mark, carry out, record; True: look again."""
        change = self._mark(entry, decision, observation)
        if change is None:
            return True
        if not self._as_it_was():
            unmark(self._services, self._connection, [change])
            return True  # the next round serves the connection as it is now, or not at all

        def recreate(vanished: Change) -> bool:
            return may_recreate(self._services, self._connection, vanished.user_id)

        (outcome,) = carry_out(self._services, self._keeper, [change], self._deadline, recreate)
        if outcome.error is not None:
            outcome = replace(outcome, error=self._keeper.judged(outcome.error, self._deadline))
        return self._record(outcome)

    def _mark(self, entry: Entry | None, decision: Decision, observation: Observed) -> Change | None:
        """Put our mark on the entry, unless it changed since it was read (then None)."""
        assert decision.action is not None and decision.noted is not None  # noqa: S101, PT018 - told by the caller
        until = self._services.clock() + self._services.timings.user_mark
        mark = Mark(self._services.new_id(), self._asked.message_id, decision.action, until)
        marked = replace(decision.noted, mark=mark)
        change = Change(
            mark.change_id,
            marked,
            decision.action,
            observation.email or marked.email,
            decision.attributes,
            observation.aliases,
            marked.scim_id,
            created=observation.created,
        )
        change = sending(change)
        user_id = marked.user_id

        def edit(entries: Mapping[str, Entry]) -> tuple[Edit, bool]:
            current = entries.get(user_id)
            if current is not None and current.mark is not None and current.mark.change_id == mark.change_id:
                return Edit(), True  # our own write, whose answer was lost
            if current != entry:
                return Edit(), False
            return Edit({user_id: change.entry}), True

        return change if self._services.roster.commit(self._connection, [user_id], edit) else None

    def _record(self, outcome: Outcome) -> bool:
        """Record the outcome if the entry still holds our mark; True: look again."""
        user_id, change_id, now = outcome.change.user_id, outcome.change.id, self._services.clock()
        event = event_for(outcome, self._by.address, now, self._by.directory_id)

        def edit(entries: Mapping[str, Entry]) -> tuple[Edit, bool]:
            current = entries.get(user_id)
            if current is None or current.mark is None or current.mark.change_id != change_id:
                return Edit(), False
            asked_again = current.mark.again
            events = [event] if event is not None else []
            progress = self._counted(count(events) | created_beside([outcome]) | kept_back([outcome]))
            return Edit({user_id: settle(current, outcome, now)}, events, progress), asked_again

        asked_again = self._services.roster.commit(self._connection, [user_id], edit)
        self._tell(_told(outcome, event), failed=outcome.error is not None)
        if outcome.error is None:
            return True  # whatever is left to do (a rename after a suspension) is seen by another look
        if isinstance(outcome.error, Transient | ReauthorizationRequired) and not ended(outcome, now):
            raise outcome.error
        return asked_again

    def _counted(self, counts: Mapping[str, int]) -> Progress | None:
        run = self._of_this_connection()
        return Progress(run.id, self._services.clock(), counts) if run is not None and counts else None

    def _of_this_connection(self) -> RunOf | None:
        run = self._asked.run
        return run if run is not None and run.connection_id == self._connection.id else None

    def _failed(self, event_id: str, entry: Entry, action: Action | None, failure: Failure, now: datetime) -> Event:
        return Event(
            event_id,
            now,
            EventName.FAILED,
            self._by.address,
            entry.user_id,
            entry.email,
            action,
            reason=failure.text,
            code=failure.code,
            actor_id=self._by.directory_id,
        )


def _known(entry: Entry | None) -> str:
    if entry is None or entry.status is Status.NONE:
        return "no account is known"
    return f"the account is {entry.status.value}"


def _told(outcome: Outcome, event: Event | None) -> str:
    answered = f"Keeper answered in {outcome.seconds:.2f} s. " if outcome.seconds else ""
    if event is not None:
        return f"{answered}Recorded as: {event.name.value}."
    if isinstance(outcome.error, Unsafe):
        return f"{answered}Held by the volume guard: see Held plans."
    return f"{answered}Not settled yet: it is tried again."
