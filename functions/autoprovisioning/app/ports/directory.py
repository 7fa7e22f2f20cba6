"""The Workspace directory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.scope import Group, OrgUnit


class DirectoryUsers(Protocol):
    """The users of the directory."""

    def user(self, user_id: str) -> DirectoryUser | None:
        """Read one user by id; None is "no such user (any more)", which alone proves nothing.

        A user whom the directory does not show, or not intelligibly, has presence UNKNOWN.
        """

    def by_address(self, address: str) -> DirectoryUser | None:
        """Find a user by primary address or alias; None is a 404, one without an id is not shown."""

    def users(self, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        """List every user of the customer, a page at a time; `fields` are the profile fields the mappings read.

        Raises Incomplete when a page cannot be read. A user about whom an item says too little has presence UNKNOWN.
        """

    def users_beginning(self, letters: str, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        """List the users of whom a primary address or an alias begins with these small letters, as `users` does.

        Somebody who has two such addresses comes once, unless they are renamed meanwhile.
        """

    def packed(self, users: Sequence[DirectoryUser]) -> Sequence[DirectoryUser]:
        """Return a page of a listing in less memory, for as long as it waits: unpacked whenever it is gone through."""

    def users_who_are(self, presence: Presence) -> Iterator[Sequence[DirectoryUser]]:
        """List the users who are SUSPENDED or ARCHIVED, a page at a time; raises Incomplete."""

    def deleted_users(self) -> Iterator[Sequence[DirectoryUser]]:
        """List the users deleted in the last 20 days (showDeleted), a page at a time; raises Incomplete."""

    def probe(self) -> bool:
        """Say whether these credentials read some user of this customer."""


class DirectoryScopes(Protocol):
    """The groups and organizational units that connections choose users by."""

    def group(self, key: str) -> Group | None:
        """Find a group by id or e-mail address; None is a 404."""

    def all_groups(self) -> Sequence[Group]:
        """List all groups of the customer; raises Incomplete."""

    def groups_of(self, key: str) -> Sequence[Group]:
        """List the groups with a user, by id, or a group, by address, as a direct member; other organizations' too.

        Raises:
            Incomplete: they could not be listed.
            ConfigurationRefused: the set-up does not work, or the group is another organization's.
        """

    def members(self, group_id: str) -> Iterator[Sequence[str]]:
        """List the ids of a group's derived user members, a page at a time; raises Incomplete."""

    def is_member(self, group_id: str, user_id: str) -> bool | None:
        """Ask about one user and one group, nested membership included; None is not known; may raise Incomplete.

        False alone never counts as leaving. A derived listing that lacks the user is not an answer about this user.
        """

    def org_units(self) -> Sequence[OrgUnit]:
        """Return all organizational units by path, the root not included; raises Incomplete."""


class DirectorySearch(Protocol):
    """What administrators search for by the first letters."""

    def search_users(self, text: str) -> Sequence[DirectoryUser]:
        """Find at most 20 users whose name or address begins with the text, or whose id it is."""

    def search_groups(self, letters: str) -> Sequence[Group]:
        """Find at most 20 groups whose name or address begins with the letters."""


class DirectoryWatch(Protocol):
    """The notification channels on which the directory reports changes."""

    def watch(self, channel: Channel, event: str) -> Channel:
        """Open a notification channel (`event` empty: every event); returns it as Google granted it."""

    def stop(self, channel: Channel) -> None:
        """Stop a channel; one that is gone already counts as stopped."""


class Directory(DirectoryUsers, DirectoryScopes, DirectorySearch, DirectoryWatch, Protocol):
    """The Workspace directory, read only.

    Raises Transient (after bounded retries of 403 usageLimits, 429, 5xx and timeouts), ConfigurationRefused, and
    BadInput if it refuses what is searched for.
    """
