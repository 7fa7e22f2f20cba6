"""Accounts that nobody provisions, in the API: whose they are, taking them over, and having them locked."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from flask import Response
from msgspec import Meta

from autoprovisioning.app.administration.ignore_accounts import LONGEST_NOTE, MOST_IGNORED, ignore, ignore_no_more
from autoprovisioning.app.administration.lock_accounts import MOST_AT_ONCE, choose, foresee, unlock
from autoprovisioning.app.administration.take_over import take_over
from autoprovisioning.domain import locks, unprovisioned
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.locks import latest_first
from autoprovisioning.domain.unprovisioned import By, Offer, Suggestion
from autoprovisioning.domain.words import SUGGESTED
from autoprovisioning.entrypoints.console.api.models import Model, Nothing, Paging
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer, download
from autoprovisioning.entrypoints.console.export import export
from autoprovisioning.entrypoints.console.routing import Call, existing

HEADER = (
    "account",
    "scim id",
    "owner id",
    "owner e-mail",
    "in the directory",
    "since",
    "evidence",
    "suggestion",
    "found",
    "last seen",
    "ignored because",
    "ignored by",
)


LOCK_HEADER = (
    "account",
    "scim id",
    "chosen by",
    "chosen at",
    "approved by",
    "locked at",
    "not locked because",
    "unlock asked by",
)


class Ignored(Model):
    """Why an account stays as it is, by whose word, and since when."""

    note: str
    by: str
    at: datetime


class Unprovisioned(Model):
    """An active account that no roster entry holds, and its owner, whose id is empty if unknown.

    `since` is when the owner left, `found` when the account was first met, null where that is not known; `suggestion`
    is what it probably is.
    """

    scim_id: str
    user_name: str
    external_id: str
    by: By
    offer: Offer
    user_id: str
    email: str
    presence: Presence
    since: datetime | None
    found: datetime | None
    suggestion: Suggestion
    ignored: Ignored | None


class UnprovisionedAccounts(Model):
    """A page of the last drift run's list; `at` is null if Keeper was not listed yet."""

    at: datetime | None
    total: int
    items: list[Unprovisioned]
    cursor: str


class Accounts(Model):
    """Which accounts are taken over: SCIM ids of the list, or all that it offers together."""

    accounts: list[str] | None = None
    all: bool = False


class Ignore(Model):
    """Which accounts are ignored from now on, by their SCIM ids, and why."""

    accounts: Annotated[list[Annotated[str, Meta(max_length=1_000)]], Meta(min_length=1, max_length=MOST_IGNORED)]
    note: Annotated[str, Meta(min_length=1, max_length=LONGEST_NOTE)]


class StopIgnoring(Model):
    """Which accounts are counted again."""

    accounts: Annotated[list[Annotated[str, Meta(max_length=1_000)]], Meta(min_length=1, max_length=MOST_IGNORED)]


class Lockable(Model):
    """Which accounts are to be locked, by their SCIM ids."""

    accounts: Annotated[list[Annotated[str, Meta(max_length=1_000)]], Meta(min_length=1, max_length=MOST_AT_ONCE)]


class Unlockable(Model):
    """Which account is to be unlocked, by its SCIM id."""

    account: Annotated[str, Meta(min_length=1, max_length=1_000)]


class WouldLock(Model):
    """An account that would be locked, unless the directory entitles its owner: null where it does not tell.

    `users` are the addresses of those whose id or address it carries, an alias included; `administrator` says whether
    one of them administers Workspace, null where that is not known.
    """

    scim_id: str
    user_name: str
    suggestion: Suggestion
    users: list[str]
    entitled: bool | None
    administrator: bool | None


class WouldLockThese(Model):
    """What locking accounts would do; nothing was done."""

    items: list[WouldLock]


class Chosen(Model):
    """The held plan in which the accounts wait for approval."""

    digest: str


class Lock(Model):
    """An account that an administrator chose to have locked, and what became of it.

    It waits for a decision, or for the run that follows, while it has neither `locked_at` nor `ended`, which says why
    it was not locked after all. `unlock_by` is who asked to undo it.
    """

    scim_id: str
    user_name: str
    by: str
    at: datetime
    approved_by: str
    locked_at: datetime | None
    ended: str
    unlock_by: str


