"""The Admin SDK Directory API, read only."""

from autoprovisioning.adapters.directory.api import GoogleDirectory
from autoprovisioning.adapters.directory.quota import Quota
from autoprovisioning.adapters.directory.transport import ATTEMPTS, DirectoryTransport, anonymous, delegated

__all__ = ["ATTEMPTS", "DirectoryTransport", "GoogleDirectory", "Quota", "anonymous", "delegated"]
