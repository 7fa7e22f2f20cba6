"""The simulated Keeper endpoint over plain HTTP, its errors and listings judged by models that we did not write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx2

from infra.local.simulation import KeeperSide
from tests.support.lazily import Lazily

scim2_models = Lazily("scim2_models")
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@dataclass
class Answer:
    """What came back."""

    status: int
    body: Any
    headers: httpx2.Headers


@dataclass
class Endpoint:
    """The simulated endpoint over plain HTTP."""

    side: KeeperSide
    http: httpx2.Client

    def ask(self, method: str, path: str, body: Any = None, **params: Any) -> Answer:
        response = self.http.request(method, self.side.endpoint + path, json=body, params=params)
        return Answer(response.status_code, response.json() if response.content else None, response.headers)

    def created(self, number: int = 0, **more: Any) -> dict[str, Any]:
        answer = self.ask("POST", "/Users", person(number, **more))
        assert answer.status == 201, answer
        return dict(answer.body)

    def patched(self, scim_id: str, *operations: dict[str, Any]) -> Answer:
        return self.ask("PATCH", f"/Users/{scim_id}", {"schemas": [PATCH_OP], "Operations": list(operations)})

    def bulk(self, *operations: dict[str, Any], **more: Any) -> Answer:
        schemas = ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"]
        return self.ask("POST", "/Bulk", {"schemas": schemas, "Operations": list(operations), **more})


def person(number: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": f"person{number}@example.com",
        "externalId": f"d{number}",
        "name": {"givenName": "Ada", "familyName": "Lovelace"},
        **more,
    }


def post(number: int, **more: Any) -> dict[str, Any]:
    return {"method": "POST", "path": "/Users", "bulkId": f"b{number}", "data": person(number), **more}


def refused(answer: Answer, status: int) -> Any:
    """Return the error, which must be RFC 7644's (3.12)."""
    assert answer.status == status, answer
    error = scim2_models.Error.model_validate(answer.body)
    assert error.status == status
    return error


def listing(node: Endpoint, **params: Any) -> tuple[list[str], Any]:
    answer = node.ask("GET", "/Users", **params)
    assert answer.status == 200, answer
    page = scim2_models.ListResponse[scim2_models.User].model_validate(answer.body)
    return [str(user.external_id) for user in page.resources or []], page
