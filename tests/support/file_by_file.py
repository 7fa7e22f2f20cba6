"""For jobs that share the files of tests: a job imports and collects those of a file once it is that file's turn.

To collect all tests takes ten seconds, and each job would do it. A plugin of pytest for its jobs (`-n`): they are told
the files as if each were one test, and hand them out one by one (`--dist load --maxschedchunk 1`); what they report is
each test of a file. As they do not know how many there are, `-o console_output_style=classic` leaves percentages out.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def staying() -> Iterator[None]:
    """Look for no garbage among what stays: modules and tests."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class Unread(pytest.File):
    """A file of tests that was not imported yet."""

    def collect(self) -> Iterator[pytest.Item]:
        turn = Turn.from_parent(self, name="tests")
        turn.add_marker(pytest.mark.timeout(0))  # each test has its own
        yield turn


class Turn(pytest.Item):
    """Stands for all tests of a file until they are run."""

    def runtest(self) -> None:
        raise AssertionError("this is run by pytest_runtest_protocol below")

    def tests(self) -> list[pytest.Item]:
        """Import the file and collect its tests."""
        assert self.parent is not None
        gc.collect()  # what the file before has left
        with staying():
            module = pytest.Module.from_parent(self.parent.parent, path=self.path)
            tests = list(self.session.genitems(module))
        self.config.hook.pytest_collection_modifyitems(session=self.session, config=self.config, items=tests)
        return tests


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Unread | None:
    """Look into no file while a job asks which there are."""
    return Unread.from_parent(parent, path=module_path) if hasattr(parent.config, "workerinput") else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run all tests of a file; what the next file needs too stays as it is."""
    if not isinstance(item, Turn):
        return None
    turns = item.session.items
    place = turns.index(item)
    tests = item.tests()
    for test, following in zip(tests, [*tests[1:], nextitem], strict=False):
        turns[place] = test  # xdist makes sure that what is reported is what it has asked for
        test.config.hook.pytest_runtest_protocol(item=test, nextitem=following)
    return True
