"""The Admin SDK Directory API, read only."""

from autoprovisioning.adapters.directory.api import GoogleDirectory
from autoprovisioning.adapters.directory.transport import DirectoryTransport, anonymous, delegated

__all__ = ["DirectoryTransport", "GoogleDirectory", "anonymous", "delegated"]
