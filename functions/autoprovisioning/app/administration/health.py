"""How a connection is doing: what an administrator, or whoever is on call, looks at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from autoprovisioning.app.ports.channels import Channel, Channels
from autoprovisioning.app.ports.reports import HeldPlan, HistoryReports, KeeperAnswers, Reports, WaitingUsers
from autoprovisioning.app.provisioning.volume_guard import spent
from autoprovisioning.app.runs.close_run import LEFT_BY_EDIT, OUTAGE
from autoprovisioning.app.services import ChangeSources, Services
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.full_runs import SCHEDULED, why_often
from autoprovisioning.domain.guard import WINDOW
from autoprovisioning.domain.holds import Standing
from autoprovisioning.domain.runs import ARCHIVED, Run, RunKind, RunState
from autoprovisioning.domain.sources import CALLED, NOTHING, SILENT, AllHeard, Feed, arrives, silent_beside
from autoprovisioning.domain.words import BEING_DELETED, at_time, counted, missing_unit

RUNS_READ = 50  # half a day of full runs, or two days of drift runs; fewer are read if a full one of the latest is done
FEW_RUNS = 8
RUN_LATE = timedelta(minutes=45)  # after it was due
DELETED_WITHIN = timedelta(minutes=30)
PENDING_LATE = timedelta(minutes=15)
FIRST_CHANNEL = timedelta(minutes=15)  # after turning on: renew_watch comes every 10 minutes
LONG_WAIT = timedelta(minutes=15)
FAILING_SHARE = 0.1
GRAVE = ("connection_paused", "no_successful_run", "run_not_done", "scope_unknown", "listing_incomplete")
FEWEST_CHANGES = 10  # below that a share says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """Something that is wrong, and how to fix it; `alert` names the alert that it raises.

    `page` is the connection's page where something can be done about it.
    """

    what: str
    mend: str
    alert: str = ""
    page: str = "health"

    @property
    def grave(self) -> bool:
        """Say whether leavers may keep access because of it, or nobody is provisioned at all."""
        return self.alert in GRAVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of a connection's work at `at`.

    `last_success` is the last full run that was completed, `running` the one being carried out now;
    `oldest_pending` is since when the oldest change has been waiting. `hour` and `day` say how Keeper answered.
    """

    at: datetime
    last_success: Run | None
    running: Run | None
    last_run: Run | None
    waiting: WaitingUsers
    oldest_pending: datetime | None
    channels: tuple[Channel, ...]
    live_until: datetime | None  # when the last channel that works expires
    hour: KeeperAnswers
    day: KeeperAnswers
    throttled_until: datetime | None
    plans_held: int  # that wait for an approval, while the connection is on
    decided: tuple[HeldPlan, ...]  # with live approvals, or rejections that keep somebody
    archived: int  # users who keep their access, since archived ones are not operated on; by the last successful run
    failing: int  # users whose last attempt failed
    last_ended: Run | None  # the last full run that is over, however it ended
    through: ChangeSources  # the sources of changes that this deployment has
    heard: AllHeard  # and when each was heard
    full_runs_often: str = ""  # why full runs are made more often than is set
    concerns: tuple[Concern, ...] = ()

    @property
    def kept(self) -> int:
        """How many changes a rejection keeps from being carried out."""
        return sum(plan.standings.get(Standing.REJECTED.value, 0) for plan in self.decided)

    @property
    def first_run(self) -> bool:
        """Whether the first full run is in progress, which writes all the roster."""
        return self.running is not None and self.last_success is None

    @property
    def last_entry(self) -> datetime | None:
        """When the last entry of the audit log arrived."""
        return self.heard.get(Feed.AUDIT_LOG, NOTHING).latest

    @property
    def last_notification(self) -> datetime | None:
        """When the directory notified last; known only if there is a log sink to compare it with."""
        return self.heard.get(Feed.NOTIFICATIONS, NOTHING).latest

    @property
    def sweep_every(self) -> timedelta:
        """How often members of groups are swept: as seldom as is set only while entries arrive."""
        return self.through.sweep_every if self.entries_arrive else CALLED

    @property
    def entries_arrive(self) -> bool:
        """Whether the audit log's entries arrive, as far as that can be told."""
        return self.through.audit_log and arrives(self.heard, self.at)

    @property
    def full_run_every(self) -> timedelta:
        """How often everybody is looked at: as seldom as is set only while nothing calls for more."""
        waits = self.through.full_runs_may_wait and not self.full_runs_often
        return self.through.full_run_every if waits else SCHEDULED

    @property
    def batches_left(self) -> int:
        """How many batches of the running reconciliation are still to be carried out."""
        return self.running.batches_left if self.running is not None else 0


