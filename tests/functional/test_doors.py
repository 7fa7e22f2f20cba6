"""The functions, asked badly: a clear answer that names the mend, and nothing half-done."""

from __future__ import annotations

import base64
import json
import re
import subprocess

import pytest

from infra.local.cloud import FUNCTIONS, ROOT
from infra.local.connect import connect
from infra.local.processes import python
from infra.local.simulation import wait_for
from tests.support.system import GROUP

PUSHED = ("provision_user", "apply_changes")
JSON = {"Content-Type": "application/json"}


def enveloped(data: bytes | str, **more: object) -> bytes:
    encoded = base64.b64encode(data).decode() if isinstance(data, bytes) else data
    return json.dumps({"message": {"messageId": "m-bad", "data": encoded, **more}, "subscription": "s"}).encode()


POISON = {
    "no body": b"",
    "not JSON": b"{",
    "no envelope": b'{"user_id": "u1"}',
    "an envelope of another kind": b'{"message": "u1"}',
    "an envelope without an id": b'{"message": {"data": "e30="}}',
    "wrong base64": enveloped("not base64!"),
    "no data": enveloped(b""),
    "data that is not JSON": enveloped(b"\xff"),
    "data of another kind": enveloped(b'["u1"]'),
    "fields of the wrong type": enveloped(b'{"user_id": 7, "connection_id": 7}'),
    "nobody": enveloped(b'{"user_id": ""}'),
    "a nonsensical time": enveloped(b'{"user_id": "u1"}', publishTime="yesterday"),
}


BAD_REQUESTS = {
    ("reconcile", "not JSON", b"{"): (400, "run request"),
    ("reconcile", "an unknown kind", b'{"kind": "everything"}'): (400, "run request"),
    ("reconcile", "a list", b"[]"): (400, "run request"),
    ("reconcile", "a flag that is none", b'{"kind": "full", "retry_failures": "maybe"}'): (400, "run request"),
    ("reauthorize", "not JSON", b"{"): (400, "body"),
    ("reauthorize", "a list", b"[]"): (400, "body"),
    ("reauthorize", "no connection", b'{"token": "x"}'): (400, "connection"),
    ("reauthorize", "no token", b'{"connection": "keeper"}'): (400, "token"),
    ("reauthorize", "a token that is none", b'{"connection": "keeper", "token": 7}'): (400, "token"),
    ("console", "no decision", b"{}"): (400, "decision"),
    ("console", "not JSON", b"{"): (400, "body"),
    ("console", "an unknown decision", b'{"decision": "maybe"}'): (400, "decision"),
}


@pytest.mark.parametrize("function", PUSHED)
@pytest.mark.parametrize("what", POISON)
def test_a_poison_message_is_acknowledged_and_logged(settled, function, what):
    before = len(settled.log(function))
    assert settled.ask(function, body=POISON[what], headers=JSON).status == 204
    [line] = [
        json.loads(line) for line in settled.log(function)[before:].splitlines() if '"alert": "bad_input"' in line
    ]
    assert line["severity"] == "ERROR"
    assert line["message"].startswith("bad_input: ")


def test_a_batch_of_an_unknown_connection_or_run_is_acknowledged(settled):
    for connection in ("nowhere", "keeper"):
        batch = {"connection_id": connection, "run_id": "unheard-of", "fence": 1, "number": "0"}
        assert settled.push("apply_changes", batch) == 204


def test_a_look_at_an_unknown_user_is_acknowledged(settled):
    assert settled.look("nobody99") == 204


@pytest.mark.parametrize(("function", "what", "body"), BAD_REQUESTS)
def test_bad_input_is_refused_by_field_problem_and_mend(settled, function, what, body):
    status, field = BAD_REQUESTS[function, what, body]
    if function == "reconcile":
        answer = settled.ask(function, body=body, headers=JSON)
    else:
        path = "/" if function == "reauthorize" else "/api/connections/keeper/holds/abc"
        answer = settled.through_proxy("POST", path, body, JSON, function=function)
    problem = answer.json()
    assert (answer.status, problem["status"], problem["field"]) == (status, status, field)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["problem"]
    assert problem["mend"]


