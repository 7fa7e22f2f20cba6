"""The labels that say of a function which release it is, and who deployed it when.

They also say which schemas a release reads and writes: one that could not read what the serving release has written is
neither deployed nor rolled back to.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from autoprovisioning import document_kinds, messages

# A label has a digit for each kind, by its place: append new kinds, and never take one out.
KINDS = (
    document_kinds.CONNECTION,
    document_kinds.SET_UP,
    document_kinds.ROSTER,
    document_kinds.FAILURE,
    document_kinds.PENDING,
    document_kinds.EVENT,
    document_kinds.USAGE,
    document_kinds.RUN,
    document_kinds.REQUEST,
    document_kinds.LINES,
    document_kinds.GUARD,
    document_kinds.HOLD,
    document_kinds.MEMBERS,
    document_kinds.CLAIM,
    document_kinds.ADOPTIONS,
    document_kinds.UNPROVISIONED,
    document_kinds.SWEEP,
    document_kinds.LEASE,
    document_kinds.CHANNEL,
    messages.LOOK,
    messages.BATCH,
    messages.RUN_REQUEST,
    document_kinds.DUE_RUNS,
    document_kinds.PEOPLE,
    document_kinds.LISTINGS,
    document_kinds.SOURCE,
    document_kinds.KEEPER_CHANGES,
    document_kinds.TEAMS,
)
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
NONE = "none"  # no release was there before
LONGEST = 63  # characters of a label
WHEN = "%Y-%m-%dt%H-%M-%Sz"  # a label has neither capitals nor colons


def fit(text: str) -> str:
    """Return a text as a label takes it: lower-case letters, digits, hyphens and underscores."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower().replace("@", "_at_"))[:LONGEST]


def stamped(now: datetime) -> str:
    """Return a time as a label."""
    return now.astimezone(UTC).strftime(WHEN)


def read(stamp: str) -> datetime | None:
    """Return the time that a label gives, None if it gives none."""
    try:
        return datetime.strptime(stamp, WHEN).replace(tzinfo=UTC)
    except ValueError:
        return None


def schemas() -> dict[str, str]:
    """Return the labels that say which schemas this code reads (the oldest of each kind), and which it writes."""
    return {
        "reads": "".join(DIGITS[kind.oldest] for kind in KINDS),
        "writes": "".join(DIGITS[kind.current] for kind in KINDS),
    }
