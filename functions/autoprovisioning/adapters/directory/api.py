"""The Directory port over users, groups, members and channels of the Admin SDK Directory API (directory_v1)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoprovisioning.adapters.directory.answers import resource
from autoprovisioning.adapters.directory.known_users import KnownUsers
from autoprovisioning.adapters.directory.packed import Packed
from autoprovisioning.adapters.directory.places import Places
from autoprovisioning.adapters.directory.resources import (
    LONGEST_ID,
    begins_with,
    deleted_user_of,
    group_of,
    has_address,
    is_user_id,
    milliseconds_of,
    text_of,
    unknown,
    user_of,
)
from autoprovisioning.adapters.directory.transport import DELEGATION, ApiRefusal, DirectoryTransport, Reader, part
from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.errors import BadInput, ConfigurationRefused, Incomplete, Transient
from autoprovisioning.domain.scope import Group, OrgUnit
from autoprovisioning.domain.texts import LONGEST_SEARCH

USERS_A_PAGE = 500  # the most that users.list gives
MEMBERS_A_PAGE = 200  # the most that members.list gives
AT_ONCE = 8  # pages, unless a deployment says otherwise
PAGES_AT_MOST = 20_000  # of a listing: ten million users, four million members
LONGEST_TOKEN = 4096  # of a page; Google's have some hundred characters
# Seconds. A reconciliation waits for users and members; a worker, whose time is a minute, for the other two.
LISTING_USERS, LISTING_MEMBERS, LISTING_DELETED, LOOKING_FOR_ONE = 25 * 60, 25 * 60, 40, 30
LISTING_GROUPS = 60
BASE = "/admin/directory/v1"
STOP = "/admin/directory_v1/channels/stop"
KNOWN_FIELDS = (
    "id,primaryEmail,suspended,archived,orgUnitPath,aliases,creationTime,suspensionTime,archivalTime,"
    "isAdmin,isDelegatedAdmin"
)
FOUND_AT_MOST = 20
STRANGERS = 20  # in a listing of those whom a query is about
_FLAGS = {
    Presence.SUSPENDED: ("isSuspended=true", "suspended"),
    Presence.ARCHIVED: ("isArchived=true", "archived"),
}
LONGEST_PATH = 2_000  # a hundred chosen units fit into a connection's document (1 MiB)
UNITS_AT_MOST = 100_000  # of one answer: orgunits.list has no pages
GROUPS_A_PAGE = 200  # the most that groups.list gives
SIFTED_PAGES = 4  # of a search whose query could not carry everything that was typed
# Search operators of the Directory API's guides "Search for users" and "Search for groups"; clauses are joined by AND.
SEARCHED_IN_GROUPS = ("name", "email")
# What ends the quotes of a query, or means something in it. How a quote is escaped is documented differently for
# users and groups, and does not work everywhere (google-api-java-client issue 1020).
NOT_IN_QUERIES = re.compile(r"[\\'\"*\x00-\x1f]")
WHOLE_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_ITEM = (dict, DirectoryUser)  # as it came, or read already
ENVELOPE = frozenset({"kind", "etag", "nextPageToken", "trigger_event"})
DELETED = "user is deleted"  # of a 412 conditionNotMet; another one is "User creation is not complete"


class GoogleDirectory:
    """Reads one Workspace customer, so many pages of its listings at once."""

    def __init__(self, transport: DirectoryTransport, customer: str = "my_customer", at_once: int = AT_ONCE) -> None:
        self._transport = transport
        self._customer = customer
        self._known = KnownUsers()
        self._places = Places(at_once)

    def user(self, user_id: str) -> DirectoryUser | None:
        """Read one user by id, with every field that could be mapped."""
        answer = self._transport.get(f"{BASE}/users/{part(user_id)}", {"projection": "full"})
        if isinstance(answer, ApiRefusal):
            return self._not_shown(user_id, answer)
        if answer.get("id") != user_id:
            return unknown(user_id, "The directory returned a different user than the one requested.")
        return user_of(answer)

    def by_address(self, address: str) -> DirectoryUser | None:
        """Read one user by primary address or alias."""
        answer = self._transport.get(f"{BASE}/users/{part(address)}", {"projection": "basic"})
        if isinstance(answer, ApiRefusal):
            return self._not_shown("", answer)
        if not is_user_id(answer.get("id")) or not has_address(answer, address):
            return unknown("", "The directory returned a different user than the one requested.")
        return user_of(answer)

    def _not_shown(self, user_id: str, refusal: ApiRefusal) -> DirectoryUser | None:
        """Say what a refused users.get means: None is a 404, or the 412 of the 20 days in which one may be undeleted.

        Anything else says nothing about the user, if the same credentials can read another one.

        Raises:
            Transient: a 412 that will pass.
            ConfigurationRefused: the credentials read nobody.
        """
        if refusal.status == 404:
            return None
        if refusal.status == 412:
            if DELETED in refusal.message.casefold():
                return None
            raise Transient(f"users.get: {refusal}", retry_after=30)
        if not self.probe():
            raise _refused("users.get", refusal)
        return unknown(user_id, f"The directory does not show this user: {refusal}.")

    def users(self, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        """List every user of the customer."""
        return self._users(fields, {})

    def users_beginning(self, letters: str, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        """List the users with an address that begins so (users.list, query `email:LETTERS*`, which finds aliases too).

        Some may have had such an address a moment ago. A server that ignores the query would list everybody in each
        part: then too many are strangers. The aliases of a secondary domain (nonEditableAliases) begin like the address
        that they stand for.
        """
        without = f"users without an address that begins with {letters!r}"
        return self._queried(fields, f"email:{letters}*", lambda user: _begins(user, letters), without)

    def packed(self, users: Sequence[DirectoryUser]) -> Sequence[DirectoryUser]:
        """Return a page of a listing packed."""
        return Packed(users)

    def users_who_are(self, presence: Presence) -> Iterator[Sequence[DirectoryUser]]:
        """List the users with a flag (users.list, query `isSuspended=true` or `isArchived=true`).

        Whoever has both flags is ARCHIVED. A server that ignores the query would list everybody.
        """
        query, flag = _FLAGS[presence]
        without = f"users of whom {query} is not true"
        return self._queried(frozenset(), query, lambda user: user.profile.get(flag) is True, without)

    def _queried(
        self, fields: frozenset[str], query: str, fits: Callable[[DirectoryUser], bool], strangers: str
    ) -> Iterator[Sequence[DirectoryUser]]:
        """List the users whom a query is about; raises Incomplete, with what it called them, for too many others."""
        count = 0
        for users in self._users(fields, {"query": query}):
            count += sum(not fits(user) for user in users)
            if count > STRANGERS:
                raise Incomplete(f"users.list returned {strangers}")
            yield users

    def _users(self, fields: frozenset[str], query: Mapping[str, str]) -> Iterator[list[DirectoryUser]]:
        mapped = ",".join(sorted(fields - set(KNOWN_FIELDS.split(","))))
        mask = f"kind,nextPageToken,users({KNOWN_FIELDS}{',' + mapped if mapped else ''})"
        projection = "full" if "customSchemas" in fields else "basic"
        params = {"customer": self._customer, "fields": mask, "projection": projection, **query}
        pages = self._pages(
            "users.list",
            f"{BASE}/users",
            "users",
            params=params,
            size=USERS_A_PAGE,
            seconds=LISTING_USERS,
            read=self._known.page,
        )
        for page in pages:
            yield [item if isinstance(item, DirectoryUser) else user_of(item) for item in page]

    def deleted_users(self) -> Iterator[Sequence[DirectoryUser]]:
        """List the users deleted in the last 20 days."""
        fields = "kind,nextPageToken,users(id,primaryEmail,deletionTime)"
        params = {"customer": self._customer, "showDeleted": "true", "fields": fields}
        for page in self._pages(
            "users.list", f"{BASE}/users", "users", params=params, size=USERS_A_PAGE, seconds=LISTING_DELETED
        ):
            yield [deleted_user_of(item) for item in page]

    def members(self, group_id: str) -> Iterator[Sequence[str]]:
        """List the ids of a group's derived members that are users."""
        return self._members(group_id, LISTING_MEMBERS)

    def _members(self, group_id: str, seconds: float) -> Iterator[Sequence[str]]:
        path = f"{BASE}/groups/{part(group_id)}/members"
        params = {"includeDerivedMembership": "true", "fields": "kind,nextPageToken,members(id,email,type)"}
        for page in self._pages("members.list", path, "members", params=params, size=MEMBERS_A_PAGE, seconds=seconds):
            yield [member for item in page if (member := _member(item))]

    def is_member(self, group_id: str, user_id: str) -> bool | None:
        """Ask members.hasMember; if it gives no answer, a derived listing that has the user is one."""
        path = f"{BASE}/groups/{part(group_id)}/hasMember/{part(user_id)}"
        answer = self._transport.get(path, {})
        told = None if isinstance(answer, ApiRefusal) else answer.get("isMember")
        if isinstance(told, bool):
            return told
        found = any(user_id in page for page in self._members(group_id, LOOKING_FOR_ONE))
        return True if found else None

    def group(self, key: str) -> Group | None:
        """Find a group by id or e-mail address; if groups.get knows no addresses, by a query."""
        answer = self._transport.get(f"{BASE}/groups/{part(key)}", {})
        if not isinstance(answer, ApiRefusal) and (answer.get("id") == key or has_address(answer, key)):
            return group_of(answer)
        if isinstance(answer, ApiRefusal) and answer.status == 401:
            raise _refused("groups.get", answer)
        if "@" not in key or NOT_IN_QUERIES.search(key):
            return None
        listed = self._transport.get(f"{BASE}/groups", {"customer": self._customer, "query": f"email={key}"})
        if isinstance(listed, ApiRefusal):
            if listed.status in (401, 403):
                raise _refused("groups.list", listed)
            return None
        found = (group_of(item) for item in _dicts(listed.get("groups")) if has_address(item, key))
        return next(found, None)

    def all_groups(self) -> Sequence[Group]:
        """List all groups of the customer (groups.list); one without a usable id proves the listing incomplete."""
        params = {"customer": self._customer, "fields": "kind,nextPageToken,groups(id,email,name)"}
        pages = self._pages(
            "groups.list", f"{BASE}/groups", "groups", params=params, size=GROUPS_A_PAGE, seconds=LISTING_GROUPS
        )
        listed = [group_of(item) for page in pages for item in page]
        groups = {group.id: group for group in listed if group is not None}
        if None in listed:
            raise Incomplete("groups.list returned a group without a usable id")
        return list(groups.values())

    def groups_of(self, key: str) -> Sequence[Group]:
        """List the groups that have a member (groups.list with a userKey: of a group only an address, not its id).

        A user is named by the id, since an address may be somebody else's by now. Source: the reference of groups.list,
        userKey; the guide "Manage groups", Retrieve all groups for a member: the member must belong to the customer,
        the groups need not.
        """
        params = {"userKey": key, "fields": "kind,nextPageToken,groups(id,email,name)"}
        pages = self._pages(
            "groups.list", f"{BASE}/groups", "groups", params=params, size=GROUPS_A_PAGE, seconds=LOOKING_FOR_ONE
        )
        return [group for page in pages for item in page if (group := group_of(item)) is not None]

    def search_users(self, text: str) -> Sequence[DirectoryUser]:
        """Find users whose name or address begins with the text (users.list), or whose id it is (users.get).

        A whole address goes to users.get, which takes any character. What a query cannot carry is cut off, and the
        answers are filtered here, since they are one click away from giving somebody access.
        """
        text = " ".join(text.split())[:LONGEST_SEARCH]
        if WHOLE_ADDRESS.fullmatch(text):
            user = self.by_address(text)
            return (user,) if user is not None and user.id else ()
        found: dict[str, DirectoryUser] = {}
        if is_user_id(text) and any(map(str.isdigit, text)):
            answer = self._transport.get(f"{BASE}/users/{part(text)}", {"projection": "basic"})
            if not isinstance(answer, ApiRefusal) and answer.get("id") == text:
                found[text] = user_of(answer)
        params = {"projection": "basic", "fields": f"kind,nextPageToken,users({KNOWN_FIELDS},name)"}
        for query in _user_queries(_carried(text)):
            found |= {
                item["id"]: user_of(item)
                for item in self._found("users.list", f"{BASE}/users", "users", {**params, "query": query}, text)
                if is_user_id(item.get("id"))
            }
        return sorted(found.values(), key=lambda user: user.primary_email)[:FOUND_AT_MOST]

    def search_groups(self, letters: str) -> Sequence[Group]:
        """Find groups whose name or address begins with the letters (groups.list), or whose address they are."""
        text = " ".join(letters.split())[:LONGEST_SEARCH]
        if WHOLE_ADDRESS.fullmatch(text):
            group = self.group(text)
            return (group,) if group is not None else ()
        carried = _carried(text)
        found: dict[str, Group] = {}
        for field in SEARCHED_IN_GROUPS if carried else ():
            params = {"query": f"{field}:'{carried}*'"}
            listed = self._found("groups.list", f"{BASE}/groups", "groups", params, text)
            found |= {group.id: group for item in listed if (group := group_of(item)) is not None}
        return sorted(found.values(), key=lambda group: (group.name.casefold(), group.email))[:FOUND_AT_MOST]

    def _found(self, method: str, path: str, key: str, params: Mapping[str, str], text: str) -> list[dict[str, Any]]:
        """Return what a query finds and begins with the text; the whole text may be more than the query carries."""
        carried = _carried(text) == text
        pages, size = (1, FOUND_AT_MOST) if carried else (SIFTED_PAGES, GROUPS_A_PAGE)
        asked = {"customer": self._customer, "maxResults": str(size), **params}
        found: list[dict[str, Any]] = []
        for _ in range(pages):
            listed = self._transport.get(path, asked)
            if isinstance(listed, ApiRefusal):
                if listed.status in (401, 403):
                    raise _refused(method, listed)
                raise BadInput("search", f"{method} refuses it: {listed}", "Try other letters.")
            found += [item for item in _dicts(listed.get(key)) if begins_with(item, text)]
            token = text_of(listed, "nextPageToken")
            if not token or len(token) > LONGEST_TOKEN or len(found) >= FOUND_AT_MOST:
                break
            asked["pageToken"] = token
        return found

    def org_units(self) -> Sequence[OrgUnit]:
        """Return all organizational units by path (orgunits.list, type all, which leaves out the root)."""
        path = f"{BASE}/customer/{part(self._customer)}/orgunits"
        params = {"type": "all", "fields": "kind,organizationUnits(orgUnitId,orgUnitPath)"}
        answer = self._page("orgunits.list", path, params)
        items = _items("orgunits.list", "organizationUnits", answer, first=True, size=UNITS_AT_MOST)
        units = [_org_unit(item) for item in items]
        if not len(units) == len({unit.id for unit in units}) == len({unit.path for unit in units}):
            raise Incomplete("orgunits.list returned an organizational unit twice")
        return sorted(units, key=lambda unit: unit.path)

    def probe(self) -> bool:
        """Say whether these credentials read some user of this customer."""
        params = {"customer": self._customer, "maxResults": "1", "fields": "users(id)"}
        answer = self._transport.get(f"{BASE}/users", params)
        return not isinstance(answer, ApiRefusal) and any(
            is_user_id(item.get("id")) for item in _dicts(answer.get("users"))
        )

    def watch(self, channel: Channel, event: str) -> Channel:
        """Open a channel; BadInput("event") if the API insists on one."""
        params = {"customer": self._customer} | ({"event": event} if event else {})
        body: dict[str, Any] = {
            "id": channel.id,
            "type": "web_hook",
            "address": channel.address,
            "token": channel.token,
        }
        if channel.expires is not None:
            body["expiration"] = str(int(channel.expires.timestamp() * 1000))
        answer = self._transport.post(f"{BASE}/users/watch", params, body)
        if isinstance(answer, ApiRefusal):
            if answer.status == 400 and not event and "event" in answer.message.lower():
                raise BadInput("event", "the Directory API asks for one", "Open one channel for each event.")
            if answer.reason == "channelIdNotUnique":
                # The answer to our first attempt was lost: the channel is open, but its resource id is not known.
                raise Transient("users.watch opened the channel, but its answer was lost", retry_after=5)
            raise _refused("users.watch", answer)
        told = milliseconds_of(answer.get("expiration"))
        granted = min(filter(None, (told, channel.expires)), default=None)  # never more than was asked for
        resource_id = text_of(answer, "resourceId")[:LONGEST_ID]  # without it a channel cannot be stopped, but works
        return replace(channel, token="", event=event, expires=granted, resource_id=resource_id)

    def stop(self, channel: Channel) -> None:
        """Stop a channel; 404 is one that is gone already."""
        answer = self._transport.post(STOP, {}, {"id": channel.id, "resourceId": channel.resource_id})
        if isinstance(answer, ApiRefusal) and answer.status != 404:
            raise _refused("channels.stop", answer)

    def _pages(
        self,
        method: str,
        path: str,
        key: str,
        *,
        params: Mapping[str, str],
        size: int,
        seconds: float,
        read: Reader[dict[str, Any]] = resource,
    ) -> Iterator[list[Any]]:
        """Follow nextPageToken to the end; anything that breaks the listing off is Incomplete."""
        params = {**params, "maxResults": str(size)}
        until = time.monotonic() + seconds
        seen: set[str] = set()
        token = ""
        for _ in range(PAGES_AT_MOST):
            answer = self._page(method, path, {**params, **({"pageToken": token} if token else {})}, read)
            yield _items(method, key, answer, first=not token, size=size)
            token = _following(method, answer)
            if not token:
                return
            if token in seen:
                raise Incomplete(f"{method} repeats a page token")
            if time.monotonic() > until:
                raise Incomplete(f"{method} did not end within {seconds:.0f} s")
            seen.add(token)
        raise Incomplete(f"{method} did not end after {PAGES_AT_MOST} pages")

    def _page(
        self, method: str, path: str, params: Mapping[str, str], read: Reader[dict[str, Any]] = resource
    ) -> dict[str, Any]:
        """Read one page of a listing; raises Incomplete, and ConfigurationRefused if the set-up is refused."""
        try:
            with self._places:
                answer = self._transport.read(path, params, read)
        except Transient as error:
            raise Incomplete(f"{method} broke off: {error}") from error
        if not isinstance(answer, ApiRefusal):
            return answer
        if answer.status in (401, 403):
            raise _refused(method, answer)
        raise Incomplete(f"{method} broke off: {answer}")


