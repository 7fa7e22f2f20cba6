"""Why? The state of one user in words, what is read to tell it, and how a worker answers what only it can."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest

from autoprovisioning.app.administration.configure import turned_off
from autoprovisioning.app.administration.explain import Explanation, explain
from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.ports.reports import Filters, Page
from autoprovisioning.app.provisioning.placement import AskedOneByOne
from autoprovisioning.domain import holds
from autoprovisioning.domain.accounts import fingerprint
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.decision import BackOff, Rules, decide
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import EXTERNAL_ID, Action, Entry, Mark, Status, Trigger, failed
from autoprovisioning.domain.errors import (
    ConfigurationRefused,
    MappingFailure,
    NotFound,
)
from autoprovisioning.domain.events import Actor, Event, EventName
from autoprovisioning.domain.explanation import in_words
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from autoprovisioning.domain.scope import Group, Scope
from autoprovisioning.domain.settings import Settings
from tests.support.builders import ADA, DAY, GRACE, IN_A_WEEK, NEVER, NOW, entry, seen
from tests.support.in_memory import SALES, FakeDirectory, unit
from tests.support.in_memory_state import Store
from tests.support.scenario import GROUP, LATER, Scenario
from tests.support.settings import with_settings

ON = Connection(id="c1", state=State.ON, settings=Settings(deprovisioning=IN_A_WEEK))
REJECTED = failed(None, "address_taken", "The address is taken.", "create:other", NOW)
AWAY = entry(timers={Trigger.SUSPENDED: NOW}, in_scope=True)
LEFT = entry(timers={Trigger.APP_OFF: NOW}, in_scope=False)


def said(known: Entry | None, observation, connection: Connection = ON, now=NOW, **more) -> str:
    rules = Rules(
        deprovisioning=connection.settings.deprovisioning,
        clock=connection.clock,
        archived_as_suspended=connection.settings.archived_as_suspended,
    )
    return in_words(decide(known, observation, rules, now), known, observation, connection, now, **more)


SUSPENDED, DELETED = seen(Presence.SUSPENDED, since=NOW), seen(Presence.DELETED, None, since=NOW)
NO_NAME = MappingFailure("The mandatory attribute displayName has no value: name.fullName is empty for this user.")
WORDS = [
    # entry, seen, connection, now -> the sentence
    (entry(), seen(), ON, NOW, "In step: the account matches the directory, and there is nothing to do."),
    (entry(), seen(in_scope=None), ON, NOW,
     "In step; whether the user is still in scope is not known, and nobody loses access for that reason."),
    (None, seen(), ON, NOW,
     ("Due now: create the account, or adopt the one that is in Keeper under the user's address, "
     "because the user is active and in the provisioning scope.")),
    (entry(), seen(desired=GRACE), ON, NOW,
     "Due now: update the name, because the directory's values differ from those last written."),
    (entry(pending=True), seen(desired=GRACE), ON, NOW,
     "Being retried: update the name, because the directory's values differ from those last written."),
    (entry(Status.SUSPENDED), seen(), ON, NOW,
     "Due now: reactivate the account, because the user is active and in the provisioning scope again."),
    (AWAY, SUSPENDED, ON, NOW,
     "The account will be suspended on 1 Dec 2026, 09:00 UTC, because the user is suspended in the directory."),
    (AWAY, SUSPENDED, ON, NOW + 8 * DAY,
     "Due now: suspend the account, because the user is suspended in the directory."),
    (AWAY, SUSPENDED, with_settings(ON, deprovisioning=NEVER), NOW + 8 * DAY,
     ("The account stays as it is although the user is suspended in the directory: "
     "the deprovisioning policy never takes access away for that reason.")),
    (replace(AWAY, status=Status.SUSPENDED), SUSPENDED, ON, NOW + 8 * DAY,
     "The account will be deleted on 24 Dec 2026, 09:00 UTC, because the user is suspended in the directory."),
    (replace(AWAY, status=Status.SUSPENDED), SUSPENDED, with_settings(ON, deprovisioning=NEVER), NOW + 8 * DAY,
     ("The account stays suspended, because the user is suspended in the directory; "
     "the deprovisioning policy never deletes it for that reason.")),
    (replace(AWAY, status=Status.SUSPENDED), SUSPENDED, ON, NOW + 31 * DAY,
     "Due now: delete the account, which Keeper keeps locked, because the user is suspended in the directory."),
    (LEFT, seen(in_scope=False), ON, NOW + 8 * DAY,
     "Due now: suspend the account, because the user is out of the provisioning scope."),
    (entry(Status.SUSPENDED, deleted=True, timers={Trigger.DELETED: NOW}, gone=True), DELETED, ON, NOW + DAY,
     "There is nothing more to do: the account was deleted, and Keeper keeps it locked."),
    (AWAY, SUSPENDED, replace(ON, state=State.PAUSED), NOW + 8 * DAY,
     ("Waits until the connection is reauthorized: suspend the account, "
     "because the user is suspended in the directory.")),
    (AWAY, SUSPENDED, replace(ON, throttled_until=NOW + 8 * DAY + DAY / 36), NOW + 8 * DAY,
     ("Keeper asked this connection to wait until 2 Dec 2026, 09:40 UTC: suspend the account, "
     "because the user is suspended in the directory.")),
    (None, seen(), replace(ON, state=State.OFF), NOW,
     ("Waits until autoprovisioning is turned on: create the account, or adopt the one that is in Keeper under the "
     "user's address, because the user is active and in the provisioning scope.")),
    (entry(Status.LOCKED), seen(), ON, NOW,
     ("Held until an administrator approves it under Approvals: unlock the account, which was locked in Keeper by "
     "someone else, because the user is active and in the provisioning scope.")),
    (entry(Status.LOCKED), SUSPENDED, ON, NOW,
     ("The account was locked in Keeper by someone else: there is no access to take away. "
     "It is not unlocked without an administrator's approval.")),
    (entry(Status.LOCKED, timers={Trigger.SUSPENDED: NOW}), SUSPENDED, ON, NOW + 8 * DAY,
     ("The account was locked in Keeper by someone else when it was last seen. "
     "Keeper is asked whether it still is: if not, access is taken away.")),
    (entry(Status.LOCKED, timers={Trigger.SUSPENDED: NOW}), SUSPENDED, replace(ON, state=State.PAUSED), NOW + 8 * DAY,
     ("Waits until the connection is reauthorized: "
     "ask Keeper whether the account, locked when last seen, still is.")),
    (entry(Status.SUSPENDED), seen(outdated=True), ON, NOW,
     "The account was active on another connection since it was suspended here: Keeper is asked about it."),
    (entry(Status.SUSPENDED), seen(outdated=True), replace(ON, state=State.PAUSED), NOW,
     ("Waits until the connection is reauthorized: "
     "ask Keeper about the account, which was active on another connection since it was suspended here.")),
    (entry(Status.LOCKED, drift=(EXTERNAL_ID,)), seen(), ON, NOW,
     ("The account was locked in Keeper by someone else, and carries another externalId: "
     "nobody is asked to unlock it until that is fixed in Keeper.")),
    (entry(Status.LOCKED), seen(in_scope=None), ON, NOW,
     ("The account was locked in Keeper by someone else, and it is not known whether the user is in the provisioning "
     "scope: it stays locked.")),
    (entry(), seen(Presence.ARCHIVED), ON, NOW,
     "Archived users are not operated on: everything stays as it is, and timers stand still."),
    (entry(timers={Trigger.SUSPENDED: NOW}), seen(Presence.ARCHIVED),
     with_settings(ON, archived_as_suspended=True), NOW,
     ("The account will be suspended on 1 Dec 2026, 09:00 UTC, "
     "because the user is archived in the directory, which this connection treats as suspended.")),
    (entry(), seen(Presence.UNKNOWN, None), ON, NOW,
     "The directory does not show this user, which alone proves nothing: everything stays as it is."),
    # a timer that ran does not count while it is unknown whether its trigger still holds
    (LEFT, seen(in_scope=None), ON, NOW + 8 * DAY,
     "In step; whether the user is still in scope is not known, and nobody loses access for that reason."),
    (replace(LEFT, status=Status.SUSPENDED), seen(in_scope=None), ON, NOW + 31 * DAY,
     "The account stays suspended: whether the user is in the provisioning scope again is not known."),
    (entry(Status.SUSPENDED, deleted=True), seen(in_scope=None), ON, NOW,
     "The account stays suspended: whether the user is in the provisioning scope again is not known."),
    (AWAY, SUSPENDED, replace(ON, state=State.PAUSED), NOW,
     ("The account will be suspended on 1 Dec 2026, 09:00 UTC, because the user is suspended in the directory. "
     "It waits if the connection is not reauthorized by then.")),
    (AWAY, SUSPENDED, replace(ON, state=State.OFF), NOW,
     ("The account will be suspended on 1 Dec 2026, 09:00 UTC, because the user is suspended in the directory. "
     "This assumes that autoprovisioning is turned on now: timers stand still while it is off.")),
    (replace(AWAY, status=Status.SUSPENDED), SUSPENDED, replace(ON, state=State.DELETING), NOW,
     ("The account will be deleted on 24 Dec 2026, 09:00 UTC, because the user is suspended in the directory. "
     "It will not happen, since the configuration is being deleted.")),
    (None, seen(in_scope=False), ON, NOW,
     "The user is not in the provisioning scope and has no account: there is nothing to do."),
    (None, seen(in_scope=None), ON, NOW,
     "Whether the user is in the provisioning scope is not known: until then no account is created."),
    (None, SUSPENDED, ON, NOW,
     "The user is suspended or archived in the directory and gets no account before returning."),
    (None, DELETED, ON, NOW, "The user is deleted in the directory and has no account: there is nothing to do."),
    (None, seen(desired={}, mapping_failure=NO_NAME), ON, NOW, f"Nothing can be sent: {NO_NAME}"),
    (entry(Status.NONE, failure=replace(REJECTED, about=f"create:{fingerprint(ADA)[:16]}")), seen(), ON, NOW,
     ("The last attempt failed; the next one is on 24 Nov 2026, 09:15 UTC, or as soon as the user changes: "
     "The address is taken.")),
    (entry(Status.NONE, failure=replace(REJECTED, about=f"create:{fingerprint(ADA)[:16]}")), seen(),
     replace(ON, state=State.OFF), NOW,
     "Waits until autoprovisioning is turned on; the last attempt failed: The address is taken."),
    (entry(mark=Mark(change_id="c", message_id="m", action=Action.UPDATE, until=NOW + DAY)), seen(), ON, NOW,
     "A worker is carrying out a change (update) right now; the user is looked at again afterwards."),
    (entry(mark=Mark(change_id="c", message_id="m", action=Action.UPDATE, until=NOW)), seen(), ON, NOW,
     "What became of the last change (update) is not known: Keeper is asked before anything else."),
]  # fmt: skip


@pytest.mark.parametrize(("known", "observation", "connection", "now", "sentence"), WORDS)
def test_a_decision_is_told_in_a_sentence(known, observation, connection, now, sentence):
    assert said(known, observation, connection, now) == sentence


def test_who_belongs_to_another_connection_is_told_so():
    assert said(None, seen(in_scope=False), owner="Sales") == (
        "The user belongs to the connection Sales: there is nothing to do here."
    )
    assert said(LEFT, seen(in_scope=False), now=NOW + 8 * DAY, owner="Sales") == (
        "Due now: suspend the account, because the user belongs to the connection Sales."
    )


@pytest.mark.parametrize(
    ("held", "begins"),
    [
        (holds.Standing.REJECTED, "Not done, because an administrator rejected it in a held plan"),
        (holds.Standing.WAITING, "Held until an administrator approves it under Approvals"),
        (holds.Standing.WITHDRAWN, "Held until an administrator approves it under Approvals"),
        (holds.Standing.APPROVED, "Due now"),
        (None, "Due now"),
    ],
)
def test_what_stands_decided_in_a_held_plan_is_told(held, begins):
    assert said(AWAY, SUSPENDED, now=NOW + 8 * DAY, held=held) == (
        f"{begins}: suspend the account, because the user is suspended in the directory."
    )


@dataclass
class Audit:
    """The Reports port, as far as an explanation reads it."""

    store: Store

    def events(self, connection_id: str, filters: Filters, cursor: str, limit: int) -> Page[Event]:
        found = [event for event in self.store.events[connection_id].values() if event.user_id == filters.user]
        newest = sorted(found, key=lambda event: event.at, reverse=True)
        return Page(items=tuple(newest[:limit]))


class Watched(FakeDirectory):
    """A directory that counts what it is asked, and some of whose groups cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.secret: set[str] = set()

    def user(self, user_id):
        self.asked += 1
        return super().user(user_id)

    def is_member(self, group_id, user_id):
        self.asked += 1
        if group_id in self.secret:
            raise ConfigurationRefused("403")
        return super().is_member(group_id, user_id)

    def users(self, fields):
        raise AssertionError("a page must not list the directory")

    def members(self, group_id):
        raise AssertionError("a page must not list a group")


