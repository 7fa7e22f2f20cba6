"""What the delegated service account is allowed in the Workspace customer, as the functions ask for it."""

from __future__ import annotations

from autoprovisioning.adapters.directory.transport import SCOPES

__all__ = ["BROADER", "SCOPES"]

BROADER = "https://www.googleapis.com/auth/admin.directory.user"  # writes; must be refused