def health(services: Services, reports: Reports, channels: Channels, connection: Connection) -> Health:
    """Look at the small documents; reads neither the roster nor the directory nor Keeper."""
    now = services.clock()
    full = _full_runs(reports, connection)
    running = next((run for run in full if run.state in (RunState.OBSERVING, RunState.PLANNED)), None)
    last_success = next((run for run in full if run.kind is RunKind.FULL and run.state is RunState.DONE), None)
    waiting = reports.waiting(connection.id)
    known = tuple(channel for channel in channels.all() if channel.address)
    proven = [at for channel in known if channel.proven and (at := channel.expires) is not None and at > now]
    seen = Health(
        at=now,
        last_success=last_success,
        running=running,
        last_run=full[0] if full else None,
        waiting=waiting,
        oldest_pending=min(
            filter(None, (waiting.oldest, running.started if running is not None else None)), default=None
        ),
        channels=known,
        live_until=max(proven, default=None),
        hour=reports.pace(connection.id, now - timedelta(hours=1)),
        day=reports.pace(connection.id, now - timedelta(hours=24)),
        throttled_until=connection.waits_until(now),
        plans_held=reports.plans_held(connection.id) if connection.state is State.ON else 0,
        decided=tuple(reports.decided(connection.id)),
        archived=_archived(full),
        failing=reports.failing_users(connection.id),
        last_ended=next((run for run in full if run.ended), None),
        through=services.through,
        heard=services.sources.all() if services.through.audit_log else {},
    )
    seen = replace(seen, full_runs_often=_why_often(services, seen, connection, full))
    return replace(seen, concerns=_judged(seen, connection) + _teams(services, connection))


def _why_often(services: Services, seen: Health, connection: Connection, full: Sequence[Run]) -> str:
    through, ended = seen.through, [run for run in full if run.ended]
    if not through.full_runs_may_wait:
        return ""
    held = seen.plans_held > 0 or any(plan.standings.get(Standing.APPROVED.value, 0) for plan in seen.decided)
    return why_often(
        connection,
        ended,
        seen.heard,
        seen.at,
        sweep_every=through.sweep_every,
        held=held,
        spent=spent(services, connection),
    )


def _archived(full: Sequence[Run]) -> int:
    """Return how many archived users the last run counted that certainly looked at everybody."""
    looked = (RunState.DONE, RunState.UNSETTLED)
    counts = (run.counts for run in full if run.kind is RunKind.FULL and run.state in looked)
    return next(counts, {}).get(ARCHIVED, 0)


def _full_runs(reports: HistoryReports, connection: Connection) -> list[Run]:
    """Return the latest full and drift runs, as far back as a full run that is done."""
    full: list[Run] = []
    for number in (FEW_RUNS, RUNS_READ):
        full = [run for run in reports.runs(connection.id, "", number).items if run.kind is not RunKind.SWEEP]
        if any(run.kind is RunKind.FULL and run.state is RunState.DONE for run in full):
            break
    return full


def _judged(seen: Health, connection: Connection) -> tuple[Concern, ...]:
    stopped = _stopped(connection, seen.at)
    concerns = [stopped] if stopped is not None else []
    if connection.unproven is not None:
        what = "Reauthorized although no known account was found: all new accounts wait for an approval."
        mend = "Approve all of them under Approvals, or reauthorize with a token of the node that has the accounts."
        concerns.append(Concern(what=what, mend=mend))
    concerns += _approved(seen.decided)
    if connection.state is State.ON:
        late = _late(seen, connection)
        concerns += _held(seen.plans_held)
        concerns += (late or _not_done(seen, connection)) + _slow(seen, connection) + _sources(seen, connection)
        concerns += _unread(seen, connection) + _keeper(seen) + _failing(seen.failing)
    return tuple(concerns)