def look_into(scenario: Scenario, user_id: str, directory: FakeDirectory | None = None) -> Explanation:
    """Explain, with everything out of reach that a page may not read."""
    shut = replace(
        scenario.services,
        directory=directory or scenario.directory,
        tokens=None,
        accounts_for=None,
        roster=SimpleNamespace(entry=scenario.services.roster.entry),
    )
    return explain(shut, Audit(scenario.fakes.store), scenario.connection, user_id)


def watched(scenario: Scenario) -> Watched:
    directory = Watched()
    for name in ("live", "removed", "groups", "memberships"):
        setattr(directory, name, getattr(scenario.directory, name))
    return directory


def test_who_is_in_step_is_explained_through_the_group_the_mapping_and_the_history(scenario):
    directory = watched(scenario)
    told = look_into(scenario, "u1", directory)
    assert (told.email, told.user.presence, told.entry) == ("ada@example.com", Presence.ACTIVE, scenario.entry("u1"))
    assert (told.standing.in_scope, told.standing.groups, told.standing.owner) == (True, (GROUP,), None)
    assert told.standing.words == "Member of keeper@example.com, directly or nested."
    assert {row.target: row.value for row in told.mapped} == AttributeMapping().apply(
        scenario.directory.live["u1"].profile
    )
    assert [row.source for row in told.mapped] == [row.source for row in DEFAULT_ROWS]
    assert told.words.startswith("In step: ")
    assert (told.to_write, told.timers, told.standing_still) == ({}, (), "")
    assert [event.name for event in told.events] == [EventName.CREATED]
    assert directory.asked == 2, "the user, and one question for each chosen group"


