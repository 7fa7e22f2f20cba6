"""A lease that is prolonged while its holder works, so that a dead holder blocks nobody for long."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from autoprovisioning.app.services import Services
from autoprovisioning.domain.errors import ProvisioningError

log = logging.getLogger(__name__)


@contextmanager
def leased(services: Services, name: str, length: timedelta, until: datetime) -> Iterator[int | None]:
    """Hold a lease for the block, prolonged at every third of its length but never past `until`.

    Yields its fence, or None if another holder has it.
    """
    holder = services.new_id()
    fence = services.leases.take(name, holder, services.clock(), length)
    if fence is None:
        yield None
        return

    def prolong() -> bool:
        if services.clock() >= until:
            return False
        try:
            if services.leases.take(name, holder, services.clock(), length) is None:
                log.error("The lease %s was lost: its holder stalled for too long", name)
                return False
        except ProvisioningError as error:
            log.warning("The lease %s could not be prolonged: %s", name, type(error).__name__)
        return True

    try:
        with services.executor.repeat(f"lease {name}", prolong, length / 3):
            yield fence
    finally:
        services.leases.release(name, holder)
