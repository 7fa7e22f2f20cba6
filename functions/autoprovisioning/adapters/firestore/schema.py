"""The kinds of documents, with the schema of each that is written and the oldest one that is read.

A document keeps its number where a field is added that older code may leave as it is: of documents only the fields that
change are written, and of an entry of the roster what follows the fields known is kept. Everything else takes a new
number, which older code refuses: another value of an enumeration, a field within a nested record, a field that must be
kept in step with others. Counters of usage are added to without being read: another schema of theirs takes other names
of documents. What is recorded of earlier versions, and holds this one to them: `tests/contract/recorded/`.
"""

from __future__ import annotations

from autoprovisioning.schemas import Kind

CONNECTION = Kind(name="connection", current=2)
SET_UP = Kind(name="begun set-up")
ROSTER = Kind(name="roster shard", current=2)
FAILURE = Kind(name="failure of a user")
PENDING = Kind(name="note of who waits")
EVENT = Kind(name="line of the audit")
USAGE = Kind(name="counter of usage")
RUN = Kind(name="run")
REQUEST = Kind(name="request")
LINES = Kind(name="part of a preview")
GUARD = Kind(name="volume guard", current=2)
HOLD = Kind(name="held plan", current=2)
MEMBERS = Kind(name="part of a held plan")
CLAIM = Kind(name="claim on an account")
ADOPTIONS = Kind(name="list of confirmed adoptions")
UNPROVISIONED = Kind(name="report of unprovisioned accounts")
SWEEP = Kind(name="record of a sweep")
LEASE = Kind(name="lease")
CHANNEL = Kind(name="notification channel")
