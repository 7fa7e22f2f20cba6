"""Accounts that nobody provisions: each drift listing shows whose they are, and leavers among them lose access."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.ignore_accounts import ignore, ignore_no_more
from autoprovisioning.app.administration.people import review
from autoprovisioning.app.administration.take_over import take_over
from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.app.provisioning.claiming import claim
from autoprovisioning.domain.accounts import Write
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Action, Entry, Mark, Status
from autoprovisioning.domain.errors import BadInput, Incomplete, NotFound, Unresolved
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.review import Shown
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.unprovisioned import By, Offer, Report, Suggestion
from tests.support.builders import active, notice
from tests.support.scenario import LATER, Scenario
from tests.support.settings import with_settings

ACTOR = Actor(address="boss@example.com", directory_id="u0")


def drift(scenario: Scenario) -> Report:
    """List Keeper; returns what was found."""
    scenario.fakes.clock.advance(LATER)
    scenario.plan(RunKind.DRIFT)
    scenario.work_off()
    report = scenario.services.unprovisioned.get("c1")
    assert report is not None
    return report


def lose_the_roster(scenario: Scenario) -> None:
    scenario.fakes.store.shards.clear()


@pytest.fixture
def lost(scenario):
    """A leaver of every kind whose account is active, and no roster."""
    scenario.hire("u4", "dan@example.com")
    notice(scenario, "u4", "add")
    scenario.suspend("u1")
    scenario.delete("u2")
    scenario.leave("u3")
    lose_the_roster(scenario)
    scenario.fakes.clock.advance(timedelta(days=2))
    scenario.run()
    assert [active(scenario, user_id) for user_id in ("u1", "u2", "u3")] == [[True]] * 3
    return scenario


def test_after_the_roster_was_lost_every_leaver_is_found_by_their_id(lost):
    report = drift(lost)
    assert [(row.user_id, row.by, row.offer, row.presence) for row in report.accounts] == [
        ("u1", By.EXTERNAL_ID, Offer.ALL, Presence.SUSPENDED),
        ("u2", By.EXTERNAL_ID, Offer.ALL, Presence.DELETED),
        ("u3", By.EXTERNAL_ID, Offer.CHOSEN, Presence.ACTIVE),
    ]
    run = max(lost.fakes.store.runs["c1"].values(), key=lambda run: run.started)
    assert "Active accounts in Keeper that nobody provisions: 3, 2 of them leavers'" in run.notes


def test_each_says_what_it_probably_is_and_since_when_it_is_known(lost):
    first = drift(lost)
    assert [row.suggestion for row in first.accounts] == [
        Suggestion.LEAVER,
        Suggestion.LEAVER,
        Suggestion.OUT_OF_SCOPE,
    ]
    assert {row.found for row in first.accounts} == {first.at}
    lost.fakes.keeper.accounts["k99"] = replace(
        next(iter(lost.fakes.keeper.accounts.values())), scim_id="k99", user_name="robot@example.com", external_id=""
    )
    later = drift(lost)
    assert later.at > first.at
    assert {row.user_name: row.found for row in later.accounts if row.suggestion is Suggestion.SHARED} == {
        "robot@example.com": later.at
    }
    assert {row.found for row in later.accounts} == {first.at, later.at}


def test_what_is_ignored_is_not_taken_over_together_nor_counted(lost):
    report = drift(lost)
    ignored = report.accounts[0].scim_id
    ignore(lost.services, "c1", [ignored], "  Asked for by the works council ", ACTOR)
    assert lost.services.unprovisioned.ignored("c1")[ignored].note == "Asked for by the works council"
    reviewed = review(lost.services, lost.connection)
    assert [line.person.account for line in reviewed.those(Shown.UNPROVISIONED)] == sorted(
        row.scim_id for row in report.accounts[1:]
    )
    drift(lost)
    run = max(lost.fakes.store.runs["c1"].values(), key=lambda run: run.started)
    assert "Active accounts in Keeper that nobody provisions: 2, 1 of them leavers'" in run.notes
    assert take_over(lost.services, "c1", None, ACTOR) == 1
    ignore_no_more(lost.services, "c1", [ignored], ACTOR)
    assert take_over(lost.services, "c1", None, ACTOR) == 1
    told = [event.reason for event in lost.fakes.store.events["c1"].values() if "gnores" in event.reason]
    assert told[0].startswith("Ignores 1 account that nobody provisions (Asked for by the works council): ")
    assert told[1].startswith("No longer ignores 1 account that nobody provisions: ")


@pytest.mark.parametrize(
    ("accounts", "note", "field"),
    [(["k1"], "", "note"), (["k1"], "x" * 301, "note"), (["k1"], "a\nb", "note"), ([], "why", "accounts"),
     (["nobody"], "why", "accounts")],
)  # fmt: skip
def test_ignoring_needs_an_account_of_the_list_and_a_reason(lost, accounts, note, field):
    report = drift(lost)
    chosen = [report.accounts[0].scim_id if each == "k1" else each for each in accounts]
    with pytest.raises(BadInput) as refused:
        ignore(lost.services, "c1", chosen, note, ACTOR)
    assert refused.value.field == field
    assert lost.services.unprovisioned.ignored("c1") == {}


def test_what_is_offered_together_is_deprovisioned_and_the_rest_stays(lost):
    drift(lost)
    assert take_over(lost.services, "c1", None, ACTOR) == 2
    lost.run()
    assert [active(lost, user_id) for user_id in ("u1", "u2", "u3", "u4")] == [[False], [False], [True], [True]]
    assert [row.user_id for row in drift(lost).accounts] == ["u3"]
    assert take_over(lost.services, "c1", None, ACTOR) == 0


def test_who_is_out_of_scope_is_taken_over_only_if_chosen(lost):
    rows = {row.user_id: row.scim_id for row in drift(lost).accounts}
    assert take_over(lost.services, "c1", [rows["u3"]], ACTOR) == 1
    lost.run()
    assert [active(lost, user_id) for user_id in ("u1", "u3")] == [[True], [False]]


def test_an_account_that_is_being_adopted_at_this_moment_is_left_out(lost):
    (first, *_) = drift(lost).accounts
    now = lost.fakes.clock.now
    mark = Mark(change_id="c9", message_id="m9", action=Action.CREATE, until=now + timedelta(minutes=1))
    at_it = Edit(entries={"u9": Entry(user_id="u9", mark=mark)})
    lost.services.roster.commit(lost.connection, ["u9"], lambda _known: (at_it, None))
    lost.services.claims.claim("c1", first.scim_id, Claim(user_id="u9", change_id="c9"))
    assert take_over(lost.services, "c1", [first.scim_id], ACTOR) == 0
    entry = lost.entry(first.user_id)
    assert entry is not None
    assert entry.scim_id == ""


def test_an_account_that_a_worker_claims_before_it_is_recorded_is_put_back(lost):
    """A claim without a mark can be lost until the roster has the account."""
    (first, *_) = drift(lost).accounts
    roster, now = lost.services.roster, lost.fakes.clock.now
    mark = Mark(change_id="c9", message_id="m9", action=Action.CREATE, until=now + timedelta(minutes=1))

    class Overtaken:
        def __getattr__(self, name):
            return getattr(roster, name)

        def commit_in_parts(self, connection, user_ids, edit):
            at_it = Edit(entries={"u9": Entry(user_id="u9", mark=mark)})
            roster.commit(connection, ["u9"], lambda _known: (at_it, None))
            assert claim(lost.services, connection, first.scim_id, Claim(user_id="u9", change_id="c9"))
            return roster.commit_in_parts(connection, user_ids, edit)

    services = replace(lost.services, roster=Overtaken())
    before = lost.entry(first.user_id)
    assert take_over(services, "c1", [first.scim_id], ACTOR) == 0
    entry = lost.entry(first.user_id)
    assert (entry.scim_id, entry.status, entry.taken_over) == ("", before.status, False)
    told = [event.reason for event in lost.fakes.store.events["c1"].values() if event.user_id == first.user_id]
    assert [reason.split(":")[0] for reason in told][-2:] == [
        "Taken over to be deprovisioned",
        "Not taken over after all",
    ]


def test_timers_run_from_the_directorys_own_time_and_nothing_is_renamed_meanwhile(lost):
    week = Delays(suspend_after=7)
    policy = Deprovisioning(app_off=week, suspended=week, deleted=week)
    lost.services.connections.change("c1", lambda current: with_settings(current, deprovisioning=policy))
    before = lost.keeper.of("u1")
    lost.rename("u1", "Renamed")
    drift(lost)
    take_over(lost.services, "c1", None, ACTOR)
    lost.run()
    lost.fakes.clock.advance(timedelta(days=4))
    lost.run()
    assert lost.keeper.of("u1") == before
    lost.fakes.clock.advance(timedelta(days=1))
    lost.run()
    (account,) = lost.keeper.of("u1")
    assert (account.active, account.attributes) == (False, before[0].attributes)


def test_above_the_limit_they_are_one_held_plan():
    scenario = Scenario(limit=2)
    for number in range(10, 14):
        scenario.keeper.seed(f"x{number}@example.com", f"u{number}")
        scenario.hire(f"u{number}", f"x{number}@example.com")
        scenario.suspend(f"u{number}")
    scenario.run()
    drift(scenario)
    assert take_over(scenario.services, "c1", None, ACTOR) == 4
    scenario.run()
    (hold,) = scenario.services.holds.standing("c1")
    assert hold.counts() == {"suspend": 4}
    assert all(active(scenario, f"u{number}") == [True] for number in range(10, 14))


def test_by_address_only_if_chosen_and_never_by_an_alias(scenario):
    scenario.hire("u4", "dan@example.com")
    scenario.alias("u4", "danny@example.com")
    scenario.suspend("u4")
    primary = scenario.keeper.seed("dan@example.com")
    alias = scenario.keeper.seed("danny@example.com")
    report = drift(scenario)
    assert {row.user_name: (row.by, row.offer) for row in report.accounts} == {
        "dan@example.com": (By.ADDRESS, Offer.CHOSEN),
        "danny@example.com": (By.NOTHING, Offer.NONE),
    }
    assert take_over(scenario.services, "c1", None, ACTOR) == 0
    with pytest.raises(BadInput, match="not offered"):
        take_over(scenario.services, "c1", [alias.scim_id], ACTOR)
    assert take_over(scenario.services, "c1", [primary.scim_id], ACTOR) == 1
    scenario.run()
    assert not scenario.keeper.accounts[primary.scim_id].active
    assert scenario.keeper.accounts[alias.scim_id].active


def test_an_address_that_passed_to_somebody_else_is_theirs(scenario):
    scenario.delete("u1")
    notice(scenario, "u1", "delete")
    scenario.hire("u4", "ada@example.com")
    scenario.leave("u4")
    second = scenario.keeper.seed("eve@example.com")
    lose_the_roster(scenario)
    (row,) = [row for row in drift(scenario).accounts if row.scim_id == second.scim_id]
    assert (row.by, row.offer) == (By.NOTHING, Offer.NONE)


def test_an_account_unlocked_when_its_owner_was_long_forgotten_is_found(scenario):
    scenario.delete("u1")
    notice(scenario, "u1", "delete")
    (account,) = scenario.keeper.of("u1")
    scenario.directory.removed.clear()
    scenario.fakes.clock.advance(timedelta(days=31))
    scenario.run()
    assert scenario.entry("u1") is None
    scenario.keeper.accounts[account.scim_id] = replace(account, active=True)
    (row,) = drift(scenario).accounts
    assert (row.by, row.offer, row.user_id) == (By.UNKNOWN_ID, Offer.CHOSEN, "u1")
    take_over(scenario.services, "c1", [row.scim_id], ACTOR)
    scenario.run()
    scenario.run()
    assert active(scenario, "u1") == [False]


def test_who_is_about_to_be_adopted_is_no_part_of_it(scenario):
    scenario.keeper.seed("dan@example.com")
    scenario.hire("u4", "dan@example.com")
    assert drift(scenario).accounts == ()


def test_a_second_account_is_told_and_not_offered(scenario):
    scenario.keeper.seed("second@example.com", "u1")
    (row,) = drift(scenario).accounts
    assert (row.user_id, row.by, row.offer) == ("u1", By.EXTERNAL_ID, Offer.NONE)


def test_the_directory_is_listed_for_it_only_when_there_is_something_new(scenario, monkeypatch):
    scenario.keeper.seed("stranger@example.com")
    drift(scenario)
    listed = []
    users = scenario.directory.users
    monkeypatch.setattr(scenario.directory, "users", lambda fields: listed.append(1) or users(fields))
    drift(scenario)
    assert listed == []
    scenario.keeper.seed("another@example.com")
    assert len(drift(scenario).accounts) == 2
    assert listed == [1]
    scenario.fakes.clock.advance(timedelta(days=1))
    drift(scenario)
    assert listed == [1, 1]


def test_a_listing_that_breaks_off_tells_nothing(lost):
    lost.directory.broken_after = 1
    lost.fakes.clock.advance(LATER)
    lost.plan(RunKind.DRIFT)
    assert lost.services.unprovisioned.get("c1") is None
    with pytest.raises(NotFound):
        take_over(lost.services, "c1", None, ACTOR)


def test_who_came_back_is_provisioned_again(lost):
    drift(lost)
    take_over(lost.services, "c1", None, ACTOR)
    lost.run()
    lost.restore("u1")
    lost.rename("u1", "Back")
    lost.run()
    lost.run()
    (account,) = lost.keeper.of("u1")
    assert (account.active, account.attributes["name.givenName"]) == (True, "Back")
    assert (lost.entry("u1").status, lost.entry("u1").taken_over) == (Status.ACTIVE, False)


def test_an_account_taken_over_by_address_is_theirs_once_they_are_in_scope_and_untouched_before(scenario, monkeypatch):
    policy = Deprovisioning(app_off=Delays(suspend_after=30))
    scenario.services.connections.change("c1", lambda current: with_settings(current, deprovisioning=policy))
    scenario.hire("u4", "dan@example.com")
    scenario.leave("u4")
    primary = scenario.keeper.seed("dan@example.com")
    drift(scenario)
    take_over(scenario.services, "c1", [primary.scim_id], ACTOR)
    unknown = scenario.directory.is_member
    monkeypatch.setattr(scenario.directory, "is_member", silent)
    notice(scenario, "u4")
    assert scenario.keeper.accounts[primary.scim_id] == primary
    monkeypatch.setattr(scenario.directory, "is_member", unknown)
    scenario.run()
    assert scenario.keeper.accounts[primary.scim_id] == primary
    scenario.join("u4")
    scenario.run()
    account = scenario.keeper.accounts[primary.scim_id]
    assert (account.external_id, account.attributes["name.givenName"]) == ("u4", "New")
    assert (scenario.entry("u4").status, scenario.entry("u4").taken_over) == (Status.ACTIVE, False)


def test_an_account_taken_over_is_theirs_when_they_return_though_the_answer_to_its_suspension_was_lost(
    lost, monkeypatch
):
    (account,) = lost.keeper.of("u1")
    lost.keeper.accounts[account.scim_id] = replace(account, external_id="")
    drift(lost)
    take_over(lost.services, "c1", [account.scim_id], ACTOR)
    put = lost.keeper.write

    def lose(write: Write) -> None:
        put(write)
        raise Unresolved("The answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(lost.keeper, "write", lose)
        lost.run()
    lost.reconcile_to_the_end()
    assert (lost.entry("u1").status, lost.entry("u1").taken_over) == (Status.SUSPENDED, True)
    lost.restore("u1")
    lost.reconcile_to_the_end()
    assert (lost.entry("u1").status, lost.entry("u1").taken_over) == (Status.ACTIVE, False)
    assert lost.keeper.accounts[account.scim_id] == account


def silent(_group_id: str, _user_id: str) -> bool:
    raise Incomplete("the directory does not tell")


def test_each_one_has_its_line_in_the_audit(lost):
    drift(lost)
    take_over(lost.services, "c1", None, ACTOR)
    told = [event for event in lost.fakes.store.events["c1"].values() if event.actor == ACTOR.address]
    assert {(event.user_id, event.name.value) for event in told} == {
        ("u1", "Adopt User By Auto Provisioning"),
        ("u2", "Adopt User By Auto Provisioning"),
    }
    assert all("Taken over to be deprovisioned" in event.reason for event in told)
