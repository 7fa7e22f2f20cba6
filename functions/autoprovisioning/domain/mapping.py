"""Attribute mapping: from fields of the directory user to attributes of the SCIM User.

Source grammar, one line per form:

    primaryEmail                        a field of the Admin SDK user resource
    name.givenName                      a field of an object
    organizations[primary].title        the entry marked primary of organizations, phones, addresses, emails ...
    phones[type=mobile].value           the entry of that type (or customType)
    externalIds[type=organization].value
    customSchemas.HR.costCenter         a custom attribute; with several values it needs [primary] or [type=...],
                                        after which .value may be left out
    "Contractor"  true                  a constant, as a JSON string or boolean

Two fields are defined by the Directory API through others, and are derived where a response omits them: name.fullName
is the first and last name joined, and emails[primary] is the primaryEmail (Google's own connector sends it as type
"work").
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NoReturn

from .accounts import Value
from .directory_fields import LISTS, NAME_FIELDS, USER_FIELDS
from .directory_user import full_name
from .errors import BadInput, MappingFailure
from .keeper import DEFAULT_SOURCES, MANDATORY
from .scim_user import ATTRIBUTES, Kind, kind_of
from .texts import LINES, has_controls

Getter = Callable[[Mapping[str, Any]], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the Attribute mapping page: directory field to Keeper attribute."""

    target: str
    source: str
    mandatory: bool = False

    @property
    def required(self) -> bool:
        """Say whether users without a value are not provisioned: by choice, or because Keeper requires one."""
        return self.mandatory or self.target in MANDATORY


Compiled = tuple[tuple[Row, Kind, bool, Getter], ...]  # what it is, whether it takes any text, and how to read it

DEFAULT_ROWS = tuple(
    Row(target=target, source=source, mandatory=target in MANDATORY) for target, source in DEFAULT_SOURCES.items()
)

_SEGMENT = re.compile(r"(?P<name>[A-Za-z0-9_\-]+)(?:\[(?:(?P<primary>primary)|type=(?P<type>[^\]\[]+))\])?\Z")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")


@dataclass(frozen=True)
class AttributeMapping:
    """The rows of a connection; checked when an administrator saves them, applied to every user."""

    rows: tuple[Row, ...] = DEFAULT_ROWS

    def check(self) -> None:
        """Refuse unknown targets, bad sources, doubled rows, missing mandatory ones (BadInput names the row)."""
        seen: set[str] = set()
        for position, row in enumerate(self.rows):
            where = f"mapping[{position}]"
            if row.target not in ATTRIBUTES:
                mend = "Choose a SCIM core or enterprise user attribute, for instance title."
                raise BadInput(f"{where}.target", f"{row.target!r} is not a Keeper attribute that can be mapped", mend)
            if row.target in seen:
                raise BadInput(f"{where}.target", f"{row.target!r} is mapped twice", "Remove one of the rows.")
            seen.add(row.target)
            _compile_source(row.source, f"{where}.source")
            _check_fields(row.source, f"{where}.source")
        for target in MANDATORY:
            if target not in seen:
                raise BadInput("mapping", f"the mandatory attribute {target!r} is not mapped", "Add a row for it.")

    def apply(self, profile: Mapping[str, Any]) -> dict[str, Value]:
        """Return every mapped attribute of this user; None where the directory has no value.

        Raises:
            MappingFailure: a mandatory attribute has no value, or a value does not fit; names attribute and source.
        """
        desired: dict[str, Value] = {}
        address: object = None  # that was found to be one: several rows have it
        for row, kind, plain, getter in self._compiled:
            found = getter(profile)
            known = plain or (kind is Kind.ADDRESS and found is address)
            if known and isinstance(found, str) and found:  # nearly every value, of every user in every run
                desired[row.target] = found
                continue
            value = _fit(row, kind, found)
            if kind is Kind.ADDRESS:
                address = found
            if value is None and row.required:
                raise MappingFailure(
                    f"The mandatory attribute {row.target} has no value: {row.source} is empty for this user. "
                    "Fill it in the directory, or map another field."
                )
            desired[row.target] = value
        return desired

    @cached_property  # the rows are not to be hashed again for each user
    def _compiled(self) -> Compiled:
        return _compile(self.rows)

    def __hash__(self) -> int:
        """Return the hash of the rows."""
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.rows)

    def source_fields(self) -> frozenset[str]:
        """Return the top-level fields of the user resource that the rows read, for the `fields` mask."""
        names = {_parts(row.source)[0][0] for row in self.rows if not _is_constant(row.source)}
        return frozenset(names)


