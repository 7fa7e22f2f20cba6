"""What an account had before a change and after it, as the audit tells it, and what finding that out costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.provisioning.converge import converge
from autoprovisioning.app.provisioning.read_user import Asked
from autoprovisioning.app.runs.plan_everybody import LOOKUPS_ONE_BY_ONE
from autoprovisioning.domain.accounts import Account, Attributes, fingerprint
from autoprovisioning.domain.change_events import event_for
from autoprovisioning.domain.changes import Change, Outcome, recorded
from autoprovisioning.domain.entry import Action, Entry, Mark, Status
from autoprovisioning.domain.errors import AddressTaken
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from autoprovisioning.domain.recovery import recover
from autoprovisioning.domain.runs import Look, RunKind
from tests.support.builders import ADA, BY_RUN, DAY, GRACE, NOW, entry
from tests.support.in_memory_state import FakeAudit
from tests.support.scenario import LATER, Scenario
from tests.support.settings import with_settings

PHONE = 'phoneNumbers[type eq "work"].value'
MOBILE = 'phoneNumbers[type eq "mobile"].value'
ON, OFF = {"active": True}, {"active": False}


def change(action: Action, status: Status = Status.ACTIVE, **changes) -> Change:
    known = entry(status, mark=Mark(change_id="c2", message_id="m1", action=action, until=NOW), applied_by="c1")
    attributes = GRACE if action in (Action.CREATE, Action.UPDATE) else {}
    return replace(
        Change(
            id="c2", entry=known, action=action, email="ada@example.com", attributes=attributes, scim_id=known.scim_id
        ),
        **changes,
    )


UPDATE = change(Action.UPDATE, before=ADA)
TITLED = {**GRACE, "title": "Rear admiral"}
CALLED = {**ADA, PHONE: "+44 1", MOBILE: "+44 2"}
CALLING = change(
    Action.UPDATE,
    entry=entry(fingerprint=fingerprint(CALLED)),
    attributes={**CALLED, MOBILE: "+44 3"},
    before=CALLED,
)
CREATE = change(Action.CREATE, Status.NONE)
ADOPT = replace(CREATE, scim_id="k9", adopts=True)

TOLD = [
    # done, sent, before, after
    (CREATE, GRACE, {}, GRACE),
    (ADOPT, GRACE, None, GRACE),
    (replace(ADOPT, before={"userName": "ada@example.com", "displayName": None}), GRACE,
     {"userName": "ada@example.com", "displayName": None}, GRACE),
    (UPDATE, {"displayName": "Grace Hopper"}, {"displayName": "Ada Lovelace"}, GRACE),
    (replace(UPDATE, before={}), {"displayName": "Grace Hopper"}, None, GRACE),
    # a row that the mapping gained: what the account had of it was never read
    (replace(UPDATE, attributes=TITLED), {"displayName": "Grace Hopper", "title": "Rear admiral"},
     {"displayName": "Ada Lovelace"}, TITLED),
    # drift: what we wrote last is what is written again, and not what the account had meanwhile
    (replace(UPDATE, attributes=ADA, entry=entry(fingerprint=fingerprint(GRACE))), {"displayName": "Ada Lovelace"},
     None, ADA),
    # a multi-valued attribute is sent whole: what stays is no drift
    (CALLING, {PHONE: "+44 1", MOBILE: "+44 3"}, {PHONE: "+44 1", MOBILE: "+44 2"}, {**CALLED, MOBILE: "+44 3"}),
    # the account had vanished: whatever it had, the new one had nothing
    (replace(UPDATE, scim_id="", recreates=True), GRACE, {}, GRACE),
]  # fmt: skip


@pytest.mark.parametrize(("done", "sent", "before", "after"), TOLD)
def test_an_event_tells_what_was_sent_what_was_there_before_and_all_that_is_there_now(done, sent, before, after):
    event = event_for(Outcome(change=done, scim_id="k1", sent=sent), BY_RUN, NOW)
    assert (event.changed, event.before, event.after) == (sent, before, after)


ACCESS = [
    (change(Action.SUSPEND), "k1", OFF, ON),
    (change(Action.UNSUSPEND, Status.SUSPENDED), "k1", ON, OFF),
    (change(Action.UNSUSPEND, entry=entry(Status.SUSPENDED, deleted=True, applied_by="c1")), "k1", ON, OFF),
    (change(Action.DELETE), "k1", OFF, ON),
    (change(Action.DELETE, Status.SUSPENDED), "k1", OFF, OFF),
    (change(Action.UNSUSPEND, Status.SUSPENDED, leaves=Status.LOCKED), "k1", {}, None),  # somebody else's lock stays
    (change(Action.SUSPEND), "", {}, None),  # there is no account any more
]


@pytest.mark.parametrize(("done", "scim_id", "changed", "before"), ACCESS)
def test_access_given_or_taken_is_told_as_active_and_leaves_the_attributes_alone(done, scim_id, changed, before):
    outcome = Outcome(change=done, scim_id=scim_id)
    event = event_for(outcome, BY_RUN, NOW)
    assert (event.changed, event.before, event.after) == (changed, before, {})
    after = recorded(done.entry, outcome, NOW)
    assert (after.fingerprint, after.applied_by) == ((done.entry.fingerprint, "c1") if scim_id else ("", ""))


@pytest.mark.parametrize("done", [CREATE, ADOPT, UPDATE])
def test_the_entry_names_the_change_that_wrote_attributes_last(done):
    assert recorded(done.entry, Outcome(change=done, scim_id="k1"), NOW).applied_by == "c2"


def test_what_failed_changed_nothing():
    outcome = Outcome(change=UPDATE, error=AddressTaken("taken"))
    event = event_for(outcome, BY_RUN, NOW)
    assert (event.changed, event.before, event.after) == ({}, None, {})
    assert recorded(UPDATE.entry, outcome, NOW).applied_by == "c1"


def account(attributes: Attributes, *, active: bool = True) -> Account:
    return Account(scim_id="k1", user_name="ada@example.com", external_id="u1", active=active, attributes=attributes)


RECOVERED = [
    # marked action, status before, account found -> changed, before, after, written by
    (Action.CREATE, Status.NONE, account(GRACE), GRACE, None, {**GRACE, "title": None}, "lost"),
    (Action.UPDATE, Status.ACTIVE, account(GRACE), {"displayName": "Grace Hopper", "title": None},
     {"displayName": "Ada Lovelace"}, {**GRACE, "title": None}, "lost"),
    (Action.SUSPEND, Status.ACTIVE, account(ADA, active=False), OFF, ON, {}, "c1"),
    (Action.DELETE, Status.ACTIVE, None, OFF, ON, {}, "c1"),
    (Action.UNSUSPEND, Status.SUSPENDED, account(ADA), ON, OFF, {}, "c1"),
]  # fmt: skip


@pytest.mark.parametrize(("action", "status", "found", "changed", "before", "after", "by"), RECOVERED)
def test_what_is_learnt_after_a_crash_is_told_from_the_account(action, status, found, changed, before, after, by):
    known = entry(status, mark=Mark(change_id="lost", message_id="m1", action=action, until=NOW), applied_by="c1")
    desired = {**GRACE, "title": None}
    settled, outcome = recover(known, found, desired, ADA, NOW + DAY)
    assert outcome.error is None
    assert settled.applied_by == by
    event = event_for(outcome, BY_RUN, NOW + DAY)
    assert (event.id, event.recovered, event.attempted, event.email) == ("lost", True, action, settled.email)
    assert (event.changed, event.before, event.after) == (changed, before, after)


def test_an_attempt_that_came_to_nothing_wrote_nothing():
    known = entry(mark=Mark(change_id="lost", message_id="m1", action=Action.UPDATE, until=NOW), applied_by="c1")
    settled, outcome = recover(known, account(ADA), GRACE, ADA, NOW + DAY)
    assert (outcome.error is None, settled.applied_by) == (False, "c1")


class Counting(FakeAudit):
    """An audit that remembers which changes it was asked about, and how often."""

    def __init__(self, store):
        super().__init__(store)
        self.asked: list[list[str]] = []

    def applied(self, connection_id: str, change_ids: Sequence[str]) -> dict[str, Attributes]:
        read = [name for name in change_ids if name]  # a document each
        self.asked += [read] if read else []
        return super().applied(connection_id, change_ids)


@pytest.fixture
def scenario() -> Scenario:
    """u1, u2 and u3 are hired, and nobody has an account yet."""
    fresh = Scenario()
    fresh.services = replace(fresh.services, audit=Counting(fresh.fakes.store))
    return fresh


def asked(scenario: Scenario) -> list[list[str]]:
    return scenario.services.audit.asked


def events(scenario: Scenario, user_id: str) -> list[Event]:
    found = [event for event in scenario.fakes.store.events["c1"].values() if event.user_id == user_id]
    return sorted(found, key=lambda event: event.at)


def written(scenario: Scenario, user_id: str) -> str:
    known = scenario.entry(user_id)
    assert isinstance(known, Entry)
    return known.applied_by


def test_a_first_run_reads_nothing_for_the_audit(scenario):
    scenario.run()
    assert asked(scenario) == []
    (created,) = events(scenario, "u1")
    assert (created.name, created.before) == (EventName.CREATED, {})
    assert created.after["name.givenName"] == "New"
    assert written(scenario, "u1") == created.id


def test_a_run_reads_what_its_updates_meet_all_at_once_and_creations_need_nothing(scenario):
    scenario.run()
    earlier = {user_id: written(scenario, user_id) for user_id in ("u1", "u2")}
    for user_id in earlier:
        scenario.rename(user_id, "Ada")
    scenario.hire("u4", "dan@example.com")
    scenario.suspend("u3")
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    assert [sorted(ids) for ids in asked(scenario)] == [sorted(earlier.values())]
    for user_id in earlier:
        updated = events(scenario, user_id)[-1]
        assert (updated.changed, updated.before) == (
            {"displayName": "Ada Byron", "name.givenName": "Ada"},
            {"displayName": "New Byron", "name.givenName": "New"},
        )
        assert written(scenario, user_id) == updated.id
    suspended = events(scenario, "u3")[-1]
    assert (suspended.name, suspended.changed, suspended.before) == (EventName.SUSPENDED, OFF, ON)


def test_a_notification_tells_the_same_as_a_run_and_what_is_in_step_reads_nothing(scenario):
    scenario.run()
    scenario.rename("u1", "Ada")
    for name in ("Ada", "Augusta"):
        scenario.rename("u1", name)
        scenario.fakes.clock.advance(LATER)
        scenario.deliver(scenario.sent[-1])
    first, second = events(scenario, "u1")[1:]
    assert (first.before["name.givenName"], first.changed["name.givenName"]) == ("New", "Ada")
    assert (second.before["name.givenName"], second.changed["name.givenName"]) == ("Ada", "Augusta")
    assert len(asked(scenario)) == 2


def test_an_account_that_was_found_and_adopted_tells_what_it_had(scenario):
    scenario.run()
    scenario.keeper.seed("dan@example.com")
    scenario.hire("u4", "dan@example.com")
    scenario.deliver(scenario.sent[-1])
    (adopted,) = events(scenario, "u4")
    assert adopted.name is EventName.ADOPTED
    assert adopted.before == dict.fromkeys(adopted.changed) | {"userName": "dan@example.com"}


def test_a_run_that_lists_keeper_for_many_creations_does_not_keep_what_it_adopts(scenario):
    scenario.keeper.seed("ada@example.com")
    for number in range(LOOKUPS_ONE_BY_ONE):
        scenario.hire(f"v{number}", f"v{number}@example.com")
    scenario.run()
    (adopted,) = events(scenario, "u1")
    assert (adopted.name, adopted.before) == (EventName.ADOPTED, None)
    assert asked(scenario) == []


def test_an_event_that_expired_leaves_before_unknown(scenario):
    scenario.run()
    scenario.fakes.store.events["c1"].clear()
    scenario.rename("u1", "Ada")
    scenario.deliver(scenario.sent[-1])
    (updated,) = events(scenario, "u1")
    assert (updated.changed["name.givenName"], updated.before) == ("Ada", None)


def test_an_attribute_that_the_mapping_gained_has_no_before(scenario):
    scenario.run()
    rows = AttributeMapping((*DEFAULT_ROWS, Row(target="title", source='"Countess"')))
    scenario.services.connections.change("c1", lambda connection: with_settings(connection, mapping=rows))
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    updated = events(scenario, "u1")[-1]
    assert (updated.changed, updated.before) == ({"title": "Countess"}, None)


def test_drift_that_is_repaired_shows_what_somebody_had_made_of_it_in_keeper(scenario):
    scenario.run()
    (found,) = scenario.keeper.of("u1")
    scenario.keeper.accounts[found.scim_id] = replace(found, attributes={**found.attributes, "name.givenName": "Eve"})
    scenario.fakes.clock.advance(LATER)
    scenario.plan(RunKind.DRIFT)
    scenario.work_off()
    repaired = events(scenario, "u1")[-1]
    assert (repaired.name, repaired.changed, repaired.before) == (
        EventName.UPDATED,
        {"name.givenName": "New"},
        {"name.givenName": "Eve"},
    )


def test_an_update_whose_answer_was_lost_is_told_with_before_and_after(scenario):
    scenario.run()
    scenario.rename("u1", "Ada")
    scenario.keeper.faults.append("lost")
    scenario.deliver(scenario.sent[-1])
    scenario.fakes.clock.advance(LATER)
    now = scenario.fakes.clock.now
    converge(
        scenario.services, Asked(look=Look(user_id="u1"), message_id="m", published=now), now + timedelta(minutes=1)
    )
    recovered = events(scenario, "u1")[-1]
    assert recovered.recovered
    assert (recovered.before["name.givenName"], recovered.changed["name.givenName"]) == ("New", "Ada")
    assert written(scenario, "u1") == recovered.id
    scenario.rename("u1", "Augusta")
    scenario.deliver(scenario.sent[-1])
    assert events(scenario, "u1")[-1].before["name.givenName"] == "Ada"
