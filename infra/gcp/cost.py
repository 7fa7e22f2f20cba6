"""Monthly cost, from counts measured on the local cloud (operations.json) and a table of prices with their sources.

`python -m infra.gcp.cost` writes the tables into docs/cost.md. What has no sourced price here is given in quantities.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.gcp.description import BACKUP_DAYS, DEPLOYMENT
from infra.gcp.measure import OPERATIONS
from infra.local.cloud import ROOT

PAGE = ROOT / "docs" / "cost.md"
BEGIN, END = "<!-- begin: written by infra.gcp.cost -->", "<!-- end -->"
SIZES = (500, 10_000, 100_000)
WITH_SINK = (10_000, 100_000, 1_000_000)  # the sizes that ways of hearing of changes are compared for
DAYS = 30.4  # in a month
CHANGED = 0.02  # of the users, a day
FULL_RUNS, DRIFT_RUNS, SWEEPS, RENEWALS, DUE = 96, 24, 288, 144, 1_440  # a day; DUE: calls for runs that are due
HOURLY, DAILY = 24, 1  # sweeps or full runs a day of a deployment with a log sink; a full run counts as a sweep
RESOLVED = 1  # request for the address that an entry names
USERS_A_PAGE, MEMBERS_A_PAGE = 500, 200  # of the Directory API
ACCOUNTS_A_PAGE = 1_000  # of Keeper
SMALLEST_SHARDS, USERS_A_SHARD = 64, 300  # adapters/firestore/roster.py
AUDIT_DAYS = 400
READING_BYTES = 2_000  # of a line of the Data Access log; estimated, rounded up
DEPLOYMENTS = 4  # a month
IMAGES = 1  # that a deployment builds, for all functions
BUILD_MINUTES, IMAGE_GB = 4, 0.2  # of one image, its layers shared with no other; estimated, rounded up
IMAGES_DAYS = 90  # for which an image is kept (images.json); of older ones the last ten
EVENT_BYTES, ENTRY_BYTES = 1_500, 250  # of storage, with its indexes; estimated, rounded up


@dataclass(frozen=True, kw_only=True)
class Price:
    """Dollars for so many operations, and what is free."""

    dollars: float
    per: int
    free_a_day: float = 0
    free_a_month: float = 0
    source: str = ""

    def of(self, a_day: float) -> float:
        """Return what so many a day cost in a month."""
        return self.of_month(max(0.0, a_day - self.free_a_day) * DAYS)

    def of_month(self, quantity: float) -> float:
        """Return what so much in a month, or kept for a month, costs."""
        return max(0.0, quantity - self.free_a_month) / self.per * self.dollars


FIRESTORE = "cloud.google.com/firestore/pricing, Iowa (us-central1), as of 2026-09-20"
SECRETS = "cloud.google.com/secret-manager/pricing, as quoted by others; the page itself was not read"
PRICES = {
    "Firestore documents read": Price(dollars=0.03, per=100_000, free_a_day=50_000, source=FIRESTORE),
    "Firestore documents written": Price(dollars=0.09, per=100_000, free_a_day=20_000, source=FIRESTORE),
    "Firestore documents deleted": Price(
        dollars=0.01, per=100_000, source=f"{FIRESTORE}; deletions by TTL are never free"
    ),
    "Secret Manager accesses": Price(dollars=0.03, per=10_000, free_a_month=10_000, source=SECRETS),
}
MONTHLY = {  # by quantities of a month
    "Cloud Build minutes": Price(
        dollars=0.006,
        per=1,
        free_a_month=2_500,
        source="cloud.google.com/build/pricing, e2-standard-2, as of 2025-08-25; free, as a promotion, for all "
        "projects of a billing account together",
    ),
    "Artifact Registry, GB kept": Price(
        dollars=0.10,
        per=1,
        free_a_month=0.5,
        source="cloud.google.com/artifact-registry/pricing; free for all projects of a billing account together",
    ),
    "Data Access log, GiB": Price(
        dollars=0.50, per=1, free_a_month=50, source="cloud.google.com/stackdriver/pricing; kept for 30 days"
    ),
}
VERSIONS = Price(dollars=0.06, per=1, free_a_month=6, source=SECRETS)  # active secret versions, a month
ACTIVE_VERSIONS = 4  # the token, the one before it for a day, the two keys


def measured() -> dict[int, dict[str, dict[str, float]]]:
    """Return the measured counts by the number of users."""
    return {int(users): work for users, work in json.loads(OPERATIONS.read_text()).items()}


def shards(users: int) -> int:
    """Return how many documents the roster has, as `FirestoreRoster.begin` chooses it."""
    number = SMALLEST_SHARDS
    while users > number * USERS_A_SHARD:
        number *= 2
    return number


def pages(users: int) -> tuple[int, int]:
    """Return how many pages the directory lists users and a group's members in."""
    return math.ceil(users / USERS_A_PAGE), math.ceil(users / MEMBERS_A_PAGE)


