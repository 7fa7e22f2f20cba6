"""What somebody else changed in Keeper, as a drift run found it before anything was repaired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from .accounts import Account, Value
from .comparison import aligned
from .entry import ACCESS, ACCOUNT, EXTERNAL_ID, GROUPS, Action, Entry
from .keeper_listing import LOCK
from .memberships import named
from .plan import Plan

KEPT = timedelta(days=90)  # as long as the records of runs
MOST_KEPT = 1_000  # of a connection; the notes of runs count the others
LONGEST_VALUE = 200  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperChange:
    """An account that was not as we left it: whose it is, what differed, and what was to be done about it.

    `found` has what Keeper showed, by attribute ("active" for access), `before` what we had written, as far as that was
    known. `repair` is None where the run planned nothing for the user.
    """

    user_id: str
    email: str
    scim_id: str
    at: datetime
    run_id: str
    gone: bool = False  # the account is not in Keeper any more
    found: Mapping[str, Value] = field(default_factory=dict)
    before: Mapping[str, Value] = field(default_factory=dict)
    repair: Action | None = None


def keeper_changes(
    plan: Plan,
    roster: Mapping[str, Entry],
    listed: Mapping[str, Account],
    run_id: str,
    team_names: Mapping[str, str] = MappingProxyType({}),
) -> list[KeeperChange]:
    """Return what a plan found changed; `roster` is as it was read, `listed` is Keeper's own listing by SCIM id."""
    written = {change.user_id: change for change in plan.writes}
    changes = []
    for user_id, names in plan.drifted.items():
        entry, write, look = roster[user_id], written.get(user_id), plan.looks.get(user_id)
        found, before = _values(names, entry, listed.get(entry.scim_id), plan.wrote[user_id], team_names)
        change = KeeperChange(
            user_id=user_id,
            email=entry.email,
            scim_id=entry.scim_id,
            at=plan.now,
            run_id=run_id,
            gone=ACCOUNT in names,
            found=found,
            before=before,
            repair=write.action if write is not None else look.action if look is not None else None,
        )
        changes.append(change)
    return sorted(changes, key=lambda change: change.email)


def _values(
    names: Iterable[str],
    entry: Entry,
    account: Account | None,
    wrote: Mapping[str, Value],
    team_names: Mapping[str, str],
) -> tuple[Mapping[str, Value], Mapping[str, Value]]:
    """Return the values found and those before, by the names of an entry's `drift`."""
    found: dict[str, Value] = {}
    before: dict[str, Value] = {}
    if account is None:
        return found, before
    shown = aligned(account, dict.fromkeys(names))
    for name in names:
        if name in (ACCESS, LOCK):
            found[ACCESS], before[ACCESS] = account.active, not account.active
        elif name == EXTERNAL_ID:
            found[name], before[name] = account.external_id, entry.user_id
        elif name == GROUPS:
            had = {*entry.teams} - {each.team_id for each in entry.unseen}
            found[name], before[name] = (
                _short(", ".join(named(teams, team_names))) for teams in (had.intersection(account.teams or ()), had)
            )
        else:
            found[name] = _short(shown[name])
            if name in wrote:
                before[name] = _short(wrote[name])
    return found, before


def _short(value: Value) -> Value:
    return f"{value[:LONGEST_VALUE]}…" if isinstance(value, str) and len(value) > LONGEST_VALUE else value


def unknown(changes: Iterable[KeeperChange], known: Iterable[KeeperChange]) -> list[KeeperChange]:
    """Return those that differ from the last one known of their user: what nobody repairs is found every hour."""
    last: dict[str, KeeperChange] = {}
    for change in known:
        last.setdefault(change.user_id, change)
    return [
        change
        for change in changes
        if (before := last.get(change.user_id)) is None
        or (before.scim_id, before.gone, before.found) != (change.scim_id, change.gone, change.found)
    ]


def with_newer(known: Iterable[KeeperChange], newer: Iterable[KeeperChange], now: datetime) -> tuple[KeeperChange, ...]:
    """Return those that are kept, newest first."""
    return tuple(change for change in (*newer, *known) if now - change.at < KEPT)[:MOST_KEPT]
