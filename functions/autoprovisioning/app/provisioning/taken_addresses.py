"""Who has an address that Keeper calls taken (409), so that somebody hears what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from autoprovisioning.app.provisioning.read_user import entry_of
from autoprovisioning.app.provisioning.target import Keeper
from autoprovisioning.app.services import Services
from autoprovisioning.domain.changes import Change, Outcome
from autoprovisioning.domain.entry import addressees
from autoprovisioning.domain.errors import AddressTaken


class TakenAddresses:
    """Says whose an address is that one connection needs."""

    def __init__(self, services: Services, keeper: Keeper) -> None:
        self._services = services
        self._keeper = keeper

    def for_update(self, outcome: Outcome) -> Outcome:
        """Say who has the address that an update needs: the update is retried once that user has another."""
        change = outcome.change
        wanted = str(change.attributes.get("userName")).casefold()
        holder = self._addressees.get(wanted, "")
        if holder in ("", change.user_id):
            return outcome
        text = (
            f"{wanted} is still the address of user {holder}. This is retried once that account has another address: "
            "after a swap, give one of the two a third address in the directory for a while."
        )
        return replace(outcome, error=AddressTaken(text, about=holder))

    @cached_property
    def _addressees(self) -> Mapping[str, str]:
        return addressees(self._services.roster.load(self._keeper.connection))

    def for_creation(self, change: Change) -> AddressTaken:
        """Say by whom the address is taken: perhaps by the user's own account on another connection, which they left.

        That account is not renamed to make room: the address is how its owner signs in and is reached.
        """
        names = {name.casefold() for name in change.seeker().names}
        for other in self._services.connections.all():
            entry = entry_of(self._services, other, change.user_id) if other.id != self._keeper.connection.id else None
            if entry is not None and entry.scim_id and entry.email.casefold() in names:
                return AddressTaken(
                    f"{entry.email} is the address of this user's own account on the connection {other.settings.name}. "
                    "In Keeper's Admin Console, move that account to this connection's node: it is then adopted here."
                )
        return taken_elsewhere(change)


def taken_elsewhere(change: Change) -> AddressTaken:
    """Return the failure of a user whose address an account has that is none of this connection's."""
    return AddressTaken(
        f"The address {change.seeker().names[0]} is taken in Keeper by an account outside this connection. "
        "Move that account into the connection's node, or give this user another address."
    )
