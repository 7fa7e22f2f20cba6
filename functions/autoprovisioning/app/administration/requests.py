"""Everything that administrators ask a worker for: ask once, find it while it lasts, report how it ended.

What each kind of request does is in the modules beside it: `ask_for_run`, `preview`, `inquire`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from autoprovisioning.app.services import Services
from autoprovisioning.domain.errors import NotFound, ProvisioningError
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.requests import R, RequestKind, RequestState, S, WorkRequest, question_id


def ask(
    services: Services,
    kind: RequestKind[S, R],
    connection_id: str,
    subject: S,
    actor: Actor,
    publish: Callable[[WorkRequest[S, R]], None],
    *,
    own: bool = False,
    key: str = "",
) -> WorkRequest[S, R]:
    """Store a request as waiting, and publish it: in this order, so that whoever receives it finds it.

    Asking the same again while it waits returns the same one, unless every asker gets their `own`. An answer once given
    is left as it is: what an administrator decides by its id is about what they saw. With a `key`, an id that the asker
    made of it, asking again returns the same one also once it is answered; one that failed is asked anew.

    Raises:
        ProvisioningError: it could not be published, and has failed.
    """
    request = WorkRequest(
        id=key or (services.new_id() if own else question_id(kind, connection_id, subject, actor)),
        kind=kind,
        connection_id=connection_id,
        subject=subject,
        result=kind.nothing,
        asked_by=actor,
        asked_at=services.clock(),
    )
    while (standing := services.requests.open(request)) is not request:
        if standing.under_way or (key and standing.state is RequestState.DONE):
            return standing
        request = replace(request, id=question_id(kind, connection_id, subject, actor, after=request.id))
    try:
        publish(request)
    except ProvisioningError as error:
        fail(services, request, str(error))  # or it would wait for a message that never comes
        raise
    return request


def find(services: Services, kind: RequestKind[S, R], connection_id: str, request_id: str) -> WorkRequest[S, R] | None:
    """Read a request; None if there is none, or it expired: the store may keep it for a day longer."""
    request = services.requests.get(kind, connection_id, request_id)
    return request if request is not None and services.clock() < request.expires else None


def existing(services: Services, kind: RequestKind[S, R], connection_id: str, request_id: str) -> WorkRequest[S, R]:
    """Read a request; raises NotFound if there is none, or it expired."""
    request = find(services, kind, connection_id, request_id)
    if request is None:
        raise NotFound(kind.unknown)
    return request


def begin(services: Services, request: WorkRequest[S, R]) -> WorkRequest[S, R]:
    """Record that a worker is working on it."""
    return _stored(services, request.begun())


def hinder(services: Services, request: WorkRequest[S, R], problem: str) -> None:
    """Record what was wrong with an attempt; another one follows."""
    _stored(services, request.hindered(problem))


def finish(services: Services, request: WorkRequest[S, R], result: R) -> None:
    """Record the answer."""
    _stored(services, request.done(services.clock(), result))


def fail(services: Services, request: WorkRequest[S, R], problem: str, result: R | None = None) -> None:
    """Record why there is no answer, and what was found nevertheless."""
    _stored(services, request.failed(services.clock(), problem, result))


def _stored(services: Services, request: WorkRequest[S, R]) -> WorkRequest[S, R]:
    services.requests.put(request)
    return request
