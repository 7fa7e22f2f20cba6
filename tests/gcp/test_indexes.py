"""Firestore's indexes suffice for every query that the code makes; what expires, or is in no index, is listed."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.cloud import firestore_admin_v1
from google.cloud.firestore_v1.aggregation import AggregationQuery
from google.cloud.firestore_v1.query import Query
from google.cloud.firestore_v1.types import StructuredQuery

from autoprovisioning.adapters import firestore as adapters
from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.domain.causes import Cause
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.due_runs import due_now
from autoprovisioning.domain.entry import Entry, Failure
from autoprovisioning.domain.event_search import EventOrder, Filters
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.guard import Kind, Member, reservation, reserve
from autoprovisioning.domain.holds import Hold, Standing
from autoprovisioning.domain.listing_parts import Listings
from autoprovisioning.domain.people import Listed
from autoprovisioning.domain.requests import INQUIRY, PREVIEW, RUN, InquiryKind, Line, Proposal, Question, Would
from autoprovisioning.domain.runs import Run, RunKind, RunState
from infra.gcp import firestore as deployed
from tests.contract.state_stores import Firestore, hold
from tests.support.builders import DAY, NOW, requested

pytestmark = pytest.mark.emulator

FOLDER = Path(adapters.__file__).parent
HOME = Connection(id="c1", roster_layout="64", state=State.ON)
DESCENDING = StructuredQuery.Direction.DESCENDING
FILTERS = StructuredQuery.FieldFilter.Operator
EQUAL = {FILTERS.EQUAL, FILTERS.IN, FILTERS.ARRAY_CONTAINS}
NAME = "__name__"

Order = tuple[str, str]  # field, ASCENDING or DESCENDING


@dataclass(frozen=True)
class Asked:
    """One query as Firestore plans it."""

    collection: str
    equal: frozenset[str]
    ranges: frozenset[str]
    orders: tuple[Order, ...]  # without the trailing __name__ of the same direction
    ends_otherwise: bool  # __name__ in the other direction than the field before it

    @property
    def suffix(self) -> tuple[Order, ...]:
        """What an index must end with; a range without an order is read in ascending order."""
        return self.orders or tuple((field, "ASCENDING") for field in sorted(self.ranges))

    @property
    def composite(self) -> bool:
        """Say whether single-field indexes do not suffice."""
        return bool(self.suffix and self.equal) or len(self.suffix) > 1 or self.ends_otherwise


@dataclass(frozen=True)
class Indexes:
    """What the file says."""

    composite: Mapping[str, Sequence[tuple[Order, ...]]]
    exempt: frozenset[tuple[str, str]]
    lifetimes: frozenset[str]

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Indexes:
        composite: dict[str, list[tuple[Order, ...]]] = {}
        for index in content["indexes"]:
            fields = tuple(
                (field["fieldPath"], field.get("order") or field["arrayConfig"]) for field in index["fields"]
            )
            composite.setdefault(index["collectionGroup"], []).append(fields)
        overrides = content["fieldOverrides"]
        exempt = {(item["collectionGroup"], item["fieldPath"]) for item in overrides if not item["indexes"]}
        return cls(composite, frozenset(exempt), frozenset(i["collectionGroup"] for i in overrides if i.get("ttl")))

    def lacks(self, asked: Asked) -> str:
        """Say what a query needs and is not there; "" when all is.

        Equality filters may be answered by merging several indexes that end alike (firebase.google.com/docs/firestore/
        query-data/index-overview, "Index merging").
        """
        if not asked.composite:
            gone = [field for field in (*asked.equal, *dict(asked.suffix)) if (asked.collection, field) in self.exempt]
            return f"{asked.collection}: {gone} are exempt from indexing" if gone else ""
        length = len(asked.suffix)
        heads = [
            {field for field, _ in fields[:-length]}
            for fields in self.composite.get(asked.collection, ())
            if fields[-length:] == asked.suffix
        ]
        served = set().union(*(head for head in heads if head <= asked.equal))
        if served == asked.equal and heads and not asked.ends_otherwise:
            return ""
        return f"{asked.collection}: {sorted(asked.equal)} then {asked.suffix}"


def planned(query: StructuredQuery) -> Asked:
    """Read a query message."""
    (source,) = query.from_
    filters = [query.where] if query.where.field_filter.field.field_path else list(query.where.composite_filter.filters)
    fields = [(each.field_filter.op in EQUAL, each.field_filter.field.field_path) for each in filters]
    assert all(path for _, path in fields), "a filter that this test does not know"
    orders = [(order.field.field_path, _direction(order.direction)) for order in query.order_by]
    tail = orders.pop() if orders and orders[-1][0] == NAME else None
    return Asked(
        source.collection_id,
        frozenset(path for equal, path in fields if equal),
        frozenset(path for equal, path in fields if not equal),
        tuple(orders),
        bool(tail and orders and tail[1] != orders[-1][1]),
    )


def _direction(direction: Any) -> str:
    return "DESCENDING" if direction == DESCENDING else "ASCENDING"


class Recorder:
    """Notes every query that the client is given, and the line of our adapters that asked for it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.asked: set[Asked] = set()
        self.from_: set[tuple[str, int]] = set()
        stream, get = Query.stream, AggregationQuery.get

        def streamed(query: Query, *args: Any, **more: Any) -> Any:
            self._note(query)
            return stream(query, *args, **more)

        def counted(query: AggregationQuery, *args: Any, **more: Any) -> Any:
            self._note(query._nested_query)
            return get(query, *args, **more)

        patch.setattr(Query, "stream", streamed)
        patch.setattr(AggregationQuery, "get", counted)

    def _note(self, query: Query) -> None:
        self.asked.add(planned(query._to_protobuf()))
        frame = sys._getframe(2)
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.parent == FOLDER and path.name != "database.py":
                self.from_.add((path.name, frame.f_lineno))
                return
            frame = frame.f_back  # type: ignore[assignment]
        raise AssertionError("a query that no adapter asked for")


