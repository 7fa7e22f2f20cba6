"""The fields of a directory user that a mapping can read: which there are, and which are offered under what name.

Admin SDK, REST resource users and its discovery document; the categories are those of Google's own wizard.
"""

from __future__ import annotations

from collections.abc import Mapping

OFFERED: Mapping[str, Mapping[str, str]] = {
    "Basic Information": {
        "primaryEmail": "Username",
        "name.givenName": "First name",
        "name.familyName": "Last name",
    },
    "Additional Details": {
        "name.fullName": "Formatted name",
        "name.displayName": "Display name",
        "orgUnitPath": "Organizational unit path",
        "languages[primary].languageCode": "Preferred language",
        "id": "Directory id",
    },
    "Email": {
        "emails[primary].address": "Value",
        "emails[primary].type": "Type",
        "emails[primary].primary": "Is primary",
        "recoveryEmail": "Recovery email",
    },
    "Employee Details": {
        "externalIds[type=organization].value": "Employee ID",
        "organizations[primary].title": "Job title",
        "organizations[primary].department": "Department",
        "organizations[primary].costCenter": "Cost center",
        "organizations[primary].description": "Type of employee",
        "organizations[primary].name": "Organization",
        "organizations[primary].domain": "Division",
        "relations[type=manager].value": "Manager's email",
    },
    "Phone": {
        "phones[primary].value": "Primary",
        "phones[type=work].value": "Work",
        "phones[type=mobile].value": "Mobile",
        "phones[type=home].value": "Home",
    },
    "Address": {
        "addresses[type=work].formatted": "Work, formatted",
        "addresses[type=work].streetAddress": "Work, street",
        "addresses[type=work].locality": "Work, city",
        "addresses[type=work].region": "Work, state or province",
        "addresses[type=work].postalCode": "Work, postal code",
        "addresses[type=work].country": "Work, country",
        "addresses[type=work].countryCode": "Work, country code",
        "locations[type=desk].buildingId": "Building",
    },
}
SOURCES = tuple(source for fields in OFFERED.values() for source in fields)

# Fields whose values are lists of typed entries.
LISTS = frozenset(
    "addresses emails externalIds ims keywords languages locations organizations phones posixAccounts relations "
    "sshPublicKeys websites".split()
)
# Every field of the user resource, and of its name (discovery document, schemas User and UserName).
USER_FIELDS = frozenset(
    "addresses agreedToTerms aliases archivalTime archived changePasswordAtNextLogin creationTime customSchemas "
    "customerId deletionTime emails etag externalIds gender guestAccountInfo hashFunction id ims "
    "includeInGlobalAddressList ipWhitelisted isAdmin isDelegatedAdmin isEnforcedIn2Sv isEnrolledIn2Sv isGuestUser "
    "isMailboxSetup keywords kind languages lastLoginTime locations name nonEditableAliases notes orgUnitPath "
    "organizations password phones posixAccounts primaryEmail recoveryEmail recoveryPhone relations sshPublicKeys "
    "suspended suspensionReason suspensionTime thumbnailPhotoEtag thumbnailPhotoUrl websites".split()
)
NAME_FIELDS = frozenset("displayName familyName fullName givenName".split())
