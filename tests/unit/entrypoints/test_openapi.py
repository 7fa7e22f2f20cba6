"""The description of the API, how its requests are read, and lists for spreadsheets."""

from __future__ import annotations

import json

import flask
import msgspec
import pytest

from autoprovisioning.domain.errors import BadInput
from autoprovisioning.entrypoints.console.api import OPERATIONS, ROUTES, connections, settings
from autoprovisioning.entrypoints.console.api.openapi import document
from autoprovisioning.entrypoints.console.api.operations import conditional, read_body, read_query
from autoprovisioning.entrypoints.console.export import cell, export

DOCUMENT = json.loads(msgspec.json.encode(document(OPERATIONS)))
DESCRIBED = [
    (path, method, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]


def test_every_operation_is_described_once_and_has_a_route():
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS) == len(ROUTES) == len(DESCRIBED)
    assert {operation["operationId"] for _, _, operation in DESCRIBED} == {operation.name for operation in OPERATIONS}


def test_the_description_says_where_the_api_is():
    assert [server["url"] for server in DOCUMENT["servers"]] == ["/api/v1"]
    assert not [path for path in DOCUMENT["paths"] if path.startswith("/api")]
    assert all("429" in operation["responses"] for _, _, operation in DESCRIBED)


def test_every_schema_is_one_and_every_reference_resolves():
    from jsonschema import Draft202012Validator  # builds dozens of parsers when it is imported

    schemas = DOCUMENT["components"]["schemas"]
    for name, schema in schemas.items():
        Draft202012Validator.check_schema(schema)
        assert schema.get("description") or "enum" in schema, name
    references = json.dumps(DOCUMENT).split('"$ref": "')[1:]
    assert {reference.partition('"')[0].removeprefix("#/components/schemas/") for reference in references} <= set(
        schemas
    )


@pytest.mark.parametrize(("path", "method", "operation"), DESCRIBED)
def test_every_operation_tells_its_refusals_and_every_write_its_body(path, method, operation):
    responses = set(operation["responses"])
    assert {"400", "403", "500", "503"} <= responses
    assert ("404" in responses) or "{" not in path
    writes = method != "get"
    assert ("requestBody" in operation) is writes
    assert ({"413", "415"} <= responses) is writes
    headers = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "header"}
    assert ("If-Match" in headers) is ({"412", "428"} <= responses)


@pytest.mark.parametrize(("path", "method", "operation"), DESCRIBED)
def test_every_json_that_is_read_has_an_etag_and_a_304(path, method, operation):
    reads = method == "get" and "application/json" in operation["responses"]["200"]["content"]
    headers = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "header"}
    assert ("If-None-Match" in headers) is ("304" in operation["responses"]) is reads
    if reads:
        assert "ETag" in operation["responses"]["200"]["headers"]
        assert set(operation["responses"]["304"]) == {"description", "headers"}


def known_already(tag: str, status: int = 200) -> flask.Response:
    """What becomes of an answer to a client that sends this If-None-Match."""
    answer = flask.Response(b"{}", status, {"Retry-After": "1", "Cache-Control": "no-store"}, content_type="x/json")
    request = flask.Flask("test").test_request_context("/", headers={"If-None-Match": tag}).request
    return conditional(request, answer)


TAG = known_already("").headers["ETag"]


@pytest.mark.parametrize("tag", [TAG, f"W/{TAG}", f'"other", {TAG}', "*"])
def test_who_knows_an_answer_is_not_sent_it_again_but_told_when_to_ask(tag):
    answer = known_already(tag)
    assert (answer.status_code, answer.get_data(), answer.headers["ETag"]) == (304, b"", TAG)
    assert (answer.headers["Retry-After"], answer.headers["Cache-Control"]) == ("1", "no-store")
    assert answer.content_type is None


@pytest.mark.parametrize(("tag", "status"), [("", 200), ('"other"', 200), (TAG.strip('"')[:8], 200), ("*", 202)])
def test_who_does_not_know_it_is_sent_it(tag, status):
    answer = known_already(tag, status)
    assert (answer.status_code, answer.get_data(), answer.content_type) == (status, b"{}", "x/json")


def test_no_answer_has_a_place_for_a_token():
    given = {settings.Change, settings.SetUp, connections.Attempt}
    for operation in OPERATIONS:
        for told in operation.answers.values():
            assert told.model not in given
            fields = msgspec.structs.fields(told.model) if told.model is not None else ()
            assert "token" not in {field.name for field in fields}


