"""The kinds of documents, with the schema of each that is written and the oldest one that is read.

A document keeps its number where a field is added that older code may leave as it is: of documents only the fields that
change are written, and of an entry of the roster what follows the fields known is kept. Everything else takes a new
number, which older code refuses: another value of an enumeration, a field within a nested record, a field that must be
kept in step with others. One value is an exception: the state of a pilot, which a version without pilots refuses by
itself (decision 21). Counters of usage are added to without being read: another schema of theirs takes other names
of documents. What is recorded of earlier versions, and holds this one to them: `tests/contract/recorded/`.
"""

from __future__ import annotations

from autoprovisioning.schemas import Schema

CONNECTION = Schema(name="connection", current=2)
SET_UP = Schema(name="begun set-up")
ROSTER = Schema(name="roster shard", current=2)
FAILURE = Schema(name="failure of a user")
PENDING = Schema(name="note of a pending change")
EVENT = Schema(name="line of the audit")
USAGE = Schema(name="counter of usage")
RUN = Schema(name="run")
REQUEST = Schema(name="request")
LINES = Schema(name="part of a preview")
GUARD = Schema(name="volume guard", current=2)
HOLD = Schema(name="held plan", current=2)
MEMBERS = Schema(name="part of a held plan", current=2)
CLAIM = Schema(name="claim on an account")
ADOPTIONS = Schema(name="list of confirmed adoptions")
KEEPER_CHANGES = Schema(name="list of changes in Keeper")
UNPROVISIONED = Schema(name="report of unprovisioned accounts")
PEOPLE = Schema(name="list of people")
SWEEP = Schema(name="record of a sweep")
LEASE = Schema(name="lease")
CHANNEL = Schema(name="notification channel")
DUE_RUNS = Schema(name="list of runs due later")
LISTINGS = Schema(name="record of the last listings")
SOURCE = Schema(name="note of a source of changes")
TEAMS = Schema(name="list of teams")