class Locks(Model):
    """A page of the accounts that were chosen to be locked, the latest first."""

    total: int
    items: list[Lock]
    cursor: str


class TakenOver(Model):
    """How many are on the roster now; a run follows."""

    taken_over: int


def list_unprovisioned(call: Call, query: Paging, connection_id: str) -> Response:
    """List them."""
    report = call.parts.services.unprovisioned.get(existing(call, connection_id).id)
    rows = report.accounts if report is not None else ()
    page, following = query.part(rows, len(rows))
    at = report.at if report is not None else None
    ignored = call.parts.services.unprovisioned.ignored(connection_id)
    items = [_told(row, ignored.get(row.scim_id)) for row in page]
    return answer(UnprovisionedAccounts(at=at, total=len(rows), items=items, cursor=following))


def take(call: Call, body: Accounts, connection_id: str) -> Response:
    """Take accounts over."""
    if body.all is (body.accounts is not None):
        raise BadInput("accounts", "it must have either accounts or all", 'Send {"accounts": [...]} or {"all": true}.')
    connection = existing(call, connection_id)
    return answer(TakenOver(taken_over=take_over(call.parts.services, connection.id, body.accounts, call.actor)))


def ignore_some(call: Call, body: Ignore, connection_id: str) -> Response:
    """Ignore accounts."""
    ignore(call.parts.services, existing(call, connection_id).id, body.accounts, body.note, call.actor)
    return answer(Nothing())


def stop_ignoring(call: Call, body: StopIgnoring, connection_id: str) -> Response:
    """Count accounts again."""
    ignore_no_more(call.parts.services, existing(call, connection_id).id, body.accounts, call.actor)
    return answer(Nothing())


def foresee_locks(call: Call, body: Lockable, connection_id: str) -> Response:
    """Say what locking them would do."""
    found = foresee(call.parts.services, existing(call, connection_id).id, body.accounts)
    return answer(WouldLockThese(items=[_would(each.account, each.owner) for each in found]))


def lock(call: Call, body: Lockable, connection_id: str) -> Response:
    """Have them stand in a held plan."""
    hold = choose(call.parts.services, existing(call, connection_id).id, body.accounts, call.actor)
    return answer(Chosen(digest=hold.digest))


def undo_lock(call: Call, body: Unlockable, connection_id: str) -> Response:
    """Have one unlocked again."""
    unlock(call.parts.services, existing(call, connection_id).id, body.account, call.actor)
    return answer(Nothing())


def list_locks(call: Call, query: Paging, connection_id: str) -> Response:
    """List those chosen."""
    found = latest_first(call.parts.services.unprovisioned.locks(existing(call, connection_id).id))
    page, following = query.part(found, len(found))
    return answer(Locks(total=len(found), items=[_lock(each) for each in page], cursor=following))


def export_locks(call: Call, connection_id: str) -> Response:
    """Download those chosen."""
    found = latest_first(call.parts.services.unprovisioned.locks(existing(call, connection_id).id))
    rows = (
        (
            each.account.user_name,
            each.key,
            each.by,
            each.at.isoformat(),
            each.approved_by,
            each.locked_at.isoformat() if each.locked_at is not None else "",
            each.ended,
            each.unlock_by,
        )
        for each in found
    )
    return export(f"locks-{connection_id}.csv", LOCK_HEADER, rows)


def _would(account: unprovisioned.Unprovisioned, owner: locks.Owner) -> WouldLock:
    return WouldLock(
        scim_id=account.scim_id,
        user_name=account.user_name,
        suggestion=account.suggestion,
        users=[user.primary_email or user.id for user in owner.users],
        entitled=owner.entitled,
        administrator=owner.administrator,
    )


def _lock(each: locks.Lock) -> Lock:
    return Lock(
        scim_id=each.key,
        user_name=each.account.user_name,
        by=each.by,
        at=each.at,
        approved_by=each.approved_by,
        locked_at=each.locked_at,
        ended=each.ended,
        unlock_by=each.unlock_by,
    )


def export_unprovisioned(call: Call, connection_id: str) -> Response:
    """Download them."""
    report = call.parts.services.unprovisioned.get(existing(call, connection_id).id)
    ignored = call.parts.services.unprovisioned.ignored(connection_id)
    rows = report.accounts if report is not None else ()
    at = report.at.isoformat() if report is not None else ""
    return export(
        f"accounts-{connection_id}.csv", HEADER, (_exported(row, ignored.get(row.scim_id), at) for row in rows)
    )


