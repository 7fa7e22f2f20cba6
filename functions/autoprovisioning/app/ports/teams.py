"""What is kept about the groups that are teams in Keeper."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from autoprovisioning.domain.events import Event
from autoprovisioning.domain.memberships import ApprovedRemovals
from autoprovisioning.domain.teams import ConfirmedAdoption, GroupTeam


class TeamsReader(Protocol):
    """The groups of each connection that are teams, or were to be."""

    def get(self, connection_id: str) -> Mapping[str, GroupTeam]:
        """Return them by the group's id."""


class Teams(TeamsReader, Protocol):
    """The same, as they are changed."""

    def change(
        self,
        connection_id: str,
        edit: Callable[[Mapping[str, GroupTeam]], Mapping[str, GroupTeam]],
        events: Sequence[Event] = (),
    ) -> Mapping[str, GroupTeam]:
        """Compare-and-set them, with what was done to them; returns them as they are then.

        Runs, sweeps and looks do so at the same time: an edit that lost a race is called again. One that changes
        nothing, and has nothing to tell, is not written.
        """

    def approvals(self, connection_id: str) -> Mapping[str, ApprovedRemovals]:
        """Return by the group's id the last approval of removals from its team."""

    def approve(self, connection_id: str, approval: ApprovedRemovals, told: Event) -> None:
        """Store an approval in place of one for the same group, with the event."""

    def adoptions(self, connection_id: str) -> Mapping[str, ConfirmedAdoption]:
        """Return by the group's id the adoption that was confirmed for it last."""

    def confirm(self, connection_id: str, confirmed: ConfirmedAdoption, told: Event) -> None:
        """Store a confirmed adoption in place of one for the same group, with the event."""

    def settle(self, connection_id: str, settled: Collection[ConfirmedAdoption]) -> None:
        """Forget confirmed adoptions, unless others have been confirmed for their groups since."""
