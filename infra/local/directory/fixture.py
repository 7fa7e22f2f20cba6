"""Make a realistic customer, the same for the same seed.

Run `python -m infra.local.directory.fixture --users 200 > FILE`.
"""

from __future__ import annotations

import argparse
import random
import sys
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

CUSTOMER = "C04sim7q2"
DOMAINS = ("example.com", "example.co.jp", "lab.example.org")
UNITS = (
    "/",
    "/Engineering",
    "/Engineering/Platform",
    "/Sales",
    "/Sales/EMEA",
    "/Sales/APAC",
    "/Finance",
    "/Contractors",
)
SCOPE_GROUP = "keeper-users@example.com"
GIVEN = (
    "Ada Grace Linus Niklaus Barbara Edsger Dennis Radia Margaret Alan Katherine Tim Shafi Leslie Frances Donald "
    "Søren Zoë Łukasz Çağla Ngozi Ñusta François Þóra Björk 美咲 太郎 伟 芳 محمد ليلى Ольга Ιωάννα ชัยวัฒน์ देवी"
).split()
FAMILY = (
    "Lovelace Hopper Wirth Liskov Dijkstra Ritchie Perlman Hamilton Turing Johnson Goldwasser Lamport Allen Knuth "
    "O'Neill Müller-Lüdenscheidt Đặng Nguyễn Åkesson García 山田 佐藤 王 李 الحسن Иванова Παπαδοπούλου van_der_Berg"
).split()
LONGEST_NAME = "Wolfeschlegelsteinhausenbergerdorff-Hubertshausen-von-Altona"  # a name has at most 60 characters
TITLES = ("Engineer", "Senior Engineer", "Account Executive", "Controller", "Analyst", "Büroleitung", "部長")
OLDEST = datetime(2019, 1, 7, 8, 0, tzinfo=UTC)


def make(users: int, seed: int = 1) -> dict[str, Any]:
    """Return a customer of that many users; about 5% are suspended, 3% archived, a few deleted on top."""
    rng = random.Random(seed)
    people = [_user(number, rng) for number in range(users)]
    people[0] |= {"isAdmin": True, "suspended": False, "archived": False}
    if users > 3:
        people[1] |= {"isDelegatedAdmin": True, "suspended": False, "archived": False}
        people[3]["name"]["familyName"] = LONGEST_NAME
    groups, members = _groups(people, rng)
    return {
        "customer": CUSTOMER,
        "domains": [{"domainName": name, "isPrimary": name == DOMAINS[0]} for name in DOMAINS],
        "users": people,
        "deletedUsers": [_deleted(users + number, rng) for number in range(max(1, users // 100))],
        "groups": groups,
        "members": members,
    }


def _user(number: int, rng: random.Random) -> dict[str, Any]:
    given, family = rng.choice(GIVEN), rng.choice(FAMILY).replace("_", " ")
    if number % 37 == 0:
        given = unicodedata.normalize("NFD", given)  # combining marks, as some systems import them
    domain = rng.choices(DOMAINS, weights=(80, 12, 8))[0]
    email = f"user{number:06d}@{domain}" if not given.isascii() else f"{given.lower()}.{number:06d}@{domain}"
    user: dict[str, Any] = {
        "id": str(100_000_000_000_000_000_000 + number * 7_919_003),
        "primaryEmail": email,
        "name": {"givenName": given, "familyName": family},
        "suspended": False,
        "archived": False,
        "orgUnitPath": rng.choice(UNITS),
        "isAdmin": False,
        "isDelegatedAdmin": False,
        "creationTime": _time(OLDEST + timedelta(hours=rng.randrange(50_000))),
        "agreedToTerms": True,
        "isMailboxSetup": True,
        "emails": [{"address": email, "primary": True}],
        "organizations": [
            {
                "title": rng.choice(TITLES),
                "department": rng.choice(UNITS)[1:] or "Board",
                "primary": True,
                "type": "work",
            }
        ],
        "phones": [{"type": "work", "value": f"+44 20 7946 {number % 10000:04d}"}],
        "externalIds": [{"type": "organization", "value": f"E-{number:06d}"}],
        "customSchemas": {"HR": {"costCenter": f"CC{rng.randrange(40):02d}", "contractor": number % 11 == 0}},
    }
    if number % 9 == 0:
        user["aliases"] = [f"alias{number:06d}@{domain}"]
        user["emails"].append({"address": user["aliases"][0]})
    if number % 20 == 7:
        user |= {"suspended": True, "suspensionReason": "ADMIN", "suspensionTime": _time(OLDEST + timedelta(days=2000))}
    elif number % 33 == 11:
        user |= {"archived": True, "archivalTime": _time(OLDEST + timedelta(days=2100))}
    return user


def _deleted(number: int, rng: random.Random) -> dict[str, Any]:
    user = _user(number, rng)
    user["deletionTime"] = _time(datetime.now(UTC) - timedelta(days=rng.randrange(1, 15)))
    return user


def _groups(people: list[dict[str, Any]], rng: random.Random) -> tuple[list[dict[str, Any]], dict[str, list[Any]]]:
    """Make nested groups: the scope group reaches about 85% of the people, through a cycle too."""
    names = ("keeper-users", "engineering", "sales", "sales-emea", "finance", "everyone-else")
    groups = [
        {"id": f"03group{position:02d}", "email": f"{name}@{DOMAINS[0]}", "name": name.replace("-", " ").title()}
        for position, name in enumerate(names)
    ]
    ids = {group["name"].lower().replace(" ", "-"): group["id"] for group in groups}
    members: dict[str, list[Any]] = {group["id"]: [] for group in groups}
    for user in people:
        unit = user["orgUnitPath"]
        if rng.random() < 0.15 and not user["isAdmin"]:
            home = "everyone-else"
        elif unit.startswith("/Engineering"):
            home = "engineering"
        elif unit == "/Sales/EMEA":
            home = "sales-emea"
        elif unit.startswith("/Sales"):
            home = "sales"
        elif unit == "/Finance":
            home = "finance"
        else:
            home = "keeper-users"
        members[ids[home]].append(_member(user["id"], user["primaryEmail"], "USER"))
    for parent, child in (
        ("keeper-users", "engineering"),
        ("keeper-users", "sales"),
        ("keeper-users", "finance"),
        ("sales", "sales-emea"),
        ("sales-emea", "sales"),
    ):
        members[ids[parent]].append(_member(ids[child], f"{child}@{DOMAINS[0]}", "GROUP"))
    members[ids["keeper-users"]].append(_member("900000000000000000001", "partner@elsewhere.test", "USER"))
    return groups, members


def _member(member_id: str, email: str, kind: str) -> dict[str, Any]:
    return {"id": member_id, "email": email, "role": "MEMBER", "type": kind, "status": "ACTIVE"}


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def main() -> None:
    """Write a fixture to stdout."""
    parser = argparse.ArgumentParser(description="Directory fixture")
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    sys.stdout.buffer.write(msgspec.json.encode(make(asked.users, asked.seed)))


if __name__ == "__main__":
    main()
