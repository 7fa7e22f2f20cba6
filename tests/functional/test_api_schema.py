"""The running API held to the description that it serves, with generated requests, and asked past the proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings

from autoprovisioning.domain.settings import VolumeLimit
from autoprovisioning.entrypoints.console.api import OPERATIONS
from autoprovisioning.entrypoints.console.api.openapi import ARGUMENT, document
from autoprovisioning.entrypoints.console.api.operations import Operation
from autoprovisioning.entrypoints.console.routing import ROOT
from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.support.lazily import Lazily
from tests.support.system import GROUP_ID, System
from tests.support.wire import ask

schemathesis, checks = Lazily("schemathesis"), Lazily("schemathesis.specs.openapi.checks")
EXAMPLES = 15  # of each operation and mode: enough for every field to be wrong once, and done within a minute
BY_NAME = {operation.name: operation for operation in OPERATIONS}
TRIED = [(name, "positive") for name in BY_NAME] + [
    (name, "negative")
    for name, operation in BY_NAME.items()
    if operation.query or operation.body or ARGUMENT.search(operation.path)  # else there is nothing to get wrong
]


def held_to(mode: str) -> list[Any]:
    """Return what schemathesis checks of every answer, and of one to a request that is wrong."""
    always = [
        schemathesis.checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
    ]
    return [*always, checks.negative_data_rejection] if mode == "negative" else always


@pytest.fixture(scope="module")
def lively(whole_system: System) -> Iterator[System]:
    """A system with something to tell, of which the next one to use it finds nothing."""
    whole_system.reset()
    whole_system.provisioned(limit=VolumeLimit(minimum=1, percent=1.0))
    for user_id in ("u7", "u8", "u9"):
        whole_system.directory.leave(GROUP_ID, user_id)
    whole_system.sync()
    yield whole_system
    whole_system.reset()


@pytest.fixture(scope="module")
def known(lively: System) -> dict[str, str]:
    """Ids of things that are there, by the names that paths give them."""
    one = f"/connections/{CONNECTION}"
    [hold] = lively.api("GET", f"{one}/holds").json()["items"]
    run = lively.api("GET", f"{one}/runs").json()["items"][0]
    asked = lively.api("POST", f"{one}/runs").json()
    preview = lively.api("POST", f"{one}/previews", {}, {"If-Match": "*"}).json()
    inquiry = lively.api("POST", f"{one}/users/u1/inquiries", {"kind": "explain"}).json()
    wait_for(lambda: lively.api("GET", f"{one}/previews/{preview['id']}").json()["state"] == "done", "the preview")
    wait_for(lambda: lively.api("GET", f"{one}/inquiries/{inquiry['id']}").json()["state"] == "done", "the answer")
    return {
        "connection_id": CONNECTION,
        "user_id": "u1",
        "digest": hold["digest"],
        "run_id": run["id"],
        "request_id": asked["id"],
        "preview_id": preview["id"],
        "inquiry_id": inquiry["id"],
        "group_id": "g-keeper",
    }


@pytest.fixture(scope="module")
def schema(lively: System) -> Any:
    """The description as it is served."""
    served = lively.api("GET", "/openapi.json")
    assert served.headers["Content-Type"] == "application/json"
    config = schemathesis.Config.from_dict(
        {
            "generation": {"with-security-parameters": False},  # the proxy sends them
            "checks": {"negative_data_rejection": {"expected-statuses": [400, 404, 405, 409, 412, 413, 415, 428]}},
        }
    )
    return schemathesis.openapi.from_dict(json.loads(served.body), config=config)


def test_what_is_served_is_made_from_the_table_of_operations(lively):
    assert lively.api("GET", "/openapi.json").json() == json.loads(json.dumps(document(OPERATIONS)))


@pytest.mark.parametrize(("name", "mode"), TRIED)
def test_every_answer_is_as_described_and_none_is_a_server_error(lively, known, schema, name, mode):
    described = schema.find_operation_by_id(name)

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=described.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
    def hold(case: Any) -> None:
        if mode == "positive":
            case.path_parameters |= {key: known[key] for key in case.path_parameters}
            if "If-Match" in case.headers:
                case.headers["If-Match"] = "*"
        assume("%0A" not in case.formatted_path)  # functions-framework answers that itself, without asking the function
        response = case.call(base_url=lively.world.console_url + ROOT)
        case.validate_response(response, checks=held_to(mode))

    hold()


def address(operation: Operation, known: dict[str, str]) -> str:
    return ROOT + ARGUMENT.sub(lambda match: known[match[1]], operation.path)


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("claim", ["nothing", "an assertion of nobody", "an address", "a cookie of the proxy"])
def test_past_the_proxy_nobody_gets_in(lively, known, name, claim):
    operation = BY_NAME[name]
    headers = {
        "nothing": {},
        "an assertion of nobody": {"X-Goog-IAP-JWT-Assertion": "e30.e30.e30"},
        "an address": {"X-Goog-Authenticated-User-Email": "accounts.google.com:admin@example.com"},
        "a cookie of the proxy": {"Cookie": "local_iap_user=admin@example.com"},
    }[claim]
    sent = {"Content-Type": "application/json", "If-Match": "*", **headers}
    body = b"{}" if operation.body is not None else None
    url = lively.world.cloud.url("console") + address(operation, known)
    answer = ask(operation.method, url, body, sent)
    assert (answer.status, answer.json()["code"]) == (403, "forbidden")
