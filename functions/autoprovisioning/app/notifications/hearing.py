"""Note that a source of changes was heard: at most once in some minutes, however much it says."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from autoprovisioning.app.notifications.recent import NEVER
from autoprovisioning.app.ports.sources import Sources
from autoprovisioning.domain.errors import ProvisioningError
from autoprovisioning.domain.sources import Feed, hour_of

log = logging.getLogger(__name__)

EVERY = timedelta(minutes=5)


class Ear:
    """What one process has noted of one source lately."""

    def __init__(self, sources: Sources, source: Feed) -> None:
        self._sources = sources
        self._source = source
        self._latest = NEVER
        self._hour = NEVER  # for which a change of a user is noted

    def hear(self, at: datetime, *, user: bool) -> None:
        """Note it, unless that was done just now. What cannot be noted keeps nobody from what was heard."""
        hour = hour_of(at)
        if at - self._latest < EVERY and (not user or hour == self._hour):
            return
        try:
            self._sources.hear(self._source, at, user=user)
        except ProvisioningError as error:
            log.warning("It could not be noted that %s was heard: %s", self._source.value, error)
            return
        self._latest = at
        self._hour = hour if user else self._hour
