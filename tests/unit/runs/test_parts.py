"""A batch whose users are in more shards than one commit holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from autoprovisioning.domain.entry import Status
from tests.support.scenario import Scenario

NEWCOMERS = tuple(f"n{number}" for number in range(40))


class CountingMeter:
    """A meter that has one request to tell each time."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self) -> Mapping[str, int]:
        self.taken += 1
        return {"scim_post": 1}


def test_everybody_is_recorded_and_every_request_counted_once() -> None:
    scenario = Scenario()
    meter = CountingMeter()
    scenario.services = replace(scenario.services, meter=meter)
    for user_id in NEWCOMERS:
        scenario.hire(user_id, f"{user_id}@example.com")
    scenario.run()
    (run,) = [run for run in scenario.fakes.store.runs["c1"].values() if run.counts.get("created")]
    assert run.counts["created"] == 3 + len(NEWCOMERS)
    assert run.counts["scim_post"] == meter.taken > 0
    assert {scenario.entry(user_id).status for user_id in NEWCOMERS} == {Status.ACTIVE}
    assert all(scenario.entry(user_id).mark is None for user_id in NEWCOMERS)
    scenario.check_access((*NEWCOMERS, "u1", "u2", "u3"))