def test_a_run_request_that_is_poison_is_acknowledged(settled):
    assert settled.ask("reconcile", body=enveloped(b'{"kind": "everything"}'), headers=JSON).status == 204


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_a_wrong_method_is_refused_and_names_the_right_one(settled, function, method):
    if function in ("console", "reauthorize"):
        path = "/" if function == "reauthorize" else "/api/me"
        answer = settled.through_proxy(method, path, b"{}", JSON, function=function)
    else:
        answer = settled.ask(function, method, b"{}", JSON)
    assert answer.status == 405
    assert answer.headers["Allow"] in ("POST", "GET, HEAD")
    assert answer.json()["code"] == "wrong_method"


@pytest.mark.parametrize("function", ["reconcile", "renew_watch", "workspace_events", *PUSHED])
def test_looking_starts_no_work(settled, function):
    assert settled.ask(function, "GET").status == 405


@pytest.mark.parametrize("connection", ["nowhere", "a/b", "..", "__x__", "", "x" * 200])
def test_an_unknown_connection_is_not_found(settled, connection):
    answer = settled.through_proxy("GET", f"/api/connections/{connection}/holds")
    assert answer.status == 404
    assert answer.json()["code"] == "not_found"
    decision = b'{"decision": "approve"}'
    assert settled.through_proxy("POST", f"/api/connections/{connection}/holds/abc", decision, JSON).status == 404


@pytest.mark.parametrize("path", ["/api", "/api/connection", "/api/connections/keeper/secrets", "/../secrets"])
def test_a_page_that_is_not_there_is_not_found(settled, path):
    assert settled.through_proxy("GET", path).status == 404


def test_the_directory_out_of_reach_is_503_and_plans_nothing(system):
    system.restored()
    system.directory.fault(match={"method": "users.list"}, status=503, times=None)
    accounts = system.keeper.accounts()
    answer = system.ask("reconcile", body=b'{"kind": "full"}', headers=JSON)
    assert (answer.status, answer.json()["code"]) == (503, "incomplete_listing")
    assert int(answer.headers["Retry-After"]) > 0
    assert system.keeper.accounts() == accounts


BROKEN = {
    "GOOGLE_CLOUD_PROJECT": "",
    "USER_DEADLINE_SECONDS": "soon",
    "BATCH_MARK_SECONDS": "1",
    "LOCAL_MODE": "perhaps",
    "WEBHOOK_URL": "ftp://nowhere",
    "SCIM_CONCURRENCY": "0",
}


LACKING = {
    "directory_webhook": "CHANNEL_KEY",
    "renew_watch": "WEBHOOK_URL",
    "console": "IAP_AUDIENCE",
    "reauthorize": "IAP_AUDIENCE",
}
READ = ("console", "reauthorize")


@pytest.fixture(scope="module")
def misconfigured(whole_system):
    """Every function with a broken environment, and some that lack a single thing, started at once."""
    broken = {name: whole_system.second(name, wait=False, **BROKEN) for name in FUNCTIONS}
    lacking = {name: whole_system.second(name, wait=False, **{missing: ""}) for name, missing in LACKING.items()}
    whole_system.supervisor.wait_ready()
    yield broken, lacking
    for name, port in [*broken.items(), *lacking.items()]:
        whole_system.end(f"{name}-{port}")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_broken_environment_is_one_log_line_that_names_every_problem(system, misconfigured, function):
    port = misconfigured[0][function]
    path = "/api/connections" if function == "console" else "/"
    answer = system.ask(function, "GET" if function in READ else "POST", b"", path=path, port=port)
    assert answer.status == 500
    if function == "reauthorize":
        told = answer.text
    else:
        assert answer.headers["Content-Type"] == "application/problem+json"
        told = answer.json()["detail"]
    lines = [json.loads(line) for line in system.log(f"{function}-{port}").splitlines() if '"severity"' in line]
    [line] = [line for line in lines if line["severity"] == "ERROR"]
    assert line["alert"] == "misconfigured"
    for name in BROKEN:
        assert name in line["message"], name
        assert (name in told) is (function != "directory_webhook"), told
    for key in ("CHANNEL_KEY", "FORM_KEY"):
        assert system.world.cloud.environment[key] not in line["message"] + told


@pytest.mark.parametrize("function", LACKING)
def test_what_one_function_needs_and_lacks_is_named_in_its_log(system, misconfigured, function):
    port = misconfigured[1][function]
    path = "/api/connections" if function == "console" else "/"
    answer = system.ask(function, "GET" if function in READ else "POST", b"{}", path=path, port=port)
    assert answer.status == 500
    assert LACKING[function] in system.log(f"{function}-{port}")


