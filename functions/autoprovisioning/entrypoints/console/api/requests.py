"""What administrators ask a worker for, in the API: one shape for all kinds, to which each adds its own fields."""

from __future__ import annotations

from typing import Any, TypeVar

from flask import Response

from autoprovisioning.domain.requests import AnyRequest
from autoprovisioning.entrypoints.console.api.models import Model
from autoprovisioning.entrypoints.console.api.operations import answer
from autoprovisioning.entrypoints.console.routing import ROOT

UNDER_WAY = {"Retry-After": "1"}
M = TypeVar("M", bound=Model)


def shown(model: type[M], request: AnyRequest, **own: Any) -> M:
    """Return a request as this model: the common fields that the model has, and the kind's `own`."""
    common = {
        "id": request.id,
        "state": request.state,
        "asked_by": request.asked_by.address,
        "asked_at": request.asked_at,
        "expires": request.expires,
        "finished": request.finished,
        "problem": request.problem,
    }
    return model(**{name: common[name] for name in model.__struct_fields__ if name in common} | own)


def accepted(shown_: Model, request: AnyRequest, path: str) -> Response:
    """Answer a request with where it can be found, below its connection."""
    address = f"{ROOT}/connections/{request.connection_id}/{path}/{request.id}"
    return answer(shown_, 202, {"Location": address, **UNDER_WAY})


def polled(shown_: Model, *, under_way: bool) -> Response:
    """Report how far it is, and when to ask again."""
    return answer(shown_, headers=UNDER_WAY if under_way else None)
