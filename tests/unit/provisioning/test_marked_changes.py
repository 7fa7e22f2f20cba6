"""Marks survive a lost answer of the store: nothing is sent twice, and who asked for another look gets it."""

from __future__ import annotations

from dataclasses import replace

from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.app.provisioning.marked_changes import Intent, MarkedChanges, holds
from autoprovisioning.app.services import Services
from autoprovisioning.domain.changes import Change, Outcome
from autoprovisioning.domain.entry import Action, Entry, Status
from autoprovisioning.domain.events import Actor
from tests.support.builders import MINUTE
from tests.support.scenario import Scenario


class AnswerLost:
    """A roster whose commit arrives and whose answer is lost; another worker is there before it is tried again."""

    def __init__(self, services: Services) -> None:
        self._roster = services.roster

    def commit_in_parts(self, connection, user_ids, edit):
        self._roster.commit_in_parts(connection, user_ids, edit)

        def asked(entries):
            return Edit(entries={user_id: replace(entry, again=True) for user_id, entry in entries.items()}), None

        self._roster.commit(connection, user_ids, asked)
        return self._roster.commit_in_parts(connection, user_ids, edit)


def creation(user_id: str, known: Entry | None) -> Intent:
    def change(entry: Entry | None) -> Change:
        return Change(id="c1", entry=entry or Entry(user_id=user_id), action=Action.CREATE, email="new@example.com")

    return Intent(id="c1", user_id=user_id, stands=lambda entry: entry == known, change=change)


def test_who_asked_for_a_look_while_the_answer_to_a_mark_was_lost_gets_it():
    scenario = Scenario()
    lossy = replace(scenario.services, roster=AnswerLost(scenario.services))
    now = scenario.services.clock()
    marked = MarkedChanges(lossy, scenario.connection, message_id="m1", by=Actor(address="run r1"))

    (change,), overtaken = marked.mark([creation("new", None)], now + MINUTE)

    stored = scenario.entry("new")
    assert (overtaken, holds(change.id, stored)) == ({}, True)
    marked = MarkedChanges(scenario.services, scenario.connection, message_id="m1", by=Actor(address="run r1"))
    assert marked.record([Outcome(change=change, scim_id="k9")]) == {"new"}
    recorded = scenario.entry("new")
    assert recorded is not None
    assert (recorded.mark, recorded.status, recorded.again) == (None, Status.ACTIVE, True)


def test_nothing_is_marked_or_recorded_over_what_somebody_else_wrote():
    scenario = Scenario()
    now = scenario.services.clock()
    ours = MarkedChanges(scenario.services, scenario.connection, message_id="m1", by=Actor(address="run r1"))
    (change,), _ = ours.mark([creation("new", None)], now + MINUTE)

    theirs = MarkedChanges(scenario.services, scenario.connection, message_id="m2", by=Actor(address="run r2"))
    other = replace(creation("new", None), id="c2")
    assert theirs.mark([other], now + MINUTE) == ([], {"new": scenario.entry("new")})
    assert theirs.record([Outcome(change=replace(change, id="c2"), scim_id="k9")]) == set()
    assert theirs.unmark([replace(change, id="c2")]) == set()
    assert holds("c1", scenario.entry("new"))
    assert ours.unmark([change]) == set()
    assert scenario.entry("new") is None  # only the mark had made it


def test_a_mark_that_is_taken_away_leaves_the_look_that_was_asked_for():
    scenario = Scenario()
    marked = MarkedChanges(scenario.services, scenario.connection, message_id="m1", by=Actor(address="run r1"))
    (change,), _ = marked.mark([creation("new", None)], scenario.services.clock() + MINUTE)
    asked = replace(scenario.entry("new"), again=True)
    scenario.services.roster.commit(scenario.connection, ["new"], lambda _: (Edit(entries={"new": asked}), None))
    assert marked.unmark([change]) == {"new"}
    assert scenario.entry("new") == replace(asked, mark=None, version=1)
