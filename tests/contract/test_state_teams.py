"""The contract of what is kept about teams."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from autoprovisioning.adapters.firestore import teams
from autoprovisioning.app.administration.teams import existing_team, review_teams
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.event_search import Filters
from autoprovisioning.domain.events import Actor, Stamp, configured
from autoprovisioning.domain.memberships import ApprovedRemovals, Removals
from autoprovisioning.domain.people import Listed
from autoprovisioning.domain.teams import ConfirmedAdoption, GroupTeam, Namesake, Obstacle, TeamState
from autoprovisioning.entrypoints.console.pages.teams import LATEST
from tests.contract.state_stores import HOME, IN_FIRESTORE, Firestore
from tests.support.builders import DAY, NOW

ENGINEERS = GroupTeam(
    group_id="g1",
    name="Engineers & <Köln>",
    email="engineers@example.com",
    state=TeamState.REFUSED,
    since=NOW,
    team_id="t-1",
    team_name="Builders",
    reason="Keeper refuses",
    created=NOW - DAY,
    people=3,
    unread=True,
    held=2,
    removals=Removals(since=NOW - DAY, users=("u1", "u2")),
)
SALES = GroupTeam(
    group_id="g2",
    name="Sales",
    email="",
    state=TeamState.NAME_TAKEN,
    since=NOW,
    namesake=Namesake(team_id="t-9", name="sales", external_id="x", obstacle=Obstacle.OWNED),
)
TOLD = configured(Stamp(id="x1", at=NOW, by=Actor(address="run r1")), "Created the team Engineers.")


def test_they_are_kept_by_group_in_place_of_those_before_with_what_was_done(state):
    assert dict(state.teams.get("c1")) == {}
    state.teams.change("c1", lambda _: {"g1": ENGINEERS, "g2": SALES}, [TOLD])
    assert dict(state.teams.get("c1")) == {"g1": ENGINEERS, "g2": SALES}
    assert dict(state.teams.get("c2")) == {}
    assert state.audited("c1") == {"x1"}
    state.teams.change("c1", lambda _: {"g2": SALES})
    assert dict(state.teams.get("c1")) == {"g2": SALES}


def test_an_edit_that_lost_a_race_is_made_anew_and_one_that_changes_nothing_is_not_written(state):
    state.teams.change("c1", lambda _: {"g1": ENGINEERS})

    def edit(known):
        if "g2" not in known:
            state.teams.change("c1", lambda current: {**current, "g2": SALES})
        return {**known, "g1": replace(ENGINEERS, held=0)}

    kept = state.teams.change("c1", edit, [TOLD])
    assert kept == state.teams.get("c1") == {"g1": replace(ENGINEERS, held=0), "g2": SALES}
    assert state.audited("c1") == {"x1"}
    assert state.teams.change("c1", lambda known: {**known}) == kept
    assert state.teams.get("c1") == kept


def test_an_approval_takes_the_place_of_the_one_before_and_of_those_that_are_over(state):
    assert dict(state.teams.approvals("c1")) == {}
    first = ApprovedRemovals(group_id="g1", digest="d1", by="boss@example.com", at=NOW)
    state.teams.approve("c1", first, TOLD)
    state.teams.approve("c1", replace(first, digest="d2", at=NOW + DAY / 2), replace(TOLD, id="x2"))
    assert state.teams.approvals("c1")["g1"].digest == "d2"
    state.teams.approve("c1", replace(first, group_id="g2", at=NOW + 2 * DAY), replace(TOLD, id="x3"))
    assert set(state.teams.approvals("c1")) == {"g2"}
    assert state.audited("c1") == {"x1", "x2", "x3"}
    assert dict(state.teams.approvals("c2")) == {}


def test_a_confirmed_adoption_takes_the_place_of_the_one_before_until_it_is_settled(state):
    assert dict(state.teams.adoptions("c1")) == {}
    first = ConfirmedAdoption(
        group_id="g1", name="Engineers", team_id="t-9", team_name="engineers", by="boss@example.com", at=NOW
    )
    second, other = replace(first, team_id="t-8"), replace(first, group_id="g2")
    state.teams.confirm("c1", first, TOLD)
    state.teams.confirm("c1", second, replace(TOLD, id="x2"))
    state.teams.confirm("c1", other, replace(TOLD, id="x3"))
    assert state.audited("c1") == {"x1", "x2", "x3"}
    state.teams.settle("c1", [first, other])
    assert dict(state.teams.adoptions("c1")) == {"g1": second}, "what was confirmed since stays"
    assert dict(state.teams.adoptions("c2")) == {}
    state.teams.confirm("c1", replace(other, at=NOW + 2 * DAY), replace(TOLD, id="x4"))
    assert set(state.teams.adoptions("c1")) == {"g2"}


def test_they_are_forgotten_with_the_connection(state):
    state.connections.create(HOME)
    state.teams.change("c1", lambda _: {"g1": ENGINEERS})
    confirmed = ConfirmedAdoption(group_id="g1", name="E", team_id="t", team_name="e", by="", at=NOW)
    state.teams.confirm("c1", confirmed, replace(TOLD, id="x2"))
    state.teams.approve("c1", ApprovedRemovals(group_id="g1", digest="d1", by="", at=NOW), TOLD)
    state.connections.purge("c1")
    assert dict(state.teams.approvals("c1")) == {}
    assert dict(state.teams.adoptions("c1")) == {}
    assert dict(state.teams.get("c1")) == {}


@pytest.mark.emulator
def test_a_document_takes_those_that_fit(firestore: Firestore, monkeypatch):
    monkeypatch.setattr(teams, "MOST_BYTES", 4_000)
    many = {f"g{number}": replace(SALES, group_id=f"g{number}") for number in range(99)}
    firestore.teams.change("c1", lambda _: many)
    kept = list(firestore.teams.get("c1"))
    assert kept == list(many)[: len(kept)]
    assert 5 < len(kept) < 99


@pytest.mark.emulator
def test_who_was_let_out_gives_way_to_the_teams(firestore: Firestore, monkeypatch):
    monkeypatch.setattr(teams, "MOST_BYTES", 4_000)
    long, short = (Removals(since=NOW, approved=tuple(map(str, range(number)))) for number in (2_000, 100))
    kept = {
        "g1": replace(ENGINEERS, removals=long),
        "g2": replace(SALES, removals=short),
        "g3": replace(SALES, group_id="g3"),
    }
    firestore.teams.change("c1", lambda _: kept)
    assert firestore.teams.get("c1") == {**kept, "g1": replace(ENGINEERS, removals=None)}


@pytest.mark.parametrize("firestore", IN_FIRESTORE, indirect=True)
def test_a_teams_page_reads_a_handful_of_documents(firestore: Firestore):
    """However many people and teams there are."""
    inside = Listed("ada@example.com", "Ada", Presence.ACTIVE, teams=("t-1",))
    many = {f"u{number}": inside for number in range(300)}
    firestore.people.put(HOME, NOW - DAY, many, {})
    teams = {f"g{number}": replace(ENGINEERS, group_id=f"g{number}") for number in range(50)}
    firestore.teams.change("c1", lambda _: teams)
    firestore.audit.record("c1", [replace(TOLD, id=f"e{number}", teams=("t-1",)) for number in range(30)])
    services = SimpleNamespace(people=firestore.people, teams=firestore.teams, clock=lambda: NOW)
    review_teams(services, HOME)
    firestore.reads.clear()
    reviewed, _ = review_teams(services, HOME)
    team = existing_team(reviewed, "g1")
    assert len(reviewed.people(team)) == 300
    assert firestore.reads == {"firestore_reads": 1}
    assert len(firestore.reports.events("c1", Filters(team=team.team_id), "", LATEST).items) == LATEST
    assert firestore.reads == {"firestore_reads": 1 + LATEST + 1}
