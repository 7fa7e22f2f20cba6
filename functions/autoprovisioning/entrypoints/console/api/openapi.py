"""The description of the API (OpenAPI 3.1), made from the same table as its routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Response

from autoprovisioning.entrypoints.answers import PRIVATE, PROBLEM
from autoprovisioning.entrypoints.callers import ASSERTION
from autoprovisioning.entrypoints.console.api.models import Problem
from autoprovisioning.entrypoints.console.api.operations import JSON, KEY_HEADER, Answers, Operation
from autoprovisioning.entrypoints.console.routing import ID, ROOT, Call

VERSION = "1.0.0"
ABOUT = (
    "Keeper autoprovisioning for Google Workspace. Administrators of the organization read; super administrators "
    "change things. Identity-Aware Proxy identifies the caller."
)
REF = "#/components/schemas/{name}"
ARGUMENT = re.compile(r"<id:(\w+)>")

ALWAYS = (400, 403, 409, 500, 503)  # what any operation may be refused with
HEADERS = {
    "ETag": "Version of this answer, for If-None-Match; of a connection also for If-Match",
    "Location": "Where it is, or where its state is reported",
    "Content-Disposition": "Name of the file",
}
# Cloud Run's own answer where every instance is busy and no more may start: a text, not a problem of ours.
TOO_MANY = {"description": "Too Many Requests, answered in front of this API: wait some seconds, longer each time"}
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "ETag that the connection was read with: refused with 412 if an administrator has edited it since",
    "schema": {"type": "string", "examples": ['"3.5f0c6a1b2d3e"']},
}
IDEMPOTENCY_KEY = {
    "name": KEY_HEADER,
    "in": "header",
    "required": False,
    "description": "Text that names this request: sent again with the same body, it creates nothing more",
    "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "ETag of an answer you already have: 304 if it has not changed",
    "schema": {"type": "string"},
}


def describing(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """Return the operations with one more, which returns the description of all of them, itself included."""

    @lru_cache(maxsize=1)
    def description() -> bytes:  # made when it is first asked for: a cold start need not wait for it
        return msgspec.json.encode(document(everything))

    def describe(call: Call) -> Response:  # noqa: ARG001 - the same for everybody who may come in
        return Response(description(), headers=PRIVATE, content_type=JSON)

    itself = Operation(
        name="describe",
        method="GET",
        path="/openapi.json",
        what="Describe the API",
        act=describe,
        answers={200: Answers(what="This description")},
    )
    everything = (itself, *operations)
    return everything


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the OpenAPI document of these operations."""
    listed = tuple(operations)
    schemas, components = _schemas(listed)
    paths: dict[str, dict[str, Any]] = {}
    for operation in listed:
        path = ARGUMENT.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _described(operation, schemas, components)
    scheme = {"type": "apiKey", "in": "header", "name": ASSERTION, "description": "Signed by Identity-Aware Proxy"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Keeper autoprovisioning", "version": VERSION, "description": ABOUT},
        "servers": [{"url": ROOT, "description": "The console's address, behind Identity-Aware Proxy"}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"assertion": scheme}},
        "security": [{"assertion": []}],
    }


Schemas = dict[type[msgspec.Struct], dict[str, Any]]


def _schemas(operations: Sequence[Operation]) -> tuple[Schemas, dict[str, Any]]:
    models: list[type[msgspec.Struct]] = [Problem]
    for operation in operations:
        given = (answer.model for answer in operation.answers.values())
        models += [model for model in (operation.query, operation.body, *given) if model is not None]
    models = list(dict.fromkeys(models))
    references, components = msgspec.json.schema_components(models, ref_template=REF)
    return dict(zip(models, references, strict=True)), components


def _described(operation: Operation, schemas: Schemas, components: dict[str, Any]) -> dict[str, Any]:
    parameters = [_argument(name) for name in ARGUMENT.findall(operation.path)]
    if operation.query is not None:
        parameters += _query(components[schemas[operation.query]["$ref"].rpartition("/")[2]])
    if operation.if_match:
        parameters.append(IF_MATCH)
    if operation.keyed:
        parameters.append(IDEMPOTENCY_KEY)
    if operation.tagged:
        parameters.append(IF_NONE_MATCH)
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.what,
        "parameters": parameters,
        "responses": _responses(operation, schemas),
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": schemas[operation.body]}}}
    return described


def _argument(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{ID}$"}}


def _query(model: dict[str, Any]) -> list[dict[str, Any]]:
    required = model.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in model.get("properties", {}).items()
    ]


def _responses(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    answers = {**operation.answers, **_if_known(operation)}
    responses = {str(status): _answer(answer, schemas) for status, answer in sorted(answers.items())}
    for status in sorted({*ALWAYS, *_refusals(operation)}):
        problem = {PROBLEM: {"schema": schemas[Problem]}}
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": problem}
    return {**responses, "429": TOO_MANY}


def _if_known(operation: Operation) -> dict[int, Answers]:
    """Describe what `conditional` makes of an answer: its ETag, and 304."""
    if not operation.tagged:
        return {}
    told = operation.answers[200]
    tagged = replace(told, headers=tuple(dict.fromkeys((*told.headers, "ETag"))))
    return {200: tagged, 304: Answers(what="It has not changed", media="", headers=("ETag",))}


def _refusals(operation: Operation) -> Iterable[int]:
    yield from operation.refusals
    if ARGUMENT.search(operation.path):
        yield 404
    if operation.body is not None:
        yield from (413, 415, 422)
    if operation.if_match:
        yield from (412, 428)


def _answer(answer: Answers, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.what}
    if answer.headers:
        described["headers"] = {
            name: {"description": HEADERS[name], "required": True, "schema": {"type": "string"}}
            for name in answer.headers
        }
    if answer.model is not None:
        described["content"] = {JSON: {"schema": schemas[answer.model]}}
    elif answer.media:
        described["content"] = {answer.media: {"schema": {"type": "object" if answer.media == JSON else "string"}}}
    return described