def _following(method: str, answer: Mapping[str, Any]) -> str:
    token = answer.get("nextPageToken", "")
    if not isinstance(token, str) or len(token) > LONGEST_TOKEN:
        raise Incomplete(f"{method} returned an invalid page token")
    return token


def _items(method: str, key: str, answer: Mapping[str, Any], *, first: bool, size: int) -> list[Any]:
    """Return a page's items; raises Incomplete for an answer that is not a listing.

    An empty listing leaves the list out. What is left shows that it is one; on the first page nothing may be left. An
    item that does not say whom it is about could be anybody's.
    """
    items = answer.get(key, [])
    is_listing = key in answer or (set(answer) <= ENVELOPE and (first or bool(answer)))
    whole = isinstance(items, list) and len(items) <= size and all(isinstance(item, _ITEM) for item in items)
    if is_listing and whole and (key != "users" or all(map(_names_a_user, items))):
        return list(items)
    raise Incomplete(f"{method} returned something that is not a listing")


def _names_a_user(item: Mapping[str, Any] | DirectoryUser) -> bool:
    return isinstance(item, DirectoryUser) or is_user_id(item.get("id"))


def _member(item: Mapping[str, Any]) -> str:
    """Return the id of a member who is a user, "" for any other: another group, or somebody with an address only."""
    kind = item.get("type", "USER")
    if kind == "CUSTOMER":
        raise Incomplete(
            "A group has everybody in the organization as a member, which the directory does not list. "
            "Choose organizational units instead of that group, or other groups for teams."
        )
    if isinstance(kind, str) and kind != "USER":
        return ""
    member = item.get("id")
    if is_user_id(member) and kind == "USER":
        return str(member)
    if "id" not in item and "@" in text_of(item, "email"):
        return ""
    raise Incomplete("members.list does not say who the members are")