def call_sites() -> dict[tuple[str, int, int], str]:
    """Return every place in the adapters that runs a query: file, first and last line."""
    sites = {}
    for path in FOLDER.glob("*.py"):
        if path.name == "database.py":
            continue
        source = path.read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("stream", "total"):
                    sites[path.name, node.lineno, node.end_lineno or 0] = ast.get_source_segment(source, node) or ""
                assert node.func.attr not in ("list_documents", "collection_group", "count", "get_partitions")
    return sites


@pytest.fixture(scope="module")
def stores(backing: Any) -> Iterator[Firestore]:
    made = Firestore(f"127.0.0.1:{backing.ports['firestore']}", "demo-indexes")
    yield made
    made.close()


@pytest.fixture(scope="module")
def recorded(stores: Firestore) -> Recorder:
    """Everything that the adapters can be asked, asked once."""
    with pytest.MonkeyPatch.context() as patch:
        recorder = Recorder(patch)
        fill(stores)
        read(stores)
    return recorder


@pytest.fixture(scope="module")
def documents(stores: Firestore) -> dict[str, set[str]]:
    """The fields of all documents that the adapters write, by collection."""
    other = replace(HOME, id="c2")
    fill(stores, other)
    fields: dict[str, set[str]] = {}
    waiting = [*stores.client.collections()]
    while waiting:
        collection = waiting.pop()
        for snapshot in collection.stream():
            fields.setdefault(collection.id, set()).update(snapshot.to_dict() or {})
            waiting += snapshot.reference.collections()
    return fields


