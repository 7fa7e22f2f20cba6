"""A database that does not answer: whoever waits for a page learns of it soon, while a worker waits for minutes."""

from __future__ import annotations

import time

import pytest

from infra.local.connect import CONNECTION
from tests.support.wire import Forwarder

PATIENCE = 50.0  # seconds of a worker


@pytest.fixture
def line(system):
    """The line of the administrators' functions to Firestore; other jobs use the same emulator."""
    forwarder = Forwarder(system.world.cloud.ports["firestore"])
    functions = ("console", "reauthorize")
    more = {
        "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{forwarder.port}",
        "OUTSIDE_TIMEOUT_SECONDS": str(PATIENCE),
    }
    for name in functions:
        system.kill(name)
        system.world.cloud.start_function(name, more)
    system.supervisor.wait_ready()
    yield forwarder
    for name in functions:
        system.kill(name)
    forwarder.close()


def test_a_page_does_not_stay_blank(system, line):
    system.connect()
    pages = (("console", "/"), ("console", f"/connections/{CONNECTION}/health"), ("reauthorize", "/"))
    for function, path in pages:
        assert system.through_proxy("GET", path, function=function).status == 200
    line.runs.clear()
    for function, path in pages:
        begun = time.monotonic()
        page = system.through_proxy("GET", path, function=function)
        assert page.status == 503
        assert time.monotonic() - begun < PATIENCE / 4
        assert "database does not answer" in page.text
    line.runs.set()
