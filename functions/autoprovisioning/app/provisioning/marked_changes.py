"""The protocol of every change: mark the entries, send, record what still holds its mark, look again where asked.

A mark keeps other workers from a user while a change is on its way, and tells whoever comes after a crash what may have
been sent. Who meets a live mark asks for another look by it. Nothing is written over an entry that somebody else
changed meanwhile: not by a mark, and not by an outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from autoprovisioning.app.ports.roster import Edit, Progress
from autoprovisioning.app.services import Services
from autoprovisioning.domain.causes import Origin
from autoprovisioning.domain.change_events import count, event_for
from autoprovisioning.domain.changes import Change, Outcome, ended, marked, recorded, unmarked
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import SeatsExhausted
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.runs import Counts
from autoprovisioning.domain.teams import names_of

NOTHING: Counts = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A change to be marked: `stands` says whether the entry is still what it was decided by, `change` makes it of it.

    The change that it makes has `id` for its own, and an entry that the mark is then put on.
    """

    id: str
    user_id: str
    stands: Callable[[Entry | None], bool]
    change: Callable[[Entry | None], Change]

    @classmethod
    def of(cls, change: Change, read: Entry | None) -> Intent:
        """Return it for a change that is given up if anything of the entry differs from what was read."""
        return cls(id=change.id, user_id=change.user_id, stands=lambda entry: entry == read, change=lambda _: change)


class MarkedChanges:
    """The changes that one message makes on one connection, for a run where it counts into one."""

    def __init__(
        self,
        services: Services,
        connection: Connection,
        *,
        message_id: str,
        by: Actor,
        run_id: str = "",
        origin: Origin | None = None,
    ) -> None:
        self._services = services
        self._connection = connection
        self._message_id = message_id
        self._by = by
        self._run_id = run_id
        self._origin = origin

    def mark(self, wanted: Iterable[Intent], until: datetime) -> tuple[list[Change], dict[str, Entry | None]]:
        """Mark the entries that still stand; return the changes marked, and the other users' entries as they are."""
        by_user = {each.user_id: each for each in wanted}

        def edit(
            part: Sequence[str], entries: Mapping[str, Entry]
        ) -> tuple[Edit, tuple[list[Change], dict[str, Entry | None]]]:
            holding: dict[str, Entry | None] = {}
            changes: list[Change] = []
            overtaken: dict[str, Entry | None] = {}
            for user_id in part:
                each, current = by_user[user_id], entries.get(user_id)
                lost = holds(each.id, current)  # the answer to our own write: who asked for a look since is heard
                if not lost and not each.stands(current):
                    overtaken[user_id] = current
                    continue
                change = marked(each.change(current), self._message_id, until)
                changes.append(change)
                if not lost:
                    holding[user_id] = change.entry
            return Edit(entries=holding), (changes, overtaken)

        parts = self._services.roster.commit_in_parts(self._connection, by_user, edit)
        overtaken = {user_id: entry for _, left in parts for user_id, entry in left.items()}
        return [change for changes, _ in parts for change in changes], overtaken

    def unmark(self, changes: Sequence[Change]) -> set[str]:
        """Take the marks away where they still stand: nothing was sent for them; returns as `record` does."""
        by_user = {change.user_id: change for change in changes}

        def edit(_part: Sequence[str], entries: Mapping[str, Entry]) -> tuple[Edit, set[str]]:
            held = {user_id: entry for user_id, entry in entries.items() if holds(by_user[user_id].id, entry)}
            return Edit(entries={user_id: unmarked(entry) for user_id, entry in held.items()}), _waiting(entries)

        return set[str]().union(*self._services.roster.commit_in_parts(self._connection, by_user, edit))

    def record(self, outcomes: Sequence[Outcome], more: Counts = NOTHING) -> set[str]:
        """Record the outcomes whose marks still stand: each with its event, and its count in the run, in one commit.

        `more` is counted into the run beside them. Returns of whom somebody asked for another look meanwhile: their
        entries say so until somebody looks, should the caller die before.
        """
        by_user = {outcome.change.user_id: outcome for outcome in outcomes}
        seats = any(isinstance(outcome.error, SeatsExhausted) for outcome in outcomes)
        moved = any(outcome.teams is not None for outcome in outcomes)
        names = names_of(self._services.teams.get(self._connection.id)) if moved else {}  # for the audit

        def edit(part: Sequence[str], entries: Mapping[str, Entry]) -> tuple[Edit, set[str]]:
            now = self._services.clock()  # of this commit: who follows the audit must not be overtaken by its events
            held = {user_id: entry for user_id, entry in entries.items() if holds(by_user[user_id].change.id, entry)}
            settled = [by_user[user_id] for user_id in held]
            told = (event_for(outcome, self._by, now, self._origin, names) for outcome in settled)
            events = list(filter(None, told))
            counts = count(events, settled)
            if outcomes[0].change.user_id in part:
                counts |= more  # once
            # A run whose changes only fail makes no progress.
            at = now if any(ended(outcome, now) for outcome in settled) else None
            progress = Progress(run_id=self._run_id, at=at, counts=counts, seats_exhausted=seats)
            return Edit(
                entries={user_id: recorded(entry, by_user[user_id], now) for user_id, entry in held.items()},
                events=events,
                progress=progress if self._run_id and (at is not None or counts) else None,
            ), _waiting(entries)

        return set[str]().union(*self._services.roster.commit_in_parts(self._connection, by_user, edit))


def _waiting(entries: Mapping[str, Entry]) -> set[str]:
    # Of those as well that hold no mark any more: it was taken away by a commit of ours whose answer was lost.
    return {user_id for user_id, entry in entries.items() if entry.again}


def holds(change_id: str, entry: Entry | None) -> bool:
    """Say whether an entry has the mark of this change."""
    return entry is not None and entry.mark is not None and entry.mark.change_id == change_id
