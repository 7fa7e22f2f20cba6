"""List the users of the directory, each once: in one listing, or a large directory in parts that are read side by side.

Parts are a faster way to the same users, and never proof that somebody is missing: `domain/listing_parts.py` says why.
If one fails, or they lack too many, everybody is listed in one listing, as a small directory always is. Where they take
longer than a run may, those read to their end count, and the next run begins with the others.

Pages are read from the start, while groups' members are: those that come before everything is known by which a user is
judged wait for it, in their order.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from autoprovisioning.app.ports.directory import DirectoryUsers
from autoprovisioning.app.ports.execution import Clock, Executor
from autoprovisioning.app.runs.read_directory import ALERT, Survey
from autoprovisioning.app.runs.side_by_side import side_by_side
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import ConfigurationRefused, Incomplete, NotSent, Transient

log = logging.getLogger(__name__)

ASKED_AT_MOST = 500  # users of the roster who are in no part: with more than that, parts are no help
MOST_AHEAD = 500_000  # users who wait to be judged: packed, they take less memory than what is kept of them later
UNPACKED = 8_000  # users who wait as they came, some 13 MB: to unpack them takes time
BROKEN = (Incomplete, ConfigurationRefused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """How to read in parts: what addresses begin with, so many at once; `known` returns those who must be found.

    `some_will_do`: whoever is read by the deadline counts, and the others may wait.
    """

    beginnings: tuple[str, ...]
    executor: Executor
    at_once: int
    known: Callable[[], Iterable[Entry]]
    some_will_do: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """Users, and when they were there; of a part, `last` where it ends, with `broken` if there should be more."""

    at: datetime
    part: str = ""
    users: Sequence[DirectoryUser] = ()
    last: bool = False
    broken: Exception | None = None


@dataclass(slots=True, kw_only=True)
class Pages:
    """The pages of one listing of everybody: of its parts, or if there are none of one listing.

    `most_ahead` users may be read before they are judged. `waited` is how long one listing waited for its pages.
    Whoever takes no more closes it.
    """

    directory: DirectoryUsers
    fields: frozenset[str]
    clock: Clock
    parts: Parts | None = None
    most_ahead: int = 0
    waited: timedelta = timedelta()
    _coming: Generator[_Page] = field(init=False)
    _ahead: deque[_Page] = field(default_factory=deque)  # those that wait
    _broken: Exception | None = None  # what comes after them
    _left: Callable[[], int] = lambda: 0

    def __post_init__(self) -> None:
        self._coming = self.of_one() if self.parts is None else self._of_parts(self.parts)

    def read_ahead(self, left: Callable[[], int]) -> None:
        """Take pages while so many listings are `left` that must end before a user is judged.

        Those have the first claim on the requests that may be under way at once: to the users goes what they leave, and
        one request at least.
        """
        self._left, users = left, 0
        while left() and users < self.most_ahead:
            try:
                page = next(self._coming, None)
            except BROKEN as error:
                self._broken = error
                return
            if page is None:
                return
            if users >= UNPACKED:
                page = replace(page, users=self.directory.packed(page.users))
            self._ahead.append(page)
            users += len(page.users)
            if page.broken is not None:
                return

    def all(self) -> Generator[_Page]:
        """Yield those that wait, then the others; raises as the listing does."""
        while self._ahead:
            yield self._ahead.popleft()
        if self._broken is not None:
            raise self._broken
        yield from self._coming

    def close(self) -> None:
        """Wait for what is under way, and forget the rest."""
        self._coming.close()
        self._ahead.clear()

    def of_one(self) -> Generator[_Page]:
        """List everybody in one listing."""
        self.waited = timedelta()
        asked = self.clock()
        for users in self.directory.users(self.fields):
            at = self.clock()
            self.waited += at - asked
            yield _Page(at=at, users=users)
            asked = self.clock()

    def _of_parts(self, parts: Parts) -> Generator[_Page]:
        def places() -> int:
            return parts.at_once - self._left()

        return side_by_side(parts.executor, [self._read(part) for part in parts.beginnings], parts.at_once, places)

    def _read(self, part: str) -> Iterator[_Page]:
        """List one part; how it fails is told in place of its next page."""
        try:
            for users in self.directory.users_beginning(part, self.fields):
                yield _Page(at=self.clock(), part=part, users=users)
            yield _Page(at=self.clock(), part=part, last=True)
        except (Transient, ConfigurationRefused) as error:
            yield _Page(at=self.clock(), part=part, last=True, broken=error)


@dataclass(slots=True, kw_only=True)
class _Listing:
    """A listing in progress; nobody is judged before it was `begun`."""

    pages: Pages
    survey: Survey
    deadline: datetime
    begun: datetime
    seen: set[str] = field(default_factory=set)

    def in_one(self, pages: Iterator[_Page]) -> Iterator[DirectoryUser]:
        """Yield who is not seen yet; notes where the listing breaks off."""
        self.survey.sizes, self.survey.waited, self.survey.divided = Counter(), timedelta(), False
        try:
            for page in pages:
                self._keep_to_time()
                yield from self._new(page)
            self.survey.waited = self.pages.waited
        except BROKEN as error:
            if not self.seen:
                raise  # nothing of the directory was read: a run over nobody would end as done
            self.survey.complete = False
            self.survey.notes.append(f"The listing of users broke off: {error}")
            log.error("The listing of users broke off: this run deprovisions nobody", extra={"json_fields": ALERT})

    def in_parts(self, parts: Parts) -> Iterator[DirectoryUser]:
        """Yield everybody, at the end who is on the roster and in no part; `Survey.in_parts` says if that was all.

        `Survey.unread` are the parts that were not read to their end by the deadline, where some will do.
        """
        self.survey.divided = True
        unread, begun = dict.fromkeys(parts.beginnings), False
        with closing(self.pages), closing(self.pages.all()) as pages:
            for page in pages:
                if page.broken is not None:
                    self._doubt(f"the part {page.part!r} failed: {page.broken}")
                    return
                if parts.some_will_do and begun and self.pages.clock() >= self.deadline:
                    self._leave(tuple(unread), len(parts.beginnings))
                    break
                self._keep_to_time()
                yield from self._new(page)
                begun = True
                if page.last:
                    del unread[page.part]
        lacking = self._lacking(parts.known(), tuple(unread))
        if len(lacking) > ASKED_AT_MOST and not unread:
            self._doubt(f"its parts lack {len(lacking)} users of the roster")
            return
        for page in parts.executor.each(self._alone, lacking[:ASKED_AT_MOST], parts.at_once):
            if not unread:
                self._keep_to_time()
            yield from self._new(page)
        self.survey.in_parts = True

    def _leave(self, unread: tuple[str, ...], parts: int) -> None:
        """Leave parts to the next run."""
        self.survey.unread = unread
        told = f"Parts of the listing of users that time left to the next run: {len(unread)} of {parts}"
        self.survey.notes.append(told)
        log.warning(told)

    def _lacking(self, known: Iterable[Entry], unread: tuple[str, ...]) -> list[str]:
        """Return who was in no part that was read, and can be in no other by the address that was known last."""
        listed = (self.seen, self.survey.deleted)
        absent = (entry for entry in known if not any(entry.user_id in each for each in listed))
        ids = (entry.user_id for entry in absent if not entry.email.casefold().startswith(unread))
        return list(dict.fromkeys(ids))  # some are on the rosters of several connections

    def _alone(self, user_id: str) -> _Page:
        """Read one user by id; whoever is not shown then is left as they are, until one listing tells."""
        try:
            user = self.pages.directory.user(user_id)
        except (Transient, ConfigurationRefused) as error:
            log.warning("A user in no part of the listing could not be read: %s", type(error).__name__)
            user = None
        shown = user is not None and user.presence is not Presence.UNKNOWN
        return _Page(at=self.pages.clock(), users=(user,) if user is not None and shown else ())

    def _keep_to_time(self) -> None:
        if self.pages.clock() >= self.deadline:
            raise NotSent("The directory could not be listed in the run's time")

    def _new(self, page: _Page) -> Iterator[DirectoryUser]:
        survey, seen, part, length = self.survey, self.seen, page.part, len(page.part) + 1
        survey.read_at, sizes = max(page.at, self.begun), survey.sizes
        for user in page.users:
            new = user.id not in seen
            if new or not part:  # of a part, whoever comes under an alias is no second user
                sizes[user.primary_email[:length].casefold()] += 1
            if new:
                seen.add(user.id)
                if user.presence is Presence.UNKNOWN:
                    survey.untold += 1
                yield user

    def _doubt(self, why: str) -> None:
        self.survey.doubted = True
        log.warning("The directory is listed in one listing, since %s", why)


def everybody(pages: Pages, survey: Survey, deadline: datetime) -> Iterator[DirectoryUser]:
    """Yield every user once; when the listing breaks off, note it in the survey and end.

    Raises:
        NotSent: the deadline passed, and what was read will not do; a run must not be cut short by its function's
            timeout.
        Incomplete, ConfigurationRefused: nobody could be listed.
    """
    listing = _Listing(pages=pages, survey=survey, deadline=deadline, begun=pages.clock())
    if pages.parts is not None:
        yield from listing.in_parts(pages.parts)
    if not survey.in_parts:
        yield from listing.in_one(pages.all() if pages.parts is None else pages.of_one())
    survey.listed, survey.seen = len(listing.seen), listing.seen
