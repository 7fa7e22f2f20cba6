"""The entry points of the deployed functions, and nothing else; importing this does no I/O."""

from autoprovisioning.entrypoints.apply_changes import apply_changes
from autoprovisioning.entrypoints.console import console
from autoprovisioning.entrypoints.directory_webhook import directory_webhook
from autoprovisioning.entrypoints.provision_user import provision_user
from autoprovisioning.entrypoints.reauthorize import reauthorize
from autoprovisioning.entrypoints.reconcile import reconcile
from autoprovisioning.entrypoints.renew_watch import renew_watch

__all__ = [
    "apply_changes",
    "console",
    "directory_webhook",
    "provision_user",
    "reauthorize",
    "reconcile",
    "renew_watch",
]
