"""What the fuzz tests need around them."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_collection_at_the_end_of_the_stack() -> Iterator[None]:
    """Collect no garbage while answers are decoded that are nested as deep as the stack is.

    A callback that is run there has no room left on the stack, and pytest takes that for a failure of the test.
    """
    gc.collect()  # soon done: what was there before the first test is frozen
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
