"""What a look tells the administrator who waits for it, step by step and without attribute values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from autoprovisioning.app.provisioning.read_user import Asked, Seen, nobody_waits
from autoprovisioning.app.provisioning.volume_guard import standing_of
from autoprovisioning.app.services import Services
from autoprovisioning.domain.changes import Outcome
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.decision import Decision, Observed
from autoprovisioning.domain.entry import Entry, Status
from autoprovisioning.domain.errors import Vanished
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.explanation import in_words

SCOPE = {True: "in scope", False: "not in scope", None: "whether in scope could not be told"}


class Telling:
    """Tells what is done on one connection, which is named if there are several."""

    def __init__(
        self, services: Services, asked: Asked, connection: Connection, connections: Sequence[Connection]
    ) -> None:
        self._services = services
        self._asked = asked
        self._connection = connection
        self._connections = connections

    def __call__(self, text: str, *, failed: bool = False) -> None:
        """Tell one step."""
        several = len(self._connections) > 1
        self._asked.tell(f"{self._connection.settings.name}: {text}" if several else text, failed=failed)

    def on_record(self, entry: Entry | None) -> None:
        """Tell what the roster has."""
        status = entry.status if entry is not None else Status.NONE
        known = "no account is known" if status is Status.NONE else f"the account is {status.value}"
        self(f"Read what is on record: {known}.")

    def decided(
        self, entry: Entry | None, seen: Seen, observation: Observed, decision: Decision, now: datetime
    ) -> None:
        """Tell what the directory shows, and what was decided."""
        if self._asked.tell is nobody_waits:
            return
        read = f"Read the directory: {observation.presence.value}, {SCOPE[observation.in_scope]}. {seen.user.untold}"
        self(read.rstrip())
        others = {each.id: each.settings.name for each in self._connections if each.id != self._connection.id}
        owner = others.get(seen.placement.owner, "")
        held = standing_of(self._services, self._connection, decision)
        words = in_words(decision, entry, observation, self._connection, now, owner=owner, held=held)
        self(f"Decided. {words}")

    def answered(self, outcome: Outcome, event: Event | None) -> None:
        """Tell what Keeper answered, and as what it was recorded."""
        answered = f"Keeper answered in {outcome.seconds:.2f} s. " if outcome.seconds else ""
        if event is not None:
            recorded = f"Recorded as: {event.name.value}."
        elif isinstance(outcome.error, Vanished):
            recorded = "The account vanished from Keeper: it is created again, or held with others."
        else:
            recorded = "Not settled yet: it will be retried."
        self(f"{answered}{recorded}", failed=outcome.error is not None)
