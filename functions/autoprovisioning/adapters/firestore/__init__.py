"""Firestore: state and audit, written by compare-and-set, never by read-modify-write transactions."""

from autoprovisioning.adapters.firestore.adoptions import FirestoreAdoptions
from autoprovisioning.adapters.firestore.channels import FirestoreChannels
from autoprovisioning.adapters.firestore.connections import FirestoreConnections
from autoprovisioning.adapters.firestore.database import Database, build_client
from autoprovisioning.adapters.firestore.inquiries import FirestoreInquiries
from autoprovisioning.adapters.firestore.previews import FirestorePreviews
from autoprovisioning.adapters.firestore.records import FirestoreRecords
from autoprovisioning.adapters.firestore.reports import FirestoreReports
from autoprovisioning.adapters.firestore.roster import FirestoreRoster
from autoprovisioning.adapters.firestore.unprovisioned import FirestoreUnprovisioned

__all__ = [
    "Database",
    "FirestoreAdoptions",
    "FirestoreChannels",
    "FirestoreConnections",
    "FirestoreInquiries",
    "FirestorePreviews",
    "FirestoreRecords",
    "FirestoreReports",
    "FirestoreRoster",
    "FirestoreUnprovisioned",
    "build_client",
]
