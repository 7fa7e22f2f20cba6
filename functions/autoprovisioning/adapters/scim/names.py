"""Attribute names, which are compared without case (RFC 7643 2.1): answers are read in the usual spelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoprovisioning.domain.scim_user import ENTERPRISE

_RESOURCE = (
    "schemas id externalId meta userName name displayName nickName profileUrl title userType preferredLanguage locale "
    "timezone active password emails phoneNumbers ims photos addresses groups entitlements roles x509Certificates "
    "resourceType created lastModified location version "
    "formatted familyName givenName middleName honorificPrefix honorificSuffix value display type primary $ref "
    "streetAddress locality region postalCode country "
    "employeeNumber costCenter organization division department manager"
)
_MESSAGE = (
    "totalResults itemsPerPage startIndex Resources status scimType detail message error "
    "Operations method path bulkId response data code patch bulk filter supported maxOperations maxPayloadSize "
    "maxResults changePassword sort etag authenticationSchemes documentationUri"
)
NAMES = frozenset([*_RESOURCE.split(), *_MESSAGE.split(), ENTERPRISE])
_BY_LOWER = {name.lower(): name for name in NAMES}


def spelling(name: str) -> str:
    """Return the usual spelling of a name that we know."""
    return name if name in NAMES or not name.isascii() else _BY_LOWER.get(name.lower(), name)


def spelled(named: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an object with the names that we know in their usual spelling; an attribute given twice keeps that one."""
    if NAMES.issuperset(named):
        return named
    renamed: dict[str, Any] = {}
    for key, value in named.items():
        name = spelling(key)
        if name == key or (name not in named and name not in renamed):
            renamed[name] = value
    return renamed
