"""Send a plan out: notes and refusals to the roster, writes and looks to the queue, in batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from autoprovisioning.app.ports.roster import Edit, Progress
from autoprovisioning.app.services import Services
from autoprovisioning.domain.causes import Origin, Source
from autoprovisioning.domain.change_events import count, event_for
from autoprovisioning.domain.changes import Change, Outcome, PlannedChange, recorded, writes_nothing
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Entry, failed
from autoprovisioning.domain.events import Actor, Event, Stamp, failed_change
from autoprovisioning.domain.plan import Plan, Refusal
from autoprovisioning.domain.runs import Batch, Counts, Look, Run

CHANGES_A_BATCH = 500
BYTES_A_BATCH = 900_000  # of 1 MiB: attributes are estimated, the envelope is not counted
LOOKS_A_BATCH = 100
NOTES_A_COMMIT = 500
COMMITS_AT_ONCE = 4  # of adoptions


Notes = Mapping[str, tuple[Entry | None, Entry | None]]


def write_notes(services: Services, connection: Connection, plan: Plan) -> frozenset[str]:
    """Record observations that need no call to Keeper.

    An entry that changed since it was read is left alone; returns the users of those.
    """
    overtaken: set[str] = set()
    for chunk in _chunks(services.roster.as_stored(connection, plan.notes), NOTES_A_COMMIT):

        def edit(part: Sequence[str], entries: Mapping[str, Entry]) -> tuple[Edit, set[str]]:
            changed: dict[str, Entry | None] = {}
            for user_id in part:
                read, noted = plan.notes[user_id]
                if entries.get(user_id) == read:
                    version = read.version + 1 if read is not None else 1
                    changed[user_id] = replace(noted, version=version) if noted is not None else None
            return Edit(entries=changed), {*part} - changed.keys()

        overtaken.update(*services.roster.commit_in_parts(connection, chunk, edit))
    return frozenset(overtaken)


def write_refusals(services: Services, connection: Connection, run: Run, refusals: Sequence[Refusal]) -> None:
    """Record the failures that planning found."""
    by_user = {refusal.user_id: refusal for refusal in refusals}
    by = Actor(address=f"run {run.id}")
    for chunk in _chunks(services.roster.as_stored(connection, by_user), NOTES_A_COMMIT):
        ids = {user_id: services.new_id() for user_id in chunk}

        def edit(part: Sequence[str], entries: Mapping[str, Entry], ids: Mapping[str, str] = ids) -> tuple[Edit, None]:
            changed: dict[str, Entry | None] = {}
            events: list[Event] = []
            now = services.clock()  # many commits take minutes, and who follows the audit expects no event to be older
            for user_id in part:
                refusal, current = by_user[user_id], entries.get(user_id)
                if current is not None and (current.mark is not None or current.version != refusal.version):
                    continue
                noted = (
                    refusal.noted
                    or current
                    or Entry(user_id=user_id, version=refusal.version, email=refusal.email, in_scope=True)
                )
                failure = failed(noted.failure, refusal.error.code, str(refusal.error), refusal.about, now)
                changed[user_id] = replace(noted, failure=failure, pending=False, version=noted.version + 1)
                told = replace(noted, email=refusal.email)
                events.append(failed_change(Stamp(id=ids[user_id], at=now, by=by), told, refusal.action, failure))
            return Edit(
                entries=changed, events=events, progress=Progress(run_id=run.id, at=now, counts=count(events))
            ), None

        services.roster.commit_in_parts(connection, chunk, edit)


def adopt_right_ones(services: Services, connection: Connection, run: Run, plan: Plan) -> None:
    """Record the adoptions that need no write to Keeper, and take them out of the plan: they are done with that.

    Such an account carries its user's directory id as externalId, so nobody else may adopt it, and what else becomes of
    this user is compared with their entry. So it takes no mark, no claim and no batch. What was overtaken stays in the
    plan.
    """
    right = {change.user_id: change for change in plan.writes if _seems_right(change)}
    by = Actor(address=f"run {run.id}")
    origin = Origin(source=Source.RUN, since=services.clock())

    def adopt(chunk: Sequence[str]) -> list[tuple[Collection[str], Counts]]:
        ids = {user_id: services.new_id() for user_id in chunk}

        def edit(part: Sequence[str], entries: Mapping[str, Entry]) -> tuple[Edit, tuple[Collection[str], Counts]]:
            outcomes: list[Outcome] = []
            now = services.clock()
            for user_id in part:
                planned = right[user_id]
                entry = planned.known(entries.get(user_id))
                if planned.stands(entry):
                    change = Change.of(planned, ids[user_id], entry)
                    if change.adopts and writes_nothing(change):
                        outcomes.append(Outcome(change=change, scim_id=change.scim_id))
            events = [event for outcome in outcomes if (event := event_for(outcome, by, now, origin)) is not None]
            changed = {outcome.change.user_id: recorded(outcome.change.entry, outcome, now) for outcome in outcomes}
            return Edit(entries=changed, events=events), (changed.keys(), count(events, outcomes))

        return services.roster.commit_in_parts(connection, chunk, edit)

    adopted: set[str] = set()
    counts = Counter[str]()
    chunks = [*_chunks(services.roster.as_stored(connection, right), NOTES_A_COMMIT)]
    # Neighbours may have a document of the roster in common, and the run's record is one for all: those who write to
    # the same take turns in losing the race for it. So neighbours are not written at once, and the record at the end.
    try:
        for parts in services.executor.each(adopt, chunks[::2] + chunks[1::2], COMMITS_AT_ONCE):
            for user_ids, told in parts:
                adopted.update(user_ids)
                counts.update(told)
    finally:  # what was adopted counts, whatever became of the rest
        if counts:
            progress = Progress(run_id=run.id, at=services.clock(), counts=counts)
            services.roster.commit(connection, (), lambda _entries: (Edit(progress=progress), None))
    plan.writes = [change for change in plan.writes if change.user_id not in adopted]


def _seems_right(planned: PlannedChange) -> bool:
    """Say whether this may be an adoption of an account that has access, the externalId and every attribute already."""
    return planned.ours and not (planned.found or planned.locked or planned.suspended)


def keep_timers(
    services: Services, connection: Connection, held: Mapping[str, tuple[int | None, Entry]]
) -> dict[str, Entry]:
    """Record the timers of held users: a decision names when its trigger began, so that must not move.

    Held users also stop waiting for anything else, like a new token. `held` has the version that each entry was left
    at (None: nothing is to be written), and the entry as planned; one that changed since is left alone. Returns the
    entries as they are then.
    """
    kept: dict[str, Entry] = {}
    for chunk in _chunks(services.roster.as_stored(connection, held), NOTES_A_COMMIT):

        def edit(part: Sequence[str], entries: Mapping[str, Entry]) -> tuple[Edit, dict[str, Entry]]:
            changed: dict[str, Entry] = {}
            for user_id in part:
                entry, (version, noted) = entries.get(user_id), held[user_id]
                if entry is not None and entry.mark is None and entry.version == version:
                    changed[user_id] = replace(entry, timers=noted.timers, pending=False, version=entry.version + 1)
            return Edit(entries=changed), {**entries, **changed}

        for part in services.roster.commit_in_parts(connection, chunk, edit):
            kept |= part
    return kept


def batches(
    services: Services, connection: Connection, run: Run, writes: Sequence[PlannedChange], looks: Sequence[Look]
) -> list[Batch]:
    """Cut writes and looks, grouped as their entries are stored, into batches, numbered from 1.

    Neighbours, which may have a document of the roster in common, are apart in the order that is returned: applied at
    the same time, they would take turns in losing the race for it.
    """
    users = [*(change.user_id for change in writes), *(look.user_id for look in looks)]
    stored = services.roster.as_stored(connection, users)
    place = {user_id: number for number, user_id in enumerate(stored)}
    ordered = sorted(writes, key=lambda change: place[change.user_id])
    looks = sorted(looks, key=lambda look: place[look.user_id])
    cut: list[Batch] = []
    for chunk in _cut(ordered):
        cut.append(
            Batch(
                connection_id=connection.id,
                run_id=run.id,
                fence=run.fence,
                number=str(len(cut) + 1),
                changes=tuple(chunk),
            )
        )
    for start in range(0, len(looks), LOOKS_A_BATCH):
        part = tuple(looks[start : start + LOOKS_A_BATCH])
        cut.append(
            Batch(connection_id=connection.id, run_id=run.id, fence=run.fence, number=str(len(cut) + 1), looks=part)
        )
    return cut[::2] + cut[1::2]


def _cut(ordered: Iterable[PlannedChange]) -> Iterator[list[PlannedChange]]:
    chunk: list[PlannedChange] = []
    size = 0
    for change in ordered:
        more = weight(change)
        if chunk and (len(chunk) >= CHANGES_A_BATCH or size + more > BYTES_A_BATCH):
            yield chunk
            chunk, size = [], 0
        chunk.append(change)
        size += more
    if chunk:
        yield chunk


def weight(change: PlannedChange) -> int:
    """Estimate the bytes of a change as JSON; characters outside ASCII take up to four."""
    beside = (text for account in change.beside for text in (account.scim_id, account.user_name, "locked".ljust(50)))
    values = map(str, change.attributes.values())
    texts = (
        *change.attributes,
        *values,
        *change.aliases,
        change.email,
        *beside,
        *(change.teams or ()),
        *change.undecided,
    )
    return 280 + sum(len(text) * (1 if text.isascii() else 4) + 6 for text in texts)


def _chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