def fill(stores: Firestore, home: Connection = HOME) -> None:
    """Write a document of each kind."""
    stores.set_ups.begin(home.id, NOW)
    stores.due_runs.add(due_now(RunKind.SWEEP, NOW), NOW, {"u1": Cause(at=NOW)})
    stores.connections.create(home)
    preview = requested(PREVIEW, Proposal(edition=1, settings=home.settings), id="p1", connection_id=home.id)
    question = Question(user_id="u1", kind=InquiryKind.EXPLAIN)
    for request in (
        requested(RUN, RunKind.FULL, id="a1", connection_id=home.id),
        preview,
        requested(INQUIRY, question, id="i1", connection_id=home.id),
    ):
        stores.requests.put(request)
    stores.preview_lines.put(preview, [Line(would=Would.CREATE, user_id="u1", email="ada@example.com")])
    stores.runs.put(
        Run(
            id="r1",
            connection_id=home.id,
            kind=RunKind.FULL,
            fence=1,
            started=NOW,
            state=RunState.PLANNED,
            request="a1",
        )
    )
    failing = Entry(
        user_id="u1",
        email="ada@example.com",
        failure=Failure(code="rejected", text="no", attempts=1, first=NOW, next_attempt=NOW + DAY, about="create:1"),
        pending=True,
    )
    event = Event(
        id="e1",
        at=NOW,
        name=EventName.CREATED,
        actor="run r1",
        user_id="u1",
        email="ada@example.com",
        changed={"title": "x"},
        teams=("t1", "t2"),
        joined=("Engineers",),
        left=("Builders",),
    )
    stores.roster.commit(home, ["u1"], lambda _known: (Edit(entries={"u1": failing}, events=[event]), None))
    stores.audit.record(home.id, [replace(event, id=f"e{n}", teams=()) for n in range(2, 5)])
    stores.guard.change(home.id, lambda state: reserve(state, Kind.TAKING, [reservation("u1")], 9, NOW))
    stores.holds.put(
        home.id, Hold(digest="h1", raised_at=NOW, members=(Member(resource="u1", action="suspend"),), reason="too many")
    )
    stores.runs.change(home.id, "r1", lambda run: replace(run, notes=("read",)))
    stores.holds.change(home.id, "h1", lambda hold: replace(hold, reason="still too many"))
    stores.claims.claim(home.id, "k1", Claim(user_id="u1", change_id="e1"))
    stores.adoptions.confirm(home.id, [("u1", "k1")], "boss@example.com", NOW, replace(event, id="e2", teams=()))
    stores.people.put(home, NOW - DAY, {"u1": Listed("ada@example.com", "Ada", Presence.ACTIVE)}, {})
    stores.sweeps.put(home.id, frozenset({"x"}))
    stores.listings.put(Listings(sizes={"a": 1}, whole_at=NOW, doubted_at=NOW))
    stores.leases.take(f"lease-{home.id}", "me", NOW, DAY)
    stores.channels.put(Channel(id=f"n-{home.id}", address="https://hook", expires=NOW + DAY, opened=NOW))


def read(stores: Firestore) -> None:
    """Ask every question that leads to a query."""
    stores.connections.all()
    stores.connections.deleted()
    stores.runs.open("c1")
    assert stores.runs.asked_for("c1", "a1") is not None
    stores.holds.standing("c1")
    assert stores.adoptions.confirmed("c1") == {"u1": {"k1"}}
    assert stores.people.read(HOME, NOW).lines.all
    stores.channels.all()
    stores.sources.all()
    reports = stores.reports
    for names, user, actor, since, until in itertools.product(
        ([], [EventName.CREATED], [EventName.CREATED, EventName.UPDATED]),
        ("", "u1", "ada@example.com"),
        ("", "run r1"),
        (None, NOW - DAY),
        (None, NOW + DAY),
    ):
        filters = Filters(names=names, user=user, actor=actor, since=since, until=until)
        first = reports.events("c1", filters, "", 2)
        assert len(first.items) == 2
        reports.events("c1", filters, first.cursor, 2)
        assert len(list(reports.every_event("c1", filters))) == 4
        assert len(reports.events("c1", replace(filters, by="run"), "", 2).items) == 2
        assert len(reports.events("c1", filters, "", 2, order=EventOrder.OLDEST).items) == 2
    for since, until in itertools.product((None, NOW - DAY), (None, NOW + DAY)):
        filters = Filters(names=[EventName.CREATED], user="u1", team="t1", since=since, until=until)
        assert [event.id for event in reports.events("c1", replace(filters, names=(), user=""), "", 2).items] == ["e1"]
        assert [event.id for event in reports.events("c1", filters, "", 2).items] == ["e1"]
        assert [event.id for event in reports.every_event("c1", filters)] == ["e1"]
    reports.failures("c1", "", 1)
    list(reports.every_failure("c1"))
    [cause] = reports.causes("c1")
    reports.failures("c1", "", 1, cause.code)
    reports.usage("c1", NOW.date(), NOW.date())
    reports.pace("c1", NOW - timedelta(hours=1))
    assert reports.waiting("c1").count == 1
    assert reports.plans_held("c1") == 1
    assert reports.failing_users("c1") == 1
    assert stores.set_ups.begun() == {"c1": NOW}
    stores.set_ups.end("c1")
    stores.runs.latest("c1", 5)
    reports.runs("c1", "", 5)
    reports.decided("c1")
    reports.holds("c1", "", 5)
    reports.deleted("", 5)
    stores.connections.purge("c1")


