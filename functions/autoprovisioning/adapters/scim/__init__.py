"""Keeper over SCIM 2.0: strict outwards (RFC 7643, RFC 7644), lenient inwards."""

from autoprovisioning.adapters.scim.client import ScimAccounts
from autoprovisioning.adapters.scim.endpoint import check_endpoint

__all__ = ["ScimAccounts", "check_endpoint"]
