"""The connection to Firestore: bounded calls, counted documents, translated errors, compare-and-set."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from google.api_core import exceptions, retry
from google.cloud import firestore

from autoprovisioning.domain.errors import ConfigurationRefused, Contention, Transient, Unforeseen, Unindexed

T = TypeVar("T")
log = logging.getLogger(__name__)

Change = Callable[[firestore.DocumentSnapshot], dict[str, Any] | None]
Also = Callable[[firestore.WriteBatch], int]  # adds to a commit; returns how many documents that touches

ATTEMPTS = 40
STAMP = "stamp"  # field: who wrote last
_ID = re.compile(r"(?!\.{1,2}\Z|__)[^/\x00-\x1f\ud800-\udfff]{1,300}\Z")  # the service takes 1,500 bytes
LONGEST_PAUSE = 0.4  # seconds between two attempts of a compare-and-set


class Count(Protocol):
    """Counts outside requests by name."""

    def __call__(self, name: str, n: int = 1) -> None:
        """Add n."""


def stamped(snapshot: firestore.DocumentSnapshot, stamp: str) -> bool:
    """Say whether the document was last written with this stamp."""
    return bool(snapshot.exists and (snapshot.to_dict() or {}).get(STAMP) == stamp)


def is_id(text: str) -> bool:
    """Say whether Firestore takes this as a document's id; nothing is stored under an id that it refuses."""
    return bool(_ID.match(text))


def fields_of(snapshot: firestore.DocumentSnapshot) -> dict[str, Any]:
    """Return a document's fields, none if there is no document.

    The client's times are of a class of its own, which encoders of JSON refuse: they become datetimes.
    """
    return _plain_fields(snapshot.to_dict() or {})


_AS_THEY_ARE = frozenset((str, int, bool, float, bytes, type(None)))  # nearly every value


def _plain_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value if type(value) in _AS_THEY_ARE else _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return datetime.combine(value, value.timetz())
        case dict():
            return _plain_fields(value)
        case list():
            return [_plain(item) for item in value]
        case _:
            return value


def nothing(_batch: firestore.WriteBatch) -> int:
    """Add nothing: an `Also`."""
    return 0


class LostRace(Exception):
    """The document changed between our read and our write."""


def build_client(project: str, database: str) -> firestore.Client:
    """Build a client; the library itself honours FIRESTORE_EMULATOR_HOST."""
    return firestore.Client(project=project, database=database)


@contextmanager
def _indexed() -> Iterator[None]:
    """Translate a query's failed precondition into what the service means by it: an index is missing."""
    try:
        yield
    except exceptions.FailedPrecondition as error:
        mend = "Create the composite indexes of infra/gcp/firestore.indexes.json, or wait until they are built."
        raise Unindexed(f"Firestore lacks an index for this query. {mend}") from error


