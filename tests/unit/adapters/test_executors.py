"""What use cases may rely on when they do more than one thing at once, in threads and in the tests' own order."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from autoprovisioning.adapters.threads import Threads
from autoprovisioning.app.ports.execution import Executor
from tests.support.executors import Inline

SHORT = timedelta(milliseconds=1)
PATIENCE = 10.0  # seconds: what has not come after that never comes


@pytest.fixture(params=[Threads, Inline])
def executor(request: pytest.FixtureRequest) -> Executor:
    return request.param()


class TestEach:
    def test_results_come_in_the_items_order(self, executor):
        assert list(executor.each(lambda number: number * 2, range(40), 4)) == list(range(0, 80, 2))

    def test_no_items_are_no_work(self, executor):
        assert list(executor.each(lambda _number: pytest.fail("called"), [], 4)) == []

    def test_an_error_comes_in_its_items_place(self, executor):
        def work(number: int) -> int:
            if number == 2:
                raise LookupError("two")
            return number

        results = executor.each(work, range(4), 4)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(LookupError, match="two"):
            next(results)


class TestStart:
    def test_what_waits_gets_the_result(self, executor):
        assert executor.start(lambda: "done")() == "done"

    def test_what_waits_gets_the_error(self, executor):
        def work() -> None:
            raise LookupError("lost")

        wait = executor.start(work)
        with pytest.raises(LookupError, match="lost"):
            wait()


class TestThreads:
    def test_as_many_as_may_be_are_under_way_at_once(self):
        together = threading.Barrier(4)
        assert len(list(Threads().each(lambda _number: together.wait(PATIENCE), range(8), 4))) == 8

    def test_no_more_than_that_are(self):
        lock = threading.Lock()
        under_way: list[int] = []
        most = 0

        def work(number: int) -> None:
            nonlocal most
            with lock:
                under_way.append(number)
                most = max(most, len(under_way))
            threading.Event().wait(0.001)
            with lock:
                under_way.remove(number)

        list(Threads().each(work, range(20), 3))
        assert most <= 3

    def test_the_caller_goes_on_meanwhile(self):
        go_on = threading.Event()
        wait = Threads().start(lambda: go_on.wait(PATIENCE))
        go_on.set()
        assert wait() is True

    def test_work_is_repeated_until_the_block_ends_and_not_after(self):
        times: list[str] = []
        enough = threading.Event()

        def work() -> bool:
            times.append(threading.current_thread().name)
            if len(times) == 3:
                enough.set()
            return True

        with Threads().repeat("again", work, SHORT):
            assert enough.wait(PATIENCE)
        assert set(times) == {"again"}
        assert "again" not in [thread.name for thread in threading.enumerate()]

    def test_work_that_declines_is_not_repeated(self):
        over = threading.Event()
        times: list[int] = []

        def work() -> bool:
            times.append(1)
            over.set()
            return False

        with Threads().repeat("once", work, SHORT):
            assert over.wait(PATIENCE)
            for thread in threading.enumerate():
                if thread.name == "once":
                    thread.join(PATIENCE)
                    assert not thread.is_alive()
        assert times == [1]

    def test_the_end_of_the_block_waits_for_what_is_under_way_and_passes_its_error_on(self):
        begun, finished = threading.Event(), threading.Event()
        over = threading.Event()

        def work() -> bool:
            begun.set()
            over.wait(PATIENCE)
            finished.set()
            return True

        def block() -> None:
            with Threads().repeat("slow", work, SHORT):
                assert begun.wait(PATIENCE)
                over.set()
                raise LookupError("within")

        with pytest.raises(LookupError, match="within"):
            block()
        assert finished.is_set()
