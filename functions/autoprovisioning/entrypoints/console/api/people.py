"""Who calls, and who and what is found in the directory."""

from __future__ import annotations

from flask import Response

from autoprovisioning.app.admission import Role
from autoprovisioning.entrypoints.console.api.models import Model
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer
from autoprovisioning.entrypoints.console.routing import Call


class Me(Model):
    """The caller, and whether they may change things."""

    email: str
    role: Role
    may_write: bool


def me(call: Call) -> Response:
    """Tell the caller who they are here."""
    return answer(Me(email=call.actor, role=call.role, may_write=call.role is Role.SUPER))


OPERATIONS = (Operation("me", "GET", "/me", "Tell who calls", me, {200: Answers("The caller", Me)}),)
