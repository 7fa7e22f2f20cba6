"""Whose values are shown beside the rows of a mapping while it is edited: the administrator's, or a named user's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoprovisioning.app.administration.explain import MappedValue
from autoprovisioning.app.administration.sample import sample_values
from autoprovisioning.domain.errors import ProvisioningError
from autoprovisioning.domain.mapping import Row
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
        user, values = sample_values(call.parts.services.directory, rows, address or call.actor.address)
    except ProvisioningError as error:  # the page works without
        told(error)
        return Sample(address=address, problem=str(error) if address else "")
    return Sample(address=user.primary_email, values=values)
