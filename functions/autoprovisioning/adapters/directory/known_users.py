"""Pages of users: whoever is shown byte for byte as before is the same user, and is not read again.

Decoding and checking a user takes five times as long as finding the bytes among those of the listing before, and in a
run without changes that is everybody. The attributes of such a user are decoded only if somebody asks for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from autoprovisioning.adapters.directory.answers import Unreadable, blotted, bound, decoded, resource
from autoprovisioning.adapters.directory.resources import is_user_id, user_of
from autoprovisioning.decoding import built
from autoprovisioning.domain.directory_user import DirectoryUser

ROOM = 25_000_000  # bytes: 23,000 users; a larger directory makes a run wait for its pages much longer than for this
OVERHEAD = 700  # bytes of what is made of a user, besides those that came
LONGEST = 4_000  # bytes of a user who is remembered
OPEN = 2_000  # resources that stay decoded: of the page that is judged, and of some read meanwhile


class Resource(Mapping[str, Any]):
    """A user resource, decoded while somebody looks into it; `decoded` are those that are, the oldest first."""

    __slots__ = ("_data", "_decoded", "_fields")

    def __init__(self, data: bytes, fields: dict[str, Any], decoded: deque[Resource]) -> None:
        self._data, self._decoded = data, decoded
        self._keep(fields)

    def _keep(self, fields: dict[str, Any]) -> dict[str, Any]:
        self._fields: dict[str, Any] | None = fields
        self._decoded.append(self)
        if len(self._decoded) > OPEN:
            self._decoded.popleft()._fields = None
        return fields

    def _whole(self) -> dict[str, Any]:
        fields = self._fields
        return self._keep(decoded(self._data)) if fields is None else fields

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field."""
        return self._whole().get(name, default)

    def __getitem__(self, name: str) -> Any:
        """Return a field that is there."""
        return self._whole()[name]

    def __iter__(self) -> Iterator[str]:
        """Name the fields."""
        return iter(self._whole())

    def __len__(self) -> int:
        """Count the fields."""
        return len(self._whole())


class _Page(msgspec.Struct):
    users: list[msgspec.Raw]
    nextPageToken: str = ""  # noqa: N815 - the API's name


_pages = msgspec.json.Decoder(built(_Page))


class KnownUsers:
    """Reads pages of users.list, and remembers whom it has read."""

    def __init__(self) -> None:
        self._users: dict[bytes, DirectoryUser] = {}
        self._size = 0
        self._decoded: deque[Resource] = deque()

    def page(self, content: bytes, token: str) -> dict[str, Any]:
        """Return an answer of users.list with its users, already read; one with anything else in it, as it came.

        Raises:
            Unreadable: it is not a JSON object.
        """
        bound(content)
        try:
            page = _pages.decode(content)
            clean = b"\\" not in content and token.encode() not in content
            users = [self._user(bytes(item), "" if clean else token) for item in page.users]
        except (msgspec.MsgspecError, ValueError, RecursionError, Unreadable):
            return resource(content, token)
        return {"users": users, "nextPageToken": blotted(page.nextPageToken, token, content)}

    def _user(self, data: bytes, token: str) -> DirectoryUser:
        known = self._users.get(data)
        if known is not None:
            return known
        came = decoded(data)
        item = blotted(came, token, data)
        if not isinstance(item, dict) or not is_user_id(item.get("id")):
            raise Unreadable("an answer with something in it that is not a user")
        size = len(data) + OVERHEAD
        if item is not came or len(data) > LONGEST or self._size + size > ROOM:
            return user_of(item)
        user = self._users[data] = user_of(item, Resource(data, item, self._decoded), hash(data))
        self._size += size
        return user
