"""The fields of the settings' forms: what is offered, what was typed, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from werkzeug.datastructures import MultiDict

from autoprovisioning.domain.deprovisioning import LONGEST_DAYS, WITHIN_24_HOURS, Delays, Deprovisioning
from autoprovisioning.domain.entry import Trigger
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.keeper import MANDATORY, PatchDialect
from autoprovisioning.domain.mapping import AttributeMapping, Row
from autoprovisioning.domain.scope import Scope
from autoprovisioning.domain.settings import VolumeLimit
from autoprovisioning.domain.teams import TeamChoice
from autoprovisioning.domain.words import after

T = TypeVar("T")
OTHER = "other"
NEVER = "never"
MOST_ROWS = 100
LONGEST_NUMBER = 20  # characters: any that is in range, and most of what is typed by mistake


def read_mapping(form: MultiDict[str, str]) -> AttributeMapping:
    """Return the rows as they are in the form; one without an attribute and without a field does not count."""
    mandatory = {*MANDATORY, *form.getlist("mandatory")}
    fields = zip(form.getlist("target"), form.getlist("source"), form.getlist("path"), strict=False)
    rows = [Row(target=target, source=path.strip() if source == OTHER else source) for target, source, path in fields]
    known = [
        Row(target=row.target, source=row.source, mandatory=row.target in mandatory)
        for row in rows
        if row.target or row.source
    ]
    return AttributeMapping(tuple(known[:MOST_ROWS]))


def read_deprovisioning(form: MultiDict[str, str]) -> Deprovisioning:
    """Return the policy; raises BadInput, naming the field that is not a number."""
    return Deprovisioning(
        app_off=_delays(form, Trigger.APP_OFF),
        suspended=_delays(form, Trigger.SUSPENDED),
        deleted=_delays(form, Trigger.DELETED),
    )


def _delays(form: MultiDict[str, str], trigger: Trigger) -> Delays:
    def days(part: str) -> int | None:
        name = f"{trigger.value}.{part}"
        return _days(form.get(name, NEVER), form.get(f"{name}_days", ""), trigger, part)

    return Delays(suspend_after=days("suspend_after"), delete_after=days("delete_after"))


def _days(choice: str, typed: str, trigger: Trigger, part: str) -> int | None:
    if choice == NEVER:
        return None
    text = typed.strip() if choice == OTHER else choice
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        mend = f"Enter a number of days, 1 to {LONGEST_DAYS}."
        raise BadInput(f"deprovisioning.{trigger.value}.{part}", "it is not a number of days", mend)
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """One drop-down of the Deprovisioning page, and the number beside it."""

    choice: str
    days: str = ""


def shown_delays(policy: Deprovisioning, form: MultiDict[str, str] | None) -> dict[str, Delay]:
    """Return each drop-down, by its name: as it was posted, otherwise as the policy says."""
    shown: dict[str, Delay] = {}
    for trigger in Trigger:
        delays = policy.of(trigger)
        for part, days in (("suspend_after", delays.suspend_after), ("delete_after", delays.delete_after)):
            name = f"{trigger.value}.{part}"
            if form is not None:
                shown[name] = Delay(choice=form.get(name, NEVER), days=form.get(f"{name}_days", ""))
            elif days is None:
                shown[name] = Delay(choice=NEVER)
            elif str(days) in DELAYS:
                shown[name] = Delay(choice=str(days))
            else:
                shown[name] = Delay(choice=OTHER, days=str(days))
    return shown


DELAYS: Mapping[str, str] = {str(days): after(days) for days in (WITHIN_24_HOURS, 1, 7, 21, 30)}


def read_limit(form: MultiDict[str, str]) -> VolumeLimit:
    """Return the volume limit; raises BadInput for what is not a number."""
    minimum, percent = form.get("minimum", "").strip(), form.get("percent", "").strip().replace(",", ".")
    return VolumeLimit(
        minimum=_number("limit.minimum", minimum, int, "Enter a number of users, for instance 10."),
        percent=_number("limit.percent", percent, float, "Enter a percentage, for instance 5."),
    )


def _number(where: str, text: str, read: Callable[[str], T], mend: str) -> T:
    try:
        if len(text) <= LONGEST_NUMBER:
            return read(text)
    except ValueError:
        pass
    raise BadInput(where, "it is not a number", mend)


def read_teams(form: MultiDict[str, str]) -> TeamChoice:
    """Return which groups become teams, by id or by pattern; raises BadInput for what is not a number."""
    most, days = (form.get(name, "").strip() for name in ("most", "pending_days"))
    return TeamChoice(
        groups=Scope.named(groups=dict.fromkeys(form.getlist("group"))).groups,
        patterns=_lines(form, "patterns"),
        exclusions=_lines(form, "exclusions"),
        role_prefix=form.get("role_prefix", "").strip(),
        roles=form.get("roles") == "yes",
        most=_number("teams.most", most, int, "Enter a number of teams, for instance 50."),
        empty_left=form.get("empty_left") == "yes",
        remove_suspended=form.get("remove_suspended") == "yes",
        pending_days=_number("teams.pending_days", days, int, "Enter a number of days, for instance 14."),
    )


def _lines(form: MultiDict[str, str], name: str) -> tuple[str, ...]:
    """Return what stands in a field of several lines, each once."""
    lines = form.get(name, "").splitlines()
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))


def read_dialect(form: MultiDict[str, str]) -> PatchDialect:
    """Return the spelling of PATCH; raises BadInput."""
    try:
        return PatchDialect(form.get("patch_dialect", ""))
    except ValueError:
        raise BadInput("patch_dialect", "it is not one of those offered", "Choose one from the list.") from None


def read_drift(form: MultiDict[str, str]) -> bool:
    """Say whether what somebody else changed in Keeper is repaired; raises BadInput."""
    if (chosen := form.get("drift", "")) not in ("repair", "report"):
        raise BadInput("repair_drift", "it is not one of those offered", "Choose one from the list.")
    return chosen == "repair"