INDEXES = Indexes.read(deployed.described())


def test_every_query_of_the_code_has_its_index(recorded):
    assert [lack for asked in recorded.asked if (lack := INDEXES.lacks(asked))] == []


def test_every_place_that_queries_was_recorded(recorded):
    missed = [
        f"{file}:{first} {text}"
        for (file, first, last), text in call_sites().items()
        if not any(name == file and first <= line <= last for name, line in recorded.from_)
    ]
    assert missed == []
    assert len(call_sites()) >= 10


def test_no_composite_index_is_there_in_vain(recorded):
    """Each one taken away, some query lacks it."""
    content = deployed.described()
    for gone in content["indexes"]:
        fewer = Indexes.read({**content, "indexes": [index for index in content["indexes"] if index is not gone]})
        assert any(fewer.lacks(asked) for asked in recorded.asked), gone


@pytest.mark.parametrize(
    ("asked", "lacks"),
    [
        (Asked("events", frozenset({"code"}), frozenset(), (("at", "DESCENDING"),), False), True),
        (Asked("events", frozenset({"name"}), frozenset(), (("at", "ASCENDING"),), False), True),
        (Asked("events", frozenset({"name"}), frozenset({"at"}), (("at", "DESCENDING"),), False), False),
        (Asked("events", frozenset({"name", "email"}), frozenset(), (("at", "DESCENDING"),), False), False),
        (Asked("events", frozenset({"name", "code"}), frozenset(), (("at", "DESCENDING"),), False), True),
        (Asked("events", frozenset({"name"}), frozenset(), (), False), True),  # exempt: only the composite has it
        (Asked("events", frozenset(), frozenset(), (("at", "DESCENDING"),), True), True),
        (Asked("runs", frozenset({"state"}), frozenset(), (), False), False),
        (Asked("runs", frozenset({"state"}), frozenset({"started"}), (), False), True),
        (Asked("failures", frozenset(), frozenset(), (("first", "DESCENDING"),), False), False),
        (Asked("failures", frozenset(), frozenset(), (("reason", "DESCENDING"),), False), True),
    ],
)
def test_a_missing_index_is_noticed(asked, lacks):
    assert bool(INDEXES.lacks(asked)) is lacks


def test_the_file_parses_into_the_messages_of_the_admin_api():
    for wanted in deployed.described()["indexes"]:
        index = firestore_admin_v1.Index.from_json(
            json.dumps({"queryScope": wanted["queryScope"], "fields": wanted["fields"]})
        )
        assert index.query_scope == firestore_admin_v1.Index.QueryScope.COLLECTION
        assert [field.field_path for field in index.fields][-1] in ("at", "raised_at", "first")
    for override in deployed.described()["fieldOverrides"]:
        assert set(override) <= {"collectionGroup", "fieldPath", "ttl", "indexes"}
        name = f"projects/p/databases/d/collectionGroups/{override['collectionGroup']}/fields/{override['fieldPath']}"
        field = {"name": name, "indexConfig": {"indexes": override["indexes"]}}
        if override.get("ttl"):
            field["ttlConfig"] = {}
        parsed = firestore_admin_v1.Field.from_json(json.dumps(field))
        assert parsed.name == name
        assert ("ttl_config" in parsed) is bool(override.get("ttl"))


