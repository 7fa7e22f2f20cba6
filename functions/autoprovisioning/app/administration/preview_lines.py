"""Turn a plan into the lines of a preview, one per user, in the words of its page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from autoprovisioning.app.administration.preview_matches import Matched
from autoprovisioning.app.runs.close_run import beside_note
from autoprovisioning.domain.accounts import changed_attributes
from autoprovisioning.domain.adoption import DELETED_HAD_IT
from autoprovisioning.domain.change_events import told_beside
from autoprovisioning.domain.changes import PlannedChange
from autoprovisioning.domain.decision import Observed, Rules, decide
from autoprovisioning.domain.deprovisioning import NEVER, Due, due
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Action, Entry, Status
from autoprovisioning.domain.errors import AdoptionInDoubt
from autoprovisioning.domain.plan import Plan, PlannedLook, Refusal
from autoprovisioning.domain.requests import Line, Would
from autoprovisioning.domain.words import IN_PREVIEW

ORDER: Mapping[Would, int] = {would: number for number, would in enumerate(Would)}
WOULD: Mapping[Action, Would] = {
    Action.DELETE: Would.DELETE,
    Action.SUSPEND: Would.SUSPEND,
    Action.UNSUSPEND: Would.UNSUSPEND,
    Action.RECREATE: Would.CREATE,
    Action.UNLOCK: Would.UNSUSPEND,
}
UNPLANNED: Mapping[Action | None, str] = {
    Action.RECREATE: "the account vanished from Keeper",
    Action.UNLOCK: "locked in Keeper by someone else",
}
HELD = "; held for approval, or rejected before"


def provisioned(entry: Entry) -> bool:
    """Say whether the user has an account of ours that is not deleted."""
    return entry.status is not Status.NONE and not entry.deleted


@dataclass(slots=True, kw_only=True)
class Telling:
    """Turns a plan into lines, and takes it apart meanwhile, so that plan and lines need not both be kept.

    `unchanged` counts the accounts without a line, `unsettled` those that a worker must fetch before it is known
    what is to be done for them.
    """

    plan: Plan
    roster: Mapping[str, Entry]
    rules: Rules
    now: datetime
    matched: Matched
    held: frozenset[str]
    unchanged: int = 0
    unsettled: int = 0
    beside: int = 0
    passed_on: int = 0

    def about_adoptions(self) -> Iterator[str]:
        """Say what an administrator should know about the adoptions; after the lines."""
        if self.beside:
            yield beside_note(self.beside)
        if self.passed_on:
            yield f"To be confirmed although a recently deleted user had the address: {self.passed_on}"

    def listed(self) -> list[Line]:
        """Yield the lines in the order of the page."""
        return sorted(self._lines(), key=lambda line: (ORDER[line.would], line.email.casefold(), line.user_id))

    def _lines(self) -> Iterator[Line]:
        """Yield each user's action or failure, and each user's timer that runs on."""
        told: set[str] = set()
        for line in self._planned():
            told.add(line.user_id)
            yield line
        for entry in self.roster.values():
            text = self._timer(entry)
            if text:
                yield Line(would=Would.WAIT, user_id=entry.user_id, email=entry.email, detail=text)
            elif entry.user_id not in told and entry.user_id not in self.plan.looks:
                self.unchanged += provisioned(entry)

    def _planned(self) -> Iterator[Line]:
        while self.plan.writes:
            yield self._written(self.plan.writes.pop())
        for refusal in self.plan.refusals:
            yield self._refused(refusal)
        for user_id in self.plan.backing_off:
            entry = self.roster[user_id]
            yield Line(
                would=Would.FAIL,
                user_id=user_id,
                email=entry.email,
                detail=entry.failure.text if entry.failure is not None else "",
            )
        for user_id, planned in self.plan.looks.items():
            if planned.due is not None:
                email = self.roster[user_id].email
                why = UNPLANNED.get(planned.due.action) or IN_PREVIEW[planned.due.trigger]
                detail = why + (HELD if user_id in self.held else "")
                yield Line(would=WOULD[planned.due.action], user_id=user_id, email=email, detail=detail)

    def _written(self, change: PlannedChange) -> Line:
        held = HELD if change.user_id in self.held else ""
        if change.action is Action.UPDATE:
            changed = changed_attributes(self.roster[change.user_id].fingerprint, change.attributes)
            return Line(
                would=Would.UPDATE, user_id=change.user_id, email=change.email, detail=", ".join(changed) + held
            )
        if change.user_id in self.matched.refused:
            why = self.matched.refused[change.user_id]
            return Line(would=Would.FAIL, user_id=change.user_id, email=change.email, detail=why)
        if not change.scim_id:
            self.beside += bool(change.beside)
            scim_id = change.beside[0].scim_id if change.beside else ""
            return Line(
                would=Would.CREATE,
                user_id=change.user_id,
                email=change.email,
                detail=told_beside(change.beside) + held,
                scim_id=scim_id,
            )
        lock = " (stays locked)" if change.locked else " (reactivated)" if change.suspended else ""
        remarks = lock + (" (confirmed)" if change.confirmed else "")
        detail = self.matched.names[change.scim_id] + remarks
        return Line(
            would=Would.ADOPT, user_id=change.user_id, email=change.email, detail=detail, scim_id=change.scim_id
        )

    def _refused(self, refusal: Refusal) -> Line:
        error = refusal.error
        if not isinstance(error, AdoptionInDoubt):
            return Line(would=Would.FAIL, user_id=refusal.user_id, email=refusal.email, detail=str(error))
        self.passed_on += DELETED_HAD_IT in error.detail
        return Line(
            would=Would.DOUBT, user_id=refusal.user_id, email=refusal.email, detail=error.detail, scim_id=error.scim_id
        )

    def _timer(self, entry: Entry) -> str:
        """Say when a user for whom nothing is due yet is suspended or deleted."""
        planned = self.plan.looks.get(entry.user_id)
        if planned is None:
            _, noted = self.plan.notes.get(entry.user_id, (entry, entry))
        else:
            noted = self._looked_at(entry, planned)
        if noted is None or noted.deleted or noted.status not in (Status.ACTIVE, Status.SUSPENDED):
            return ""
        return _dates(due(self.rules.deprovisioning, noted.timers, self.rules.clock, self.now), noted, self.now)

    def _looked_at(self, entry: Entry, planned: PlannedLook) -> Entry | None:
        """Return the entry as it is after the look; None if that is not known, or something is done now."""
        if planned.due is not None:
            return None
        if entry.mark is not None:
            self.unsettled += 1
            return None
        gone = Observed(
            user_id=entry.user_id, presence=Presence.DELETED, in_scope=None, email=entry.email
        )  # listed nowhere: the look proves it
        return decide(entry, gone, self.rules, self.now).noted


def _dates(when: Due, entry: Entry, now: datetime) -> str:
    later = [
        f"{what} on {at.date().isoformat()} ({IN_PREVIEW[trigger]})"
        for what, at, trigger in (
            ("suspended", when.suspend if entry.status is Status.ACTIVE else NEVER, when.suspend_by),
            ("deleted", when.delete, when.delete_by),
        )
        if now < at < NEVER
    ]
    return ", ".join(later)
