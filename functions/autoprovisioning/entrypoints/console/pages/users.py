"""Why a user has the access that they have, and what Keeper has of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from flask import Response

from autoprovisioning.app.administration import requests
from autoprovisioning.app.administration.explain import MappedValue, explain, mapped_values
from autoprovisioning.app.administration.inquire import inquire
from autoprovisioning.app.provisioning.read_user import entry_of
from autoprovisioning.domain.accounts import Account, Value
from autoprovisioning.domain.comparison import in_step
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import BadInput, NotFound, ProvisioningError
from autoprovisioning.domain.requests import INQUIRY, InquiryKind
from autoprovisioning.domain.sentences import plan_of, sentence
from autoprovisioning.entrypoints.answers import told
from autoprovisioning.entrypoints.console.pages.activity import changes
from autoprovisioning.entrypoints.console.pages.frame import form, get, go, post, show_of
from autoprovisioning.entrypoints.console.routing import Call, existing

ONE = "/connections/<id:connection_id>/users"
FOLLOWED = timedelta(minutes=3)  # longer than a worker may take


def why(call: Call, connection_id: str, user_id: str) -> Response:
    """Explain the state of one user."""
    connection = existing(call, connection_id)
    parts = call.parts
    explained = explain(parts.services, parts.reports, connection, user_id)
    return show_of(
        call,
        connection,
        "why.html",
        crumbs=[(f"/connections/{connection_id}/users", "People"), (call.request.path, explained.email or user_id)],
        told=explained,
        name=explained.user.name,
        changes=changes,
        sentence=sentence,
        plan_of=plan_of,
        can_ask=bool(connection.token_version),
        can_provision=connection.state is State.ON and connection.operates_on(user_id),
    )


def ask(call: Call, connection_id: str, user_id: str) -> Response:
    """Let a worker look the account up in Keeper, or provision the user now."""
    try:
        kind = InquiryKind(form(call).get("kind", ""))
    except ValueError:
        raise BadInput("kind", "it is not one of those offered", "Go back and use the page's buttons.") from None
    parts = call.parts
    inquiry = inquire(parts.services, connection_id, user_id, kind=kind, actor=call.actor, role=call.role)
    return go(f"/connections/{connection_id}/users/{user_id}/inquiries/{inquiry.id}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One attribute of the account: as Keeper has it, and the row of the mapping that says how it should be."""

    attribute: str
    actual: Value
    wanted: MappedValue | None = None
    differs: bool = False  # Keeper has something other than its own form of the directory's value


def _compared(
    call: Call, connection: Connection, account: Account | None, user_id: str, entry: Entry | None
) -> list[Compared]:
    """Compare in the order of the mapping; what else Keeper has comes last."""
    if account is None:
        return []
    rows: tuple[MappedValue, ...] = ()
    try:
        user = call.parts.services.directory.user(user_id)
        if user is not None:
            rows = mapped_values(connection, user)
    except ProvisioningError as error:  # what Keeper has is shown anyway
        told(error)
    shown, desired = account.attributes, {row.target: row.value for row in rows if not row.problem}
    known = entry or Entry(user_id=user_id)
    differing = {name for name in desired if not in_step(known, name, shown, desired)}
    mapped = [
        Compared(attribute=row.target, actual=shown.get(row.target), wanted=row, differs=row.target in differing)
        for row in rows
    ]
    besides = sorted(account.attributes.keys() - {row.target for row in rows})
    return mapped + [Compared(attribute=name, actual=account.attributes[name]) for name in besides]


def answer(call: Call, connection_id: str, user_id: str, inquiry_id: str) -> Response:
    """Show how far an inquiry is: what was done, and the account in Keeper."""
    connection = existing(call, connection_id)
    inquiry = requests.existing(call.parts.services, INQUIRY, connection.id, inquiry_id)
    if inquiry.subject.user_id != user_id:
        raise NotFound(INQUIRY.unknown)
    waiting = inquiry.under_way
    following = waiting and call.parts.services.clock() - inquiry.asked_at < FOLLOWED
    entry = entry_of(call.parts.services, connection, user_id)
    users = f"/connections/{connection_id}/users"
    title = "Provision now" if inquiry.subject.kind is InquiryKind.PROVISION else "Account in Keeper"
    crumbs = [(users, "People"), (f"{users}/{user_id}", "Why?"), (call.request.path, title)]
    return show_of(
        call,
        connection,
        "inquiry.html",
        crumbs=crumbs,
        title=title,
        inquiry=inquiry,
        account=inquiry.result.account,
        waiting=waiting,
        following=following,
        refresh=2 if following else 0,
        user_page=f"{users}/{user_id}",
        email=(entry.email if entry is not None else "") or user_id,
        compared=_compared(call, connection, inquiry.result.account, user_id, entry),
    )


ROUTES = (
    get(f"{ONE}/<id:user_id>", why),
    post(f"{ONE}/<id:user_id>/inquiries", ask, looks=True),
    get(f"{ONE}/<id:user_id>/inquiries/<id:inquiry_id>", answer),
)
