"""A directory that cannot be listed within a run's time: what was read counts, and the next run reads the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.runs.list_users import Pages, Parts, everybody
from autoprovisioning.app.runs.read_directory import Survey
from autoprovisioning.domain import listing_parts
from autoprovisioning.domain.directory_user import DirectoryUser
from autoprovisioning.domain.errors import NotSent
from autoprovisioning.domain.runs import RunKind, RunState
from tests.support.executors import Inline
from tests.support.scenario import LATER, Scenario

MINUTE = timedelta(minutes=1)
LEFT = "Parts of the listing of users that time left to the next run: "


@pytest.fixture
def scenario(monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """Everything is listed in parts, one request after the other."""
    monkeypatch.setattr(listing_parts, "SMALL", 1)
    monkeypatch.setattr(listing_parts, "QUICK", timedelta())
    scenario = Scenario()
    scenario.services = replace(scenario.services, executor=Inline(), reads_at_once=2)
    return scenario


def slow(scenario: Scenario, monkeypatch: pytest.MonkeyPatch, each: timedelta) -> None:
    """Let each page of users take so long."""
    whole, parts = scenario.directory.users, scenario.directory.users_beginning

    def late(pages: Iterator[Sequence[DirectoryUser]]) -> Iterator[Sequence[DirectoryUser]]:
        scenario.fakes.clock.advance(each)  # there is at least one page
        for page in pages:
            yield page
            scenario.fakes.clock.advance(each)

    monkeypatch.setattr(scenario.directory, "users", lambda fields: late(whole(fields)))
    monkeypatch.setattr(scenario.directory, "users_beginning", lambda letters, fields: late(parts(letters, fields)))


def active(scenario: Scenario, user_id: str) -> list[bool]:
    return [account.active for account in scenario.keeper.of(user_id)]


def test_each_run_goes_on_where_the_one_before_had_to_stop(scenario, monkeypatch):
    scenario.reconcile_to_the_end()
    scenario.hire("x0", "0xavier@example.com")
    scenario.hire("x9", "zed@example.com")
    scenario.rename("u1", "Augusta")
    scenario.suspend("u2")
    scenario.sent.clear()
    with monkeypatch.context() as patched:
        slow(scenario, patched, MINUTE)
        first = scenario.plan()
        assert (first.state, first.complete) == (RunState.PLANNED, False)
        assert first.planned == {"update": 1, "suspend": 1, "create": 1}
        assert active(scenario, "x9") == []
        assert [note.partition(": ")[0] + ": " for note in first.notes] == [LEFT]
        scenario.work_off()
        assert active(scenario, "u2") == [False]
        left = [len(scenario.services.listings.get().unread)]
        for _ in range(5):
            scenario.fakes.clock.advance(LATER)
            scenario.run()
            scenario.check_access()
            left.append(len(scenario.services.listings.get().unread))
        assert active(scenario, "x0") == active(scenario, "x9") == [True], left
        scenario.check_access()
    scenario.run()
    assert scenario.services.listings.get().unread == ()
    assert (scenario.plan().complete, scenario.plan().notes) == (True, ())


def test_a_part_that_alone_takes_longer_than_a_run_is_divided(scenario, monkeypatch):
    scenario.reconcile_to_the_end()
    letters = "abcdefghijklmnopqrstuvwxyz"
    people = [f"x{letter}" for letter in letters]
    for letter, user_id in zip(letters, people, strict=True):
        scenario.hire(user_id, f"s{letter}@example.com")
    scenario.sent.clear()
    slow(scenario, monkeypatch, 2 * MINUTE)
    done = []
    for _ in range(20):
        scenario.fakes.clock.advance(LATER)
        scenario.run()
        done.append(sum(active(scenario, user_id) == [True] for user_id in people))
    assert done[-1] == len(people), done
    assert {"sa", "sz"} <= scenario.services.listings.get().sizes.keys()


def test_a_first_run_that_one_listing_is_too_slow_for_is_made_in_parts(scenario, monkeypatch):
    scenario.services.connections.change("c1", lambda known: replace(known, roster_layout=""))
    scenario.fakes.store.shards.clear()
    for letter in "fghijk":
        scenario.hire(f"x{letter}", f"{letter}@example.com")
    scenario.sent.clear()
    slow(scenario, monkeypatch, 5 * MINUTE)
    with pytest.raises(NotSent):
        scenario.plan()
    assert not scenario.connection.begun
    for _ in range(25):
        scenario.fakes.clock.advance(LATER)
        with suppress(NotSent):  # once a day one listing is tried
            scenario.run()
    assert scenario.connection.begun
    scenario.check_access()
    assert active(scenario, "u1") == [True]


def test_whose_accounts_nobody_provisions_is_not_reported_by_what_parts_showed(scenario, monkeypatch):
    scenario.reconcile_to_the_end()
    scenario.keeper.seed("'dan@example.com")
    scenario.hire("u4", "'dan@example.com")
    scenario.sent.clear()
    scenario.fakes.clock.advance(timedelta(days=1))
    with monkeypatch.context() as patched:
        slow(scenario, patched, 9 * MINUTE)
        with pytest.raises(NotSent):
            scenario.plan()
    run = scenario.plan(RunKind.DRIFT)
    assert run.state is RunState.DONE
    assert scenario.services.unprovisioned.get("c1") is None
    scenario.fakes.clock.advance(timedelta(days=1))
    scenario.plan(RunKind.DRIFT)
    report = scenario.services.unprovisioned.get("c1")
    assert report is not None
    assert report.accounts == (), "its owner is to adopt it"


@pytest.mark.parametrize("some_will_do", [True, False])
def test_a_preview_counts_everybody_or_nobody(scenario, monkeypatch, some_will_do):
    slow(scenario, monkeypatch, MINUTE)
    parts = Parts(beginnings=("a", "b", "c"), executor=Inline(), at_once=2, known=lambda: (), some_will_do=some_will_do)
    survey = Survey(members={}, deleted={})
    clock = scenario.fakes.clock
    found = everybody(
        Pages(directory=scenario.directory, fields=frozenset(), clock=clock, parts=parts), survey, clock() + 5 * MINUTE
    )
    if some_will_do:
        assert [user.id for user in found] == ["u1", "admin", "u2"]
        assert (survey.unread, survey.in_parts) == (("c",), True)
    else:
        with pytest.raises(NotSent):
            list(found)


def test_a_group_that_is_not_listed_in_time_leaves_some_for_the_users(scenario, monkeypatch):
    scenario.reconcile_to_the_end()
    for number in range(60):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    members = scenario.directory.members

    def late(group_id: str) -> Iterator[Sequence[str]]:
        for page in members(group_id):
            scenario.fakes.clock.advance(MINUTE)
            yield page

    monkeypatch.setattr(scenario.directory, "members", late)
    scenario.rename("u1", "Augusta")
    scenario.leave("u2")
    scenario.sent.clear()
    run = scenario.plan()
    assert (run.state, run.complete, run.planned) == (RunState.PLANNED, False, {"update": 1})
    assert [note for note in run.notes if "could not be read: the run has no time left for it" in note]
    scenario.work_off()
    assert active(scenario, "u2") == [True]
