"""A preview tells each user with what the next run would do to them, and does none of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from autoprovisioning.domain.accounts import Found
from autoprovisioning.domain.deprovisioning import Delays
from autoprovisioning.domain.entry import Action, Mark
from autoprovisioning.domain.errors import Rejected
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from autoprovisioning.domain.requests import Would
from tests.support.in_memory import FakeAccounts
from tests.support.previewing import A_MOMENT, IN_A_WEEK, NEVER, OUT, everything, hired, policy
from tests.support.scenario import Scenario

TAKEN = (
    "The address Dan@example.com belongs to another directory user's account in Keeper. Give this user another "
    "address, or rename or delete the other account in Keeper's Admin Console."
)


def hired_with_account(scenario: Scenario, external_id: str = "", *, active: bool = True) -> None:
    scenario.keeper.seed("Dan@example.com", external_id, active=active)
    hired(scenario)


def hired_without_name(scenario: Scenario) -> None:
    hired(scenario)
    user = scenario.directory.live["u4"]
    scenario.directory.live["u4"] = replace(user, profile={"id": "u4", "primaryEmail": "dan@example.com"})


def refused(scenario: Scenario) -> None:
    scenario.keeper.faults.append(Rejected("Keeper refuses this account's data"))
    scenario.rename("u1", "Grace")
    scenario.run()


def suspended_before(scenario: Scenario) -> None:
    scenario.suspend("u1")
    scenario.run()


def returned(scenario: Scenario) -> None:
    suspended_before(scenario)
    scenario.restore("u1")


KINDS: list[tuple[str, Callable[[Scenario], object], dict[str, Any], Would, str, str]] = [
    ("hired", hired, {}, Would.CREATE, "u4", ""),
    ("an account of theirs", hired_with_account, {}, Would.ADOPT, "u4", "Dan@example.com"),
    (
        "a locked account of theirs",
        lambda scenario: hired_with_account(scenario, active=False),
        {},
        Would.ADOPT,
        "u4",
        "Dan@example.com (stays locked)",
    ),
    (
        "somebody else's account",
        lambda scenario: hired_with_account(scenario, "u99"),
        {},
        Would.FAIL,
        "u4",
        TAKEN,
    ),
    ("renamed", lambda scenario: scenario.rename("u1", "Grace"), {}, Would.UPDATE, "u1", "displayName, name.givenName"),
    (
        "a row more",
        lambda scenario: None,
        {"mapping": AttributeMapping((*DEFAULT_ROWS, Row(target="title", source='"Clerk"')))},
        Would.UPDATE,
        "u1",
        "title",
    ),
    ("left", lambda scenario: scenario.leave("u1"), {}, Would.SUSPEND, "u1", OUT),
    ("another scope", lambda scenario: None, {"org_units": ("/Sales",)}, Would.SUSPEND, "u1", OUT),
    ("suspended", lambda scenario: scenario.suspend("u1"), {}, Would.SUSPEND, "u1", "suspended in the directory"),
    ("deleted", lambda scenario: scenario.delete("u1"), {}, Would.SUSPEND, "u1", "deleted in the directory"),
    (
        "deleted long ago",
        lambda scenario: scenario.directory.live.pop("u1"),
        {},
        Would.SUSPEND,
        "u1",
        "deleted in the directory",
    ),
    (
        "to be deleted at once",
        lambda scenario: scenario.leave("u1"),
        {"deprovisioning": policy(Delays(suspend_after=None, delete_after=0))},
        Would.DELETE,
        "u1",
        OUT,
    ),
    (
        "archived, to be treated as suspended",
        lambda scenario: scenario.archive("u1"),
        {"archived_as_suspended": True},
        Would.SUSPEND,
        "u1",
        "suspended in the directory",
    ),
    ("back again", returned, {}, Would.UNSUSPEND, "u1", ""),
    (
        "in a week",
        lambda scenario: scenario.leave("u1"),
        {"deprovisioning": policy(IN_A_WEEK)},
        Would.WAIT,
        "u1",
        f"suspended on 2026-12-01 ({OUT}), deleted on 2026-12-24 ({OUT})",
    ),
    (
        "deleted long ago, in a week",
        lambda scenario: scenario.directory.live.pop("u1"),
        {"deprovisioning": policy(IN_A_WEEK)},
        Would.WAIT,
        "u1",
        "suspended on 2026-12-01 (deleted in the directory), deleted on 2026-12-24 (deleted in the directory)",
    ),
    (
        "suspended already",
        suspended_before,
        {"deprovisioning": policy(IN_A_WEEK)},
        Would.WAIT,
        "u1",
        "deleted on 2026-12-24 (suspended in the directory)",
    ),
    ("refused before", refused, {}, Would.FAIL, "u1", "Keeper refuses this account's data"),
]


@pytest.mark.parametrize(
    ("arrange", "changes", "would", "user_id", "detail"), [row[1:] for row in KINDS], ids=[row[0] for row in KINDS]
)
def test_each_user_is_told_with_what_would_happen_to_them(admin, arrange, changes, would, user_id, detail):
    arrange(admin.scenario)
    before = everything(admin.scenario)
    done, lines = admin.preview(**changes)
    assert [line.detail for line in lines if (line.would, line.user_id) == (would, user_id)] == [detail]
    assert [line.user_id for line in lines].count(user_id) == 1
    accounts = {entry.user_id for entry in admin.scenario.services.roster.load(admin.scenario.connection).values()}
    told = {line.user_id for line in lines}
    assert done.result.counts["unchanged"] == len(accounts - told)
    assert everything(admin.scenario) == before


def test_a_mandatory_attribute_without_a_value_fails_and_is_named(admin):
    hired_without_name(admin.scenario)
    _, lines = admin.preview()
    assert [(line.would, line.user_id) for line in lines] == [(Would.FAIL, "u4")]
    assert "displayName" in lines[0].detail


def test_somebody_who_is_updated_now_and_suspended_later_is_told_twice(admin):
    admin.scenario.leave("u1")
    admin.scenario.rename("u1", "Grace")
    done, lines = admin.preview(deprovisioning=policy(IN_A_WEEK))
    assert [(line.would, line.user_id) for line in lines] == [(Would.UPDATE, "u1"), (Would.WAIT, "u1")]
    assert done.result.counts == {"update": 1, "wait": 1, "unchanged": 2}


def test_whoever_is_never_deprovisioned_or_is_archived_does_not_wait(admin):
    admin.scenario.leave("u1")
    admin.scenario.run()
    admin.scenario.archive("u2")
    done, lines = admin.preview(deprovisioning=policy(NEVER))
    assert lines == []
    assert [
        note.partition(": ")[2][:2] for note in done.result.notes if note.startswith("Archived users who keep")
    ] == ["1."]
    _, lines = admin.preview(deprovisioning=policy(IN_A_WEEK))
    assert [(line.would, line.user_id) for line in lines] == [(Would.WAIT, "u1")]


def test_lines_come_by_kind_then_by_address(admin):
    scenario = admin.scenario
    scenario.leave("u2")
    scenario.suspend("u1")
    scenario.rename("u3", "Grace")
    hired(scenario)
    done, lines = admin.preview()
    told = [(line.would, line.email) for line in lines]
    assert told == [
        (Would.SUSPEND, "ada@example.com"),
        (Would.SUSPEND, "bob@example.com"),
        (Would.CREATE, "dan@example.com"),
        (Would.UPDATE, "cyd@example.com"),
    ]
    assert done.result.counts == {"suspend": 2, "create": 1, "update": 1, "unchanged": 0}


def test_many_creations_are_matched_with_a_listing(admin):
    for number in range(10, 40):
        admin.scenario.hire(f"u{number}", f"person{number}@example.com")
    admin.scenario.keeper.seed("person10@example.com")
    admin.scenario.keeper.seed("person11@example.com", "u99")
    done, lines = admin.preview()
    assert done.result.counts == {"create": 28, "adopt": 1, "fail": 1, "unchanged": 3}
    assert [line.user_id for line in lines if line.would in (Would.ADOPT, Would.FAIL)] == ["u10", "u11"]


def test_a_change_that_was_cut_short_is_noted_and_not_guessed_at(admin):
    scenario, now = admin.scenario, admin.scenario.fakes.clock.now
    entry = scenario.entry("u1")
    mark = Mark(change_id="x1", message_id="m1", action=Action.UPDATE, until=now - A_MOMENT)
    scenario.fakes.store.put_entry(scenario.connection, replace(entry, mark=mark))
    done, lines = admin.preview()
    assert (lines, done.result.counts) == ([], {"unchanged": 2})
    assert any("was interrupted" in note for note in done.result.notes)


def test_whose_lookup_keeper_refuses_is_told_to_fail(admin, monkeypatch):
    hired(admin.scenario)
    monkeypatch.setattr(
        FakeAccounts, "find", lambda self, lookups: [Found(key=each.key, error=Rejected("no")) for each in lookups]
    )
    _, lines = admin.preview()
    assert [(line.would, line.user_id, line.detail) for line in lines] == [(Would.FAIL, "u4", "no")]