def _exported(row: unprovisioned.Unprovisioned, ignored: unprovisioned.Ignored | None, at: str) -> tuple[object, ...]:
    owner = row.user_id, row.email, row.presence.value, row.since.isoformat() if row.since else "", row.by.value
    found = row.found.isoformat() if row.found else ""
    why = (ignored.note, ignored.by) if ignored is not None else ("", "")
    return (row.user_name, row.scim_id, *owner, SUGGESTED[row.suggestion][0], found, at, *why)


def _told(row: unprovisioned.Unprovisioned, ignored: unprovisioned.Ignored | None) -> Unprovisioned:
    return Unprovisioned(
        scim_id=row.scim_id,
        user_name=row.user_name,
        external_id=row.external_id,
        by=row.by,
        offer=row.offer,
        user_id=row.user_id,
        email=row.email,
        presence=row.presence,
        since=row.since,
        found=row.found,
        suggestion=row.suggestion,
        ignored=Ignored(note=ignored.note, by=ignored.by, at=ignored.at) if ignored is not None else None,
    )


_ALL = "/connections/<id:connection_id>/unprovisioned"
OPERATIONS = (
    Operation(
        name="listUnprovisionedAccounts",
        method="GET",
        path=_ALL,
        what="List the active accounts in Keeper that nobody provisions, as the last drift run found them",
        act=list_unprovisioned,
        answers={200: Answers(what="A page of them", model=UnprovisionedAccounts)},
        query=Paging,
    ),
    Operation(
        name="exportUnprovisionedAccounts",
        method="GET",
        path=f"{_ALL}.csv",
        what="Download that list",
        act=export_unprovisioned,
        answers=download("All of it"),
    ),
    Operation(
        name="ignoreAccounts",
        method="POST",
        path=f"{_ALL}/ignore",
        what="Ignore accounts: they stay as they are, and are counted no more",
        act=ignore_some,
        answers={200: Answers(what="They are ignored", model=Nothing)},
        body=Ignore,
    ),
    Operation(
        name="stopIgnoringAccounts",
        method="POST",
        path=f"{_ALL}/stop-ignoring",
        what="Count accounts again that were ignored",
        act=stop_ignoring,
        answers={200: Answers(what="They are counted again", model=Nothing)},
        body=StopIgnoring,
    ),
    Operation(
        name="takeOverAccounts",
        method="POST",
        path=f"{_ALL}/take-over",
        what="Take over accounts, to deprovision them with their owners; a run follows",
        act=take,
        answers={200: Answers(what="How many", model=TakenOver)},
        body=Accounts,
        refusals=(409,),
    ),
    Operation(
        name="listLockedAccounts",
        method="GET",
        path=f"{_ALL}/locks",
        what="List the accounts that nobody provisions and that were chosen to be locked, with what became of each",
        act=list_locks,
        answers={200: Answers(what="A page of them", model=Locks)},
        query=Paging,
    ),
    Operation(
        name="exportLockedAccounts",
        method="GET",
        path=f"{_ALL}/locks.csv",
        what="Download that list",
        act=export_locks,
        answers=download("All of it"),
    ),
    Operation(
        name="foreseeLocks",
        method="POST",
        path=f"{_ALL}/foresee-locks",
        what="Say what locking accounts would do, by what the directory says now; nothing is done",
        act=foresee_locks,
        answers={200: Answers(what="What would be done", model=WouldLockThese)},
        body=Lockable,
        refusals=(409,),
    ),
    Operation(
        name="lockAccounts",
        method="POST",
        path=f"{_ALL}/lock",
        what="Have accounts wait in a held plan, to be locked once that is approved",
        act=lock,
        answers={200: Answers(what="The held plan", model=Chosen)},
        body=Lockable,
        refusals=(409,),
    ),
    Operation(
        name="unlockAccount",
        method="POST",
        path=f"{_ALL}/unlock",
        what="Unlock an account that was locked so; a run follows",
        act=undo_lock,
        answers={200: Answers(what="It is requested", model=Nothing)},
        body=Unlockable,
        refusals=(409,),
    ),
)
