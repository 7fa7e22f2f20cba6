"""Who adopts which account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who adopts an account, with which change; a user who tries again claims it anew."""

    user_id: str
    change_id: str


class Claims(Protocol):
    """Who adopts which account: only one claim on an account is valid."""

    def claim(self, connection_id: str, scim_id: str, claim: Claim, instead_of: Claim | None = None) -> Claim:
        """Claim an account for adoption and return the valid claim: another user's if they came first.

        The user's own earlier claim is replaced, and so is `instead_of`, provided that it is still valid.
        """
