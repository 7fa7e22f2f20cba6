"""The emulator and the client of simulations side by side: whatever is done to both, both answer alike."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore as sdk

from tests.contract.state_stores import Firestore, InMemory
from tests.support.builders import NOW

pytestmark = pytest.mark.emulator

STEPS = 40
VERBS = ["create", "set", "merge", "named", "update", "update", "delete"]
DOCUMENTS = ["things/a", "things/b", "things/a/things/a", "others/a"]

Step = Callable[[Any, dict[str, Any]], Any]


class Chance(random.Random):
    """Makes up what is written, done and asked."""

    def plain(self) -> Any:
        return self.choice([None, True, False, 0, 1, 2, 0.5, 1.5, "", "ä", b"x", NOW, NOW + timedelta(1)])

    def value(self, depth: int = 0) -> Any:
        nested = [{}, [], self.fields(depth + 1), [self.plain(), "x"]] if depth < 2 else []
        return self.choice([self.plain(), *nested])

    def fields(self, depth: int = 0) -> dict[str, Any]:
        chosen = self.sample(["n", "m", "map", "list"], self.randint(0, 3))
        return {name: self.plain() if name in ("n", "m") else self.value(depth) for name in chosen}

    def computed(self) -> Any:
        return self.choice([sdk.Increment(1), sdk.Increment(0.5), sdk.ArrayUnion([1, "x"]), sdk.ArrayRemove([1])])

    def paths(self) -> dict[str, Any]:
        """Return what an update names; no path is inside of another."""
        paths = {self.choice(["n", "m"]): self.plain(), self.choice(["list", "map", "map.n", "map.m.k"]): self.value()}
        if self.random() < 0.3:
            paths[self.choice(["n", "list"])] = self.choice([sdk.DELETE_FIELD, self.computed()])
        return paths

    def write(self, name: str) -> Step:
        """Return something that a batch does to a document, given what was read of the documents."""
        verb, fields, paths = self.choice(VERBS), self.fields(), self.paths()
        named = self.sample(sorted(fields), min(len(fields), 2))
        if self.random() < 0.3 and verb != "named":
            fields[self.choice(["n", "list"])] = self.computed()
        known = self.random() < 0.5

        def act(batch: Any, seen: dict[str, Any]) -> None:
            reference = batch._client.document(name)
            option = batch._client.write_option(last_update_time=seen[name]) if known and seen[name] else None
            match verb:
                case "create" | "set":
                    getattr(batch, verb)(reference, fields)
                case "merge":
                    batch.set(reference, fields, merge=True)
                case "named" if named:
                    batch.set(reference, fields, merge=named)
                case "update":
                    batch.update(reference, paths, option=option)
                case "delete":
                    batch.delete(reference, option=option)

        return act

    def question(self) -> Step:
        """Return a query."""
        field, op, direction = (
            self.choice(["n", "m", "map.n"]),
            self.choice(["==", "<", ">=", "in"]),
            self.choice([*"><"]),
        )
        value = self.choice([True, 0, 1, 1.5, "", "ä", b"x", NOW])
        ordered, limit = self.choice([None, None, "n", "m"]), self.choice([None, 1, 2])

        def ask(client: Any, _seen: dict[str, Any]) -> list[str]:
            query = client.collection("things")
            if direction == ">":
                wanted = [value, 2] if op == "in" else value
                query = query.where(filter=sdk.FieldFilter(field, op, wanted))
            elif ordered:
                query = query.order_by(ordered, direction="DESCENDING" if limit else "ASCENDING")
            return [snapshot.id for snapshot in (query.limit(limit) if limit else query).stream()]

        return ask


class Side:
    """One of both, and what was seen of it."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._seen: dict[str, Any] = dict.fromkeys(DOCUMENTS)

    def commit(self, writes: list[Step]) -> str:
        """Commit some writes; returns how it ended."""
        try:
            batch = self._client.batch()
            for write in writes:
                write(batch, self._seen)
            batch.commit()
        except (exceptions.GoogleAPICallError, ValueError) as error:
            return type(error).__name__
        return "done"

    def look(self, remembered: Collection[str]) -> dict[str, tuple[Any, bool]]:
        """Return what the documents hold, and whether they are as was seen last; see the ones to be remembered."""
        found: dict[str, tuple[Any, bool]] = {}
        for name in DOCUMENTS:
            snapshot = self._client.document(name).get()
            found[name] = (snapshot.to_dict(), snapshot.update_time != self._seen[name])
            if name in remembered:
                self._seen[name] = snapshot.update_time
        return found

    def ask(self, question: Step) -> Any:
        return question(self._client, self._seen)


@pytest.mark.parametrize("seed", range(12))
def test_both_answer_alike(emulated: Firestore, in_memory: InMemory, seed: int) -> None:
    chance = Chance(seed)
    sides = [Side(emulated.client), Side(in_memory.client)]
    for step in range(STEPS):
        writes = [chance.write(name) for name in chance.sample(DOCUMENTS, chance.choice([1, 1, 1, 2, 3]))]
        endings = [side.commit(writes) for side in sides]
        assert endings[0] == endings[1], f"step {step}"
        remembered = chance.sample(DOCUMENTS, 3)  # what was seen of the others grows old
        looks = [side.look(remembered) for side in sides]
        assert looks[0] == looks[1], f"step {step}, {endings[0]}"
        question = chance.question()
        answers = [side.ask(question) for side in sides]
        assert answers[0] == answers[1], f"step {step}"