def test_every_listed_field_is_one_that_is_written(documents):
    listed = INDEXES.exempt | {(group, "expires") for group in INDEXES.lifetimes}
    written = {(collection, field) for collection, fields in documents.items() for field in fields}
    assert listed - written <= {("runs", "counts"), ("runs", "done")}  # written once batches are applied
    assert {collection for collection, fields in documents.items() if "expires" in fields} == INDEXES.lifetimes


def test_what_only_holds_data_is_in_no_index(documents, recorded):
    """The roster and the audit are written most, and Firestore would index every entry of a map."""
    asked = {(each.collection, field) for each in recorded.asked for field in (*each.ranges, *dict(each.orders))}
    for collection in ("roster", "events", "members", "chunks", "adoptions", "people"):
        for field in documents[collection]:
            assert ((collection, field) in INDEXES.exempt) is ((collection, field) not in asked), field
    assert asked.isdisjoint(INDEXES.exempt)


def test_the_emulator_does_not_tell_but_the_docstring_of_the_reports_does():
    """One list of composite indexes in the code's own words."""
    from autoprovisioning.adapters.firestore import reports

    text = inspect.getdoc(reports) or ""
    for index in deployed.described()["indexes"]:
        assert f"`{index['fields'][0]['fieldPath']}`" in text


class TestLifetimes:
    """What expires, and when."""

    def fields(self, stores: Firestore, path: str) -> dict[str, Any]:
        found: dict[str, Any] = stores.client.document(f"connections/t1/{path}").get().to_dict()
        return found

    def test_a_run_expires_after_ninety_days(self, stores):
        stores.runs.put(Run(id="r9", connection_id="t1", kind=RunKind.FULL, fence=1, started=NOW))
        stores.runs.change("t1", "r9", lambda run: replace(run, state=RunState.DONE))
        assert self.fields(stores, "runs/r9")["expires"] == NOW + timedelta(days=90)

    @pytest.mark.parametrize("by", ["", "boss@example.com"])
    def test_a_held_plan_expires_with_the_audit_after_its_last_decision_and_its_members_after_it(self, stores, by):
        digest, later = f"plan-{bool(by)}", NOW + 390 * DAY
        stores.holds.put("t1", hold(["u1", "u2"], digest=digest))
        if by:
            stores.holds.change("t1", digest, lambda known: known.moved(lambda *_: Standing.REJECTED, later, by))
        ends = (later if by else NOW) + timedelta(days=400)
        assert self.fields(stores, f"holds/{digest}")["expires"] == ends
        assert self.fields(stores, f"holds/{digest}/members/0000")["expires"] == ends + timedelta(days=2)

    def test_a_plan_that_ended_undecided_expires_within_days_with_its_members(self, stores):
        stores.holds.put("t1", hold([f"u{number}" for number in range(5_001)], digest="old"))
        later = NOW + DAY
        stores.holds.change("t1", "old", lambda known: known.moved(lambda *_: Standing.RELEASED, later))
        assert self.fields(stores, "holds/old")["expires"] == later + timedelta(days=7)
        for number in range(2):
            part = self.fields(stores, f"holds/old/members/{number:04d}")
            assert part["expires"] == later + timedelta(days=9)
        assert len(stores.holds.get("t1", "old").members) == 5_001

    def test_a_plan_of_whose_members_some_expired_before_it_authorises_nobody(self, stores):
        plan = hold([f"u{number}" for number in range(5_001)], Standing.APPROVED, by="a@x.org", digest="half")
        stores.holds.put("t1", plan)
        stores.client.document("connections/t1/holds/half/members/0000").delete()
        assert stores.holds.get("t1", "half").members == ()
        assert isinstance(self.fields(stores, "holds/half")["expires"], datetime)
