"""Operations of the JSON API: each is a line of a table, from which both its route and its description are made.

Requests are read strictly into the models named there; whatever does not fit is refused, naming the path of the field.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import flask
import msgspec
from flask import Response

from autoprovisioning.decoding import built
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.entrypoints.answers import PRIVATE, NotJson, body_of
from autoprovisioning.entrypoints.console.routing import ROOT, Call, Route

LARGEST_BODY = 256 * 1024
JSON = "application/json"
CSV = "text/csv"
KEY_HEADER = "Idempotency-Key"  # draft-ietf-httpapi-idempotency-key-header
_KEY = re.compile(r"[!-~]{1,200}")
DESCRIBED = f"{ROOT}/openapi.json"

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """An answer with this status: a model, something else with a media type, or nothing (`media` empty)."""

    what: str
    model: type[msgspec.Struct] | None = None
    media: str = JSON
    headers: tuple[str, ...] = ()


def download(what: str) -> Mapping[int, Answers]:
    """Return how a list is answered that is downloaded for a spreadsheet."""
    return {200: Answers(what=what, media=CSV, headers=("Content-Disposition",))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that the API does.

    `act` gets the call, then `query` and `body` read from the request if the operation has them, then the arguments
    of the path. The answer to a GET carries an ETag, and is not sent to a client that has it already.
    """

    name: str  # operationId
    method: str
    path: str  # below ROOT
    what: str
    act: Callable[..., Response]
    answers: Mapping[int, Answers]
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    if_match: bool = False
    keyed: bool = False  # creates something, once for an Idempotency-Key: `act` gets the id made of it as `key`
    looks: bool = False  # for every administrator, although it is not a GET
    refusals: tuple[int, ...] = field(default=())  # statuses of its own, besides those that every operation has

    def route(self) -> Route:
        """Return the route that carries it out."""

        def act(call: Call, **arguments: str) -> Response:
            given: dict[str, Any] = {}
            if self.query is not None:
                given["query"] = read_query(call.request, self.query)
            elif call.request.args:
                raise BadInput(_named(next(iter(call.request.args))), "it is not known here", "Leave it out.")
            if self.body is not None:
                given["body"] = read_body(call.request, self.body)
            if self.keyed:
                given["key"] = idempotency_key(call)
            answer = self.act(call, **given, **arguments)
            return conditional(call.request, answer) if self.tagged else answer

        return Route(method=self.method, path=ROOT + self.path, act=act, looks=self.looks)

    @property
    def tagged(self) -> bool:
        """Say whether its answer carries an ETag: every GET of JSON; a download is sent while it is read."""
        return self.method == "GET" and 200 in self.answers and self.answers[200].media == JSON


def conditional(request: flask.Request, answer: Response) -> Response:
    """Give an answer its ETag, unless it has one; answer 304 to a client that has it already (RFC 9110 13.1.2).

    The other headers of a 304 are those of the answer (15.4.5): when to ask again, what to cache.
    """
    answer.add_etag()
    tag, _ = answer.get_etag()
    if answer.status_code == 200 and tag is not None and request.if_none_match.contains_weak(tag):
        answer.status_code = 304
        answer.set_data(b"")
        for name in ("Content-Type", "Content-Length"):
            answer.headers.pop(name, None)
    return answer


def answer(model: msgspec.Struct, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a model as JSON."""
    return Response(msgspec.json.encode(model), status, {**PRIVATE, **(headers or {})}, content_type=JSON)


def idempotency_key(call: Call) -> str:
    """Return an id for what a request creates, the same for the same request with the same key; "" without a key.

    It is made with a secret of ours, since the body may hold an access token.
    """
    request, given = call.request, call.request.headers.get(KEY_HEADER, "")
    if not given:
        return ""
    if not _KEY.fullmatch(given):
        raise BadInput(KEY_HEADER, "it is not a key", "Use 1 to 200 letters, digits and signs, for instance a UUID.")
    meant = (call.actor.directory_id or call.actor.address, request.method, request.path, given)
    message = b"\0".join((*(each.encode() for each in meant), request.get_data()))
    return hashlib.blake2b(message, digest_size=16, key=call.parts.form_key[:64]).hexdigest()


def read_body(request: flask.Request, model: type[T]) -> T:
    """Read a JSON body; raises NotJson, TooLarge, BadInput."""
    if request.mimetype != JSON:
        raise NotJson(JSON)
    content = body_of(request, LARGEST_BODY)
    try:
        return msgspec.json.decode(content, type=built(model))
    except msgspec.ValidationError as error:
        raise _refused(str(error), "body") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadInput("body", "it is not JSON", "Send a JSON object.") from None


def read_query(request: flask.Request, model: type[T]) -> T:
    """Read the query; raises BadInput."""
    try:
        return msgspec.convert(request.args.to_dict(), type=built(model), strict=False)
    except msgspec.ValidationError as error:
        raise _refused(str(error), "query") from None


_AT = re.compile(r" - at `(?:key in )?\$(.*)`$")
_FIELD = re.compile(r"(missing required|contains unknown) field `(.*)`", re.DOTALL)
_NAME = re.compile(r"[a-z_]{1,40}\Z")


def _refused(told: str, whole: str) -> BadInput:
    """Translate msgspec's message, without what it quotes of the input: that could be a token in the wrong field."""
    at = _AT.search(told)
    place = at[1].lstrip(".") if at else ""
    problem = told[: at.start()] if at else told
    named = _FIELD.search(problem)
    if named is not None:
        name = ".".join(filter(None, (place, _named(named[2]))))
        if named[1] == "missing required":
            return BadInput(name, "it is missing", f"Give it a value, as {DESCRIBED} describes.")
        return BadInput(name, "it is not known here", f"Leave it out; {DESCRIBED} lists what is known.")
    if problem.startswith("Invalid"):
        problem = "it is not one of the allowed values"
    problem = problem.replace("`", "").rstrip(".").replace("Expected", "expected", 1)
    return BadInput(place or whole, problem, f"Correct it as {DESCRIBED} describes.")


def _named(name: str) -> str:
    return name if _NAME.match(name) else "a field"