# ---- reading requests

BODIES = {
    b"": "body",
    b"{": "body",
    b"\xff": "body",
    b"[]": "body",
    b"7": "body",
    b'{"colour": "red"}': "colour",
    b'{"name": 7}': "name",
    b'{"name": ""}': "name",
    b'{"mapping": [{"source": "id"}]}': "mapping[0].target",
    b'{"mapping": [{"source": "id", "target": "title", "colour": 1}]}': "mapping[0].colour",
    b'{"limit": {"percent": "5"}}': "limit.percent",
    b'{"deprovisioning": {"app_off": {"suspend_after": 1.5}}}': "deprovisioning.app_off.suspend_after",
    b'{"patch_dialect": "pig latin"}': "patch_dialect",
    b'{"token": "with blanks"}': "token",
}


@pytest.mark.parametrize("body", BODIES)
def test_a_body_is_refused_by_the_path_of_its_field(body):
    with pytest.raises(BadInput) as refused:
        read_body(posted(body), settings.Change)
    assert refused.value.field == BODIES[body]
    assert refused.value.problem
    assert refused.value.mend


@pytest.mark.parametrize(
    "body",
    ['{"patch_dialect": "%s"}', '{"%s": 1}', '{"name": {"%s": 1}}', '{"limit": "%s"}', '{"token": "%s '],
    ids=str,
)
def test_a_refusal_repeats_nothing_that_could_be_a_token(body):
    secret = "hunter2hunter2HUNTER2"
    with pytest.raises(BadInput) as refused:
        read_body(posted((body % secret).encode()), settings.Change)
    assert secret not in str(refused.value)


def test_a_query_is_read_and_refused_by_its_names():
    query = operation("listEvents").query
    found = read_query(asked("?limit=7&since=2026-11-24T09:00:00Z&user=u1"), query)
    assert (found.limit, found.since.isoformat(), found.user) == (7, "2026-11-24T09:00:00+00:00", "u1")
    for text, field in {"?limit=x": "limit", "?limit=0": "limit", "?colour=red": "colour", "?name=x": "name"}.items():
        with pytest.raises(BadInput) as refused:
            read_query(asked(text), query)
        assert refused.value.field == field


def operation(name: str):
    return next(operation for operation in OPERATIONS if operation.name == name)


def posted(body: bytes) -> flask.Request:
    environment = flask.Flask("test").test_request_context(
        "/", method="POST", data=body, content_type="application/json"
    )
    return environment.request


def asked(query: str) -> flask.Request:
    return flask.Flask("test").test_request_context(f"/{query}").request


# ---- lists for spreadsheets


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30", "'+49 30"),
        ("-1", "'-1"),
        ("@sum", "'@sum"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("\nx", "'\nx"),
        ("\n=1+1", "'\n=1+1"),
        ("\r\n+1", "'\r\n+1"),
        ("\x00=1", "'\x00=1"),
        ("\x00x", "'\x00x"),
        ("\x1bx", "'\x1bx"),
        ("＝1+1", "'＝1+1"),
        ("＋49", "'＋49"),
        ("－1", "'－1"),
        ("＠sum", "'＠sum"),
        (" =1+1", "' =1+1"),
        ("\u00a0\u3000=1", "'\u00a0\u3000=1"),
        ("\ufeff=1", "'\ufeff=1"),
        ("\u200b@x", "'\u200b@x"),
        ("\u2028x", "'\u2028x"),
        ("\x85x", "'\x85x"),
        (" a=b", " a=b"),
        ("é=b", "é=b"),
        ("a\n=b", "a\n=b"),
        ("a=b", "a=b"),
        ("", ""),
        (None, ""),
        (12, "12"),
    ],
)
def test_no_cell_is_a_formula(value, written):
    assert cell(value) == written


def test_rows_are_read_while_they_are_sent():
    read = []

    def rows():
        for number in range(1000):
            read.append(number)
            yield number, "a, b"

    chunks = iter(export("list.csv", ("number", "text"), rows()).response)
    first = next(chunks)
    assert first.startswith('number,text\r\n0,"a, b"\r\n')
    assert 0 < len(read) < 1000
    assert "".join([first, *chunks]).count("\r\n") == 1001


def test_an_error_before_the_first_rows_is_an_answer_and_not_half_a_file():
    def rows():
        raise BadInput("cursor", "it is not a cursor of this list", "Start again.")
        yield

    with pytest.raises(BadInput):
        export("list.csv", ("number",), rows())