def test_what_would_be_written_is_what_differs_and_everything_of_a_new_account(scenario):
    scenario.rename("u1", "Ada")
    told = look_into(scenario, "u1")
    assert told.to_write == {"displayName": "Ada Byron", "name.givenName": "Ada"}
    assert [told.applied[target] for target in told.to_write] == ["New Byron", "New"]
    assert told.words.startswith("Due now: update the name, first name, because")
    scenario.hire("u4", "dan@example.com")
    told = look_into(scenario, "u4")
    assert (told.to_write["userName"], told.applied) == ("dan@example.com", {})


def test_who_left_a_group_is_told_that_this_is_still_to_be_proven(scenario):
    scenario.leave("u1")
    told = look_into(scenario, "u1")
    assert told.standing.in_scope is None
    assert "counts once a complete listing proves it" in told.standing.words
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    told = look_into(scenario, "u1")
    assert (told.standing.in_scope, told.entry.status) == (False, Status.SUSPENDED)
    assert told.standing.words == "Not a member of keeper@example.com, neither directly nor nested."
    (timer,) = told.timers
    assert (timer.trigger, timer.suspend, timer.delete) == (Trigger.APP_OFF, timer.since, None)


def test_who_never_was_in_scope_has_no_entry_and_nothing_to_be_done(scenario):
    told = look_into(scenario, "admin")
    assert (told.entry, told.standing.in_scope, told.action) == (None, False, None)
    assert told.words == "The user is not in the provisioning scope and has no account: there is nothing to do."


