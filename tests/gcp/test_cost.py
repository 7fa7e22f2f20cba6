"""The cost page is what the script computes, and the script computes with what was measured."""

from __future__ import annotations

import json

import pytest

from autoprovisioning.adapters.firestore.roster import SMALLEST, USERS_A_SHARD
from infra.gcp import cost, measure
from infra.gcp.commands import KEPT_IMAGES
from infra.gcp.cost import MONTHLY, PRICES, Price
from infra.gcp.description import DEPLOYMENT


def test_the_page_has_the_figures_of_the_script():
    page = cost.PAGE.read_text()
    assert cost.rendered(page) == page
    assert page.count(cost.BEGIN) == page.count(cost.END) == 1


@pytest.mark.parametrize(
    ("price", "a_day", "dollars"),
    [
        (Price(dollars=0.03, per=100_000), 100_000, 0.912),
        (Price(dollars=0.03, per=100_000, free_a_day=50_000), 50_000, 0.0),
        (Price(dollars=0.03, per=100_000, free_a_day=50_000), 150_000, 0.912),
        (Price(dollars=0.03, per=10_000, free_a_month=10_000), 1_000, 0.0612),
        (Price(dollars=0.03, per=10_000, free_a_month=10_000), 100, 0.0),
    ],
)
def test_a_month_is_priced_with_what_is_free_left_out(price, a_day, dollars):
    assert price.of(a_day) == pytest.approx(dollars)


def test_every_price_has_a_source():
    assert all(price.source for price in (*PRICES.values(), *MONTHLY.values(), cost.VERSIONS))
    assert set(cost.day(500).operations) == set(PRICES)
    assert set(cost.day(500).monthly) == set(MONTHLY)


@pytest.mark.parametrize(("quantity", "dollars"), [(0.5, 0.0), (10.5, 1.0), (0.0, 0.0)])
def test_what_is_kept_for_a_month_is_priced_with_what_is_free_left_out(quantity, dollars):
    assert Price(dollars=0.10, per=1, free_a_month=0.5).of_month(quantity) == pytest.approx(dollars)


def test_images_are_kept_as_long_as_the_rules_of_the_repository_say():
    rules = {rule["name"]: rule for rule in json.loads(KEPT_IMAGES.read_text())}
    assert rules["delete-after-90-days"]["condition"]["olderThan"] == f"{cost.IMAGES_DAYS}d"
    younger = cost.DEPLOYMENTS * cost.IMAGES_DAYS / cost.DAYS
    assert younger >= rules["keep-ten"]["mostRecentVersions"]["keepCount"], "else the last ten are more"


def test_counts_of_the_larger_size_predict_those_of_the_smaller_one():
    smaller, larger = sorted(cost.measured())
    predicted, counted = cost.scaled(smaller), cost.measured()[smaller]
    for work in ("quiet_run", "drift_run", "sweep", "vital_signs", "renew_watch", "notification_with_a_change"):
        for count in ("firestore_reads", "firestore_writes", "directory_requests"):
            assert predicted[work].get(count, 0) == counted[work].get(count, 0), (work, count)
    assert larger == 10_000


def test_the_schedule_is_the_deployed_one():
    often = {job.name: _runs_a_day(job.schedule) for job in DEPLOYMENT.jobs}
    assert often == {
        "keeper-full": cost.FULL_RUNS,
        "keeper-drift": cost.DRIFT_RUNS,
        "keeper-sweep": cost.SWEEPS,
        "keeper-renew-watch": cost.RENEWALS,
        "keeper-due-runs": cost.DUE,
    }


def _runs_a_day(schedule: str) -> int:
    """Count the runs of a schedule that says minutes in steps, or one time a day."""
    minutes, hours = schedule.split()[:2]
    span, _, step = minutes.partition("/")
    first, _, last = span.replace("*", "0-59").partition("-")
    return (24 if hours == "*" else 1) * len(range(int(first), int(last or first) + 1, int(step or 1)))


def test_the_roster_has_the_documents_that_the_code_would_choose():
    assert (cost.SMALLEST_SHARDS, cost.USERS_A_SHARD) == (SMALLEST, USERS_A_SHARD)
    assert all(work["shards"] == cost.shards(users) for users, work in cost.measured().items())
    assert [cost.shards(users) for users in (19_200, 19_201, 100_000, 1_000_000)] == [64, 128, 512, 4096]


def test_a_log_sink_saves_requests_to_the_directory():
    """Every removal from a scope group asks for two sweeps more, which are not in it."""
    today = cost.directory_requests(10_000)
    assert today == cost.day(10_000).others["Directory API requests"]
    sink, hourly, daily = (cost.directory_requests(10_000, sink=True, full_runs=runs) for runs in (96, 24, 1))
    assert sink < 0.4 * today
    assert hourly < 0.15 * today  # with who may have to leave looked for in between, which is 144 requests of it
    assert daily <= today / 7
    without = cost.directory_requests(10_000, sink=True, webhook=False)
    assert without < sink


def test_more_users_never_cost_less():
    together = [sum(cost.day(users).dollars().values()) for users in cost.SIZES]
    assert together == sorted(together)
    assert all(
        cost.day(100_000).operations[name] > cost.day(10_000).operations[name] > cost.day(500).operations[name]
        for name in PRICES
    )


@pytest.mark.slow
@pytest.mark.emulator
def test_measuring_again_finds_the_same_counts():
    known, found = cost.measured()[500], measure.measure(500)
    exact = ("firestore_reads", "firestore_writes", "directory_requests", "secret_accesses")
    for work in ("quiet_run", "sweep", "vital_signs", "renew_watch", "notification_with_a_change"):
        assert {name: found[work].get(name) for name in exact} == {name: known[work].get(name) for name in exact}