@lru_cache(maxsize=64)
def _compile(rows: tuple[Row, ...]) -> Compiled:
    compiled = []
    for row in sorted(rows, key=lambda row: row.target):
        kind = kind_of(row.target)
        plain = kind not in (Kind.BOOLEAN, Kind.ADDRESS)
        compiled.append((row, kind, plain, _compile_source(row.source, row.target)))
    return tuple(compiled)


def _is_constant(source: str) -> bool:
    return source.startswith('"') or source in ("true", "false")


def _compile_source(source: str, where: str) -> Getter:
    if _is_constant(source):
        mend = 'Write text in quotes, as in "Contractor".'
        try:
            constant = json.loads(source)
        except ValueError as error:
            raise BadInput(where, f"{source!r} is not a constant in JSON ({error})", mend) from None
        if has_controls(str(constant), LINES):
            raise BadInput(where, f"the constant {source!r} holds control characters", mend)
        return lambda _profile: constant
    try:
        parts = _parts(source)
    except ValueError as error:
        mend = 'Use a path such as name.givenName or organizations[primary].title, or a constant such as "Contractor".'
        raise BadInput(where, str(error), mend) from None
    if source == "name.fullName":
        return full_name
    if parts[0] == ("emails", "primary", None):
        if parts[1:] in _SIMPLE:
            return _SIMPLE[parts[1:]]
        return lambda profile: _walk(_primary_email(profile), parts[1:])
    if len(parts) == 1 and parts[0][1] is None and parts[0][2] is None:
        name = source
        return lambda profile: profile.get(name)
    if len(parts) == 2 and all(primary is None and kind is None for _, primary, kind in parts):
        return _text_within(parts)
    return lambda profile: _walk(profile, parts)


def _text_within(parts: tuple[Part, ...]) -> Getter:
    """Return what reads a text such as name.givenName, of every user in every run, without walking there."""
    (outer, *_), (inner, *_) = parts

    def text(profile: Mapping[str, Any]) -> object:
        within = profile.get(outer)
        found = within.get(inner) if isinstance(within, dict) else None
        return found if isinstance(found, str) else _walk(profile, parts)

    return text


def _check_fields(source: str, where: str) -> None:
    """Refuse a field that users do not have: the API refuses a listing whose `fields` mask names one (400)."""
    if _is_constant(source):
        return
    first, *rest = (name for name, _, _ in _parts(source))
    if first not in USER_FIELDS:
        _refuse_field(first, USER_FIELDS, "the directory user", where)
    if first == "name" and rest and rest[0] not in NAME_FIELDS:
        _refuse_field(rest[0], NAME_FIELDS, "the directory user's name", where)


def _refuse_field(name: str, fields: frozenset[str], what: str, where: str) -> NoReturn:
    mend = "Choose a field of the Admin SDK user resource, for instance organizations[primary].title."
    # The usual cutoff of 0.6 would offer familyName for firstName.
    for closest in difflib.get_close_matches(name, sorted(fields), n=1, cutoff=0.75):
        mend = f"Did you mean {closest}? {mend}"
    raise BadInput(where, f"{name!r} is not a field of {what}", mend)


Part = tuple[str, str | None, str | None]


