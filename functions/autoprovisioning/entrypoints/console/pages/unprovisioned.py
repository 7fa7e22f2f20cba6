"""Accounts that nobody provisions: whose they are, taking them over to deprovision them, and having them locked."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Response

from autoprovisioning.app.administration.ignore_accounts import LONGEST_NOTE, ignore, ignore_no_more
from autoprovisioning.app.administration.lock_accounts import MOST_AT_ONCE, choose, foresee, unlock
from autoprovisioning.app.administration.take_over import take_over
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import BadInput, Stale
from autoprovisioning.domain.locks import ENTITLED, latest_first, still_active
from autoprovisioning.domain.unprovisioned import Offer, Suggestion
from autoprovisioning.entrypoints.answers import told
from autoprovisioning.entrypoints.console.pages.frame import form, get, go, part_of, post, show_of
from autoprovisioning.entrypoints.console.routing import Call, existing

ROWS = MOST_AT_ONCE
DONE = {"ignore": "ignored", "again": "not-ignored", "unlock": "unlocking"}  # what the page says then
ONE = "/connections/<id:connection_id>/unprovisioned"


def show_unprovisioned(call: Call, connection_id: str) -> Response:
    """List them."""
    return _shown(call, connection_id)


def take(call: Call, connection_id: str) -> Response:
    """Take over selected accounts, or all that are offered together; ignore or lock some, or one no more."""
    connection, sent = existing(call, connection_id), form(call)
    (word, _, about), services = sent.get("do", "").partition(":"), call.parts.services
    accounts = sent.getlist("account")
    try:
        if word == "lock" and not about:
            return _foreseen(call, connection, accounts)
        if word == "lock":
            number = int(about) if about.isascii() and about.isdigit() and len(about) < 9 else 0
            hold = choose(services, connection.id, accounts, call.actor, number=number)
            return go(f"/connections/{connection.id}/holds/{hold.digest}", "chosen")
        if word == "unlock":
            unlock(services, connection.id, about, call.actor)
        elif word == "ignore":
            ignore(services, connection.id, accounts, sent.get("note", ""), call.actor)
        elif word == "again":
            ignore_no_more(services, connection.id, [about], call.actor)
        else:
            take_over(services, connection.id, None if word == "all" else accounts, call.actor)
    except (BadInput, Stale) as error:
        told(error)
        return _shown(call, connection_id, error)
    return go(f"/connections/{connection_id}/unprovisioned", DONE.get(word, "taken-over"))


def _foreseen(call: Call, connection: Connection, accounts: Sequence[str]) -> Response:
    """Show what locking these would do, before anything is chosen."""
    found = foresee(call.parts.services, connection.id, accounts)
    address = f"/connections/{connection.id}/unprovisioned"
    return show_of(
        call,
        connection,
        "unprovisioned_lock.html",
        crumbs=[(address, "Accounts nobody provisions"), (address, "Lock")],
        found=found,
        lockable=[each for each in found if not each.owner.entitled],
        shared=sum(each.account.suggestion is Suggestion.SHARED for each in found if not each.owner.entitled),
        because=ENTITLED,
    )


def _shown(call: Call, connection_id: str, error: BadInput | Stale | None = None) -> Response:
    connection = existing(call, connection_id)
    report = call.parts.services.unprovisioned.get(connection.id)
    ignored = call.parts.services.unprovisioned.ignored(connection.id)
    locks = call.parts.services.unprovisioned.locks(connection.id)
    accounts = report.accounts if report is not None else ()
    rows = still_active(report, ignored, locks) if report is not None else []
    part = part_of(call, rows, ROWS)
    return show_of(
        call,
        connection,
        "unprovisioned.html",
        400 if error is not None else 200,
        crumbs=[(f"/connections/{connection.id}/unprovisioned", "Accounts nobody provisions")],
        report=report,
        ignored=[(row, ignored[row.scim_id]) for row in accounts if row.scim_id in ignored],
        waiting={key for key, lock in locks.items() if lock.waits},
        locks=latest_first(locks),
        open_again={row.scim_id for row in rows},
        chosen=form(call).getlist("account"),
        note=form(call).get("note", ""),
        longest_note=LONGEST_NOTE,
        rows=part.rows,
        together=sum(row.offer is Offer.ALL for row in rows),
        number=part.number,
        pages=part.pages,
        error=error,
    )


ROUTES = (get(ONE, show_unprovisioned), post(ONE, take))