class Database:
    """What the Firestore adapters share.

    `sleep` (seconds) and `chance` are between the attempts of a compare-and-set; simulations pass their own.
    """

    def __init__(
        self,
        client: firestore.Client,
        count: Count,
        timeout: timedelta = timedelta(seconds=20),
        *,
        sleep: Callable[[float], None] = time.sleep,
        chance: random.Random | None = None,
    ) -> None:
        self.client = client
        self._count = count
        self._sleep = sleep
        self._chance = chance or random.SystemRandom()
        self._seconds = timeout.total_seconds()
        self._retry = retry.Retry(
            predicate=retry.if_exception_type(exceptions.ServiceUnavailable, exceptions.InternalServerError),
            initial=0.1,
            maximum=2.0,
            timeout=self._seconds,
        )

    def home(self, connection_id: str) -> firestore.DocumentReference:
        """Return the document of a connection, below which is everything of its own."""
        return self.client.collection("connections").document(connection_id)

    def new_stamp(self) -> str:
        """Return what one compare-and-set writes into its documents to recognise its own write."""
        return f"{self._chance.getrandbits(72):018x}"

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the SDK's errors into ours; a lost race is `LostRace`."""
        try:
            yield
        except (exceptions.FailedPrecondition, exceptions.AlreadyExists, exceptions.Aborted) as error:
            raise LostRace from error
        except (exceptions.PermissionDenied, exceptions.Unauthenticated) as error:
            mend = "Grant the function's service account roles/datastore.user."
            raise ConfigurationRefused(f"Firestore refuses this identity. {mend}") from error
        except (exceptions.BadRequest, exceptions.MethodNotImplemented) as error:
            log.exception("Firestore refuses a request")
            name = type(error).__name__
            raise Unforeseen(f"Firestore rejects the request ({name}): trying again cannot help.") from error
        except (exceptions.GoogleAPICallError, exceptions.RetryError) as error:
            raise Transient(
                f"The database does not answer (Firestore: {type(error).__name__})", retry_after=5
            ) from error

    def get(self, reference: firestore.DocumentReference) -> firestore.DocumentSnapshot:
        """Read one document."""
        self._count("firestore_reads")
        with self.translated():
            return reference.get(retry=self._retry, timeout=self._seconds)

    def get_all(self, references: Sequence[firestore.DocumentReference]) -> list[firestore.DocumentSnapshot]:
        """Read documents, in the order asked for; missing ones come as snapshots that do not exist."""
        if not references:
            return []
        self._count("firestore_reads", len(references))
        with self.translated():
            found = {
                snapshot.reference.path: snapshot
                for snapshot in self.client.get_all(list(references), retry=self._retry, timeout=self._seconds)
            }
        return [found[reference.path] for reference in references]

    def stream(self, query: Any) -> list[firestore.DocumentSnapshot]:
        """Run a query to its end; an empty one counts as one read, as it is billed."""
        with self.translated(), _indexed():
            found = list(query.stream(retry=self._retry, timeout=self._seconds))
        self._count("firestore_reads", max(1, len(found)))
        return found

    def total(self, query: Any) -> int:
        """Count a query's documents in the service: one read for each thousand."""
        with self.translated(), _indexed():
            total = int(query.count().get(retry=self._retry, timeout=self._seconds)[0][0].value)
        self._count("firestore_reads", max(1, -(-total // 1000)))
        return total

    def commit(self, batch: firestore.WriteBatch, documents: int) -> None:
        """Commit a batch; raises LostRace where a precondition failed."""
        self._count("firestore_writes", documents)
        with self.translated():
            batch.commit(retry=self._retry, timeout=self._seconds)

    def write(self, batch: firestore.WriteBatch, documents: int) -> None:
        """Commit a batch without preconditions; repeated if the service gave up because others hold its documents."""
        self.compare_and_set(lambda: self.commit(batch, documents))

    def write_once(self, proof: firestore.DocumentReference, fill: Also) -> None:
        """Commit what `fill` adds, which creates the document `proof`: if that exists, it was done already.

        For a batch that counts: if an answer is lost the client sends the batch again, and counts must not grow twice.
        """
        refused: list[LostRace] = []

        def attempt() -> None:
            if refused and self.get(proof).exists:
                return
            batch = self.client.batch()
            try:
                self.commit(batch, fill(batch))
            except LostRace as error:
                refused.append(error)
                raise

        self.compare_and_set(attempt)

    def put(
        self, batch: firestore.WriteBatch, snapshot: firestore.DocumentSnapshot, fields: dict[str, Any], stamp: str
    ) -> None:
        """Add to the batch: write these fields whole, provided the document is still as the snapshot shows it."""
        fields = {**fields, STAMP: stamp}
        if snapshot.exists:
            option = self.client.write_option(last_update_time=snapshot.update_time)
            batch.update(snapshot.reference, fields, option=option)
        else:
            batch.create(snapshot.reference, fields)

    def migrate(self, snapshot: firestore.DocumentSnapshot, fields: dict[str, Any]) -> None:
        """Write what was read in an older schema in today's, unless somebody changed it since: then they did."""
        batch = self.client.batch()
        self.put(batch, snapshot, fields, self.new_stamp())
        with suppress(LostRace):
            self.commit(batch, 1)

    def compare_and_set(self, attempt: Callable[[], T]) -> T:
        """Call `attempt` until it wins its race.

        A lost race may also be our own write, sent twice by the client after an UNAVAILABLE: `attempt` reads again and
        must see it.

        Raises:
            Contention: too many lost races in a row.
        """
        for number in range(ATTEMPTS):
            try:
                return attempt()
            except LostRace:
                self._sleep(self._chance.uniform(0, min(LONGEST_PAUSE, 0.01 * 2 ** min(number, 6))))
        raise Contention("Firestore: too many writers on one document", retry_after=2)

    def edit(
        self,
        reference: firestore.DocumentReference,
        change: Change,
        also: Also = nothing,
    ) -> bool:
        """Compare-and-set one document; `change` returns the fields to write, or None to leave it (then False).

        What `also` adds is written with it, or not at all. A race that our own write won, sent again by the client
        because its answer was lost, counts as won.
        """
        stamp = self.new_stamp()

        def attempt() -> bool:
            snapshot = self.get(reference)
            if stamped(snapshot, stamp):
                return True
            fields = change(snapshot)
            if fields is None:
                return False
            batch = self.client.batch()
            self.put(batch, snapshot, fields, stamp)
            self.commit(batch, 1 + also(batch))
            return True

        return self.compare_and_set(attempt)
