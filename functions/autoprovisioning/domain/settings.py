"""What an administrator chooses for a connection."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import ceil

from .deprovisioning import Deprovisioning
from .errors import BadInput
from .keeper import PatchDialect
from .mapping import AttributeMapping
from .scope import Scope
from .teams import TeamChoice

LARGEST_MINIMUM = 1_000_000  # users: the guard has room for no more


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeLimit:
    """Changes allowed in 24 hours: max(minimum, percent of the active people).

    Access is never taken from two or more people and a `share` of the active, whatever an administrator chose.
    """

    minimum: int = 10
    percent: float = 5.0
    share: float = 0.5

    def check(self) -> None:
        """Refuse what is out of range (BadInput names the field)."""
        if not 1 <= self.minimum <= LARGEST_MINIMUM:
            raise BadInput("limit.minimum", f"{self.minimum} is out of range", f"Use 1 to {LARGEST_MINIMUM} users.")
        if not 0 < self.percent <= 100:
            mend = "Use more than 0 up to 100 percent."
            raise BadInput("limit.percent", f"{self.percent:g} is out of range", mend)

    def allowed(self, active: int) -> int:
        """Return the limit where so many people are active."""
        return max(self.minimum, int(active * self.percent / 100))

    def at_once(self, active: int) -> int:
        """Return how many of so many active people may lose access at once; one always may."""
        return max(1, ceil(active * self.share) - 1)

    def taken(self, active: int) -> int:
        """Return how many people may lose access in 24 hours that began with so many active; 0: not known."""
        return min(self.allowed(active), self.at_once(active)) if active else self.allowed(active)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an administrator chose for a connection: its editable part.

    As typed, the scope may name groups and units by anything (`Scope.named`); a connection has them as the directory
    resolved them.
    """

    name: str = "Keeper"
    endpoint: str = ""
    mapping: AttributeMapping = field(default_factory=AttributeMapping)
    scope: Scope = field(default_factory=Scope)
    deprovisioning: Deprovisioning = field(default_factory=Deprovisioning)
    limit: VolumeLimit = field(default_factory=VolumeLimit)
    archived_as_suspended: bool = False
    patch_dialect: PatchDialect = PatchDialect.STANDARD
    repair_drift: bool = True  # False: what somebody else changed in Keeper is only reported, unless it gives access
    teams: TeamChoice = field(default_factory=TeamChoice)  # which groups become teams in Keeper; none at first

    def provisions_like(self, other: Settings) -> bool:
        """Say whether a full run would do nothing else: names, how a PATCH is spelled, and drift concern none."""
        alike = replace(self, name=other.name, patch_dialect=other.patch_dialect, repair_drift=other.repair_drift)
        return alike == other
