"""Accounts that nobody provisions, in the API: whose they are, and taking them over to deprovision them."""

from __future__ import annotations

from datetime import datetime

from flask import Response

from autoprovisioning.app.administration.take_over import take_over
from autoprovisioning.domain import unprovisioned
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.unprovisioned import By, Offer
from autoprovisioning.entrypoints.console.api.models import Model, Paging
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer
from autoprovisioning.entrypoints.console.routing import Call, existing


class Unprovisioned(Model):
    """An active account that no roster entry holds, and its owner, whose id is empty if unknown."""

    scim_id: str
    user_name: str
    external_id: str
    by: By
    offer: Offer
    user_id: str
    email: str
    presence: Presence
    since: datetime | None


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


class TakenOver(Model):
    """How many are on the roster now; a run follows."""

    taken_over: int


def list_unprovisioned(call: Call, query: Paging, connection_id: str) -> Response:
    """List them."""
    report = call.parts.services.unprovisioned.get(existing(call, connection_id).id)
    rows = report.accounts if report is not None else ()
    page, following = query.part(rows, len(rows))
    at = report.at if report is not None else None
    return answer(UnprovisionedAccounts(at=at, total=len(rows), items=list(map(_told, page)), cursor=following))


def take(call: Call, body: Accounts, connection_id: str) -> Response:
    """Take accounts over."""
    if body.all is (body.accounts is not None):
        raise BadInput("accounts", "it must have either accounts or all", 'Send {"accounts": [...]} or {"all": true}.')
    connection = existing(call, connection_id)
    return answer(TakenOver(taken_over=take_over(call.parts.services, connection.id, body.accounts, call.actor)))


def _told(row: unprovisioned.Unprovisioned) -> Unprovisioned:
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
        name="takeOverAccounts",
        method="POST",
        path=f"{_ALL}/take-over",
        what="Take over accounts, to deprovision them with their owners; a run follows",
        act=take,
        answers={200: Answers(what="How many", model=TakenOver)},
        body=Accounts,
        refusals=(409,),
    ),
)