def scaled(users: int) -> dict[str, dict[str, float]]:
    """Return the counts for a number of users: what grows with shards and pages does, the rest is as measured."""
    size, work = max(measured().items())
    more = shards(users) - shards(size)
    listed, members = (now - then for now, then in zip(pages(users), pages(size), strict=True))
    grown: dict[str, dict[str, float]] = {name: dict(counts) for name, counts in work.items() if name != "shards"}
    for name in ("quiet_run", "drift_run", "sweep"):
        grown[name]["firestore_reads"] += more
    grown["quiet_run"]["directory_requests"] += members + listed
    grown["sweep"]["directory_requests"] += members
    grown["drift_run"]["scim_requests"] += math.ceil(users / ACCOUNTS_A_PAGE) - math.ceil(size / ACCOUNTS_A_PAGE)
    for name in ("quiet_run", "drift_run"):
        grown[name]["seconds"] *= users / size
    return grown


@dataclass(frozen=True, kw_only=True)
class Day:
    """What a number of users makes the system do in a day."""

    users: int
    operations: Mapping[str, float]
    monthly: Mapping[str, float]  # what is counted, or kept, by the month
    others: Mapping[str, float]

    def dollars(self) -> dict[str, float]:
        """Return what is priced costs in a month."""
        daily = {name: price.of(self.operations[name]) for name, price in PRICES.items()}
        return daily | {name: price.of_month(self.monthly[name]) for name, price in MONTHLY.items()}


def day(users: int) -> Day:
    """Add up a day: the schedule, and 2% of the users changed, each reported by one notification."""
    work, changes = scaled(users), users * CHANGED
    times = {
        "quiet_run": FULL_RUNS,
        "drift_run": DRIFT_RUNS,
        "sweep": SWEEPS,
        "vital_signs": SWEEPS,
        "renew_watch": RENEWALS,
        "notification_with_a_change": changes,
    }

    def total(count: str) -> float:
        return sum(work[name].get(count, 0) * often for name, often in times.items())

    runs = FULL_RUNS + DRIFT_RUNS
    operations = {
        "Firestore documents read": total("firestore_reads") + DUE,  # each reads one
        "Firestore documents written": total("firestore_writes"),
        "Firestore documents deleted": changes + runs,  # as many expire as are made
        "Secret Manager accesses": total("secret_accesses") + runs,  # a run reads the token once
    }
    monthly = {
        "Cloud Build minutes": DEPLOYMENTS * IMAGES * BUILD_MINUTES,
        "Artifact Registry, GB kept": DEPLOYMENTS * IMAGES_DAYS / DAYS * IMAGES * IMAGE_GB,
        "Data Access log, GiB": operations["Secret Manager accesses"] * DAYS * READING_BYTES / 2**30,
    }
    stored = (changes * AUDIT_DAYS * EVENT_BYTES + users * ENTRY_BYTES) / 1e6
    busy = sum(work[name]["seconds"] * often for name, often in times.items() if name.endswith("_run"))
    others = {
        "requests to functions": 2 * changes + FULL_RUNS + DRIFT_RUNS + SWEEPS + RENEWALS + DUE,
        "seconds of full runs (this machine, no latency)": busy,
        "Pub/Sub messages": changes,
        "Directory API requests": total("directory_requests"),
        "SCIM requests": total("scim_patch") + total("scim_requests"),
        "Cloud Scheduler jobs": len(DEPLOYMENT.jobs),
        "log lines of our own": 2 * SWEEPS + runs + RENEWALS,
        "Firestore storage, MB, after 400 days": stored,
        f"Firestore backups, MB in {BACKUP_DAYS} of them, after 400 days": BACKUP_DAYS * stored,
    }
    return Day(users=users, operations=operations, monthly=monthly, others=others)


