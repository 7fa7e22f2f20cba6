"""A lease that is prolonged while its holder works, so that a holder that died blocks nobody for long."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from autoprovisioning.app.services import Services
from autoprovisioning.domain.errors import ProvisioningError

log = logging.getLogger(__name__)


@contextmanager
def leased(services: Services, name: str, length: timedelta, until: datetime) -> Iterator[int | None]:
    """Hold a lease for the block, prolonged at every third of its length but never past `until`.

    Yields its fence, or None where another holder is at work.
    """
    holder = services.new_id()
    fence = services.records.lease(name, holder, services.clock(), length)
    if fence is None:
        yield None
        return
    over = threading.Event()

    def prolong() -> None:
        while not over.wait(length.total_seconds() / 3) and services.clock() < until:
            try:
                if services.records.lease(name, holder, services.clock(), length) is None:
                    log.error("The lease %s was lost: its holder stood still for too long", name)
                    return
            except ProvisioningError as error:
                log.warning("The lease %s could not be prolonged: %s", name, type(error).__name__)

    keeper = threading.Thread(target=prolong, name=f"lease {name}", daemon=True)
    keeper.start()
    try:
        yield fence
    finally:
        over.set()
        keeper.join()
        services.records.release(name, holder)
