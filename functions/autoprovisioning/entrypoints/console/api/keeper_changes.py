"""What somebody else changed in Keeper, in the API."""

from __future__ import annotations

from datetime import datetime

from flask import Response

from autoprovisioning.domain import keeper_changes
from autoprovisioning.domain.entry import Action
from autoprovisioning.domain.words import REPAIRS
from autoprovisioning.entrypoints.console.api.models import Model, Paging
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer, download
from autoprovisioning.entrypoints.console.export import export
from autoprovisioning.entrypoints.console.routing import Call, existing

HEADER = ("found", "run", "user id", "e-mail", "scim id", "attribute", "value in keeper", "value before", "repair")


class KeeperChange(Model):
    """An account that was not as we left it, as the run `run_id` found it.

    `found` has what Keeper showed ("active" for access), `before` what we had written, as far as that is known; both
    are empty if the account is gone. `repair` is what the run planned, null where that was nothing.
    """

    user_id: str
    email: str
    scim_id: str
    at: datetime
    run_id: str
    gone: bool
    found: dict[str, str | bool | None]
    before: dict[str, str | bool | None]
    repair: Action | None


class KeeperChanges(Model):
    """A page of them, newest first."""

    items: list[KeeperChange]
    cursor: str


def list_changes(call: Call, query: Paging, connection_id: str) -> Response:
    """List them."""
    changes = call.parts.services.keeper_changes.get(existing(call, connection_id).id)
    page, following = query.part(changes, len(changes))
    return answer(KeeperChanges(items=[_told(change) for change in page], cursor=following))


def export_changes(call: Call, connection_id: str) -> Response:
    """Download them, a line for each attribute."""
    changes = call.parts.services.keeper_changes.get(existing(call, connection_id).id)
    rows = (row for change in changes for row in _rows(change))
    return export(f"changed-in-keeper-{connection_id}.csv", HEADER, rows)


def _rows(change: keeper_changes.KeeperChange) -> list[tuple[object, ...]]:
    whose = change.at.isoformat(), change.run_id, change.user_id, change.email, change.scim_id
    values: list[tuple[object, ...]] = [(name, value, change.before.get(name)) for name, value in change.found.items()]
    values += [("account", "gone", "")] if change.gone else []
    return [(*whose, *each, REPAIRS[change.repair]) for each in values]


def _told(change: keeper_changes.KeeperChange) -> KeeperChange:
    return KeeperChange(
        user_id=change.user_id,
        email=change.email,
        scim_id=change.scim_id,
        at=change.at,
        run_id=change.run_id,
        gone=change.gone,
        found=dict(change.found),
        before=dict(change.before),
        repair=change.repair,
    )


_ALL = "/connections/<id:connection_id>/keeper-changes"
OPERATIONS = (
    Operation(
        name="listKeeperChanges",
        method="GET",
        path=_ALL,
        what="List what somebody else changed in Keeper, as drift runs found it before they repaired it",
        act=list_changes,
        answers={200: Answers(what="A page of them", model=KeeperChanges)},
        query=Paging,
    ),
    Operation(
        name="exportKeeperChanges",
        method="GET",
        path=f"{_ALL}.csv",
        what="Download that list, a line for each attribute",
        act=export_changes,
        answers=download("All of it"),
    ),
)
