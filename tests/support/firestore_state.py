"""The state ports in Firestore, by name."""

from __future__ import annotations

from typing import Any

from autoprovisioning.adapters import firestore


def state_ports(database: firestore.Database) -> dict[str, Any]:
    """Return the state ports of `Services` by name, over one database."""
    return {
        "connections": firestore.FirestoreConnections(database),
        "set_ups": firestore.FirestoreSetUps(database),
        "roster": firestore.FirestoreRoster(database),
        "runs": firestore.FirestoreRuns(database),
        "requests": firestore.FirestoreRequests(database),
        "preview_lines": firestore.FirestorePreviewLines(database),
        "holds": firestore.FirestoreHolds(database),
        "guard": firestore.FirestoreGuard(database),
        "claims": firestore.FirestoreClaims(database),
        "sweeps": firestore.FirestoreSweeps(database),
        "sources": firestore.FirestoreSources(database),
        "due_runs": firestore.FirestoreDueRuns(database),
        "listings": firestore.FirestoreListings(database),
        "audit": firestore.FirestoreAudit(database),
        "leases": firestore.FirestoreLeases(database),
        "adoptions": firestore.FirestoreAdoptions(database),
        "unprovisioned": firestore.FirestoreUnprovisioned(database),
        "keeper_changes": firestore.FirestoreKeeperChanges(database),
        "teams": firestore.FirestoreTeams(database),
        "people": firestore.FirestorePeople(database),
    }
