"""A held plan as somebody reviews it before deciding: who is affected, why, of which units, and how large a share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from .entry import Status
from .guard import WINDOW, Kind, Member
from .holds import ASKED_AGAIN, DECIDED, OPEN, Hold, Standing, Verdict
from .locks import Lock
from .people import Line, Person, Roll, line_of
from .review import account_of, words_of
from .words import DONE, DUE_BECAUSE, KEPT, STANDINGS, buttons, counted, would

UNITS = 8  # that are told apart: of more, those above them are
UNLISTED = "unlisted"  # names the unit of people whom the last complete listing lacked
ADMINISTRATORS: Mapping[str, str] = {"yes": "Administrators", "unknown": "Not known whether administrators"}


class Affected(NamedTuple):
    """A change of the plan, what is decided about it, and whom it concerns; None for somebody who is on no list."""

    member: Member
    verdict: Verdict
    person: Person | None
    text: str  # what a search looks in: name and address, folded

    @property
    def cause(self) -> str:
        """Return why it is due; where nothing is taken away, what is done."""
        return self.member.cause or self.member.action

    @property
    def role(self) -> str:
        """Say whether they administer Workspace: a key of `ADMINISTRATORS`, or "no"."""
        told = self.person.administrator if self.person is not None else None
        return "unknown" if told is None else "yes" if told else "no"


class Share(NamedTuple):
    """Some of those affected: what names them in an address, what they are called, and how many they are."""

    key: str
    name: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which of those affected are meant; empty fields do not restrict. `administrators`: see `ADMINISTRATORS`."""

    search: str = ""
    cause: str = ""
    unit: str = ""
    standing: Standing | None = None
    administrators: str = ""

    @property
    def everybody(self) -> bool:
        """Say whether nobody is left out."""
        return self == _EVERYBODY

    @property
    def deciding(self) -> frozenset[Standing]:
        """Return the standings that a decision changes: what is decided already only if that is what is listed."""
        return frozenset({self.standing}) if self.standing in DECIDED else OPEN

    @property
    def withdrawing(self) -> frozenset[Standing]:
        """Return the standings that are taken back."""
        return frozenset({self.standing}) if self.standing in DECIDED else DECIDED


_EVERYBODY = Selection()


