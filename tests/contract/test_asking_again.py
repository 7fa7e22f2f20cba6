"""The contract of asking again: one waiting preview or inquiry of a name, in the fakes and in Firestore."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

from autoprovisioning.app.ports.requests import InquiryState, PreviewState, Would
from autoprovisioning.domain.accounts import Account
from tests.contract.test_previews import (  # noqa: F401 - fixtures
    ASKED,
    DONE,
    WAITING,
    InFirestore,
    Stores,
    firestore,
    line,
    stores,
)
from tests.support.builders import NOW

SINCE = NOW - timedelta(minutes=5)
LATER = timedelta(seconds=1)


def both(stores: Stores) -> list[tuple[Any, Any, Callable[..., Any]]]:  # noqa: F811
    """Return both kinds of question: the store, one that waits, and how it ends."""
    ended = {"state": PreviewState.DONE, "finished": NOW}, {"state": InquiryState.DONE, "finished": NOW}
    return [
        (stores.previews, ASKED, lambda asked: replace(asked, **ended[0])),
        (stores.inquiries, replace(WAITING, asked_by_id="u0"), lambda asked: replace(asked, **ended[1])),
    ]


def test_the_first_is_stored_and_is_the_one_that_was_given(stores: Stores) -> None:  # noqa: F811
    for store, asked, _ in both(stores):
        assert store.open(asked, SINCE) is asked
        assert store.get("c1", asked.id) == asked


def test_while_it_waits_it_is_returned_and_left_alone(stores: Stores) -> None:  # noqa: F811
    for store, asked, _ in both(stores):
        store.open(asked, SINCE)
        assert store.open(replace(asked, asked_at=NOW + LATER, problem="other"), SINCE) == asked
        assert store.get("c1", asked.id) == asked


def test_a_preview_that_is_being_computed_waits_too(stores: Stores) -> None:  # noqa: F811
    running = replace(ASKED, state=PreviewState.RUNNING, problem="tried")
    stores.previews.put(running)
    assert stores.previews.open(replace(ASKED, asked_at=NOW + LATER), SINCE) == running


def test_one_that_ended_or_was_asked_too_long_ago_is_asked_anew(stores: Stores) -> None:  # noqa: F811
    for store, asked, end in both(stores):
        again = replace(asked, asked_at=NOW + LATER)
        store.put(end(asked))
        assert store.open(again, SINCE) is again
        assert store.get("c1", asked.id) == again
        once_more = replace(asked, asked_at=NOW + 2 * LATER)
        assert store.open(once_more, NOW + LATER) is once_more


def test_one_that_expired_is_asked_anew(stores: Stores) -> None:  # noqa: F811
    for store, asked, _ in both(stores):
        store.open(replace(asked, expires=NOW + LATER), SINCE)
        stores.clock.now = NOW + LATER
        again = replace(asked, asked_at=NOW + LATER)
        assert store.open(again, SINCE) is again
        stores.clock.now = NOW


def test_a_preview_asked_anew_has_nothing_of_the_one_before(stores: Stores) -> None:  # noqa: F811
    stores.previews.fill(DONE, [line(1), line(2, Would.SUSPEND)])
    again = replace(ASKED, asked_at=NOW + LATER)
    stores.previews.open(again, SINCE)
    assert stores.previews.get("c1", "p1") == again
    assert list(stores.previews.every_line(again)) == []
    stores.previews.fill(replace(DONE, asked_at=NOW + LATER), [line(3)])
    assert list(stores.previews.every_line(again)) == [line(3)]


def test_an_inquiry_keeps_who_asked(stores: Stores) -> None:  # noqa: F811
    account = Account(scim_id="k1", user_name="a@example.com", external_id="u1", active=True, attributes={})
    told = replace(WAITING, asked_by_id="u0", state=InquiryState.DONE, account=account)
    stores.inquiries.put(told)
    assert stores.inquiries.get("c1", told.id) == told


class TestInFirestore:
    def test_of_many_who_ask_at_once_one_asks(self, firestore: InFirestore) -> None:  # noqa: F811
        for store, asked, _ in both(firestore):
            several = [replace(asked, asked_at=NOW + number * LATER) for number in range(12)]
            with ThreadPoolExecutor(12) as pool:
                opened = list(pool.map(lambda one, store=store: store.open(one, SINCE), several))
            assert len({each.asked_at for each in opened}) == 1
            assert sum(each is given for each, given in zip(opened, several, strict=True)) == 1
            assert store.get("c1", asked.id) == opened[0]

    def test_one_stored_before_ids_were_is_read_without(self, firestore: InFirestore) -> None:  # noqa: F811
        firestore.inquiries.put(WAITING)
        document = firestore.state.database.client.document(f"connections/c1/inquiries/{WAITING.id}")
        fields = document.get().to_dict()
        del fields["asked_by_id"]
        document.set(fields)
        assert firestore.inquiries.get("c1", WAITING.id) == WAITING
