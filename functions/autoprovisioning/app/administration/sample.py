"""What rows of an attribute mapping give for one user, while an administrator edits them."""

from __future__ import annotations

from collections.abc import Sequence

from autoprovisioning.app.administration.explain import MappedValue, mapped_value
from autoprovisioning.app.ports.directory import DirectoryUsers
from autoprovisioning.domain.directory_user import DirectoryUser
from autoprovisioning.domain.errors import BadInput, NotFound
from autoprovisioning.domain.mapping import AttributeMapping, Row


def sample_values(
    directory: DirectoryUsers, rows: Sequence[Row], address: str
) -> tuple[DirectoryUser, tuple[MappedValue | None, ...]]:
    """Return the user with this address, and the value of each row; None for one that is not filled in.

    A row need not be right: its `problem` then says what is wrong with it.

    Raises:
        NotFound: the directory has no user with this address.
        Transient: the directory could not be asked.
    """
    found = directory.by_address(address)
    user = directory.user(found.id) if found is not None and found.id else None
    if user is None or not user.profile:
        raise NotFound("The directory has no user with this address.")
    return user, tuple(_value(row, user) for row in rows)


def _value(row: Row, user: DirectoryUser) -> MappedValue | None:
    if not row.source or not row.target:
        return None
    try:
        AttributeMapping((row,)).check()
    except BadInput as error:
        if error.field.startswith("mapping["):  # otherwise another row is missing
            problem = f"{error.problem[:1].upper()}{error.problem[1:]}. {error.mend}"
            return MappedValue(target=row.target, source=row.source, value=None, mandatory=False, problem=problem)
    return mapped_value(row, user)