def _stopped(connection: Connection, now: datetime) -> Concern | None:
    match connection.state:
        case State.PAUSED:
            why = connection.paused_reason or "Keeper refuses the access token"
            return Concern(
                what=f"Paused: {why}. Nothing is changed and nothing is lost.",
                mend="A super administrator must enter a new access token under App authorization > Reauthorize.",
                alert="connection_paused",
            )
        case State.OFF:
            return Concern(what="Autoprovisioning is off: no changes are made.", mend="Turn it on.")
        case State.DRAFT:
            return Concern(what="The set-up is not finished.", mend="Continue it, then turn autoprovisioning on.")
        case State.DELETING:
            late = connection.changed_at is not None and now - connection.changed_at >= DELETED_WITHIN
            mend = "It should have ended by now. The log of the function reconcile says what it waits for."
            return Concern(
                what=BEING_DELETED,
                mend=mend if late else "That takes seconds; with changes in flight, up to half an hour.",
            )
    return None


def _held(plans: int) -> list[Concern]:
    if not plans:
        return []
    what = "Changes are held as a plan: there are more than the limits allow, or only listings support them."
    return [
        Concern(
            what=what,
            mend="Approve or reject it under Approvals; everything else goes on.",
            alert="plan_held",
            page="holds",
        )
    ]


def _approved(plans: Sequence[HeldPlan]) -> list[Concern]:
    """Report valid approvals: until they are used up, they let changes exceed the limits."""
    count = sum(plan.standings.get(Standing.APPROVED.value, 0) for plan in plans)
    if not count:
        return []
    decided = max(plan.decided_at for plan in plans if plan.decided_at is not None)
    until = at_time(decided + WINDOW)
    what = f"Approved, but not carried out yet: {counted(count, 'change')}. The approval ends by {until}."
    return [
        Concern(what=what, mend="The next run carries them out; Withdraw under Approvals ends the approval at once.")
    ]


def _late(seen: Health, connection: Connection) -> list[Concern]:
    since = max(filter(None, (connection.changed_at, _ended(seen.last_success))), default=None)
    every = seen.through.full_run_every if seen.through.full_runs_may_wait else SCHEDULED
    if since is None or seen.at - since <= every + RUN_LATE:
        return []
    said = "; ".join(_said(seen))
    what = f"No full run has succeeded for {_length(seen.at - since)}. {said and f'The last one ended with: {said}'}"
    mend = "See the notes of the last runs, and the log of reconcile."
    return [Concern(what=what.strip(), mend=mend, alert="no_successful_run")]


def _not_done(seen: Health, connection: Connection) -> list[Concern]:
    """Report at once a full run that did not end as done; one from before the connection was turned on is over."""
    run = seen.last_ended
    if run is None or run.state is RunState.DONE or LEFT_BY_EDIT in run.notes:
        return []
    if connection.changed_at is not None and run.started < connection.changed_at:
        return []
    told = run.notes if run.state is RunState.REFUSED else [note for note in run.notes if note.startswith(OUTAGE)]
    why = f": {told[0].rstrip('.')}" if told else ""
    what = f"The last full run {_ended_as(run)}{why}{_who_waits(seen.waiting)}."
    mend = "The next one, within 15 minutes, tries again; Run now does so at once. If this persists, its notes say why."
    return [Concern(what=what, mend=mend, alert="run_not_done")]


def _ended_as(run: Run) -> str:
    match run.state:
        case RunState.REFUSED:
            return "could not be planned, so nothing was changed"
        case RunState.UNSETTLED:
            return f"left {run.unsettled:,} of {counted(sum(run.planned.values()), 'planned change')} unsettled"
        case _:
            return "was closed with work left"


