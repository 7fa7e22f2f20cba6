"""The attributes of a SCIM User that can be mapped (RFC 7643 sections 4.1 to 4.3): one table, and what follows from it.

What can be chosen, how a value is fitted, how it is rendered and read, and what a PATCH must name whole is looked up
here. A new attribute is a new row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from .accounts import Value

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


class Kind(StrEnum):
    """What a value of an attribute is."""

    TEXT = "text"
    BOOLEAN = "boolean"
    ADDRESS = "address"  # an e-mail address
    PHONE = "phone"  # a phone number
    NAME = "name"  # of something else (the manager, a type): part of it would name another one


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """An attribute by the name that a mapping has for it, and the group under which it is offered.

    A value of a multi-valued attribute names that attribute as its `family`, and which `part` of the entry of which
    `type` it is; the type is empty for the entry that is identified by being the main one.
    """

    target: str
    group: str
    kind: Kind = Kind.TEXT
    family: str = ""
    type: str = ""
    part: str = ""


def _plain(group: str, names: str, prefix: str = "") -> Iterator[Attribute]:
    for name in names.split():
        yield Attribute(target=f"{prefix}{name}", group=group)


def _typed(group: str, family: str, types: str, parts: str) -> Iterator[Attribute]:
    for kind in types.split():
        for part in parts.split():
            target = f'{family}[type eq "{kind}"].{part}'
            of = Kind.PHONE if family == "phoneNumbers" else Kind.TEXT
            yield Attribute(target=target, group=group, kind=of, family=family, type=kind, part=part)


def _main_email(part: str, kind: Kind = Kind.TEXT) -> Attribute:
    return Attribute(target=f"emails.{part}", group="Email", kind=kind, family="emails", part=part)


ATTRIBUTES: dict[str, Attribute] = {
    attribute.target: attribute
    for attribute in (
        Attribute(target="userName", group="User", kind=Kind.ADDRESS),
        *_plain("User", "displayName nickName profileUrl title userType preferredLanguage locale timezone"),
        *_plain("Name", "formatted familyName givenName middleName honorificPrefix honorificSuffix", "name."),
        _main_email("value", Kind.ADDRESS),
        _main_email("primary", Kind.BOOLEAN),
        _main_email("type", Kind.NAME),
        _main_email("display"),
        *_plain("Enterprise", "employeeNumber costCenter organization division department", f"{ENTERPRISE}:"),
        Attribute(target=f"{ENTERPRISE}:manager.value", group="Enterprise", kind=Kind.NAME),
        *_typed("Phone numbers", "phoneNumbers", "work home mobile fax pager other", "value"),
        *_typed("Addresses", "addresses", "work home other",
                "formatted streetAddress locality region postalCode country"),
    )
}  # fmt: skip
_TYPED = re.compile(r'(?P<family>\w+)\[type eq "(?P<type>[^"]+)"\]\.(?P<part>\w+)\Z')


def attribute_of(target: str) -> Attribute | None:
    """Return the row of an attribute; a typed entry that is in no row (a server returned it) is parsed."""
    known = ATTRIBUTES.get(target)
    if known is not None:
        return known
    typed = _TYPED.match(target)
    if typed is None:
        return None
    return Attribute(target=target, group="", family=typed["family"], type=typed["type"], part=typed["part"])


ADDRESSES = tuple(target for target, attribute in ATTRIBUTES.items() if attribute.kind is Kind.ADDRESS)


@lru_cache(maxsize=512)
def kind_of(target: str) -> Kind:
    """Return what the values of an attribute are; those of an entry that is in no row are what its siblings' are."""
    known = attribute_of(target)
    if known is None or target in ATTRIBUTES:
        return known.kind if known is not None else Kind.TEXT
    siblings = (row.kind for row in ATTRIBUTES.values() if (row.family, row.part) == (known.family, known.part))
    return next(siblings, Kind.TEXT)


def family_of(target: str) -> str:
    """Return the multi-valued attribute that this is one value of, empty where it is none's."""
    found = attribute_of(target)
    return found.family if found is not None else ""


@lru_cache(maxsize=1)
def typed_families() -> tuple[str, ...]:
    """Return the multi-valued attributes whose entries are told by their type."""
    return tuple(dict.fromkeys(attribute.family for attribute in ATTRIBUTES.values() if attribute.type))


def whole_families(changed: Mapping[str, Value], desired: Mapping[str, Value]) -> dict[str, Value]:
    """Return what changed, with all that is desired of each multi-valued attribute of which a value changed.

    Such an attribute is replaced whole, since RFC 7644 3.5.2.3 refuses to replace an entry that is not there: a value
    that was left out would be wiped.
    """
    touched = {family_of(target) for target in changed} - {""}
    return {**changed, **{target: value for target, value in desired.items() if family_of(target) in touched}}


def by_group() -> dict[str, list[str]]:
    """Return every attribute by the group under which it is offered, in order."""
    groups: dict[str, list[str]] = {}
    for attribute in ATTRIBUTES.values():
        groups.setdefault(attribute.group, []).append(attribute.target)
    return {group: sorted(targets) for group, targets in groups.items()}
