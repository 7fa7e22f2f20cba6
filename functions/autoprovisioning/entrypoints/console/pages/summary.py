"""The settings of a connection in words, one line each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from autoprovisioning.app.services import Services
from autoprovisioning.domain import words
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Trigger
from autoprovisioning.domain.mapping import DEFAULT_ROWS
from autoprovisioning.domain.scope import Group, OrgUnit, Scope
from autoprovisioning.domain.settings import Settings
from autoprovisioning.domain.words import after, counted

_GONE = {True: "", False: " (no longer in the directory)"}


PREVIEWED = ("mapping", "scope", "deprovisioning", "choose-teams")  # pages whose edits are shown before they are saved


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One settings page: its address, its title, and what it says now."""

    page: str
    title: str
    lines: tuple[str, ...]


def summary(connection: Connection) -> list[Part]:
    """Return the parts in the order of the wizard."""
    limit = connection.settings.limit
    archived = (
        "treated as suspended" if connection.settings.archived_as_suspended else "left alone, their timers stand still"
    )
    return [
        Part(
            page="authorization",
            title="App authorization and endpoint URL",
            lines=(connection.settings.endpoint, "Access token: stored, never shown"),
        ),
        Part(page="mapping", title="Attribute mapping", lines=_mapping(connection)),
        Part(page="scope", title="Provisioning scope", lines=_scope(connection)),
        Part(
            page="deprovisioning",
            title="Deprovisioning",
            lines=(*(_policy(connection, trigger) for trigger in Trigger), f"Archived users: {archived}"),
        ),
        Part(
            page="limits",
            title="Name and limits",
            lines=(
                f"Held above {words.limited(limit)}",
                f"Changes in Keeper: {words.DRIFT_POLICY[connection.settings.repair_drift]}",
            ),
        ),
        Part(page="choose-teams", title="Teams", lines=(f"Groups: {words.teams_chosen(connection.settings.teams)}",)),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What one settings page would no longer say, and what it would say instead."""

    title: str
    gone: tuple[str, ...]
    new: tuple[str, ...]


def differences(services: Services, connection: Connection, wanted: Settings) -> list[Difference]:
    """Show how the wanted settings differ from the current ones."""
    groups = (group_named(services, connection, group.id) for group in wanted.scope.groups)
    units = units_named(services, connection, [unit.key for unit in wanted.scope.org_units])
    becoming = replace(
        connection,
        settings=replace(
            connection.settings,
            mapping=wanted.mapping,
            scope=Scope(groups=tuple(groups), org_units=units),
            deprovisioning=wanted.deprovisioning,
            teams=wanted.teams,
        ),
    )
    found = []
    for now, then in zip(_in_full(connection), _in_full(becoming), strict=True):
        gone, new = _without(now.lines, then.lines), _without(then.lines, now.lines)
        if gone or new:
            found.append(Difference(title=now.title, gone=gone, new=new))
    return found


def group_named(services: Services, connection: Connection, group_id: str) -> Group:
    """Return a group with its name and address: as in the settings, otherwise as in the directory."""
    chosen = (*connection.settings.scope.groups, *connection.settings.teams.groups)
    known = next((group for group in chosen if group.id == group_id), None)
    return (
        known or services.directory.group(group_id) or Group(id=group_id, email=group_id, name="Not in the directory")
    )


def units_named(services: Services, connection: Connection, keys: Sequence[str]) -> tuple[OrgUnit, ...]:
    """Return organizational units as in the scope, otherwise as in the directory; one named by its path keeps that."""
    known = {unit.key: unit for unit in connection.settings.scope.org_units}
    if any(key not in known and not key.startswith("/") for key in keys):
        known |= {unit.id: unit for unit in services.directory.org_units() if unit.id not in known}
    return tuple(known.get(key) or OrgUnit(id="", path=key) for key in keys)


def _in_full(connection: Connection) -> list[Part]:
    """Return what is previewed before it is saved, each row of the mapping separately."""
    rows = tuple(f"{row.target} from {row.source}" for row in connection.settings.mapping.rows)
    previewed = [part for part in summary(connection) if part.page in PREVIEWED]
    return [replace(part, lines=rows) if part.page == "mapping" else part for part in previewed]


def _without(lines: Iterable[str], others: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(line for line in lines if line not in others)


def _mapping(connection: Connection) -> tuple[str, ...]:
    rows = connection.settings.mapping.rows
    same = {(row.target, row.source) for row in rows} == {(row.target, row.source) for row in DEFAULT_ROWS}
    return (counted(len(rows), "attribute") + (", as Google's default" if same else ""),)


def _scope(connection: Connection) -> tuple[str, ...]:
    groups = tuple(f"Group {group.name or group.email} ({group.email})" for group in connection.settings.scope.groups)
    units = tuple(
        f"Organizational unit {unit.path}{_GONE[unit.listed]}" for unit in connection.settings.scope.org_units
    )
    return groups + units or ("Everybody in the organization",)


def _policy(connection: Connection, trigger: Trigger) -> str:
    delays = connection.settings.deprovisioning.of(trigger)
    told = [
        f"{verb} {after(days)}"
        for verb, days in (("suspend", delays.suspend_after), ("delete", delays.delete_after))
        if days is not None
    ]
    return f"{words.WHEN[trigger]}: {', '.join(told) or 'nothing'}"
