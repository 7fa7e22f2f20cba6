"""Plain documents are encoded as the client would encode them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore
from google.cloud.firestore_v1.types import CommitRequest

from autoprovisioning.adapters.firestore.audit import event_fields
from autoprovisioning.adapters.firestore.plain_documents import set_plain
from autoprovisioning.domain.causes import Cause, Source
from autoprovisioning.domain.entry import Action
from autoprovisioning.domain.events import Event, EventName
from tests.support.builders import NOW

EARLY, LATE = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
ELSEWHERE = datetime(2026, 3, 4, 5, 6, 7, 8, tzinfo=timezone(timedelta(hours=-9, minutes=-30)))


@pytest.fixture(scope="module")
def client() -> firestore.Client:
    return firestore.Client(project="demo", credentials=AnonymousCredentials())


def sent(client: firestore.Client, fields: dict[str, Any], *, plain: bool) -> list[Any]:
    batch, reference = client.batch(), client.document("connections/c1/events/É/x/y")
    if plain:
        set_plain(batch, reference, fields)
    else:
        batch.set(reference, fields)
    request = CommitRequest(database="d", writes=batch._write_pbs)
    return list(CommitRequest.deserialize(CommitRequest.serialize(request)).writes)


TEXTS = ("", "Ada", "Zoë \U0001f600")
NUMBERS = (True, False, 0, -1, 2**62, 0.0, -0.0, 1e300, float("inf"))
TIMES = (NOW, NOW.replace(microsecond=999999), ELSEWHERE, EARLY, LATE)


@pytest.mark.parametrize("value", [*TEXTS, *NUMBERS, *TIMES, None, [], ["Ada", ""]], ids=repr)
def test_each_kind_of_value_is_what_the_client_makes_of_it(client, value):
    fields = {"one": value, "a name `with` signs": "x"}
    assert sent(client, fields, plain=True) == sent(client, fields, plain=False)


def test_a_line_of_the_audit_is_what_the_client_makes_of_it(client):
    event = Event(
        id="e1", at=NOW, name=EventName.UPDATED, actor="run r1", user_id="u1", email="ada@example.com",
        attempted=Action.UPDATE, changed={"title": None}, before={"title": "Countess"}, after={"userName": "ada"},
        seconds=0.25, recovered=True, cause=Cause(at=NOW), source=Source.EVENT, latency=1.5, teams=("t1",),
        left=("Zürich",),
    )  # fmt: skip
    for each in (event, Event(id="e2", at=NOW, name=EventName.HELD, actor="run")):
        assert sent(client, event_fields(each), plain=True) == sent(client, event_fields(each), plain=False)


def test_a_value_that_is_not_plain_is_refused(client):
    with pytest.raises(TypeError, match="dict of the field 'm'"):
        sent(client, {"m": {}}, plain=True)
