"""Routes of the console: which path and method does what, and who may.

Before it does anything, every route checks who calls, and asks the directory what they may do; for an address without
a route the directory is not asked. GET is for administrators; everything else must come from our own pages, and from
super administrators unless the route says that it only looks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import flask
from flask import Response
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.exceptions import NotFound as NoRoute
from werkzeug.routing import BaseConverter, Map, RequestRedirect, Rule

from autoprovisioning.app.administration import find_connection
from autoprovisioning.app.administration.roles import Role
from autoprovisioning.bootstrap import Administration
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import NotFound
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.texts import OUR_ID
from autoprovisioning.entrypoints.answers import WrongMethod
from autoprovisioning.entrypoints.callers import asker, caller, reader, writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request of a caller who was let in."""

    request: flask.Request
    parts: Administration
    actor: Actor
    role: Role
    known: dict[str, Connection] = field(default_factory=dict)  # those that were read for it, by id


ROOT = "/api/v1"
FORMER_ROOT = "/api"  # of the API until version 1.0.0: the same operations
FORMER = {"Deprecation": "@1796083200", "Link": f'<{ROOT}/openapi.json>; rel="successor-version"'}  # RFC 9745, RFC 5829
ID = OUR_ID.pattern  # or one of the directory
Act = Callable[..., Response]  # (call, **arguments of the path)


def existing(call: Call, connection_id: str) -> Connection:
    """Read a connection; raises NotFound."""
    call.known[connection_id] = find_connection.existing(call.parts.services, connection_id)
    return call.known[connection_id]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One thing that can be asked for. `path` is a werkzeug rule, for instance /connections/<id:connection_id>.

    With `looks` every administrator may send it, although it is not a GET; the use case refuses what they may not do.
    """

    method: str
    path: str
    act: Act
    looks: bool = False


class _Id(BaseConverter):
    """An id; anything else is not found."""

    regex = ID


class Router:
    """Finds the route of a request and lets the caller in, or not."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = {f"{route.method} {route.path}": route for route in routes}
        rules = [Rule(route.path, endpoint=name, methods=[route.method]) for name, route in self._routes.items()]
        self._map = Map(rules, converters={"id": _Id}, strict_slashes=False, merge_slashes=False)

    def answer(self, request: flask.Request, parts: Administration) -> Response:
        """Answer one request; raises NotFound, WrongMethod, Forbidden and whatever the route raises."""
        try:
            name, arguments = self._map.bind("").match(_current(request.path), request.method)
        except MethodNotAllowed as error:
            reader(parts, request)
            raise WrongMethod(request.method, ", ".join(sorted(error.valid_methods or ()))) from None
        except (NoRoute, RequestRedirect):
            caller(parts, request)
            raise NotFound("There is nothing at this address. Start again from the list of apps.") from None
        route = self._routes[name]
        admit = reader if route.method == "GET" else asker if route.looks else writer
        found = admit(parts, request)
        answer = route.act(Call(request=request, parts=parts, actor=found.actor, role=found.role), **arguments)
        if _current(request.path) != request.path:
            answer.headers.update(FORMER)
        return answer


def _current(path: str) -> str:
    """Return where an operation of the API is by now."""
    former = path.startswith(f"{FORMER_ROOT}/") and not f"{path}/".startswith(f"{ROOT}/")
    return ROOT + path.removeprefix(FORMER_ROOT) if former else path
