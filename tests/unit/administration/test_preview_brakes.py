"""A preview says what would be held, and judges the connection as it would be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.configure import edit, finish, turn_off, turn_on
from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.administration.preview import ask_preview, compute_preview
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.entry import Status
from autoprovisioning.domain.requests import RequestState, Would
from autoprovisioning.domain.scope import Group, Scope
from autoprovisioning.domain.settings import Settings
from tests.support.previewing import A_MOMENT, ACTOR, IN_A_WEEK, at, everything, hired, policy, roster
from tests.support.scenario import GROUP, USERS, Scenario
from tests.support.settings import with_settings


def test_an_incomplete_listing_deprovisions_nobody_and_says_so(admin):
    admin.scenario.leave("u1")
    admin.scenario.suspend("u2")
    admin.scenario.directory.unreadable.add(GROUP.id)
    done, lines = admin.preview()
    assert [line for line in lines if line.would in (Would.SUSPEND, Would.DELETE)] == []
    assert any("could not be read" in note for note in done.result.notes)
    assert any("complete listings" in note for note in done.result.notes)


@pytest.mark.parametrize(("limit", "held"), [(2, False), (1, True)])
def test_a_preview_says_when_the_volume_guard_would_hold_it(limit, held):
    scenario = Scenario(limit=limit)
    scenario.reconcile_to_the_end()
    scenario.leave("u1")
    scenario.leave("u2")
    before = everything(scenario)
    done, _ = at(scenario).preview()
    assert done.result.held is held
    assert everything(scenario) == before


def test_what_an_administrator_approved_is_not_held_and_what_was_rejected_is():
    scenario = Scenario(limit=1)
    scenario.reconcile_to_the_end()
    scenario.leave("u1")
    scenario.leave("u2")
    scenario.run()
    digest = scenario.services.holds.standing("c1")[0].digest
    waiting = scenario.fakes.store.holds["c1"][digest]
    decide_hold(scenario.services, "c1", digest, "approve", ACTOR)
    assert at(scenario).preview()[0].result.held is False
    scenario.services.holds.put("c1", waiting)
    decide_hold(scenario.services, "c1", digest, "reject", ACTOR)
    assert at(scenario).preview(limit=replace(scenario.connection.settings.limit, minimum=100))[0].result.held is True


def test_what_goes_on_beside_a_rejected_plan_is_not_told_as_held():
    scenario = Scenario(limit=3)
    scenario.reconcile_to_the_end()
    for user_id in USERS[:3]:
        scenario.leave(user_id)
    scenario.hire("u4", "dan@example.com")
    scenario.hire("u5", "eve@example.com")
    scenario.services.connections.change(
        "c1", lambda current: with_settings(current, limit=replace(current.settings.limit, minimum=1))
    )
    scenario.run()
    digest = scenario.services.holds.standing("c1")[0].digest
    decide_hold(scenario.services, "c1", digest, "reject", ACTOR)
    scenario.leave("u4")
    done, lines = at(scenario).preview(limit=replace(scenario.connection.settings.limit, minimum=100))
    held = {line.user_id: "rejected before" in line.detail for line in lines if line.would is Would.SUSPEND}
    assert held == {"u1": True, "u2": True, "u3": True, "u4": False}
    assert (done.result.held, done.result.notes) == (
        False,
        ("Suspensions and deletions that would be held: 3; not held: 1",),
    )


def test_a_connection_that_is_off_is_previewed_as_if_turned_on_and_its_timers_stood_still(admin):
    scenario = admin.scenario
    edit(scenario.services, "c1", scenario.connection.edition, admin.settings(deprovisioning=policy(IN_A_WEEK)), ACTOR)
    scenario.leave("u1")
    scenario.run()
    turn_off(scenario.services, "c1", ACTOR)
    scenario.fakes.clock.advance(timedelta(days=20))
    hired(scenario)
    _, lines = admin.preview()
    assert [(line.would, line.user_id, line.detail[:23]) for line in lines] == [
        (Would.CREATE, "u4", ""),
        (Would.WAIT, "u1", "suspended on 2026-12-21"),
    ]
    assert scenario.connection.state is State.OFF


def test_what_a_first_run_would_create_is_confirmed_by_turning_on_from_the_preview_and_held_without_one():
    scenario = Scenario()
    for number in range(60):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    scenario.fakes.store.guards.clear()
    told = "Creations and reactivations that would be held: 63"
    turn_off(scenario.services, "c1", ACTOR)
    assert told not in at(scenario).preview()[0].result.notes
    turn_on(scenario.services, "c1", ACTOR)
    assert told in at(scenario).preview()[0].result.notes
    scenario.run()
    assert (scenario.keeper.accounts, scenario.services.holds.standing("c1")[0].counts()) == ({}, {"create": 63})


def test_a_draft_is_previewed_with_an_empty_roster(admin):
    scenario = admin.scenario
    token = scenario.fakes.tokens.add("new", "secret")
    draft = Connection(
        id="new",
        order=-1,
        settings=Settings(endpoint="https://keepersecurity.eu/api/rest/scim/v2/2", scope=Scope(groups=(GROUP,))),
        token_version=token,
    )
    scenario.services.connections.create(draft)
    preview = ask_preview(scenario.services, "new", 0, draft.settings, ACTOR)
    compute_preview(scenario.services, "new", preview.id, scenario.fakes.clock.now + A_MOMENT)
    done = admin.stored(preview)
    assert done.state is RequestState.DONE
    assert done.result.counts == {"unchanged": 0}  # they have accounts on the other connection, and stay there

    for user_id in ("u1", "u2", "u3"):
        scenario.services.roster.commit(
            scenario.connection, [user_id], lambda _entries, gone=user_id: (Edit(entries={gone: None}), None)
        )
    preview = ask_preview(scenario.services, "new", 0, draft.settings, ACTOR)
    compute_preview(scenario.services, "new", preview.id, scenario.fakes.clock.now + A_MOMENT)
    assert admin.stored(preview).result.counts == {"adopt": 3, "unchanged": 0}


def test_an_earlier_connection_takes_nobody_away_whom_this_one_has(admin):
    scenario = admin.scenario
    token = scenario.fakes.tokens.add("first", "secret")
    other = Group(id="g2", email="others@example.com")
    scenario.directory.groups[other.id] = other
    scenario.directory.memberships[other.id] = {"u1"}
    scenario.services.connections.create(
        Connection(
            id="first",
            order=-1,
            state=State.ON,
            settings=Settings(endpoint="https://x.example", scope=Scope(groups=(other,))),
            token_version=token,
        )
    )
    done, lines = admin.preview()
    assert lines == []
    assert any("several connections" in note for note in done.result.notes)


@pytest.mark.parametrize(("members", "moving"), [({"u1", "u2", "u9"}, 2), ({"u9"}, 0)])
def test_users_who_move_from_another_connection_are_told_since_that_one_deprovisions_them(admin, members, moving):
    scenario = admin.scenario
    scenario.connect("next", Group(id="g2", email="others@example.com"), shared=False)
    scenario.directory.memberships["g2"] = members
    for user_id in members:
        scenario.leave(user_id)
    draft = scenario.services.connections.change("next", lambda current: replace(current, state=State.DRAFT))
    asked = ask_preview(scenario.services, "next", 0, draft.settings, ACTOR)
    compute_preview(scenario.services, "next", asked.id, scenario.fakes.clock.now + A_MOMENT)
    notes = admin.stored(asked).result.notes
    assert [note[-3:] for note in notes if "move here from connection Keeper (c1)" in note] == [": 2"] * (moving > 0)
    finish(scenario.services, "next", ACTOR)
    turn_on(scenario.services, "next", ACTOR)
    scenario.run()
    scenario.run()
    suspended = [entry for entry in roster(scenario).values() if entry.status is Status.SUSPENDED]
    assert len(suspended) == moving
