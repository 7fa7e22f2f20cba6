"""The contract of a preview's lines: the fakes and Firestore keep the same promises."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from autoprovisioning.adapters.firestore import preview_lines as adapter
from autoprovisioning.app.ports.reports import Page
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.requests import PREVIEW, Line, Preview, Proposal, Would
from autoprovisioning.domain.settings import Settings
from tests.contract.state_stores import Firestore
from tests.support.builders import requested

ASKED = requested(PREVIEW, Proposal(edition=4, settings=Settings()))


def line(number: int, would: Would = Would.CREATE, detail: str = "") -> Line:
    return Line(would=would, user_id=f"u{number}", email=f"u{number}@example.com", detail=detail)


def all_pages(state: Any, would: Would | None, limit: int, preview: Preview = ASKED) -> list[Line]:
    lines: list[Line] = []
    cursor = ""
    for _ in range(100):
        page = state.preview_lines.page(preview, would, cursor, limit)
        assert len(page.items) <= limit
        lines += page.items
        cursor = page.cursor
        if not cursor:
            return lines
    raise AssertionError("the pages do not end")


def test_one_without_lines_has_an_empty_page(state):
    assert state.preview_lines.page(ASKED, None, "", 10) == Page()
    state.preview_lines.put(ASKED, [])
    assert state.preview_lines.page(ASKED, Would.CREATE, "", 10) == Page()
    assert list(state.preview_lines.every(ASKED)) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_its_lines_are_paged_by_kind_and_all_together(state, monkeypatch, limit):
    monkeypatch.setattr(adapter, "LINES_A_DOCUMENT", 3)
    number = iter(range(100))
    sizes = {Would.DELETE: 1, Would.SUSPEND: 3, Would.CREATE: 7, Would.UPDATE: 6, Would.FAIL: 2}
    lines = {would: [line(next(number), would, "title") for _ in range(size)] for would, size in sizes.items()}
    everything = [item for kind in lines.values() for item in kind]
    state.preview_lines.put(ASKED, iter(everything))
    for would in Would:
        assert all_pages(state, would, limit) == lines.get(would, [])
    assert all_pages(state, None, limit) == everything
    assert list(state.preview_lines.every(ASKED)) == everything


def test_stored_again_nothing_is_left_of_the_first_time(state, monkeypatch):
    monkeypatch.setattr(adapter, "LINES_A_DOCUMENT", 3)
    state.preview_lines.put(ASKED, [line(number) for number in range(10)])
    second = [line(20, Would.SUSPEND), *(line(number) for number in range(4))]
    state.preview_lines.put(ASKED, second)
    assert list(state.preview_lines.every(ASKED)) == second
    state.requests.put(ASKED.begun().hindered("noted later"))
    assert all_pages(state, None, 2) == second


def test_previews_do_not_see_each_others_lines(state):
    other = replace(ASKED, id="p2")
    state.preview_lines.put(ASKED, [line(1)])
    state.preview_lines.put(other, [line(2)])
    assert list(state.preview_lines.every(ASKED)) == [line(1)]
    assert list(state.preview_lines.every(other)) == [line(2)]


@pytest.mark.parametrize("cursor", ["nonsense", "ü", "a" * 5000, "W10", "LTE", "dHJ1ZQ", "MS41"])
def test_a_cursor_that_we_did_not_make_is_refused(state, cursor):
    state.preview_lines.put(ASKED, [line(1)])
    with pytest.raises(BadInput) as refused:
        state.preview_lines.page(ASKED, None, cursor, 5)
    assert refused.value.field == "cursor"


def reads(firestore: Firestore) -> int:
    """Return how many documents were read since this was asked last."""
    return firestore.reads.pop("firestore_reads", 0)


class TestInFirestore:
    def test_lines_that_come_mixed_are_listed_by_kind(self, firestore, monkeypatch):
        monkeypatch.setattr(adapter, "LINES_A_DOCUMENT", 3)
        kinds = list(Would)
        lines = [line(number, kinds[number % len(kinds)]) for number in range(50)]
        random.Random(3).shuffle(lines)
        firestore.preview_lines.put(ASKED, lines)
        by_kind = [item for would in kinds for item in lines if item.would is would]
        assert list(firestore.preview_lines.every(ASKED)) == by_kind
        assert all_pages(firestore, None, 7) == by_kind

    def test_a_page_reads_the_documents_that_its_lines_are_in(self, firestore):
        lines = [line(number) for number in range(2500)] + [line(number, Would.UPDATE) for number in range(5000, 7001)]
        firestore.preview_lines.put(ASKED, lines)
        reads(firestore)
        first = firestore.preview_lines.page(ASKED, Would.UPDATE, "", 50)
        assert first.items == tuple(lines[2500:2550])
        assert reads(firestore) == 2
        firestore.preview_lines.page(ASKED, Would.UPDATE, first.cursor, 1000)
        assert reads(firestore) == 3
        firestore.preview_lines.page(ASKED, Would.DELETE, "", 50)
        assert reads(firestore) == 1

    def test_lines_with_long_details_still_fit(self, firestore):
        lines = [line(number, Would.UPDATE, "ü" * 3000) for number in range(400)]  # 2.4 MB, 1 MiB a document
        firestore.preview_lines.put(ASKED, lines)
        assert list(firestore.preview_lines.every(ASKED)) == lines

    def test_everything_of_it_has_a_time_for_the_service_to_delete_it(self, firestore):
        firestore.preview_lines.put(ASKED, [line(1), line(2, Would.FAIL)])
        parts = firestore.client.collection(f"connections/c1/requests/{ASKED.id}/chunks").stream()
        assert {part.id: part.get("expires") for part in parts} == dict.fromkeys(
            ("list", "create.0000", "fail.0000"), ASKED.expires
        )

    def test_purging_a_connection_leaves_nothing_of_them(self, firestore):
        elsewhere = replace(ASKED, connection_id="c2")
        firestore.connections.create(Connection(id="c1", roster_layout="1"))
        for preview in (ASKED, elsewhere):
            firestore.requests.put(preview)
            firestore.preview_lines.put(preview, [line(number) for number in range(3)])

        firestore.connections.purge("c1")

        left = [item.reference.path for item in firestore.client.collection_group("chunks").stream()]
        parts = f"connections/c2/requests/{ASKED.id}/chunks"
        assert sorted(left) == [f"{parts}/create.0000", f"{parts}/list"]