def _who_waits(waiting: WaitingUsers) -> str:
    if not waiting.count:
        return ""
    since = f" since {at_time(waiting.oldest)}" if waiting.oldest is not None else ""
    return f": {counted(waiting.count, 'user waits', 'users wait')}{since}"


def _slow(seen: Health, connection: Connection) -> list[Concern]:
    concerns = []
    if seen.oldest_pending is not None and seen.at - seen.oldest_pending > PENDING_LATE:
        what = f"The oldest change has been waiting for {_length(seen.at - seen.oldest_pending)}."
        mend = "See Failures and Keeper's answers below; it is retried automatically."
        concerns.append(Concern(what=what, mend=mend, alert="pending_too_long"))
    turned_on = connection.changed_at
    if not seen.through.notifications:
        return concerns
    if seen.live_until is None and (turned_on is None or seen.at - turned_on > FIRST_CHANNEL):
        late = "wait for the next full run, up to 15 minutes"
        instead = "are told by the audit log alone" if seen.entries_arrive else late
        what = f"No notification channel is live: changes of users {instead}."
        mend = (
            "One is opened within 10 minutes. If this persists, whoever operates this deployment finds why in its log."
        )
        concerns.append(Concern(what=what, mend=mend, alert="no_live_channel"))
    return concerns


def _sources(seen: Health, connection: Connection) -> list[Concern]:
    """Report a source that is silent although another speaks, or for longer than a weekend."""
    if not seen.through.audit_log:
        return []
    entries, notifications = (seen.heard.get(each, NOTHING) for each in (Feed.AUDIT_LOG, Feed.NOTIFICATIONS))
    told_by_others = silent_beside(entries, notifications)
    since = max(filter(None, (entries.latest, connection.changed_at)), default=None)
    grave = told_by_others or (since is not None and seen.at - since > SILENT)
    if grave or entries.latest is None:
        return [_no_entries(entries.latest, told_by_others=told_by_others, grave=grave)]
    if seen.live_until is not None and silent_beside(notifications, entries):
        return [_no_notifications(notifications.latest)]
    return []


def _no_entries(latest: datetime | None, *, told_by_others: bool, grave: bool) -> Concern:
    last = f"has arrived since {at_time(latest)}" if latest else "has arrived yet"
    others = ", although the directory notifies of changes" if told_by_others else ""
    what = (
        f"No entry of Workspace's audit log {last}{others}: changes of groups are found by the sweep alone, which is "
        "made every five minutes meanwhile."
    )
    mend = (
        "See that the log is shared with Google Cloud (Admin console > Account > Account settings > Legal and "
        "compliance > Sharing options, as a super administrator). Whoever operates this deployment checks the sink."
    )
    return Concern(what=what, mend=mend, alert="source_silent" if grave else "")


def _no_notifications(latest: datetime | None) -> Concern:
    last = f"since {at_time(latest)}" if latest else "yet"
    what = (
        f"The directory has notified of nothing {last}, although the audit log reports changes of users, and a "
        "notification channel is live."
    )
    mend = (
        "Nothing is lost: entries of the audit log lead to the same. Whoever operates this deployment finds why in its "
        "log."
    )
    return Concern(what=what, mend=mend, alert="source_silent")


def _failing(users: int) -> list[Concern]:
    if not users:
        return []
    what = f"{counted(users, 'user fails', 'users fail')}: what was due for them is not done."
    mend = "Failures lists each with the reason, the fix, and the next attempt."
    return [Concern(what=what, mend=mend, alert="users_failing" if users >= FEWEST_CHANGES else "", page="failures")]