def directory_requests(users: int, *, sink: bool = False, webhook: bool = True, full_runs: int = FULL_RUNS) -> float:
    """Return the requests to the directory in a day, without the sweeps that removals from groups ask for.

    With a log sink each change of a user is reported by an entry, and by a notification if there is a webhook: the
    second look finds nothing to change.
    """
    work, changes = scaled(users), users * CHANGED
    sweeps = max(0, HOURLY - full_runs) if sink else SWEEPS
    between = FULL_RUNS - full_runs  # calls at which the suspended and the deleted users are listed instead
    looks = work["notification_with_a_change"]["directory_requests"] + (RESOLVED if sink else 0)
    looks += work["notification_without_one"]["directory_requests"] if sink and webhook else 0
    listings = (("quiet_run", full_runs), ("sweep", sweeps), ("between_full_runs", between))
    return changes * looks + sum(work[name]["directory_requests"] * often for name, often in listings)


WAYS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("without a log sink", {}),
    ("with one", {"sink": True}),
    ("with one, and no public webhook", {"sink": True, "webhook": False}),
    ("with one, and a full run every hour", {"sink": True, "full_runs": HOURLY}),
    ("with one, and a full run every day", {"sink": True, "full_runs": DAILY}),
    ("the same without a public webhook", {"sink": True, "webhook": False, "full_runs": DAILY}),
)


def tables() -> str:
    """Return the generated part of the page."""
    days = [day(users) for users in SIZES]
    head = "| | " + " | ".join(f"{users:,} users" for users in SIZES) + " |"
    rule = "|---|" + "---:|" * len(SIZES)
    priced = [_row(f"{name}, a day", [_number(each.operations[name]) for each in days]) for name in PRICES]
    priced += [_row(f"{name}, a month", [_number(each.monthly[name], 2) for each in days]) for name in MONTHLY]
    dollars = [each.dollars() for each in days]
    paid = [_row(f"{name}: cost of a month", [f"${each[name]:.2f}" for each in dollars]) for name in dollars[0]]
    versions = max(0.0, ACTIVE_VERSIONS - VERSIONS.free_a_month) * VERSIONS.dollars
    paid.append(_row("Secret Manager versions: cost of a month", [f"${versions:.2f}"] * len(SIZES)))
    paid.append(_row("**together, a month**", [f"**${sum(each.values()) + versions:.2f}**" for each in dollars]))
    others = [_row(name, [_number(each.others[name]) for each in days]) for name in days[0].others]
    ways = [_row(name, [_share(users, way) for users in WITH_SINK]) for name, way in WAYS]
    sources = [
        f"| {name} | ${price.dollars} per {price.per:,} | {_free(price)} | {price.source} |"
        for name, price in {**PRICES, **MONTHLY, "Secret Manager versions": VERSIONS}.items()
    ]
    return "\n".join(
        [
            "### Priced\n",
            *(head, rule, *priced, *paid),
            "\n### Without a sourced price: quantities a day\n",
            *(head, rule, *others),
            "\n### Requests to the Directory API, a day, with a log sink\n",
            *("| | " + " | ".join(f"{users:,} users" for users in WITH_SINK) + " |", rule, *ways),
            "\n### Prices\n",
            *("| | price | free | source |", "|---|---|---|---|", *sources),
        ]
    )


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _share(users: int, way: Mapping[str, Any]) -> str:
    """Return the requests of a day, and how many percent they are of those without a log sink."""
    requests, today = directory_requests(users, **way), directory_requests(users)
    return _number(requests) + (f" ({100 * requests / today:.0f}%)" if way else "")


def _number(value: float, digits: int = 0) -> str:
    return f"{value:,.{digits}f}"


def _free(price: Price) -> str:
    if price.free_a_day:
        return f"{price.free_a_day:,.0f} a day"
    return f"{price.free_a_month:,g} a month" if price.free_a_month else "none"


def rendered(page: str) -> str:
    """Return the page with its generated part made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def main() -> None:
    """Write the tables into the page."""
    PAGE.write_text(rendered(PAGE.read_text()))
    print(f"{PAGE.relative_to(ROOT)} is written")


if __name__ == "__main__":
    main()
