"""What the adapters rely on in Firestore's client, of the emulator's and of the one of simulations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore as sdk

from tests.contract.state_stores import Firestore
from tests.support.builders import NOW

KINDS = [
    None,
    False,
    True,
    -(2**63),
    2,
    2.5,
    NOW,
    NOW + timedelta(microseconds=1),
    "",
    "ä",
    "\N{GRINNING FACE}",
    b"",
    b"\x00\xff",
]


@pytest.fixture
def client(firestore: Firestore) -> Any:
    return firestore.client


@pytest.fixture
def document(client: Any) -> Any:
    return client.document("things/one")


def fields(document: Any) -> Any:
    return document.get().to_dict()


class TestValues:
    @pytest.mark.parametrize("value", [*KINDS, [], [1, {"a": [b"x"]}], {}, {"a": {"b": {}}}, {"ä/.`": 1}], ids=repr)
    def test_they_come_back_as_they_were_stored(self, document, value):
        document.set({"value": value})
        found = document.get().get("value")
        assert found == value
        assert type(found) is type(value) or isinstance(value, datetime)

    def test_times_come_back_in_utc_and_of_the_clients_own_class(self, document):
        east = timezone(timedelta(hours=5))
        document.set({"zone": NOW.astimezone(east), "none": NOW.replace(tzinfo=None)})
        assert fields(document) == {"zone": NOW, "none": NOW}
        assert {value.tzinfo for value in fields(document).values()} == {UTC}
        assert {type(value).__name__ for value in fields(document).values()} == {"DatetimeWithNanoseconds"}

    def test_tuples_become_lists(self, document):
        document.set({"value": (1, {"a": ("b",)})})
        assert fields(document) == {"value": [1, {"a": ["b"]}]}

    @pytest.mark.parametrize("value", [[[]], [1, (2,)], [{"a": [[1]]}]])
    def test_a_list_of_lists_is_refused(self, document, value):
        with pytest.raises(exceptions.InvalidArgument):
            document.set({"value": value})

    @pytest.mark.parametrize(
        "value", [object(), 2**63, timedelta(1), bytearray(b"x")], ids=lambda value: type(value).__name__
    )
    def test_what_is_no_value_is_refused(self, document, value):
        with pytest.raises((TypeError, ValueError)):
            document.set({"value": value})
        assert not document.get().exists

    def test_what_was_handed_in_or_out_can_be_changed_without_effect(self, document):
        given: dict[str, Any] = {"map": {"a": [1]}}
        document.set(given)
        given["map"]["a"].append(2)
        snapshot = document.get()
        snapshot.to_dict()["map"]["a"].append(3)
        snapshot.get("map")["a"].append(4)
        assert snapshot.to_dict() == fields(document) == {"map": {"a": [1]}}

    def test_a_batch_holds_what_was_said_when_it_was_said(self, client, document):
        given = {"list": [1]}
        batch = client.batch()
        batch.set(document, given)
        given["list"].append(2)
        batch.commit()
        assert fields(document) == {"list": [1]}


class TestSnapshots:
    def test_of_a_document_that_is_not_there(self, document):
        snapshot = document.get()
        assert (snapshot.exists, snapshot.to_dict(), snapshot.get("a"), snapshot.update_time) == (
            False,
            None,
            None,
            None,
        )
        assert (snapshot.id, snapshot.reference.path) == ("one", "things/one")

    def test_a_field_is_told_by_its_path(self, document):
        document.set({"a": {"b": 1, "c.d": 2}, "e": 3})
        snapshot = document.get()
        assert [snapshot.get(path) for path in ("a.b", "a.`c.d`", "e")] == [1, 2, 3]
        for path in ("f", "a.f", "e.f"):
            with pytest.raises(KeyError):
                snapshot.get(path)

    def test_all_that_are_asked_for_come_whether_they_are_there_or_not(self, client, document):
        document.set({"a": 1})
        others = [client.document("things/two"), client.document("others/one")]
        found = {snapshot.reference.path: snapshot.exists for snapshot in client.get_all([document, *others])}
        assert found == {"things/one": True, "things/two": False, "others/one": False}


class TestWrites:
    def test_a_document_is_created_once(self, document):
        document.create({"a": 1})
        with pytest.raises(exceptions.AlreadyExists):
            document.create({"a": 2})
        assert fields(document) == {"a": 1}

    def test_one_that_is_not_there_is_not_updated(self, document):
        with pytest.raises(exceptions.NotFound):
            document.update({"a": 1})
        assert not document.get().exists

    def test_an_update_replaces_what_it_names(self, document):
        document.set({"a": {"x": 1, "y": 1}, "b": {"x": 1}, "c": 1, "d": 1})
        document.update(
            {"a": {"z": 2}, "b.y": 2, "c.x.y": 2, "e.`f.g`": 2, "d": sdk.DELETE_FIELD, "h.i": sdk.DELETE_FIELD}
        )
        assert fields(document) == {
            "a": {"z": 2},
            "b": {"x": 1, "y": 2},
            "c": {"x": {"y": 2}},
            "e": {"f.g": 2},
        } | ({"h": {}} if "h" in fields(document) else {})

    def test_without_a_field_nothing_is_updated(self, document):
        document.set({"a": 1})
        with pytest.raises(ValueError, match="empty"):
            document.update({})

    def test_a_merge_keeps_what_it_does_not_name(self, document):
        document.set({"a": {"x": 1, "y": 1}, "b": {"x": 1}, "c": [1, 2]})
        document.set({"a": {"y": 2, "z": {}}, "b": {}, "c": [3], "d.e": 4}, merge=True)
        assert fields(document) == {"a": {"x": 1, "y": 2, "z": {}}, "b": {}, "c": [3], "d.e": 4}

    def test_a_merge_by_name_replaces_what_it_names_and_nothing_else(self, document):
        document.set({"a": {"x": 1}, "b": 1, "c": 1})
        document.set({"a": {"y": 2}, "b": 2, "c": 2}, merge=["a", "b"])
        assert fields(document) == {"a": {"y": 2}, "b": 2, "c": 1}

    def test_a_merge_creates_what_is_not_there(self, document):
        document.set({"a": {"b": 1}}, merge=True)
        assert fields(document) == {"a": {"b": 1}}

    def test_what_the_service_computes(self, document):
        document.set({"count": 1, "text": "x", "list": [1, 1]})
        document.update(
            {
                "count": sdk.Increment(2),
                "text": sdk.Increment(1.5),
                "new.count": sdk.Increment(4),
                "list": sdk.ArrayUnion([1, 2, 2]),
                "at": sdk.SERVER_TIMESTAMP,
            }
        )
        snapshot = document.get()
        found = snapshot.to_dict()
        assert timedelta(0) <= snapshot.update_time - found.pop("at") < timedelta(seconds=5)
        assert found == {"count": 3, "text": 1.5, "new": {"count": 4}, "list": [1, 1, 2]}
        document.set({"count": sdk.Increment(0.5), "deep": {"count": sdk.Increment(1), "x": 1}}, merge=True)
        document.set({"list": sdk.ArrayRemove([1])}, merge=True)
        assert fields(document) == {
            **found,
            "count": 3.5,
            "deep": {"count": 1, "x": 1},
            "list": [2],
            "at": snapshot.get("at"),
        }

    def test_a_document_without_fields_is_one(self, document):
        document.set({})
        assert fields(document) == {}
        document.delete()
        assert not document.get().exists


class TestBatches:
    def test_it_is_done_whole_or_not_at_all(self, client, document):
        document.create({"a": 1})
        for refuse in (
            lambda batch: batch.create(document, {"a": 2}),
            lambda batch: batch.update(client.document("things/missing"), {"a": 2}),
        ):
            batch = client.batch()
            batch.set(client.document("things/before"), {"a": 1})
            refuse(batch)
            batch.set(client.document("things/after"), {"a": 1})
            with pytest.raises((exceptions.AlreadyExists, exceptions.NotFound)):
                batch.commit()
        assert [snapshot.id for snapshot in client.collection("things").stream()] == ["one"]

    def test_each_write_sees_those_before_it(self, client, document):
        batch = client.batch()
        batch.create(document, {"n": 1})
        batch.update(document, {"n": sdk.Increment(1), "m": 1})
        batch.set(document, {"k": 1}, merge=True)
        batch.commit()
        assert fields(document) == {"n": 2, "m": 1, "k": 1}

    def test_one_without_writes_is_nothing(self, client):
        client.batch().commit()


class TestTimeOfTheLastUpdate:
    def test_it_grows_with_each_change_and_every_document_of_a_batch_has_the_same(self, client, document):
        times = []
        for number in range(5):
            batch = client.batch()
            batch.set(document, {"n": number})
            batch.set(client.document("things/two"), {"n": number})
            batch.commit()
            times.append(document.get().update_time)
            assert client.document("things/two").get().update_time == times[-1]
        assert times == sorted(set(times))
        assert document.get().create_time == times[0]

    @pytest.mark.parametrize(
        "write",
        [lambda document: document.set({"a": {"b": 1}}), lambda document: document.update({"a.b": 1})],
        ids=["set", "update"],
    )
    def test_a_write_that_changes_nothing_leaves_it(self, document, write):
        document.set({"a": {"b": 1}})
        before = document.get().update_time
        write(document)
        assert document.get().update_time == before

    def test_another_type_is_a_change(self, document):
        times = []
        for value in (1, True, 1.0, 1):
            document.set({"a": {"b": [value]}})
            times.append(document.get().update_time)
        assert times == sorted(set(times))

    def test_a_write_is_refused_unless_it_is_the_time_it_names(self, client, document):
        document.set({"a": 1})
        seen = client.write_option(last_update_time=document.get().update_time)
        document.set({"a": 2})
        for write in (lambda: document.update({"a": 3}, option=seen), lambda: document.delete(option=seen)):
            with pytest.raises(exceptions.FailedPrecondition):
                write()
        assert fields(document) == {"a": 2}
        document.update({"a": 4}, option=client.write_option(last_update_time=document.get().update_time))
        assert fields(document) == {"a": 4}

    def test_a_document_that_was_deleted_since_is_not_written(self, client, document):
        document.set({"a": 1})
        seen = client.write_option(last_update_time=document.get().update_time)
        document.delete()
        with pytest.raises((exceptions.FailedPrecondition, exceptions.NotFound)) as refused:
            document.update({"a": 2}, option=seen)
        assert refused.type is exceptions.FailedPrecondition
        assert not document.get().exists


class TestQueries:
    @pytest.fixture
    def things(self, client: Any) -> Any:
        collection = client.collection("things")
        for number, value in enumerate(KINDS):
            collection.document(f"k{number:02d}").set({"value": value, "number": number})
        collection.document("without").set({"number": 99})
        client.document("things/k00/value/below").set({"value": 2})
        return collection

    def ids(self, query: Any) -> list[str]:
        return [snapshot.id for snapshot in query.stream()]

    def test_all_of_a_collection_by_name(self, things):
        assert self.ids(things) == [*(f"k{number:02d}" for number in range(len(KINDS))), "without"]
        assert self.ids(things.limit(2)) == ["k00", "k01"]

    def test_in_the_order_of_a_field_those_without_it_are_left_out(self, things):
        everything = [f"k{number:02d}" for number in range(len(KINDS))]
        assert self.ids(things.order_by("value")) == everything
        assert self.ids(things.order_by("value", direction="DESCENDING")) == everything[::-1]

    @pytest.mark.parametrize("value", KINDS[1:], ids=repr)
    def test_equality_is_of_one_type(self, things, value):
        chosen = things.where(filter=sdk.FieldFilter("value", "==", value))
        assert self.ids(chosen) == [f"k{KINDS.index(value):02d}"]
        assert chosen.count().get()[0][0].value == 1

    @pytest.mark.parametrize(("op", "wanted"), [("<", [3]), ("<=", [3, 4]), (">", [5]), (">=", [4, 5])])
    def test_ranges_are_of_one_type(self, things, op, wanted):
        found = self.ids(things.where(filter=sdk.FieldFilter("value", op, 2)))
        assert found == [f"k{number:02d}" for number in wanted]

    def test_membership_and_filters_together(self, things):
        among = things.where(filter=sdk.FieldFilter("value", "in", ["ä", NOW, 2, 7]))
        assert self.ids(among) == ["k04", "k06", "k09"]
        assert self.ids(among.where(filter=sdk.FieldFilter("number", ">", 4))) == ["k06", "k09"]

    def test_what_follows_a_position(self, client):
        collection = client.collection("events")
        for number in range(6):
            collection.document(f"e{number}").set({"at": NOW + number // 3 * timedelta(hours=1)})
        newest = collection.order_by("at", direction="DESCENDING").order_by("__name__", direction="DESCENDING")
        assert self.ids(newest) == ["e5", "e4", "e3", "e2", "e1", "e0"]
        assert self.ids(newest.start_after({"at": NOW, "__name__": "e2"})) == ["e1", "e0"]
        assert self.ids(newest.start_after({"at": NOW + timedelta(hours=1), "__name__": "e0"}).limit(2)) == ["e2", "e1"]

    def test_names_alone_can_be_asked_for(self, things):
        found = list(things.select([]).limit(1).stream())
        assert [(snapshot.id, snapshot.to_dict()) for snapshot in found] == [("k00", {})]


class TestNames:
    @pytest.mark.parametrize("name", ["a b", "ä", "%2F", "a.b", "__a", "a__", "x" * 1500], ids=lambda name: name[:8])
    def test_documents_that_can_be(self, client, name):
        reference = client.collection("things").document(name)
        reference.set({"a": 1})
        assert [snapshot.id for snapshot in client.collection("things").stream()] == [name]
        assert reference.get().exists

    @pytest.mark.parametrize("name", [".", "..", "__a__"])
    def test_documents_that_cannot_be(self, client, name):
        reference = client.collection("things").document(name)
        for act in (reference.get, lambda: reference.set({"a": 1})):
            with pytest.raises(exceptions.InvalidArgument):
                act()


class TestSizes:
    @pytest.mark.parametrize("fits", [True, False])
    def test_of_a_field(self, document, fits):
        self._attempt(lambda: document.set({"a": b"x" * (1_048_487 + (not fits))}), fits)

    @pytest.mark.parametrize("fits", [True, False])
    def test_of_a_document(self, client, fits):
        """32 bytes, its name (16, each part and one) and its fields (name and one, value)."""
        document = client.document("connections/c1/roster/0000")
        name = 16 + len("connections/c1/roster/0000/")
        rest = 1_048_576 - 32 - name - len("a.b.") - 600_000
        self._attempt(lambda: document.set({"a": b"x" * 600_000, "b": b"y" * (rest + (not fits))}), fits)

    def _attempt(self, write: Callable[[], Any], fits: bool) -> None:
        if fits:
            write()
        else:
            with pytest.raises(exceptions.InvalidArgument):
                write()
