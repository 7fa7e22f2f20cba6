"""A page of users that waits: compressed, since what is made of a user takes thirty times what came."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import overload

import msgspec

from autoprovisioning.adapters.directory.known_users import Resource
from autoprovisioning.adapters.directory.resources import user_of
from autoprovisioning.domain.directory_user import DirectoryUser

FASTEST = 1  # of zlib's levels


class Packed(Sequence[DirectoryUser]):
    """Users as they were read; those that are remembered anyway are kept as they are."""

    __slots__ = ("_data", "_users")

    def __init__(self, users: Sequence[DirectoryUser]) -> None:
        self._users = [user if isinstance(user.profile, Resource) else None for user in users]
        items = [user.profile for user in users if not isinstance(user.profile, Resource)]
        self._data = zlib.compress(msgspec.json.encode(items), FASTEST) if items else b""

    def __iter__(self) -> Iterator[DirectoryUser]:
        """Yield them in their order."""
        unpacked = iter(msgspec.json.decode(zlib.decompress(self._data)) if self._data else ())
        return (user_of(next(unpacked)) if user is None else user for user in self._users)

    def __len__(self) -> int:
        """Count them."""
        return len(self._users)

    @overload
    def __getitem__(self, index: int) -> DirectoryUser: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[DirectoryUser]: ...

    def __getitem__(self, index: int | slice) -> DirectoryUser | Sequence[DirectoryUser]:
        """Return one, or some of them."""
        return list(self)[index]
