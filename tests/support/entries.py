"""What no entry of a roster may say, whatever happened."""

from __future__ import annotations

from autoprovisioning.domain.entry import Entry, Status


def contradiction(entry: Entry) -> str:
    """Say in what an entry contradicts itself, empty where it does not: no path would clear that, and looks repeat."""
    if not {*entry.teams}.isdisjoint(entry.asked):
        return "a membership is certain and in doubt"
    if entry.status is Status.NONE and entry.mark is None and entry.sent_teams:
        return "nobody without an account is in a team"
    if entry.deleted and entry.status is not Status.SUSPENDED:
        return "only a suspended account was deleted"
    if entry.status is Status.ACTIVE and entry.locked_at is not None:
        return "an active account is not locked"
    if entry.taken_over and entry.status is Status.NONE:
        return "no account was taken over"
    return ""
