"""Whatever a success holds, it is judged: nothing is believed that does not show the account with what was written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from autoprovisioning.adapters.scim.bulk import match_results
from autoprovisioning.adapters.scim.proof import proven, proven_by_account, proven_in_bulk
from autoprovisioning.adapters.scim.protocol import Answer
from autoprovisioning.adapters.scim.resources import CORE
from autoprovisioning.domain.accounts import Write, WriteKind, Written
from autoprovisioning.domain.errors import Contradicted, ProvisioningError

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
ATTRIBUTES = {"userName": "ada@example.com", "displayName": "Ada", "title": None, "emails.value": "ada@example.com"}
WRITES = [
    Write(key="c", kind=WriteKind.CREATE, scim_id="", external_id="d1", attributes=ATTRIBUTES, active=True),
    Write(key="p", kind=WriteKind.PATCH, scim_id="k1", external_id="d1", attributes=ATTRIBUTES),
    Write(key="s", kind=WriteKind.PATCH, scim_id="k1", active=False),
    Write(key="d", kind=WriteKind.DELETE, scim_id="k1"),
]
SUSPEND = WRITES[2]

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5),
    st.sampled_from(["k1", "k2", "d1", "false", "ada@example.com", CORE, "https://x/Users/k1", "200", "%"]),
)  # fmt: skip
NAMES = st.sampled_from(
    ["id", "Id", "schemas", "userName", "externalId", "active", "ACTIVE", "emails", "name", "title", "displayName",
     "bulkId", "location", "status", "response", "detail", "value", "code"]
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6), max_leaves=12
)
BODIES = st.none() | st.dictionaries(NAMES, VALUES, max_size=8)
STATUSES = st.integers(200, 299)


@given(st.sampled_from(WRITES), STATUSES, BODIES, st.dictionaries(NAMES, VALUES, max_size=6))
def test_every_answer_is_judged(write, status, body, result):
    answer = Answer(status=status, body=body)
    judgements: list[Callable[[], Written | None]] = [
        lambda: proven(write, answer),
        lambda: proven_in_bulk(write, result | {"response": body}, answer),
        lambda: proven_by_account(write, 200, answer, NOW),
    ]
    for judge in judgements:
        with contextlib.suppress(ProvisioningError):
            written = judge()
            assert written is None or (written.key == write.key and (written.error is not None or written.scim_id))


@given(STATUSES, BODIES)
def test_a_suspension_is_done_only_by_an_account_that_shows_it(status, body):
    written = None
    with contextlib.suppress(ProvisioningError):
        written = proven(SUSPEND, Answer(status=status, body=body))
    if written is not None and written.error is None and status != 204:
        assert "k1" in [str(value) for name, value in body.items() if name.lower() == "id"]
        assert any(value in (False, "false") for name, value in body.items() if name.lower() == "active")


@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=6) | LEAVES, max_size=4) | LEAVES)
def test_every_list_of_results_is_matched(operations):
    assert set(match_results(WRITES, operations)) <= {write.key for write in WRITES}


def test_a_creation_is_not_proven_by_an_id_alone():
    create = WRITES[0]
    assert proven(create, Answer(status=201, body={"schemas": [CORE], "id": "k9", "active": True})) is None
    assert proven(create, Answer(status=201, body={"schemas": [CORE], "id": "k9", "externalId": "d1"})).scim_id == "k9"


def test_an_account_is_taken_for_the_one_made_only_if_it_is_known_by_its_name_or_our_id():
    create = WRITES[0]
    boss = {"schemas": [CORE], "id": "k9", "userName": "boss@example.com"}
    made = [
        proven(create, Answer(status=201, body=body))
        for body in (boss, boss | {"externalId": "d1"}, boss | {"userName": "ada@example.com", "active": False})
    ]
    assert [(written.scim_id, type(written.error)) for written in made] == [
        ("", Contradicted), ("k9", Contradicted), ("k9", Contradicted),
    ]  # fmt: skip
