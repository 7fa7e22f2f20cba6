"""What the drop-downs of the attribute mapping offer: Keeper's attributes, and the usual fields of a directory user."""

from __future__ import annotations

from autoprovisioning.domain import mapping

MANDATORY_TARGETS = frozenset(mapping.MANDATORY)
TARGETS = (*mapping.MANDATORY, *sorted(mapping.TARGETS - MANDATORY_TARGETS))
SOURCES = (
    "primaryEmail",
    "name.fullName",
    "name.givenName",
    "name.familyName",
    "name.displayName",
    "emails[primary].address",
    "emails[primary].primary",
    "emails[primary].type",
    "recoveryEmail",
    "organizations[primary].title",
    "organizations[primary].department",
    "organizations[primary].name",
    "organizations[primary].costCenter",
    "organizations[primary].description",
    "externalIds[type=organization].value",
    "relations[type=manager].value",
    "phones[type=work].value",
    "phones[type=mobile].value",
    "phones[type=home].value",
    "addresses[type=work].formatted",
    "addresses[type=work].streetAddress",
    "addresses[type=work].locality",
    "addresses[type=work].region",
    "addresses[type=work].postalCode",
    "addresses[type=work].country",
    "locations[type=desk].buildingId",
    "languages[primary].languageCode",
    "orgUnitPath",
    "id",
)
