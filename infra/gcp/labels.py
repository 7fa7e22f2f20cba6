"""The labels that say of a function which release it is, and who deployed it when.

They also say which schemas a release reads and writes: one that could not read what the serving release has written is
neither deployed nor rolled back to.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from autoprovisioning import messages
from autoprovisioning.adapters.firestore import schema

# A label has a digit for each kind, by its place: append new kinds, and never take one out.
KINDS = (
    schema.CONNECTION,
    schema.SET_UP,
    schema.ROSTER,
    schema.FAILURE,
    schema.PENDING,
    schema.EVENT,
    schema.USAGE,
    schema.RUN,
    schema.REQUEST,
    schema.LINES,
    schema.GUARD,
    schema.HOLD,
    schema.MEMBERS,
    schema.CLAIM,
    schema.ADOPTIONS,
    schema.UNPROVISIONED,
    schema.SWEEP,
    schema.LEASE,
    schema.CHANNEL,
    messages.LOOK,
    messages.BATCH,
    messages.RUN_REQUEST,
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
