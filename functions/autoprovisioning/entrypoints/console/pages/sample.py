"""Whose values are shown beside the rows of a mapping while it is edited: the administrator's, or a named user's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoprovisioning.app.administration.explain import MappedValue, mapped
from autoprovisioning.domain.directory_user import DirectoryUser
from autoprovisioning.domain.errors import BadInput, ProvisioningError
from autoprovisioning.domain.mapping import AttributeMapping, Row
from autoprovisioning.entrypoints.answers import told
from autoprovisioning.entrypoints.console.pages.frame import sought
from autoprovisioning.entrypoints.console.routing import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Whose values are shown, and each row's, None for one that is not filled in. `problem`: why there are none."""

    address: str = ""
    values: tuple[MappedValue | None, ...] = ()
    problem: str = ""


def sample_of(call: Call, rows: Sequence[Row]) -> Sample:
    """Return the values of the user whose address was sent; of whoever looks at the page, if none was."""
    address = sought(call.request.values.get("sample"))
    try:
        user = _user(call, address)
    except ProvisioningError as error:  # the page works without
        told(error)
        return Sample(address=address, problem=str(error))
    if user is None or not user.profile:
        return Sample(address=address, problem="The directory has no user with this address." if address else "")
    return Sample(address=user.primary_email, values=tuple(_value(row, user) for row in rows))


def _value(row: Row, user: DirectoryUser) -> MappedValue | None:
    """Return what a row gives for a user, or what is wrong with it: it has not been saved, nor checked, yet."""
    if not row.source or not row.target:
        return None
    try:
        AttributeMapping((row,)).check()
    except BadInput as error:
        if error.field.startswith("mapping["):  # otherwise another row is missing
            problem = f"{error.problem[:1].upper()}{error.problem[1:]}. {error.mend}"
            return MappedValue(target=row.target, source=row.source, value=None, mandatory=False, problem=problem)
    return mapped(row, user)


def _user(call: Call, address: str) -> DirectoryUser | None:
    directory = call.parts.services.directory
    if not address or address == call.actor.address:
        return directory.user(call.actor.directory_id) if call.actor.directory_id else None
    found = directory.by_address(address)
    return directory.user(found.id) if found is not None and found.id else None
