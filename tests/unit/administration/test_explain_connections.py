"""Why? Whose user it is, of several connections whose scopes hold them, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.app.administration.explain import Explanation, explain
from autoprovisioning.domain.entry import Action
from autoprovisioning.domain.scope import Group, Scope
from tests.support.in_memory import SALES
from tests.support.scenario import GROUP, Scenario
from tests.support.settings import with_settings
from tests.unit.administration.test_explain import Audit, Watched, watched

SALES_GROUP = Group(id="g2", email="sales@example.com", name="Sales")


@pytest.fixture
def scenario() -> Scenario:
    """Three people are provisioned on Keeper (c1)."""
    made = Scenario()
    made.run()
    return made


def look_into(
    scenario: Scenario, user_id: str, directory: Watched | None = None, connection_id: str = "c1"
) -> Explanation:
    services = replace(scenario.services, directory=directory or scenario.directory)
    connection = services.connections.get(connection_id)
    return explain(services, Audit(scenario.fakes.store), connection, user_id)


def second(scenario: Scenario, order: int, group: Group = SALES_GROUP) -> None:
    """Set up a second connection, before or after the first."""
    scenario.connect("c2", group, shared=True)
    scenario.services.connections.change(
        "c2", lambda current: with_settings(replace(current, order=order), name="Sales")
    )


def test_the_other_connection_that_has_the_user_is_named(scenario):
    second(scenario, -1, GROUP)
    told = look_into(scenario, "u1", connection_id="c2")
    assert (told.standing.in_scope, told.standing.owner.id) == (False, "c1")
    having = "The user belongs to the connection Keeper, where they have their account. Member of"
    assert told.standing.words.startswith(having)
    assert told.words == "The user belongs to the connection Keeper: there is nothing to do here."


def test_of_two_connections_that_hold_a_new_user_the_first_one_is_named(scenario):
    second(scenario, -1, GROUP)
    scenario.hire("u4", "dan@example.com")
    told = look_into(scenario, "u4")
    assert (told.standing.in_scope, told.standing.owner.id) == (False, "c2")
    assert told.standing.words.startswith("The user belongs to the connection Sales, which comes first. Member of")


def test_who_moves_to_another_connection_keeps_this_account_until_they_are_let_in_there(scenario):
    second(scenario, 5)
    scenario.services.connections.change("c1", lambda current: with_settings(current, scope=Scope(org_units=(SALES,))))
    scenario.directory.memberships["g2"].add("u1")
    told = look_into(scenario, "u1")
    assert (told.standing.in_scope, told.standing.owner.id, told.action) == (False, "c2", None)
    assert told.words == (
        "The user is moving to the connection Sales: this account stays as it is until they are let in there."
    )
    assert look_into(scenario, "u1", connection_id="c2").decision.action is Action.CREATE


@pytest.mark.parametrize("order", [-1, 5])
def test_another_connection_does_not_take_the_user_away(scenario, order):
    second(scenario, order)
    scenario.directory.memberships["g2"].add("u1")
    told = look_into(scenario, "u1")
    assert (told.standing.in_scope, told.standing.owner) == (True, None)
    assert told.words.startswith("In step: ")


def test_an_earlier_connection_that_cannot_be_read_takes_nobody_and_keeps_nobody_out(scenario):
    second(scenario, -1)
    scenario.hire("u4", "dan@example.com")
    directory = watched(scenario)
    directory.secret.add("g2")
    for user_id, words in (("u1", "In step: "), ("u4", "Due now: create the account")):
        told = look_into(scenario, user_id, directory)
        assert (told.standing.in_scope, told.standing.owner) == (True, None)
        assert told.words.startswith(words)


def test_a_connection_that_cannot_be_read_keeps_those_whom_it_has(scenario):
    second(scenario, -1)
    scenario.directory.memberships["g2"].add("u1")
    directory = watched(scenario)
    directory.secret.add(GROUP.id)
    told = look_into(scenario, "u1", directory, connection_id="c2")
    assert (told.standing.in_scope, told.standing.owner, told.action) == (None, None, None)
    assert told.standing.words.startswith(
        "Whether the user still belongs to the connection that has their account is not known."
    )
