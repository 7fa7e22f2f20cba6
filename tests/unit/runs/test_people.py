"""A full run keeps who was listed: those on the roster, and those who are entitled to be."""

from __future__ import annotations

from autoprovisioning.app.administration.people import review
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.errors import Transient
from autoprovisioning.domain.review import InKeeper, google, in_keeper
from autoprovisioning.domain.runs import RunKind, RunState
from tests.support.scenario import LATER, Scenario


def people(scenario: Scenario) -> dict[str, tuple[str, Presence, InKeeper]]:
    reviewed = review(scenario.services, scenario.connection)
    return {who.user_id: (who.name, google(who), in_keeper(who)) for who in (line.person for line in reviewed.lines)}


def test_a_full_run_keeps_names_and_the_roster_goes_on_from_there(scenario):
    scenario.rename("u1", "Ada")
    scenario.run()
    names = {user_id: name for user_id, (name, *_) in people(scenario).items()}
    assert names.keys() == {"u1", "u2", "u3"}
    assert "Ada" in names["u1"]
    scenario.fakes.clock.advance(LATER)
    scenario.suspend("u1")
    scenario.deliver_the_rest()
    scenario.archive("u2")
    scenario.delete("u3")
    scenario.run()
    states = {user_id: states for user_id, (_, *states) in people(scenario).items()}
    assert states["u1"][0] is Presence.SUSPENDED
    assert states["u2"] == [Presence.ARCHIVED, InKeeper.ACTIVE]
    assert states["u3"][0] is Presence.DELETED


def test_whoever_is_out_of_scope_and_has_no_account_is_nobody(scenario):
    scenario.run()
    assert "admin" in scenario.directory.live
    assert people(scenario).keys() == {"u1", "u2", "u3"}


def test_a_listing_that_broke_off_keeps_what_was_known(scenario):
    scenario.run()
    known = scenario.fakes.store.people["c1"]
    scenario.fakes.clock.advance(LATER)
    scenario.directory.broken_after = 1
    scenario.run()
    assert scenario.fakes.store.people["c1"] == known


def test_a_drift_run_keeps_nothing(scenario):
    scenario.run()
    _, known = scenario.fakes.store.people["c1"]
    scenario.fakes.store.people.clear()
    scenario.fakes.clock.advance(LATER)
    scenario.plan(RunKind.DRIFT)
    assert known
    assert scenario.fakes.store.people == {}


def test_a_run_is_no_worse_if_they_cannot_be_kept(scenario, monkeypatch):
    def refuse(*_: object) -> None:
        raise Transient("Firestore could not be reached")

    monkeypatch.setattr(scenario.services.people, "put", refuse)
    assert scenario.reconcile_to_the_end().state is RunState.DONE


def test_nobody_is_kept_of_a_configuration_that_was_deleted_meanwhile(scenario, monkeypatch):
    scenario.run()
    scenario.fakes.clock.advance(LATER)

    def deleted(_batches: object) -> None:
        """Its run is planned, and no change is in flight for it."""
        scenario.services.connections.purge("c1")

    monkeypatch.setattr(scenario.fakes.queue, "apply", deleted)
    scenario.run()
    assert scenario.fakes.store.people == {}