def _begins(user: DirectoryUser, letters: str) -> bool:
    return any(address.casefold().startswith(letters) for address in (user.primary_email, *user.aliases))


def _dicts(items: object) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _carried(text: str) -> str:
    """Return as much of the text as a query can carry: what comes before a quote, an asterisk or a backslash."""
    return NOT_IN_QUERIES.split(text, maxsplit=1)[0].strip()


def _user_queries(text: str) -> list[str]:
    """Return the queries whose answers together are the users meant: clauses of one query must all hold."""
    if not text:
        return []
    queries = [f"{field}:'{text}*'" for field in ("email", "givenName", "familyName")]
    given, _, family = text.partition(" ")
    if family:
        queries.append(f"givenName:'{given}*' familyName:'{family}*'")
    return queries


def _refused(method: str, refusal: ApiRefusal) -> ConfigurationRefused:
    mend = DELEGATION if refusal.status in (401, 403) else "Check the directory settings of this deployment."
    return ConfigurationRefused(f"{method} is refused: {refusal}. {mend}")


def _org_unit(item: Mapping[str, Any]) -> OrgUnit:
    """Read a unit; raises Incomplete for one without id or path: nobody could say which users belong to it."""
    unit_id, path = item.get("orgUnitId"), item.get("orgUnitPath")
    if not (isinstance(unit_id, str) and 0 < len(unit_id) <= LONGEST_ID):
        raise Incomplete("orgunits.list returned an organizational unit without a usable orgUnitId")
    if not (isinstance(path, str) and path.startswith("/") and len(path) <= LONGEST_PATH):
        raise Incomplete("orgunits.list returned an organizational unit without a usable orgUnitPath")
    return OrgUnit(id=unit_id, path=path)