def test_units_are_named_the_chosen_one_that_holds_the_user_or_why_none_does(scenario):
    scenario.services.connections.change(
        "c1", lambda connection: with_settings(connection, scope=Scope(groups=(), org_units=(SALES, unit("/Navy"))))
    )
    scenario.directory.live["u1"] = replace(scenario.directory.live["u1"], org_unit_path="/Navy/Ships")
    told = look_into(scenario, "u1")
    assert (told.standing.in_scope, told.standing.unit) == (True, "/Navy")
    assert told.standing.words == "At or below the organizational unit /Navy."
    told = look_into(scenario, "u2")
    assert told.standing.in_scope is False
    assert told.standing.words == "/ is not at or below a chosen organizational unit (/Sales, /Navy)."


def test_a_group_that_cannot_be_read_leaves_the_scope_open(scenario):
    directory = watched(scenario)
    directory.secret.add(GROUP.id)
    told = look_into(scenario, "u1", directory)
    assert told.standing.in_scope is None
    assert told.standing.words == "The directory does not say whether the user is a member of keeper@example.com."


def test_the_scope_is_told_as_a_worker_tells_it(scenario):
    other = Group(id="g2", email="other@example.com")
    for path in ("/", "/Navy"):
        for member in ((), (GROUP.id,), (other.id,), (GROUP.id, other.id)):
            for groups in ((), (GROUP,), (GROUP, other)):
                for units in ((), (unit("/Navy"),)):
                    scope = Scope(groups=groups, org_units=units)
                    scenario.services.connections.change("c1", lambda now, scope=scope: with_settings(now, scope=scope))
                    scenario.directory.live["u1"] = replace(scenario.directory.live["u1"], org_unit_path=path)
                    for group in (GROUP.id, other.id):
                        scenario.directory.memberships[group].discard("u1")
                    for group in member:
                        scenario.directory.memberships[group].add("u1")
                    worker = AskedOneByOne(scenario.directory, lambda _: True, ())
                    expected = worker(scenario.connection, scenario.directory.live["u1"])
                    assert look_into(scenario, "u1").standing.in_scope is expected, (path, member, groups, units)