class Approval:
    """A plan joined with the people whom it concerns: counted, searched, and told what a decision does."""

    def __init__(self, hold: Hold, roll: Roll, locks: Iterable[Lock] = ()) -> None:
        """Go through the plan once; `locks` tell of accounts that nobody provisions."""
        self.hold = hold
        self._active = roll.lines.count(Status.ACTIVE)
        chosen = {lock.key: line_of(account_of(lock.account, administers=lock.administrator)) for lock in locks}
        by_id = {**roll.lines.by_id, **chosen} if chosen else roll.lines.by_id
        self.everybody = [_affected(each, verdict, by_id.get(each.resource)) for each, verdict in hold.each()]
        self.everybody.sort(key=lambda each: (not each.text, each.text))

    @cached_property
    def waiting(self) -> Sequence[Affected]:
        """Return those about whom nothing is decided."""
        return [each for each in self.everybody if each.verdict.standing in OPEN]

    @property
    def title(self) -> str:
        """Say what would happen, or what became of it."""
        return would(Counter(each.member.action for each in self.waiting)) if self.waiting else ended(self.hold)

    @property
    def share(self) -> str:
        """Say which share of those with access would lose it; empty where none would."""
        actions = (each for each in self.waiting if each.member.kind is Kind.TAKING)
        losing = sum(1 for each in actions if each.person is not None and each.person.status is Status.ACTIVE)
        if not losing or not self._active:
            return ""
        percent = 100 * losing / self._active
        shown = "less than 0.1" if percent < 0.1 else f"{percent:.1f}".removesuffix(".0")
        return f"{shown} percent of the {counted(self._active, 'person', 'people')} with access"

    def actions(self) -> int:
        """Count the kinds of changes that it has."""
        return len({each.member.action for each in self.everybody})

    def causes(self) -> list[Share]:
        """Count them by cause, most first."""
        return _groups((each.cause, DUE_BECAUSE[each.cause]) for each in self.everybody)

    def units(self) -> list[Share]:
        """Count them by organizational unit, most first; of many units those above them are counted."""
        return _groups((unit, UNIT_NAMES.get(unit, unit)) for unit in map(self._unit, self.everybody))

    def administrators(self) -> list[Share]:
        """Count those who administer Workspace, and those of whom no full run told whether they do."""
        found = Counter(each.role for each in self.everybody)
        return [Share(key, name, found[key]) for key, name in ADMINISTRATORS.items() if found[key]]

    def standings(self) -> list[Share]:
        """Count them by what became of them."""
        found = Counter(each.verdict.standing for each in self.everybody)
        return [Share(each.value, STANDINGS[each], found[each]) for each in Standing if found[each]]

    def found(self, wanted: Selection) -> Sequence[Affected]:
        """Return those who are meant, in the order of their names."""
        found: Iterable[Affected] = self.everybody
        if wanted.cause:
            found = (each for each in found if each.cause == wanted.cause)
        if wanted.unit:
            found = (each for each in found if self._unit(each) == wanted.unit)
        if wanted.standing is not None:
            found = (each for each in found if each.verdict.standing is wanted.standing)
        if wanted.administrators:
            found = (each for each in found if each.role == wanted.administrators)
        for word in words_of(wanted.search):
            found = [each for each in found if word in each.text or word == each.member.resource.casefold()]
        return list(found)

    def ends(self) -> tuple[datetime | None, datetime | None]:
        """Return when the last approval runs out, and when the first rejection is asked about again."""
        verdicts = {each.verdict for each in self.everybody}
        approved = [each.at + WINDOW for each in verdicts if each.standing is Standing.APPROVED and each.at]
        rejected = [each.at + ASKED_AGAIN for each in verdicts if each.standing is Standing.REJECTED and each.at]
        return max(approved, default=None), min(rejected, default=None)

    @cached_property
    def _depth(self) -> int:
        """How many parts of a unit's path tell units apart: as many as leave `UNITS` at most, and one in any case."""
        paths = [each.person.unit for each in self.everybody if each.person is not None and each.person.unit]
        depth = max((path.count("/") for path in {*paths}), default=1)
        while depth > 1 and len({_cut(path, depth) for path in {*paths}}) > UNITS:
            depth -= 1
        return depth

    def _unit(self, each: Affected) -> str:
        path = each.person.unit if each.person is not None else ""
        return _cut(path, self._depth) if path else UNLISTED


UNIT_NAMES: Mapping[str, str] = {"/": "Directly below the organization", UNLISTED: "Not in the last listing"}


def _affected(member: Member, verdict: Verdict, line: Line | None) -> Affected:
    if line is None:
        return Affected(member, verdict, None, "")
    return Affected(member, verdict, line.person, line.text.partition("\t")[0])


def _cut(path: str, depth: int) -> str:
    return "/".join(path.split("/")[: depth + 1])


def _groups(named: Iterable[tuple[str, str]]) -> list[Share]:
    counts = Counter(named)
    return [Share(key, name, number) for (key, name), number in sorted(counts.items(), key=lambda each: -each[1])]


def ended(hold: Hold) -> str:
    """Say what became of a plan about which nothing is to be decided."""
    parts = Counter(
        (DONE[member.action] if verdict.standing is Standing.DONE else STANDINGS[verdict.standing].lower())
        for member, verdict in hold.each()
    )
    told = ", ".join(f"{number:,} {what}" for what, number in parts.most_common())
    return told[:1].upper() + told[1:]


def approving(affected: Iterable[Affected]) -> str:
    """Say on a button what approving does: "Suspend 900 people"."""
    return ", ".join(buttons(Counter(each.member.action for each in affected)))


def keeping(affected: Iterable[Affected]) -> str:
    """Say on a button what rejecting does: "Keep their access"."""
    actions = {each.member.action for each in affected}
    return KEPT[min(actions)] if len(actions) == 1 else "Leave them as they are"
