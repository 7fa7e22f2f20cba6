"""Converge one user: read the roster entry, then the directory; decide; carry it out; record it; look again if asked.

Every SCIM call is preceded by a mark on the roster entry and followed by the recorded outcome. Another message that
finds a live mark asks its owner to look again, and ends; a redelivery of the same message is refused until the mark
expires. An expired mark means that the outcome is unknown: the account is fetched before anything else is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial

from autoprovisioning.app.ports.accounts import Accounts
from autoprovisioning.app.ports.roster import Edit, Progress
from autoprovisioning.app.provisioning.adoption_grounds import confirmed_for
from autoprovisioning.app.provisioning.carry_out import carry_out
from autoprovisioning.app.provisioning.marked_changes import Intent, MarkedChanges
from autoprovisioning.app.provisioning.read_user import Asked, Round, entry_of, judged
from autoprovisioning.app.provisioning.serving import as_it_was, served
from autoprovisioning.app.provisioning.target import Keeper, first_found
from autoprovisioning.app.provisioning.teams_of_one import teams_of_one
from autoprovisioning.app.provisioning.telling import Telling
from autoprovisioning.app.provisioning.volume_guard import lets_go
from autoprovisioning.app.services import Services
from autoprovisioning.app.unforeseen import unforeseen
from autoprovisioning.domain.accounts import Account, Lookup
from autoprovisioning.domain.change_events import count, event_for
from autoprovisioning.domain.changes import Change, counted, ended
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.decision import READING, Decision, Do, Fail, Observed, decide, stuck
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import EXTERNAL_ID, Action, Entry, Mark, Status, live_mark
from autoprovisioning.domain.errors import (
    Busy,
    ConfigurationRefused,
    Contention,
    EarlierDelivery,
    ProvisioningError,
    ReauthorizationRequired,
    Transient,
    Vanished,
)
from autoprovisioning.domain.events import Event, failed_change
from autoprovisioning.domain.observation import rules_of
from autoprovisioning.domain.recovery import recover
from autoprovisioning.domain.runs import Counts

log = logging.getLogger(__name__)

ROUNDS = 6  # suspend, then rename, then a look that was asked for meanwhile: enough for any honest sequence


def converge(services: Services, asked: Asked, deadline: datetime) -> None:
    """Bring one user's accounts up to date on every connection.

    Raises:
        EarlierDelivery: an earlier delivery of this message holds the user; it comes before whatever else failed.
        Transient: try this message again (the directory or Keeper failed, or another worker holds the user).
        ProvisioningError: one connection cannot be served the way it is set up; the others were served.
    """
    sides: dict[str, _Convergence] = {}
    connections = served(services)
    for connection in connections:
        if not connection.operates_on(asked.look.user_id):
            asked.tell(f"{connection.settings.name}: on for chosen people only, and this user is not one of them.")
        elif connection.begun:
            sides[connection.id] = _Convergence(services, connection, asked, deadline)
        else:
            asked.tell(f"{connection.settings.name}: its first full run, which looks at everybody, is still to come.")
    postponed: ProvisioningError | None = None
    while sides:
        round_ = Round(services, connections, asked)
        for connection in [each for each in connections if each.id in sides]:
            try:
                if sides[connection.id].serve(connection, round_):
                    break
            except ProvisioningError as error:
                del sides[connection.id]
                if isinstance(error, ReauthorizationRequired):  # the user is flagged as pending
                    told = f"{connection.settings.name}: paused, it needs reauthorization. The user waits until then."
                    asked.tell(told, failed=True)
                elif isinstance(error, EarlierDelivery) or not isinstance(postponed, Transient):
                    postponed = error
        else:
            break  # nothing is left to do anywhere
        connections = served(services)
    if postponed is not None:
        raise postponed


class _Convergence:
    def __init__(self, services: Services, connection: Connection, asked: Asked, deadline: datetime) -> None:
        self._services = services
        self._connection = connection
        self._asked = asked
        self._deadline = deadline
        self._keeper = Keeper(services, connection)
        self._tell = Telling(services, asked, connection, [connection])
        self._user_id = asked.look.user_id
        self._attempted = READING
        self._rounds = 0
        self._origin = asked.origin
        self._done: Action | None = None  # by this look, last
        self._ours = True  # the account carries the user's directory id, as far as is known
        self._run_id = asked.run_on(connection)

    def serve(self, connection: Connection, round_: Round) -> bool:
        """Look, decide and act once; True: look again. `connection` is this one as it is now."""
        if connection != self._connection:
            self._connection, self._keeper = connection, Keeper(self._services, connection)
        self._tell = Telling(self._services, self._asked, connection, round_.connections)
        try:
            again = self._round(round_)
        except ProvisioningError:
            raise
        except Exception as error:  # noqa: BLE001 - it concerns one user; the others on this connection go on
            again = self._surprised(error)
        self._rounds += again
        if self._rounds == ROUNDS:
            raise Contention("This user keeps changing while being converged", retry_after=5)
        return again

    def _surprised(self, error: Exception) -> bool:
        """Record an unforeseen error as this user's failure; raise it if the roster has no entry to record it on."""
        problem = unforeseen(error)
        entry = entry_of(self._services, self._connection, self._user_id)
        self._tell(str(problem), failed=True)
        live = live_mark(entry, self._services.clock())
        if entry is None or live is not None or self._fail(entry, problem, read=entry):
            raise problem from error
        return False

    def _round(self, round_: Round) -> bool:
        entry = round_.entries[self._connection.id]
        now = self._services.clock()
        mark = live_mark(entry, now)
        if entry is not None and mark is not None:
            self._tell("Another worker is processing this user, and looks again when it is done.")
            return self._leave_to_owner(entry, mark, now)
        self._tell.on_record(entry)
        observation = self._read(round_, entry)
        # What was read is dated from now on, and never from before it was so.
        return observation is not None and self._bring_into_step(round_, entry, observation, self._services.clock())

    def _bring_into_step(self, round_: Round, entry: Entry | None, observation: Observed, now: datetime) -> bool:
        """Decide from what both sides show, and act; True: look again."""
        confirmed = confirmed_for(self._services, self._connection, [entry])
        retries = self._asked.retry_failures or self._asked.look.retry_failures
        # Only in the first round: what fails in this look waits like anything else.
        rules = rules_of(self._connection, confirmed, retry_failures=retries and not self._rounds)
        if entry is not None and entry.mark is not None:
            self._tell("The outcome of the last change is not known: asking Keeper.")
            self._attempted = stuck(entry, entry.mark, observation, rules, now)
            return self._ask_keeper(entry, lambda account: self._recover(entry, account, observation))

        def carry_on(known: Entry | None, seen: Observed) -> bool:
            return self._carry_on(round_, entry, seen, decide(_as_read(known), seen, rules, now), now)

        doubted = entry is not None and (entry.status is Status.LOCKED or observation.outdated)
        if entry is not None and doubted and self._connection.state is not State.PAUSED:  # which cannot ask
            self._tell("Somebody else may have locked the account in Keeper: asking for its current state.")
            asked = replace(observation, outdated=False)
            return self._ask_keeper(entry, lambda account: carry_on(self._as_shown(entry, account, asked), asked))
        return carry_on(entry, observation)

    def _carry_on(
        self, round_: Round, entry: Entry | None, observation: Observed, decision: Decision, now: datetime
    ) -> bool:
        """Do what was decided, or note why not; True: look again."""
        if isinstance(decision, Do | Fail):
            self._attempted = decision.about()
        self._tell.decided(entry, round_.seen(), observation, decision, now)
        if not isinstance(decision, Do):
            again = self._note(entry, decision)
            self._wait_for_owner(round_, observation, now)
            return again
        unlocks, brake = decision.action is Action.UNLOCK, partial(lets_go, self._services, self._connection)
        if unlocks and not (self._ours and brake(decision, entry, now)):
            return self._note(entry, decision)
        if self._connection.state is State.PAUSED:
            return self._replace(entry, replace(decision.noted, pending=True))
        if not unlocks and not brake(decision, entry, now):
            return self._hold(entry, decision)
        return self._act(entry, decision, observation)

    def _as_shown(self, entry: Entry, account: Account | None, seen: Observed) -> Entry:
        """Return the entry of a locked account as Keeper shows it now.

        The time of the lock stays if the user is entitled: an administrator's decision is kept under it. An account
        that we suspended and Keeper does not show was locked by nobody else: reactivating it shows what happened to it.
        """
        self._ours = account is not None and account.external_id == entry.user_id
        if account is None and entry.status is Status.SUSPENDED:
            return entry
        if account is not None and account.active:
            return replace(entry.reopened(), scim_id=account.scim_id)
        if account is not None and not self._ours:
            entry = entry.drifted(EXTERNAL_ID)  # nobody is asked to unlock it any more
        entitled = seen.presence is Presence.ACTIVE and seen.in_scope is not False
        return entry.locked(entry.locked_at if entitled else self._services.clock())

    def _read(self, round_: Round, entry: Entry | None) -> Observed | None:
        """Read the directory; None if it keeps failing for this user, and that was recorded."""
        self._attempted = READING
        try:
            seen = round_.seen().at(self._connection, entry)
            young = self._services.clock() < self._asked.published + self._services.timings.contradiction
            look = self._asked.look
            teams, undecided = teams_of_one(
                self._services, self._connection, look, entry, seen, young=young, done=self._done
            )
            return replace(seen, teams=teams, undecided=undecided)
        except (Transient, ConfigurationRefused) as error:
            failure = judged(self._services, self._asked, error)
            if failure is error or (entry is not None and self._fail(entry, failure, read=entry)):
                raise
            if entry is None:  # the next full run lists whoever is to get an account, and does not read them alone
                log.warning("The directory fails to show a user who is on no roster: left to the next full run")
                self._tell(f"The directory fails to show this user: {error}", failed=True)
            return None

    def _fail(
        self, noted: Entry, error: ProvisioningError, *, read: Entry | None, action: Action | None = None
    ) -> bool:
        """Count a failed attempt on the entry as noted, which keeps its mark; True: look again.

        `read` is the entry as it was read; nothing is counted if it changed since.

        Raises:
            ProvisioningError: the error itself, as long as the attempt is repeated at once.
        """
        now = self._services.clock()
        failure = counted(error, noted.failure, self._attempted, now)
        if failure is None or failure.trying:
            self._replace(read, replace(noted, pending=True, failure=failure or noted.failure))
            raise error
        action = noted.mark.action if noted.mark is not None else action
        event = failed_change(self._services.stamp(self._asked.by, self._origin), noted, action, failure)
        return self._replace(read, replace(noted, pending=False, failure=failure), event)

    def _leave_to_owner(self, entry: Entry, mark: Mark, now: datetime) -> bool:
        """Leave the user to the owner of the mark: another message asks for a further look.

        The same message waits: its earlier delivery may be dead. So does a run: the owner may have worked for one whose
        batches are dropped by now, so that nobody follows it up.
        """
        if mark.message_id == self._asked.message_id or self._run_id:
            raise EarlierDelivery("Another delivery is still processing this user", retry_after=mark.wait(now))
        return self._edit(entry, replace(entry, again=True))

    def _wait_for_owner(self, round_: Round, observation: Observed, now: datetime) -> None:
        """See a move through: raise Busy while another worker lets the user in on the connection they belong to."""
        mark = live_mark(round_.entries.get(round_.seen().placement.owner), now)
        if observation.moving and mark is not None:
            raise Busy("This user's account on another connection is being created", retry_after=mark.wait(now))

    def _recover(self, entry: Entry, account: Account | None, observation: Observed) -> bool:
        """Settle an expired mark by what the account shows, unless the entry changed meanwhile; True: look again.

        It changed if another worker settled the same mark, or counted a failure to fetch the account.
        """
        applied = self._services.audit.applied(self._connection.id, [entry.applied_by])
        now = self._services.clock()
        settled, outcome = recover(entry, account, observation.desired, applied.get(entry.applied_by, {}), now)
        sent_for_this = entry.mark is not None and entry.mark.message_id == self._asked.message_id
        event = event_for(outcome, self._asked.by, now, self._origin if sent_for_this else None)
        self._edit(entry, settled, event)
        return True

    def _ask_keeper(self, entry: Entry, go_on: Callable[[Account | None], bool]) -> bool:
        """Fetch the account by its id, else the one that carries our externalId, and go on with it; True: look again.

        If Keeper does not tell, that is counted on the entry.
        """
        by_external_id = Lookup(key=entry.user_id, external_id=entry.user_id, user_names=())

        def found(accounts: Accounts) -> Account | None:
            account = accounts.get(entry.scim_id) if entry.scim_id else None
            return account or first_found(accounts, by_external_id)

        try:
            account = self._keeper.ask(found)
        except ProvisioningError as error:
            self._keeper.throttle(error)
            return self._fail(entry, self._keeper.judged(error, self._deadline), read=entry)
        return go_on(account)

    def _note(self, entry: Entry | None, decision: Decision) -> bool:
        """Nothing to send: keep what was noticed, and let no plan made before this look undo it."""
        if isinstance(decision, Fail):
            return self._fail(decision.noted, decision.error, read=entry, action=decision.action)
        # A plan made before this look may still be applied: then even "nothing to do" is recorded.
        in_flight = not self._run_id and bool(self._services.runs.open(self._connection.id))
        noted = decision.noted or (Entry(user_id=self._user_id) if in_flight else None)
        return (in_flight or noted != entry) and self._replace(entry, noted, anew=True)

    def _replace(
        self,
        entry: Entry | None,
        noted: Entry | None,
        event: Event | None = None,
        counts: Counts | None = None,
        *,
        anew: bool = False,
    ) -> bool:
        """Write an entry unless it changed since it was read; True: it did, look again.

        `anew`: this counts as a new decision even if nothing changed.
        """
        if entry is None and noted is not None and not as_it_was(self._services, self._connection):
            return True  # a configuration that was deleted meanwhile keeps nobody in mind
        if noted is not None and (anew or noted != entry):
            noted = replace(noted, version=noted.version + 1)
        return self._edit(entry, noted, event, counts)

    def _edit(
        self, read: Entry | None, becomes: Entry | None, event: Event | None = None, counts: Counts | None = None
    ) -> bool:
        """Write what becomes of the entry unless it changed since it was read; True: it did, look again."""
        events = [event] if event is not None else []

        def edit(entries: Mapping[str, Entry]) -> tuple[Edit, bool]:
            if entries.get(self._user_id) != read:
                return Edit(), True
            changed = {self._user_id: becomes} if becomes != read else {}
            counted = counts or count(events)
            progress = Progress(run_id=self._run_id, at=self._services.clock(), counts=counted)
            return Edit(entries=changed, events=events, progress=progress if self._run_id and counted else None), False

        return self._services.roster.commit(self._connection, [self._user_id], edit)

    def _hold(self, entry: Entry | None, attempt: Do) -> bool:
        """Send nothing: the next full run plans it again, and raises a plan; True: look again."""
        self._tell("Held by the volume guard, or by an administrator's decision: see Approvals.", failed=True)
        log.warning(
            "Change held by the volume guard",
            extra={"json_fields": {"alert": "change_held", "connection": self._connection.id}},
        )
        waits = replace(attempt.noted, pending=False) if entry is not None else None
        return self._replace(entry, waits, counts={"held": 1})

    def _act(self, entry: Entry | None, attempt: Do, observation: Observed) -> bool:
        """Mark, carry out, record; True: look again."""
        marked = MarkedChanges(
            self._services,
            self._connection,
            message_id=self._asked.message_id,
            by=self._asked.by,
            run_id=self._run_id,
            origin=self._origin,
        )
        until = self._services.clock() + self._services.timings.user_mark
        wanted = Intent.of(Change.decided(attempt, observation, self._services.new_id()), entry)
        changes, _ = marked.mark([wanted], until)
        if not changes or not as_it_was(self._services, self._connection):
            # Edited, turned off or deleted by somebody who could not see our mark: the next round heeds that.
            marked.unmark(changes)
            return True

        (outcome,) = carry_out(self._services, self._keeper, changes, self._deadline)
        if outcome.error is not None:
            outcome = replace(outcome, error=self._keeper.judged(outcome.error, self._deadline))
        again = bool(marked.record([outcome]))
        now = self._services.clock()
        event = event_for(outcome, self._asked.by, now, self._origin)
        self._tell.answered(outcome, event)
        if event is not None and event.source is not None and outcome.error is None:
            fields = {"connection": self._connection.id, "source": event.source.value, "latency_seconds": event.latency}
            log.info("A change reached Keeper", extra={"json_fields": fields})
        self._done = attempt.action if outcome.error is None else self._done
        if again:
            self._origin = None  # what is met from now on may be what the other message was about
        error, done = outcome.error, ended(outcome, now)
        # They were to leave a team first: what Keeper refuses does not keep them out.
        returns = attempt.action is Action.UPDATE and attempt.noted.status is Status.SUSPENDED and done
        if error is None or (observation.entitled and (returns or isinstance(error, Vanished))):
            return True  # whatever is left to do (a rename after a suspension, or to create it again) is seen then
        if isinstance(error, Transient | ReauthorizationRequired) and not done:
            raise error
        return again


def _as_read(entry: Entry | None) -> Entry | None:
    """Return the entry of somebody whom the directory showed just now: a failure to read them is over."""
    if entry is not None and entry.failure is not None and entry.failure.about == READING:
        return replace(entry, failure=None)
    return entry
