"""Who waits for a page does not wait as long for Keeper as a worker would."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest

from autoprovisioning import bootstrap
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import Transient
from autoprovisioning.domain.settings import Settings
from tests.contract.listener import Request, Response, listening


def test_a_silent_keeper_is_waited_for_as_long_as_was_said_and_no_longer(monkeypatch):
    chosen = SimpleNamespace(
        extra_scim_hosts=(),
        local=True,
        scim_timeout=timedelta(seconds=30),
        scim_concurrency=4,
        scim_stop=timedelta(seconds=7),
    )
    monkeypatch.setattr(bootstrap, "settings", lambda: chosen)
    over = threading.Event()

    def silence(_: Request) -> Response:
        over.wait(30)
        return Response()

    with listening() as keeper:
        keeper.answer = silence
        accounts = bootstrap.accounts_builder(timedelta(seconds=0.1))(
            Connection(id="c1", settings=Settings(endpoint=keeper.url)), "secret"
        )
        began = time.monotonic()
        with pytest.raises(Transient, match="Keeper did not answer"):
            accounts.probe()
        took = time.monotonic() - began
        over.set()
    assert took < 10
