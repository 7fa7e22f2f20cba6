"""What an administrator looks at first: whether it works, and what needs somebody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from autoprovisioning.app.administration.edits import latest_edits
from autoprovisioning.app.administration.health import Concern, Health
from autoprovisioning.app.ports.reports import EventReports, FailureCause, HeldPlan, Reports
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.holds import OPEN, HoldState
from autoprovisioning.domain.teams import GroupTeam
from autoprovisioning.domain.words import FAILURES, MENDS, NOUNS, counted, state_in_full, would

SOON = timedelta(days=7)
PLANS = 5  # the newest ones, of any state, are looked through
EDITS_READ = 20  # events: among them are decisions, and turning on and off
SEATS = "seats_exhausted"
PARTS: Mapping[str, str] = {  # by how the audit's name of a setting begins: the page that edits it
    "endpoint": "authorization",
    "access token": "authorization",
    "mapping": "mapping",
    "scope": "scope",
    "deprovisioning": "deprovisioning",
    "archived": "deprovisioning",
    "name": "limits",
    "volume limit": "limits",
    "changes in Keeper": "limits",
    "PATCH": "limits",
    "teams": "choose-teams",
}


class Tone(StrEnum):
    """How well a connection does."""

    GOOD = "good"
    CALM = "calm"  # it is not meant to do anything
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether it works, in a sentence."""

    tone: Tone
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something that needs somebody, and the connection's page where it is dealt with.

    `number` is how many people or changes it is about, 0 where that is not counted; `causes` count them by cause.
    `would` is what approving would do.
    """

    tone: Tone
    what: str
    more: str
    page: str
    number: int = 0
    would: str = ""
    causes: tuple[FailureCause, ...] = ()


def verdict(connection: Connection, seen: Health, needs: Sequence[Need]) -> Verdict:
    """Say whether it works: the worst first, and never that all is well while Health is concerned."""
    if connection.state is State.ON and seen.concerns:
        grave = next((concern for concern in seen.concerns if concern.grave), None)
        if grave is not None:
            return Verdict(tone=Tone.BAD, said=grave.what)
        worst = next(iter(needs), None)
        if worst is not None and worst.page.startswith("holds"):
            return Verdict(tone=Tone.BAD, said=f"{worst.would or worst.what}. Nothing happens until you decide.")
        return Verdict(tone=Tone.WARN, said=f"{worst.what.rstrip('.')}." if worst else seen.concerns[0].what)
    tone = {State.ON: Tone.GOOD, State.PAUSED: Tone.BAD}.get(connection.state, Tone.CALM)
    return Verdict(tone=tone, said=state_in_full(connection, bool(seen.concerns)))


def needs(services: Services, reports: Reports, connection: Connection, seen: Health) -> tuple[Need, ...]:
    """Tell what needs somebody: Health's concerns, plans one by one, removals from teams, failing users by cause."""
    if connection.state not in (State.ON, State.PAUSED):
        return ()
    found = _approvals(reports, connection, seen.plans_held) if seen.plans_held else []
    found += [_told(concern) for concern in seen.concerns if concern.page not in ("holds", "failures")]
    if connection.settings.teams.followed:
        found += _removals(services.teams.get(connection.id).values())
    return (*found, *(_failing(reports.causes(connection.id)) if seen.failing else ()))


def _told(concern: Concern) -> Need:
    if concern.alert == "connection_paused":
        return Need(tone=Tone.BAD, what="A new access token is needed", more=concern.mend, page="reauthorize")
    tone = Tone.BAD if concern.grave else Tone.WARN
    return Need(tone=tone, what=concern.what, more=concern.mend, page=concern.page)


def _removals(teams: Iterable[GroupTeam]) -> list[Need]:
    """Tell of people who are not taken out of teams, since they are many at once."""
    held = [team.held for team in teams if team.held]
    if not held:
        return []
    people = sum(held)
    what = f"{counted(people, 'removal')} from {counted(len(held), 'team')} {'waits' if people == 1 else 'wait'}"
    more = "Many are to leave a team at once. Correct the group, or take them out."
    return [Need(tone=Tone.WARN, what=f"{what} for approval", more=more, page="teams?held=true", number=people)]


def _approvals(reports: Reports, connection: Connection, number: int) -> list[Need]:
    """Tell of the newest plans that wait one by one, of older ones how many there are."""
    plans = reports.holds(connection.id, "", PLANS).items
    found = [_approval(plan) for plan in plans if plan.state is HoldState.WAITING]
    older = number - len(found)
    if older > 0:
        what = f"{counted(older, 'older plan')} {'waits' if older == 1 else 'wait'} for approval"
        found.append(Need(tone=Tone.BAD, what=what, more="", page="holds"))
    return found


def _approval(plan: HeldPlan) -> Need:
    number = sum(plan.standings.get(standing.value, 0) for standing in OPEN)
    whole = sum(plan.counts.values())
    [(action, _), *others] = plan.counts.items() or [("", 0)]
    one, many = NOUNS.get(action, ("change", "changes")) if not others else ("change", "changes")
    number = number or whole
    would_do = would(plan.counts) if number == whole else ""
    what = f"{counted(number, one, many)} {'waits' if number == 1 else 'wait'} for approval"
    return Need(tone=Tone.BAD, what=what, more=plan.reason, page=f"holds/{plan.digest}", number=number, would=would_do)


def _failing(causes: Sequence[FailureCause]) -> list[Need]:
    """Tell of failing users; those for whom there is no seat wait for something that can be bought."""
    found = []
    for cause in causes:
        if cause.code == SEATS:
            what = f"{counted(cause.users, 'user waits', 'users wait')} for a seat in Keeper"
            page = f"failures?code={SEATS}"
            found.append(Need(tone=Tone.WARN, what=what, more=MENDS[SEATS], page=page, number=cause.users))
    others = tuple(cause for cause in causes if cause.code != SEATS)
    number = sum(cause.users for cause in others)
    if number:
        what = f"{counted(number, 'user fails', 'users fail')}: what was due for them is not done"
        [first, *rest] = others
        more = "" if rest else f"{FAILURES.get(first.code, first.code)}. {MENDS.get(first.code, '')}".strip()
        found.append(
            Need(tone=Tone.WARN, what=what, more=more, page="failures", number=number, causes=others if rest else ())
        )
    return found


def last_edits(reports: EventReports, connection: Connection) -> dict[str, Event]:
    """Return the last edit of each page of the settings, as far as it is among the latest."""
    found: dict[str, Event] = {}
    for event in latest_edits(reports, connection, EDITS_READ):
        for name in event.changed:
            page = next((page for start, page in PARTS.items() if name.startswith(start)), "")
            found.setdefault(page, event)
    return found
