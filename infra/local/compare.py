"""Compare both sides through the simulators' own APIs, with rules restated here.

This imports nothing from the functions: it is the second opinion on what they did. It knows the default attribute
mapping, the default deprovisioning policy and one scope group.
"""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

PAGE = 200


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is not as it should be."""

    who: str
    what: str


def fetch(url: str, headers: dict[str, str] | None = None) -> Any:
    """GET JSON."""
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        return json.load(response)


def directory_users(directory: str) -> list[dict[str, Any]]:
    """List every user."""
    return _listed(f"{directory}/admin/directory/v1/users", "users", {"customer": "my_customer", "maxResults": "500"})


def member_ids(directory: str, group: str) -> set[str]:
    """List the ids of a group's derived members."""
    key = urllib.parse.quote(group, safe="")
    url = f"{directory}/admin/directory/v1/groups/{key}/members"
    return {item["id"] for item in _listed(url, "members", {"includeDerivedMembership": "true", "maxResults": "200"})}


def _listed(url: str, key: str, params: dict[str, str]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    token = ""
    while True:
        query = urllib.parse.urlencode(params | ({"pageToken": token} if token else {}))
        page = fetch(f"{url}?{query}")
        items += page.get(key, [])
        token = page.get("nextPageToken", "")
        if not token:
            return items


def keeper_accounts(endpoint: str, token: str) -> list[dict[str, Any]]:
    """List every account over SCIM."""
    headers = {"Authorization": f"Bearer {token}"}
    accounts: list[dict[str, Any]] = []
    while True:
        page = fetch(f"{endpoint}/Users?startIndex={len(accounts) + 1}&count={PAGE}", headers)
        accounts += page["Resources"]
        if not page["Resources"] or len(accounts) >= page["totalResults"]:
            return accounts


def compare(directory: str, endpoint: str, token: str, group: str, excused: set[str]) -> list[Difference]:
    """Return every difference between what Keeper has and what it should have.

    `excused` are directory ids that are known to be refused (a leaver's address) or whose change is held.
    """
    users = {user["id"]: user for user in directory_users(directory)}
    members = member_ids(directory, group)
    accounts = keeper_accounts(endpoint, token)
    by_external: dict[str, dict[str, Any]] = {}
    differences: list[Difference] = []
    for account in accounts:
        external_id, name = account.get("externalId", ""), account.get("userName", "")
        if not external_id:
            differences.append(Difference(who=name, what="account without a directory user's id"))
        elif external_id in by_external:
            differences.append(Difference(who=name, what=f"a second account carries the externalId {external_id}"))
        else:
            by_external[external_id] = account
    for user_id, user in users.items():
        if user_id not in excused:
            differences += _of_user(user, user_id in members, by_external.get(user_id))
    for external_id, account in by_external.items():
        if external_id not in users and _active(account) and external_id not in excused:
            differences.append(
                Difference(who=account["userName"], what="active although the directory has no such user")
            )
    return differences


def _of_user(user: dict[str, Any], member: bool, account: dict[str, Any] | None) -> list[Difference]:
    who = user["primaryEmail"]
    if user.get("archived"):
        return []
    entitled = member and not user.get("suspended")
    if account is None:
        return [Difference(who=who, what="has no account")] if entitled else []
    if entitled and not _active(account):
        return [Difference(who=who, what="is locked although in scope and active")]
    if not entitled and _active(account):
        return [Difference(who=who, what="is active although suspended or out of scope")]
    return _attributes(user, account)


def _active(account: dict[str, Any]) -> bool:
    """Read `active`, which Keeper has been seen to answer as a string."""
    return str(account.get("active")).lower() == "true"


def _attributes(user: dict[str, Any], account: dict[str, Any]) -> list[Difference]:
    name = user["name"]
    email = (account.get("emails") or [{}])[0]
    full_name = f"{name.get('givenName', '')} {name.get('familyName', '')}".strip()
    pairs = (
        ("userName", account.get("userName"), user["primaryEmail"]),
        ("displayName", account.get("displayName"), full_name),
        ("name.givenName", account.get("name", {}).get("givenName"), name.get("givenName")),
        ("name.familyName", account.get("name", {}).get("familyName"), name.get("familyName")),
        ("emails.value", email.get("value"), user["primaryEmail"]),
        ("emails.type", email.get("type"), "work"),
        ("emails.primary", email.get("primary"), True),
    )
    return [
        Difference(who=user["primaryEmail"], what=f"{attribute} is {found!r}, not {wanted!r}")
        for attribute, found, wanted in pairs
        if found != wanted
    ]
