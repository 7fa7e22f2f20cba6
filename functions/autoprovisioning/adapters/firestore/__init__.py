"""Firestore: state and audit, written by compare-and-set, never by read-modify-write transactions."""

from autoprovisioning.adapters.firestore.adoptions import FirestoreAdoptions
from autoprovisioning.adapters.firestore.audit import FirestoreAudit
from autoprovisioning.adapters.firestore.channels import FirestoreChannels
from autoprovisioning.adapters.firestore.claims import FirestoreClaims
from autoprovisioning.adapters.firestore.connections import FirestoreConnections
from autoprovisioning.adapters.firestore.database import Database, build_client
from autoprovisioning.adapters.firestore.due_runs import FirestoreDueRuns
from autoprovisioning.adapters.firestore.guard import FirestoreGuard
from autoprovisioning.adapters.firestore.holds import FirestoreHolds
from autoprovisioning.adapters.firestore.keeper_changes import FirestoreKeeperChanges
from autoprovisioning.adapters.firestore.leases import FirestoreLeases
from autoprovisioning.adapters.firestore.listings import FirestoreListings
from autoprovisioning.adapters.firestore.people import FirestorePeople
from autoprovisioning.adapters.firestore.preview_lines import FirestorePreviewLines
from autoprovisioning.adapters.firestore.reports import FirestoreReports
from autoprovisioning.adapters.firestore.requests import FirestoreRequests
from autoprovisioning.adapters.firestore.roster import FirestoreRoster
from autoprovisioning.adapters.firestore.runs import FirestoreRuns
from autoprovisioning.adapters.firestore.set_ups import FirestoreSetUps
from autoprovisioning.adapters.firestore.sources import FirestoreSources
from autoprovisioning.adapters.firestore.sweeps import FirestoreSweeps
from autoprovisioning.adapters.firestore.teams import FirestoreTeams
from autoprovisioning.adapters.firestore.unprovisioned import FirestoreUnprovisioned

__all__ = [
    "Database",
    "FirestoreAdoptions",
    "FirestoreAudit",
    "FirestoreChannels",
    "FirestoreClaims",
    "FirestoreConnections",
    "FirestoreDueRuns",
    "FirestoreGuard",
    "FirestoreHolds",
    "FirestoreKeeperChanges",
    "FirestoreLeases",
    "FirestoreListings",
    "FirestorePeople",
    "FirestorePreviewLines",
    "FirestoreReports",
    "FirestoreRequests",
    "FirestoreRoster",
    "FirestoreRuns",
    "FirestoreSetUps",
    "FirestoreSources",
    "FirestoreSweeps",
    "FirestoreTeams",
    "FirestoreUnprovisioned",
    "build_client",
]