def _teams(services: Services, connection: Connection) -> tuple[Concern, ...]:
    """Report teams and memberships of which nothing is sent again before somebody has looked in Keeper."""
    choice = connection.settings.teams
    known = services.teams.get(connection.id).values() if choice.on and connection.state is State.ON else ()
    concerns = []
    lost, late = [team for team in known if team.given_up], [team for team in known if team.unsettled.late]
    if lost:
        what = f"Keeper gave no answer to the creation of {counted(len(lost), 'team')}, and none is sent again."
        mend = "Teams says what each may have left in Keeper, and tries it again."
        concerns.append(Concern(what=what, mend=mend, page="teams"))
    if late:
        people = counted(sum(team.unsettled.late for team in late), "membership")
        where, days = counted(len(late), "team"), counted(choice.pending_days, "day")
        what = f"Keeper has not shown {people} of {where} for {days}, and nothing is sent again."
        mend = (
            "Approve in Keeper what is pending, and see that invitations were accepted. If all of that is done, and "
            "they are not in the team, this node takes memberships with success and keeps none: put them in by hand."
        )
        concerns.append(Concern(what=what, mend=mend, page="teams"))
    return tuple(concerns)


def _unread(seen: Health, connection: Connection) -> list[Concern]:
    """Report what leaves the scope unknown: meanwhile nobody gains or loses access."""
    concerns = []
    for unit in connection.settings.scope.org_units:
        if not unit.listed:
            what = f"{missing_unit(unit)}: it is not known who is in scope, so nobody gains or loses access."
            mend = "Choose another organizational unit under Provisioning scope, or remove the one that is gone."
            concerns.append(Concern(what=what, mend=mend, alert="scope_unknown", page="scope"))
    if seen.last_success is not None and not seen.last_success.complete:
        what = (
            "The last run could not read the directory to its end, or Keeper, or found a listing empty: leavers may "
            "have kept access."
        )
        mend = "Its notes say what broke off or was empty, and what is waiting; the next run tries again."
        concerns.append(Concern(what=what, mend=mend, alert="listing_incomplete"))
    return concerns


def _keeper(seen: Health) -> list[Concern]:
    concerns = []
    if seen.throttled_until is not None:
        concerns.append(_throttled(seen.throttled_until, seen.at))
    concerns += _outage(seen)
    attempted, failed = seen.hour.attempted, seen.hour.came_to_nothing
    if attempted >= FEWEST_CHANGES and failed > FAILING_SHARE * attempted:
        unsent = f", {seen.hour.unsent} of them before anything was sent" if seen.hour.unsent else ""
        what = f"{failed} of {attempted} changes failed within the last hour{unsent}."
        concerns.append(
            Concern(what=what, mend="See Failures: each names the reason and the fix.", alert="failure_ratio")
        )
    return concerns


def _throttled(until: datetime, now: datetime) -> Concern:
    """Report a wait; a long one stops everything, leavers included, and is urgent."""
    if until - now <= LONG_WAIT:
        what = f"Keeper asked this connection to wait {(until - now).total_seconds():.0f} s more."
        mend = f"Changes resume automatically at {at_time(until)}; Run now ends the wait at once."
        return Concern(what=what, mend=mend, alert="keeper_throttling")
    what = (
        f"Urgent: Keeper asked this connection to wait, and nothing is changed until {at_time(until)}, suspensions "
        f"included. That is {_length(until - now)} more; no wait is longer than an hour, then Keeper is asked again."
    )
    mend = (
        "A super administrator can end the wait with Run now, or for one user with Provision now. "
        "If Keeper asks for it again, ask Keeper's support why."
    )
    return Concern(what=what, mend=mend, alert="keeper_throttling")


def _outage(seen: Health) -> list[Concern]:
    """Say why users wait: batches of the run in progress met an outage."""
    run = seen.running
    told = [note for note in run.notes if note.startswith(OUTAGE)] if run is not None else []
    if not told or not seen.waiting.count:
        return []
    what = f"{told[0].rstrip('.')}{_who_waits(seen.waiting)}."
    return [
        Concern(
            what=what, mend="It is retried automatically, and nothing is lost. If this persists, ask Keeper's support."
        )
    ]


def _ended(run: Run | None) -> datetime | None:
    return run.finished if run is not None else None


def _said(seen: Health) -> Sequence[str]:
    return seen.last_run.notes if seen.last_run is not None and seen.last_run.state is not RunState.DONE else ()


def _length(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
