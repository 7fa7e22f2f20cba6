"""What a process builds is built once, however many requests come together at its cold start."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from autoprovisioning import bootstrap
from autoprovisioning.once import Once

REQUESTS = 8


def test_of_requests_that_come_together_one_builds_and_the_others_wait():
    come, built = threading.Barrier(REQUESTS), []
    waiting = threading.Event()

    def build(name: str) -> object:
        built.append(name)
        waiting.wait(0.2)  # nobody sets it: time for the others to build, too
        return object()

    once = Once(build)

    def ask(_: int) -> object:
        come.wait()
        return once("client")

    with ThreadPoolExecutor(REQUESTS) as pool:
        found = set(pool.map(ask, range(REQUESTS)))
    assert (built, len(found)) == (["client"], 1)


def test_the_last_ones_are_kept_by_their_arguments():
    built: list[str] = []
    once = Once(built.append, kept=2)
    for name in ("a", "b", "a", "c", "b"):
        once(name)
    assert built == ["a", "b", "c", "b"]


def test_a_failure_is_not_kept():
    answers = iter([ValueError("no key yet"), None])

    def build() -> str:
        if (error := next(answers)) is not None:
            raise error
        return "client"

    once = Once(build)
    with pytest.raises(ValueError, match="no key yet"):
        once()
    assert once() == "client"


def test_builders_may_use_each_other_and_themselves():
    @Once
    def inner() -> str:
        return "inner"

    @Once
    def outer(*, again: bool = True) -> str:
        return outer(again=False) + inner() if again else ""

    assert outer() == "inner"


def test_every_part_of_a_function_is_built_once():
    builders = {name for name, each in vars(bootstrap).items() if isinstance(each, Once)}
    assert builders == {
        "settings", "meter", "webhook", "watch", "administration", "reports", "channels", "directory",
        "process_services", "follower", "ear", "_queue", "_quota", "_database",
    }  # fmt: skip
