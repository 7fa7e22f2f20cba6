"""The contract of previews and inquiries: the fakes and Firestore keep the same promises."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from autoprovisioning.adapters.firestore import FirestoreInquiries, FirestorePreviews
from autoprovisioning.adapters.firestore import previews as adapter
from autoprovisioning.app.ports.reports import Page
from autoprovisioning.app.ports.requests import (
    Inquiries,
    Inquiry,
    InquiryKind,
    InquiryState,
    Line,
    Preview,
    Previews,
    PreviewState,
    Step,
    Would,
)
from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.directory_user import Scope
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.keeper import PatchDialect
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from autoprovisioning.domain.settings import Settings, VolumeLimit
from tests.contract.state_stores import IN_FIRESTORE, Firestore
from tests.support.builders import NOW
from tests.support.in_memory_requests import FakeInquiries, FakePreviews

HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Stores:
    previews: Previews
    inquiries: Inquiries
    clock: Clock


@dataclass
class InFirestore(Stores):
    state: Firestore

    def read(self) -> int:
        """Return how many documents were read since this was asked last."""
        return self.state.reads.pop("firestore_reads", 0)


def over(state: Firestore) -> InFirestore:
    clock = Clock()
    return InFirestore(
        FirestorePreviews(state.database, clock), FirestoreInquiries(state.database, clock), clock, state
    )


@pytest.fixture(params=IN_FIRESTORE)
def firestore(request: pytest.FixtureRequest) -> InFirestore:
    return over(request.getfixturevalue(request.param))


@pytest.fixture(params=["fakes", *IN_FIRESTORE])
def stores(request: pytest.FixtureRequest) -> Stores:
    if request.param != "fakes":
        return over(request.getfixturevalue(request.param))
    clock = Clock()
    return Stores(FakePreviews(clock), FakeInquiries(clock), clock)


SETTINGS = Settings(
    name="Keeper EU",
    endpoint="https://keepersecurity.eu/api/rest/scim/v2/1",
    mapping=AttributeMapping(
        (*DEFAULT_ROWS, Row(target="title", source="organizations[primary].title", mandatory=True))
    ),
    scope=Scope.named(groups=("g1", "sales@example.com"), org_units=("/Sales", "/R&D")),
    deprovisioning=Deprovisioning(
        app_off=Delays(suspend_after=7, delete_after=30),
        suspended=Delays(suspend_after=None, delete_after=None),
        deleted=Delays(suspend_after=0, delete_after=1),
    ),
    limit=VolumeLimit(minimum=25, percent=2.5),
    archived_as_suspended=True,
    patch_dialect=PatchDialect.KEEPER,
)
ASKED = Preview(
    id="p1",
    connection_id="c1",
    edition=4,
    settings=SETTINGS,
    asked_by="admin@example.com",
    asked_at=NOW,
    expires=NOW + HOUR,
)
DONE = replace(
    ASKED,
    state=PreviewState.DONE,
    finished=NOW + TICK,
    counts={"create": 2, "unchanged": 7},
    held=True,
    notes=("a", "b"),
    problem="none",
)


def line(number: int, would: Would = Would.CREATE, detail: str = "") -> Line:
    return Line(would=would, user_id=f"u{number}", email=f"u{number}@example.com", detail=detail)


def all_pages(stores: Stores, would: Would | None, limit: int, preview: Preview = DONE) -> list[Line]:
    lines: list[Line] = []
    cursor = ""
    for _ in range(100):
        page = stores.previews.lines(preview, would, cursor, limit)
        assert len(page.items) <= limit
        lines += page.items
        cursor = page.cursor
        if not cursor:
            return lines
    raise AssertionError("the pages do not end")


class TestPreviews:
    @pytest.mark.parametrize(
        "preview", [ASKED, DONE, replace(DONE, settings=Settings())], ids=["asked", "done", "bare"]
    )
    def test_one_comes_back_as_it_was_stored(self, stores, preview):
        stores.previews.put(preview)
        assert stores.previews.get("c1", "p1") == preview
        assert stores.previews.get("c2", "p1") is None

    def test_what_is_stored_later_replaces_all_of_it(self, stores):
        stores.previews.put(DONE)
        again = replace(ASKED, counts={"update": 1})
        stores.previews.put(again)
        assert stores.previews.get("c1", "p1") == again
        stores.previews.put(ASKED)
        assert stores.previews.get("c1", "p1") == ASKED

    @pytest.mark.parametrize("name", ["none", "", "a/b", "..", "__id__", "x" * 2000, "\x00"])
    def test_there_is_none_of_that_name(self, stores, name):
        stores.previews.put(ASKED)
        assert stores.previews.get("c1", name) is None
        assert stores.inquiries.get("c1", name) is None

    def test_an_expired_one_is_gone(self, stores):
        stores.previews.put(ASKED)
        stores.clock.now = ASKED.expires - TICK
        assert stores.previews.get("c1", "p1") == ASKED
        stores.clock.now = ASKED.expires
        assert stores.previews.get("c1", "p1") is None

    def test_one_without_lines_has_an_empty_page(self, stores):
        assert stores.previews.lines(ASKED, None, "", 10) == Page()
        stores.previews.fill(DONE, [])
        assert stores.previews.get("c1", "p1") == DONE
        assert stores.previews.lines(DONE, Would.CREATE, "", 10) == Page()
        assert list(stores.previews.every_line(DONE)) == []

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
    def test_its_lines_are_paged_by_kind_and_all_together(self, stores, monkeypatch, limit):
        monkeypatch.setattr(adapter, "LINES_A_DOCUMENT", 3)
        number = iter(range(100))
        sizes = {Would.DELETE: 1, Would.SUSPEND: 3, Would.CREATE: 7, Would.UPDATE: 6, Would.FAIL: 2}
        lines = {would: [line(next(number), would, "title") for _ in range(size)] for would, size in sizes.items()}
        everything = [item for kind in lines.values() for item in kind]
        stores.previews.fill(DONE, iter(everything))
        for would in Would:
            assert all_pages(stores, would, limit) == lines.get(would, [])
        assert all_pages(stores, None, limit) == everything
        assert list(stores.previews.every_line(DONE)) == everything

    def test_filling_it_again_leaves_nothing_of_the_first_time(self, stores, monkeypatch):
        monkeypatch.setattr(adapter, "LINES_A_DOCUMENT", 3)
        stores.previews.fill(DONE, [line(number) for number in range(10)])
        second = [line(20, Would.SUSPEND), *(line(number) for number in range(4))]
        stores.previews.fill(DONE, second)
        assert list(stores.previews.every_line(DONE)) == second
        stores.previews.put(replace(DONE, problem="noted later"))
        assert all_pages(stores, None, 2) == second

    def test_previews_do_not_see_each_others_lines(self, stores):
        other = replace(DONE, id="p2")
        stores.previews.fill(DONE, [line(1)])
        stores.previews.fill(other, [line(2)])
        assert list(stores.previews.every_line(DONE)) == [line(1)]
        assert list(stores.previews.every_line(other)) == [line(2)]

    @pytest.mark.parametrize("cursor", ["nonsense", "ü", "a" * 5000, "W10", "LTE", "dHJ1ZQ", "MS41"])
    def test_a_cursor_that_we_did_not_make_is_refused(self, stores, cursor):
        stores.previews.fill(DONE, [line(1)])
        with pytest.raises(BadInput) as refused:
            stores.previews.lines(DONE, None, cursor, 5)
        assert refused.value.field == "cursor"


class TestPreviewsInFirestore:
    def test_lines_that_come_mixed_are_listed_by_kind(self, firestore, monkeypatch):
        monkeypatch.setattr(adapter, "LINES_A_DOCUMENT", 3)
        kinds = list(Would)
        lines = [line(number, kinds[number % len(kinds)]) for number in range(50)]
        random.Random(3).shuffle(lines)
        firestore.previews.fill(DONE, lines)
        by_kind = [item for would in kinds for item in lines if item.would is would]
        assert list(firestore.previews.every_line(DONE)) == by_kind
        assert all_pages(firestore, None, 7) == by_kind

    def test_a_page_reads_the_documents_that_its_lines_are_in(self, firestore):
        lines = [line(number) for number in range(2500)] + [line(number, Would.UPDATE) for number in range(5000, 7001)]
        firestore.previews.fill(DONE, lines)
        firestore.read()
        first = firestore.previews.lines(DONE, Would.UPDATE, "", 50)
        assert first.items == tuple(lines[2500:2550])
        assert firestore.read() == 2
        firestore.previews.lines(DONE, Would.UPDATE, first.cursor, 1000)
        assert firestore.read() == 3
        firestore.previews.lines(DONE, Would.DELETE, "", 50)
        assert firestore.read() == 1

    def test_lines_with_long_details_still_fit(self, firestore):
        lines = [line(number, Would.UPDATE, "ü" * 3000) for number in range(400)]  # 2.4 MB, 1 MiB a document
        firestore.previews.fill(DONE, lines)
        assert list(firestore.previews.every_line(DONE)) == lines

    def test_everything_of_it_has_a_time_for_the_service_to_delete_it(self, firestore):
        firestore.previews.fill(DONE, [line(1), line(2, Would.FAIL)])
        firestore.inquiries.put(WAITING)
        client = firestore.state.client
        stored = [
            *client.collection("connections/c1/previews").stream(),
            *client.collection("connections/c1/previews/p1/chunks").stream(),
            *client.collection("connections/c1/inquiries").stream(),
        ]
        assert [item.get("expires") for item in stored] == [NOW + HOUR] * 4

    def test_purging_a_connection_leaves_nothing_of_them(self, firestore):
        state = firestore.state
        state.connections.create(Connection(id="c1", roster_layout="1"))
        firestore.previews.fill(DONE, [line(number) for number in range(3)])
        firestore.previews.fill(replace(DONE, connection_id="c2"), [line(1)])
        firestore.inquiries.put(WAITING)

        state.connections.purge("c1")

        assert firestore.previews.get("c1", "p1") is None
        assert firestore.inquiries.get("c1", "i1") is None
        left = state.client.collection_group("chunks").stream()
        assert [item.reference.path for item in left] == ["connections/c2/previews/p1/chunks/create.0000"]

    def test_times_are_plain_ones_that_any_encoder_takes(self, firestore):
        firestore.previews.put(DONE)
        firestore.inquiries.put(ANSWERED)
        preview, inquiry = firestore.previews.get("c1", "p1"), firestore.inquiries.get("c1", "i1")
        times = [preview.asked_at, preview.expires, preview.finished, inquiry.asked_at, inquiry.finished]
        assert {type(at) for at in [*times, *(step.at for step in inquiry.steps)]} == {datetime}


WAITING = Inquiry(
    id="i1",
    connection_id="c1",
    user_id="u1",
    kind=InquiryKind.EXPLAIN,
    asked_by="admin@example.com",
    asked_at=NOW,
    expires=NOW + HOUR,
)
ANSWERED = replace(
    WAITING,
    kind=InquiryKind.PROVISION,
    state=InquiryState.DONE,
    finished=NOW + TICK,
    steps=(
        Step(at=NOW, text="Read the user from the directory"),
        Step(at=NOW + TICK, text='Keeper said "no"', failed=True),
    ),
    account=Account(
        scim_id="k1",
        user_name="ada@example.com",
        external_id="u1",
        active=True,
        attributes={"userName": "ada@example.com", "x": True, "title": None},
    ),
    problem="refused",
)


class TestInquiries:
    @pytest.mark.parametrize("inquiry", [WAITING, ANSWERED], ids=["waiting", "answered"])
    def test_one_comes_back_as_it_was_stored(self, stores, inquiry):
        stores.inquiries.put(inquiry)
        assert stores.inquiries.get("c1", "i1") == inquiry
        assert stores.inquiries.get("c2", "i1") is None

    def test_the_answer_replaces_the_question(self, stores):
        stores.inquiries.put(WAITING)
        stores.inquiries.put(ANSWERED)
        assert stores.inquiries.get("c1", "i1") == ANSWERED

    def test_an_expired_one_is_gone(self, stores):
        stores.inquiries.put(WAITING)
        stores.clock.now = WAITING.expires - TICK
        assert stores.inquiries.get("c1", "i1") == WAITING
        stores.clock.now = WAITING.expires
        assert stores.inquiries.get("c1", "i1") is None
