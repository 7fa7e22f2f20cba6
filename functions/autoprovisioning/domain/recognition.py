"""What a process has worked out about users before, so that a run over the same users need not work it out again."""

from __future__ import annotations

from dataclasses import dataclass, field

from .directory_user import DirectoryUser
from .entry import Entry
from .mapping import AttributeMapping

MOST = 100_000  # facts of some 80 bytes; a larger directory makes a run wait for its pages much longer than for us


@dataclass(frozen=True, slots=True)
class Recognized:
    """Users whom this mapping turned into the attributes that were applied last.

    Each is a fact about three values: what the directory showed, the mapping, the fingerprint. All three are compared,
    by a hash of 64 bits that is another one in each process, so a fact never becomes wrong, and there is nothing to
    forget. Whatever else a decision depends on is not part of it, and is looked at each time.
    """

    facts: set[int] = field(default_factory=set)

    def note(self, user: DirectoryUser, mapping: AttributeMapping, entry: Entry) -> None:
        """Remember that what is shown of the user maps to the attributes applied last."""
        if user.shown and len(self.facts) < MOST:
            self.facts.add(hash((user.shown, mapping, entry.fingerprint)))

    def knows(self, user: DirectoryUser, mapping: AttributeMapping, entry: Entry) -> bool:
        """Say whether that is known; False where it is still to be found out."""
        return hash((user.shown, mapping, entry.fingerprint)) in self.facts
