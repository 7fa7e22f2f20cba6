"""In which parts a large directory is listed: by what addresses begin with, as the last listings found them.

What no part covers is not proven to be missing: an address may begin with a character that a query cannot carry, or
its user may be renamed while the parts are read. So once a day everybody is listed in one listing, which alone proves
that somebody is missing, and in between whoever is on the roster and in no part is asked for by id.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

SMALL = 5_000  # users: fewer are listed in one listing, of ten pages
QUICK = timedelta(seconds=5)  # of waiting for pages: parts, which need more requests, would save less than this
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
CARRIED = frozenset(LETTERS + "._-@")  # of an address, by a query; how others are escaped is not documented alike
LARGEST = 10_000  # users of a part: a larger one is divided, unless all parts are of that size
SHARE = 12  # ... that is, unless it has no more than this part of all users
LONGEST = 16  # characters that the addresses of a part begin with
WHOLE_EVERY = timedelta(hours=23)  # once a day, and before an approval given right after one expires


@dataclass(frozen=True, slots=True, kw_only=True)
class Listings:
    """What the last listings showed of the directory's size.

    `sizes` are the parts of the next listing, each with the users whose primary address began so. `whole_at` is when
    everybody was last listed in one listing, or that was tried for as long as a run may take; `doubted_at` when parts
    failed, or lacked too many; `waited` how long that listing waited for its pages (None: not known, or it was not
    finished). `unread` are the parts that the last listing in parts had no time for.
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    whole_at: datetime | None = None
    waited: timedelta | None = None
    doubted_at: datetime | None = None
    unread: tuple[str, ...] = ()

    @property
    def users(self) -> int:
        """Count the users, as far as they are known: those of a small directory are not."""
        return sum(self.sizes.values())

    @property
    def large(self) -> bool:
        """Say whether parts are worth their requests: they cost more of those, and save only time."""
        slow = self.waited is None or self.waited >= QUICK
        return slow and self.users >= SMALL

    @property
    def unfinished(self) -> bool:
        """Say whether the last listing of everybody in one took longer than a run may."""
        return self.whole_at is not None and self.waited is None

    def parts(self, now: datetime) -> tuple[str, ...]:
        """Return what to list side by side: what was left first, then the largest.

        Nothing where one listing is due, or enough.
        """
        if not self.large or self.whole_at is None or now - self.whole_at >= WHOLE_EVERY:
            return ()
        if self.doubted_at is not None and now - self.doubted_at < WHOLE_EVERY:
            return ()
        largest = sorted(self.sizes, key=lambda part: (-self.sizes[part], part))
        return tuple(dict.fromkeys((*(part for part in self.unread if part in self.sizes), *largest)))

    def whole(self, met: Mapping[str, int], now: datetime, waited: timedelta | None) -> Listings:
        """Return them after one listing of everybody; `met` counts users by the first character of their address,
        `waited` is None where the listing was not finished.

        Parts that were divided stay so, for as long as they would be divided again.
        """
        most = _most(met)
        heads = _divided("", met)
        kept = {part: size for part, size in self.sizes.items() if heads.get(part[:1], 0) > most}
        divided = {part[:1] for part in kept}
        sizes = {part: heads[part] for part in heads if part not in divided} | kept
        return replace(self, sizes=sizes, whole_at=now, waited=waited, unread=() if waited is not None else self.unread)

    def differ(self, others: Listings, now: datetime) -> bool:
        """Say whether the next listing would be another one than by the others; sizes that change its order are not."""
        mine, theirs = (
            (set(each.parts(now)), each.unread, each.unfinished, each.doubted_at) for each in (self, others)
        )
        return mine != theirs

    def in_parts(
        self, parts: Collection[str], met: Mapping[str, int], unread: Sequence[str] = (), endless: Collection[str] = ()
    ) -> Listings:
        """Return them after a listing in parts; `met` counts users by their part and the next character.

        There was no time for `unread`, for those of them that are `endless` not even though nothing came before.
        """
        below: dict[str, dict[str, int]] = {part: {} for part in parts}
        for beginning, users in met.items():
            if beginning[:-1] in below:
                below[beginning[:-1]][beginning] = users
        least = {part: self.sizes.get(part, 0) for part in unread}
        users_of = {part: max(least.get(part, 0), sum(inside.values())) for part, inside in below.items()}
        most = _most(users_of)
        sizes: dict[str, int] = {}
        left: list[str] = []
        for part, inside in below.items():
            too_large = users_of[part] > most or (part in least and part in endless)
            divided = too_large and len(part) < LONGEST
            becomes = _divided(part, inside, users_of[part]) if divided else {part: users_of[part]}
            sizes |= becomes
            left += becomes if part in least else ()
        return replace(self, sizes=sizes, unread=tuple(left))


def _most(met: Mapping[str, int]) -> int:
    return max(LARGEST, sum(met.values()) // SHARE)


def _divided(part: str, met: Mapping[str, int], users: int = 0) -> dict[str, int]:
    """Return what a part is divided into: whatever character may come next, and those that were met besides.

    If it has more `users` than were met, nobody knows yet where: they are shared out.
    """
    following = dict.fromkeys((*(LETTERS if not part else sorted(CARRIED)), *(key[-1:] for key in met)))
    beginnings = [part + letter for letter in following if letter in CARRIED]
    more = max(0, users - sum(met.values())) // len(beginnings)
    return {beginning: met.get(beginning, 0) + more for beginning in beginnings}