def test_a_set_up_that_is_refused_is_redelivered_not_dropped(system):
    """The directory refuses our delegation: an operator mends it, and the message must still be there."""
    system.restored()
    system.directory.weather(lose=True)
    system.directory.patch("u1", {"name": {"familyName": "Waiting"}})
    system.directory.fault(match={}, status=403, reason="forbidden", times=None)
    assert system.look("u1") == 500
    system.directory.control("DELETE", "faults")
    assert system.look("u1") == 204
    assert system.account("u1")["name"]["familyName"] == "Waiting"


def test_an_unforeseen_error_is_one_stack_trace_in_the_log_and_nothing_in_the_answer(system):
    """Firestore answers something no version of this system has written."""
    from google.cloud import firestore

    secret = "hunter2hunter2hunter2"
    system.restored()
    client = firestore.Client(project=system.world.cloud.project)
    client.document("connections/alien").set({"state": "on", "order": f"Bearer {secret}"})
    for function, body in (("reconcile", b"{}"), ("provision_user", enveloped(b'{"user_id": "u1"}'))):
        before = len(system.log(function))
        answer = system.ask(function, body=body, headers=JSON)
        assert answer.status == 500
        assert answer.json() == {
            "type": "about:blank",
            "title": "Internal Server Error",
            "code": "unforeseen",
            "status": 500,
            "detail": "An unforeseen error occurred. This function's log says what it was.",
        }
        logged = system.log(function)[before:]
        assert logged.count("Traceback (most recent call last)") == 1, logged
        assert '"alert": "unforeseen"' in logged
        assert secret not in logged


def test_no_token_ever_reaches_a_log(system):
    """Good, dead and wrong tokens, a token in the wrong field, through every door and on every path of failure."""
    from autoprovisioning.domain.errors import BadInput

    tokens = [system.keeper.token, "wrong-token-0123456789abcdef", "pasted-into-the-wrong-field-0123456789"]
    system.provisioned()
    for body in (
        {"connection": "keeper", "token": tokens[1]},
        {"connection": tokens[2], "token": tokens[1]},
        {"connection": "keeper", "token": f"{tokens[1]} with blanks"},
    ):
        answer = system.through_proxy("POST", "/", json.dumps(body).encode(), JSON, function="reauthorize")
        assert answer.status in (400, 404)
        assert not any(token in answer.text for token in tokens)
    tokens.append(system.keeper.rotate())
    system.directory.patch("u1", {"name": {"familyName": "Paused"}})
    wait_for(lambda: system.state() == "paused", "the pause")
    body = {"connection": "keeper", "token": system.keeper.token}
    system.keeper.fault(match={"method": "GET"}, status=500, body={"detail": f"Bearer {tokens[-1]}"}, times=3)
    assert system.through_proxy("POST", "/", json.dumps(body).encode(), JSON, function="reauthorize").status in (
        200,
        503,
    )
    system.keeper.control("DELETE", "faults")
    assert system.through_proxy("POST", "/", json.dumps(body).encode(), JSON, function="reauthorize").status == 200
    system.await_account("u1", lambda account: account["name"]["familyName"] == "Paused")
    with pytest.raises(BadInput) as refused:
        connect(f"{system.keeper.endpoint}?token={tokens[2]}", system.keeper.token, (GROUP,))
    assert tokens[2] not in str(refused.value)
    channel = system.directory.control("GET", "channels")["channels"][0]["id"]
    assert channel
    for name, log in system.logs().items():
        for token in (*tokens, *(system.world.cloud.environment[key] for key in ("CHANNEL_KEY", "FORM_KEY"))):
            assert token not in log, name
        assert not re.search(r"Bearer (?!\[redacted\])\S{8,}", log), name


def test_importing_the_public_door_does_nothing():
    """No client and no template engine's page: a cold start pays only for what its function uses."""
    code = (
        "import sys, autoprovisioning.entrypoints.directory_webhook\n"
        "heavy = ('grpc', 'google.auth', 'google.cloud.firestore', 'google.cloud.logging', 'aiohttp', 'requests')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    environment = {"PATH": "/usr/bin"}
    found = subprocess.run(python("-c", code), cwd=ROOT / "functions", capture_output=True, check=True, env=environment)
    assert found.stdout.strip() == b"[]"
