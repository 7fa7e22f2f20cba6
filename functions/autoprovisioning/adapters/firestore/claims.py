"""Claims on accounts, one document for each account that anybody adopts."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.document_kinds import CLAIM


class FirestoreClaims:
    """The Claims port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, connection_id: str, scim_id: str, claim: Claim, instead_of: Claim | None = None) -> Claim:
        """Claim an account for adoption by compare-and-set: if nobody has, or in place of the claim named."""
        name = hashlib.sha256(scim_id.encode()).hexdigest()[:32]
        in_force: list[Claim] = []

        def apply(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            held = CLAIM.read(fields_of(snapshot), Claim) if snapshot.exists else None
            if held is None or held == instead_of or held.user_id == claim.user_id:
                in_force[:] = [claim]
                return CLAIM.stamped(msgspec.to_builtins(claim))
            in_force[:] = [held]
            return None

        self._database.edit(self._database.home(connection_id).collection("claims").document(name), apply)
        return in_force[0]