@lru_cache(maxsize=1024)
def _parts(source: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    for segment in _split(source):
        match = _SEGMENT.match(segment)
        if match is None:
            raise ValueError(f"{segment!r} in {source!r} is not a field, nor a field with [primary] or [type=...]")
        parts.append((match["name"], match["primary"], match["type"]))
    name, primary, kind = parts[0]
    if name in LISTS and primary is None and kind is None:
        raise ValueError(f"{name} has several entries: say which one, as in {name}[primary] or {name}[type=work]")
    if name in LISTS and len(parts) == 1:
        raise ValueError(f"{source!r} names a whole entry: say which field of it, as in {source}.value")
    entry_value = len(parts) == 4 and parts[2][1:] != (None, None) and parts[3] == ("value", None, None)
    if name == "customSchemas" and len(parts) != 3 and not entry_value:
        raise ValueError(f"{source!r} must name a schema and a field, as in customSchemas.HR.costCenter")
    return tuple(parts)


def _split(source: str) -> list[str]:
    # Dots inside [type=...] belong to the type.
    return re.split(r"\.(?![^\[]*\])", source)


def _walk(value: object, parts: tuple[Part, ...]) -> object:
    for name, primary, kind in parts:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
        if primary is not None or kind is not None:
            value = _choose(value, kind)
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, dict) and "value" in item for item in value):
        value = [item["value"] for item in value]  # a multi-valued custom attribute
    elif isinstance(value, dict) and "value" in value and "type" in value:
        value = value["value"]
    return value


def _choose(entries: object, kind: str | None) -> object:
    if not isinstance(entries, list):
        return None
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        if kind is None and entry.get("primary") is True:
            return entry
        if kind is not None and kind in (entry.get("type"), entry.get("customType")):
            return entry
    return None


def _primary_email(profile: Mapping[str, Any]) -> Mapping[str, object] | None:
    address = profile.get("primaryEmail")
    if not address:
        return None
    listed = _choose(profile.get("emails"), None)
    entry = listed if isinstance(listed, dict) else {}
    # primaryEmail is the address in force; the list may lag behind it right after a rename.
    return {"type": "work", **entry, "address": address, "primary": True}


def _primary_address(profile: Mapping[str, Any]) -> object:
    address = profile.get("primaryEmail")
    return address or None if isinstance(address, str) else _walk(_primary_email(profile), (("address", None, None),))


def _primary_type(profile: Mapping[str, Any]) -> object:
    if not profile.get("primaryEmail"):
        return None
    listed = _choose(profile.get("emails"), None)
    return _walk(listed, (("type", None, None),)) if isinstance(listed, dict) and "type" in listed else "work"


# Of every user in every run; what `_primary_email` would say of them.
_SIMPLE: Mapping[tuple[Part, ...], Getter] = {
    (("address", None, None),): _primary_address,
    (("primary", None, None),): lambda profile: True if profile.get("primaryEmail") else None,
    (("type", None, None),): _primary_type,
}


def _fit(row: Row, kind: Kind, value: object) -> Value:
    target, source = row.target, row.source
    if isinstance(value, list):
        if len(value) > 1:
            raise MappingFailure(
                f"{source} has {len(value)} values, but {target} takes one. "
                f"Map one entry of it, as in {source}[type=work]."
            )
        value = value[0] if value else None
    if value is None or value == "":
        return None
    if kind is Kind.BOOLEAN:
        if isinstance(value, bool) or value in ("true", "false"):
            return value is True or value == "true"
        raise MappingFailure(f"{target} must be true or false, but {source} is {type(value).__name__}.")
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise MappingFailure(f"{source} is not a single value, but {target} takes one. Map a field of it.")
    text = str(value)
    if kind is Kind.ADDRESS and not _EMAIL.match(text):
        raise MappingFailure(f"{target} must be an e-mail address, but {source} is not one. Correct the mapping.")
    return text


def addresses(profile_aliases: tuple[str, ...], primary: str, desired: Mapping[str, Value]) -> tuple[str, ...]:
    """Return the userNames under which this user's account may be found: the desired one, then every alias."""
    names = [str(desired.get("userName") or primary), primary, *profile_aliases]
    return tuple(dict.fromkeys(name.casefold() for name in names if name))
