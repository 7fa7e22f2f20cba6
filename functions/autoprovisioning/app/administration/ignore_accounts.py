"""Ignore accounts that nobody provisions, each with a note: they stay as they are, and are counted no more."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from autoprovisioning.app.administration.find_connection import staying
from autoprovisioning.app.administration.find_report import existing_report
from autoprovisioning.app.services import Services
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.events import Actor, configured
from autoprovisioning.domain.texts import has_controls
from autoprovisioning.domain.unprovisioned import Ignored
from autoprovisioning.domain.words import counted

LONGEST_NOTE = 300
MOST_SAID = 1_000  # characters of a line of the audit
MOST_IGNORED = 1_000  # who has more than that is better off with another node, or a wider scope


def ignore(services: Services, connection_id: str, accounts: Collection[str], note: str, actor: Actor) -> None:
    """Ignore these accounts (SCIM ids) from now on, and say why.

    Raises:
        NotFound: there is no such connection, or no drift run has listed Keeper yet.
        BadInput: it names none, one that is not listed, or too many; or the note says nothing, or too much.
    """
    staying(services, connection_id)
    note = note.strip()
    if not note or len(note) > LONGEST_NOTE or has_controls(note):
        raise BadInput(
            "note", "it is empty, too long, or has control characters", f"Say why, in {LONGEST_NOTE} letters."
        )
    report = existing_report(services, connection_id)
    listed = {row.scim_id: row.user_name for row in report.accounts}
    _check(accounts, listed)
    stamp = services.stamp(actor)
    added = {each: Ignored(scim_id=each, note=note, by=actor.address, at=stamp.at) for each in accounts}

    def edit(known: Mapping[str, Ignored]) -> Mapping[str, Ignored]:
        wanted = {**known, **added}
        if len(wanted) > MOST_IGNORED:
            raise BadInput("accounts", f"more than {MOST_IGNORED} would be ignored", "Take over or lock some of them.")
        return wanted

    names = ", ".join(sorted(listed[each] for each in accounts))
    what = f"Ignores {counted(len(added), 'account')} that nobody provisions ({note}): {names}"
    services.unprovisioned.ignore(connection_id, edit, configured(stamp, what[:MOST_SAID]))


def ignore_no_more(services: Services, connection_id: str, accounts: Collection[str], actor: Actor) -> None:
    """Have these accounts counted again; raises NotFound, and BadInput if one of them is not ignored."""
    staying(services, connection_id)
    ignored = services.unprovisioned.ignored(connection_id)
    _check(accounts, ignored)
    number = counted(len({*accounts}), "account")
    what = f"No longer ignores {number} that nobody provisions: {', '.join(sorted(accounts))}"

    def edit(known: Mapping[str, Ignored]) -> Mapping[str, Ignored]:
        return {scim_id: each for scim_id, each in known.items() if scim_id not in accounts}

    services.unprovisioned.ignore(connection_id, edit, configured(services.stamp(actor), what[:MOST_SAID]))


def _check(accounts: Collection[str], known: Collection[str]) -> None:
    if not accounts:
        raise BadInput("accounts", "none is selected", "Choose from those listed.")
    unknown = {*accounts}.difference(known)
    if unknown:
        problem = f"not listed: {counted(len(unknown), 'account')} of those chosen"
        raise BadInput("accounts", problem, "Choose accounts from the list, which may have changed.")
