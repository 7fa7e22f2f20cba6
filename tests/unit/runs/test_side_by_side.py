"""Streams that are read at once: their order, how far ahead they are read, and what is left when nobody takes more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprovisioning.adapters.threads import Threads
from autoprovisioning.app.runs.side_by_side import side_by_side
from tests.support.executors import Inline

PATIENCE = 10.0


@pytest.fixture(params=[Threads, Inline])
def executor(request):
    return request.param()


def numbered(name: str, length: int) -> Iterator[str]:
    return iter([f"{name}{number}" for number in range(length)])


def test_one_of_each_comes_in_turn(executor):
    streams = [numbered("a", 3), numbered("b", 1), numbered("c", 0), numbered("d", 2)]
    assert list(side_by_side(executor, streams, 2)) == ["a0", "b0", "a1", "a2", "d0", "d1"]


def test_no_streams_have_nothing(executor):
    assert list(side_by_side(executor, [], 4)) == []


def test_as_many_as_may_be_are_made_at_once():
    together = threading.Barrier(4)

    def stream() -> Iterator[int]:
        yield together.wait(PATIENCE)

    assert len(list(side_by_side(Threads(), [stream() for _ in range(8)], 4))) == 8


def test_no_more_than_the_next_of_each_is_made(executor):
    made: list[str] = []

    def stream(name: str) -> Iterator[str]:
        for number in range(9):
            made.append(f"{name}{number}")
            yield name

    with closing(side_by_side(executor, [stream("a"), stream("b")], 2)) as taken:
        for _ in range(4):
            next(taken)
    assert sorted(made) == ["a0", "a1", "a2", "b0", "b1", "b2"], "two taken of each, and one more made of each"


@given(
    lengths=st.lists(st.integers(0, 5), max_size=7), free=st.lists(st.integers(-2, 6), min_size=1), seed=st.integers()
)
def test_how_many_places_there_are_changes_no_order_and_is_kept_to(lengths, free, seed):
    def streams(made: list[str]) -> list[Iterator[str]]:
        def stream(name: str, length: int) -> Iterator[str]:
            for number in range(length):
                made.append(name)
                yield f"{name}{number}"

        return [stream(name, length) for name, length in zip("abcdefg", lengths, strict=False)]

    chance, made, taken = Random(seed), list[str](), list[str]()
    most = max(1, *free)
    for item in side_by_side(Inline(), streams(made), 4, lambda: chance.choice(free)):
        taken.append(item)
        assert len(made) - len(taken) <= most
    assert taken == list(side_by_side(Inline(), streams([]), 4))


def test_while_there_is_one_place_nothing_is_made_ahead_and_more_once_there_are_more():
    made: list[str] = []

    def stream(name: str) -> Iterator[str]:
        while True:
            made.append(name)
            yield name

    places = 1
    with closing(side_by_side(Inline(), [stream("a"), stream("b"), stream("c")], 3, lambda: places)) as taken:
        assert next(taken) == "a"
        assert made == ["a", "b"]
        places = 3
        assert [next(taken), next(taken)] == ["b", "c"]
        assert made == ["a", "b", "c", "a", "b", "c"]


def test_whoever_closes_waits_for_what_is_under_way():
    begun, ended = threading.Event(), threading.Event()

    def slow() -> Iterator[int]:
        yield 1
        begun.set()
        threading.Event().wait(0.05)
        ended.set()
        yield 2

    with closing(side_by_side(Threads(), [slow()], 1)) as taken:
        next(taken)
        assert begun.wait(PATIENCE)
    assert ended.is_set()