def test_a_row_that_fails_does_not_hide_the_others(scenario):
    rows = AttributeMapping((*DEFAULT_ROWS, Row(target="title", source="organizations[primary].title", mandatory=True)))
    scenario.services.connections.change("c1", lambda connection: with_settings(connection, mapping=rows))
    told = look_into(scenario, "u1")
    values = {row.target: (row.value, bool(row.problem), row.mandatory) for row in told.mapped}
    assert values["title"] == (None, True, True)
    assert values["userName"] == ("ada@example.com", False, True)
    assert values["emails.type"] == ("work", False, False)
    assert told.words.startswith("Nothing can be sent: The mandatory attribute title has no value")


def test_who_is_archived_has_timers_that_stand_still(scenario):
    scenario.suspend("u1")
    policy = replace(scenario.connection.settings.deprovisioning, suspended=IN_A_WEEK.suspended)
    scenario.services.connections.change("c1", lambda connection: with_settings(connection, deprovisioning=policy))
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    scenario.archive("u1")
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    told = look_into(scenario, "u1")
    assert (told.user.presence, told.standing_still) == (Presence.ARCHIVED, "The user is archived.")
    assert [timer.trigger for timer in told.timers] == [Trigger.SUSPENDED]
    assert told.words.startswith("Archived users are not operated on")


def test_each_trigger_tells_its_own_dates(scenario):
    delays = replace(IN_A_WEEK, app_off=NEVER.app_off)
    scenario.services.connections.change("c1", lambda connection: with_settings(connection, deprovisioning=delays))
    scenario.suspend("u1")
    scenario.leave("u1")
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    app_off, suspended = look_into(scenario, "u1").timers
    assert (app_off.trigger, app_off.suspend, app_off.delete) == (Trigger.APP_OFF, None, None)
    assert (suspended.suspend, suspended.delete) == (suspended.since + 7 * DAY, suspended.since + 30 * DAY)


