"""What the Directory simulator is held to: the Admin SDK's discovery document."""

from __future__ import annotations

from typing import Any

import pytest

from infra.local.directory.masks import GROUP, MEMBER, NAME, USER
from tests.contract.directory_servers import DISCOVERY, validate


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ("User", {"id": 7}),
        ("User", {"nickname": "Ada"}),
        ("User", {"name": {"given": "Ada"}}),
        ("User", {"kind": "admin#directory#users"}),
        ("User", {"creationTime": "yesterday"}),
        ("User", {"emails": [{"value": "ada@example.com"}]}),
        ("Users", {"users": [{"suspended": "false"}]}),
        ("Group", {"directMembersCount": 7}),
        ("Channel", {"expiration": 1}),
        ("MembersHasMember", {"isMember": "true"}),
    ],
)
def test_an_answer_that_does_not_fit_the_discovery_document_is_noticed(schema: str, answer: Any) -> None:
    from jsonschema import ValidationError

    with pytest.raises(ValidationError):
        validate(schema, answer)


@pytest.mark.parametrize(
    ("known", "schema"), [(USER, "User"), (NAME, "UserName"), (GROUP, "Group"), (MEMBER, "Member")]
)
def test_the_fields_that_masks_may_select_are_those_of_the_discovery_document(known: Any, schema: str) -> None:
    assert set(known) == set(DISCOVERY["schemas"][schema]["properties"])
