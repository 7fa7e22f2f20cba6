"""What is true of Keeper alone, and not of SCIM: where its nodes are, what it insists on, how it spells a PATCH.

Keeper's DELETE locks the account, as a suspension does: nothing of a vault is removed by it (docs.keeper.io, "Using
SCIM API Provisioning").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

# docs.keeper.io, "Using SCIM API Provisioning".
HOSTS = frozenset(
    {
        "keepersecurity.com",
        "keepersecurity.eu",
        "keepersecurity.com.au",
        "keepersecurity.jp",
        "keepersecurity.ca",
        "govcloud.keepersecurity.us",
    }
)
NODE_PATH = re.compile(r"/api/rest/scim/v2/[A-Za-z0-9]+/?\Z")
COPY_THE_URL = "Copy the URL from Keeper's Admin Console, as https://keepersecurity.com/api/rest/scim/v2/<node id>."

# The rows that Google's own connector begins with, by Keeper's attribute; without the first four no account is made.
MANDATORY = ("displayName", "emails.primary", "emails.value", "userName")
DEFAULT_SOURCES: Mapping[str, str] = {
    "displayName": "name.fullName",
    "emails.primary": "emails[primary].primary",
    "emails.type": "emails[primary].type",
    "emails.value": "emails[primary].address",
    "name.familyName": "name.familyName",
    "name.givenName": "name.givenName",
    "userName": "primaryEmail",
}


class PatchDialect(StrEnum):
    """How a PATCH is spelled: one operation per attribute (RFC 7644 3.5.2), or as Keeper documents it."""

    STANDARD = "standard"
    KEEPER = "keeper"
