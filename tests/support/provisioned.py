"""What the first full run leaves, so that it can be put back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.local.connect import CONNECTION

if TYPE_CHECKING:
    from tests.support.system import System

SECONDS = 300.0  # for which it is written back: some of the documents tell when the run was


@dataclass(frozen=True, kw_only=True)
class Provisioned:
    """All documents and all accounts, of users who have not accepted Keeper's invitation."""

    documents: Mapping[str, Mapping[str, Any]]  # name -> fields
    accounts: list[dict[str, Any]]
    until: float  # on the monotonic clock

    @staticmethod
    def taken(system: System) -> Provisioned:
        """Return what there is."""
        until = time.monotonic() + SECONDS
        query = {"from_": [{"all_descendants": True}]}
        request = {"parent": f"{system.database}/documents", "structured_query": query}
        found = [each.document for each in system.firestore.run_query(request=request) if each.document.name]
        documents = {document.name: dict(document.fields) for document in found}
        return Provisioned(documents=documents, accounts=system.keeper.accounts(), until=until)

    def put_back(self, system: System) -> None:
        """Store it in an empty database and an empty node; the access token is the one that is in force now."""
        system.keeper.control("PUT", "accounts", self.accounts)
        system.keeper.control("POST", "invite", {"accounts": [account["id"] for account in self.accounts]})
        version = {"token_version": {"string_value": system.services().tokens.add(CONNECTION, system.keeper.token)}}
        writes = [
            {"update": {"name": name, "fields": {**fields, **version} if version.keys() & fields.keys() else fields}}
            for name, fields in self.documents.items()
        ]
        system.firestore.commit(request={"database": system.database, "writes": writes})