def test_while_the_connection_is_off_the_dates_move_along(scenario):
    delays = replace(IN_A_WEEK, app_off=NEVER.app_off)
    scenario.services.connections.change("c1", lambda connection: with_settings(connection, deprovisioning=delays))
    scenario.suspend("u1")
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    on = look_into(scenario, "u1").timers[0]
    now = scenario.fakes.clock.now
    scenario.services.connections.change("c1", lambda connection: turned_off(connection, now))
    scenario.fakes.clock.advance(2 * DAY)
    told = look_into(scenario, "u1")
    assert told.timers[0].suspend == on.suspend + 2 * DAY
    assert told.standing_still == "The connection is off."
    assert told.connection.state is State.OFF
    assert f"{told.timers[0].suspend:%-d %b %Y}" in told.words


def test_on_a_draft_it_is_told_what_would_be_done(scenario):
    draft = {"state": State.DRAFT, "roster_layout": ""}
    scenario.services.connections.change("c1", lambda connection: replace(connection, **draft))
    told = look_into(scenario, "u1")
    assert (told.entry, told.standing.in_scope, told.action) == (None, True, Action.CREATE)
    assert told.words.startswith("Waits until the set-up is finished and autoprovisioning turned on: create")


def test_who_was_deleted_is_found_among_the_deleted(scenario):
    scenario.delete("u1")
    scenario.deliver(scenario.sent[-1])
    scenario.fakes.clock.advance(LATER)
    scenario.deliver(scenario.sent[-1])
    told = look_into(scenario, "u1")
    assert (told.user.presence, told.email, told.mapped) == (Presence.DELETED, "ada@example.com", ())
    assert (told.entry.status, told.to_write) == (Status.SUSPENDED, {})
    assert told.words == (
        "The account stays suspended, because the user is deleted in the directory; "
        "the deprovisioning policy never deletes it for that reason."
    )


def test_a_failure_is_told_with_its_next_attempt(scenario):
    scenario.keeper.seed("dan@example.com", "somebody else")
    scenario.hire("u4", "dan@example.com")
    scenario.deliver(scenario.sent[-1])
    told = look_into(scenario, "u4")
    assert (told.entry.failure.code, told.entry.failure.attempts) == ("not_adoptable", 1)
    assert isinstance(told.decision, BackOff)
    assert told.words.startswith("The last attempt failed; the next one is on 24 Nov 2026, 09:15 UTC, or as soon as")
    assert [event.name for event in told.events] == [EventName.FAILED]


def test_a_hold_is_told_until_it_is_rejected_and_then_that():
    scenario = Scenario(limit=1)
    scenario.run()
    for user_id in ("u1", "u2", "u3"):
        scenario.suspend(user_id)
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    assert look_into(scenario, "u1").words.startswith("Held until an administrator approves it")
    (hold,) = scenario.services.holds.standing("c1")
    decide_hold(scenario.services, "c1", hold.digest, "reject", Actor(address="admin@example.com", directory_id="u0"))
    assert look_into(scenario, "u1").words.startswith("Not done, because an administrator rejected it")


def test_who_was_forgotten_is_still_known_by_the_audit(scenario):
    del scenario.directory.live["u1"]
    scenario.fakes.store.shards.clear()
    told = look_into(scenario, "u1")
    assert (told.user.presence, told.entry, told.email) == (Presence.UNKNOWN, None, "ada@example.com")
    assert [event.name for event in told.events] == [EventName.CREATED]


@pytest.mark.parametrize("user_id", ["nobody", "ada@example.com", "../runs", ""])
def test_whom_nobody_knows_is_not_found(scenario, user_id):
    with pytest.raises(NotFound):
        look_into(scenario, user_id)


@pytest.mark.parametrize(
    ("held", "connection", "sentence"),
    [
        (None, ON, "Held until an administrator approves it under Approvals: unlock the account"),
        (holds.Standing.APPROVED, ON, "Due now: unlock the account"),
        (
            holds.Standing.REJECTED,
            ON,
            "Not done, because an administrator rejected it in a held plan: unlock the account",
        ),
        (
            None,
            replace(ON, state=State.PAUSED),
            "Waits until the connection is reauthorized, and for an approval under Approvals: unlock the account",
        ),
    ],
)
def test_of_an_unlock_it_says_what_was_decided(held, connection, sentence):
    assert said(entry(Status.LOCKED), seen(), connection, held=held).startswith(sentence)
