"""The Teams page and its API: which groups become teams, and what became of each."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from autoprovisioning.domain.mapping import AttributeMapping
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.scope import Group, Scope
from autoprovisioning.domain.teams import GroupTeam, Namesake, Obstacle, TeamChoice, TeamState
from autoprovisioning.domain.words import TEAMS
from autoprovisioning.entrypoints.console.api.operations import ROOT
from autoprovisioning.entrypoints.console.pages import settings
from tests.support.console import EVIL, HOME, READER, Place, full, sound
from tests.support.in_memory import START
from tests.support.settings import with_settings

JSON = "application/json"
ENDPOINT = "https://keepersecurity.eu/api/rest/scim/v2/1"
PAGE = f"{HOME}/teams"
ENGINEERS = Group(id="g7", email="engineers@example.com", name="Engineers")
SALES = Group(id="g8", email="keeper-sales@example.com", name=EVIL)


def place(*teams: GroupTeam, choice: TeamChoice | None = None) -> Place:
    plain = {"name": "Keeper", "endpoint": ENDPOINT, "mapping": AttributeMapping(), "scope": Scope()}
    here = Place(with_settings(full(), **plain, teams=choice or TeamChoice()))
    here.fakes.directory.groups |= {group.id: group for group in (ENGINEERS, SALES)}
    here.fakes.services.teams.change("c1", lambda _: {team.group_id: team for team in teams})
    return here


def team(state: TeamState, **more: object) -> GroupTeam:
    return replace(GroupTeam(group_id=f"g-{state}", name=EVIL, email="e@example.com", state=state, since=START), **more)


def test_it_says_what_became_of_each_group_and_what_to_do_to_whoever_may_look():
    known = [
        team(state, team_id="t1", team_name="Old", reason=EVIL, people=3, held=2, unread=True) for state in TeamState
    ]
    page = place(*known, choice=TeamChoice(patterns=("keeper-*",))).open(PAGE, READER)
    sound(page)
    for state in TeamState:
        assert TEAMS[state][0].replace("'", "&#39;") in page.text
    assert "2 people left the group and stay" in page.text
    assert "nobody is taken out" in page.text
    assert 'name="do"' not in page.text


def test_without_a_choice_it_says_what_will_be_there():
    page = place().open(PAGE)
    sound(page)
    assert "No group has been chosen in a full run yet." in page.text
    assert PAGE in place().open(HOME).links()
    assert "Groups: none" in place().open(HOME).text


def test_a_choice_is_shown_before_it_is_saved_and_saved_with_its_groups_resolved():
    here = place()
    typed = {
        "groups": "engineers@example.com\n\n",
        "patterns": " KEEPER-* \nkeeper-*",
        "exclusions": "*-old",
        "most": "20",
    }
    shown = here.browser().open(PAGE).send("Teams", "show", **typed)
    sound(shown)
    assert "2 groups would be chosen" in shown.text
    assert here.fakes.services.connections.get("c1").settings.teams == TeamChoice()
    saved = shown.send("Teams", "save", role_prefix="role-", roles="yes", empty_left="yes")
    assert saved.status == 200, saved.text
    assert here.fakes.services.connections.get("c1").settings.teams == TeamChoice(
        groups=(ENGINEERS,),
        patterns=("KEEPER-*", "keeper-*"),
        exclusions=("*-old",),
        role_prefix="role-",
        roles=True,
        most=20,
        empty_left=True,
    )
    assert here.fakes.queue.runs == [RunKind.FULL]
    (told,) = [event for event in here.fakes.store.events["c1"].values() if "teams" in event.changed]
    assert told.before == {"teams": "none"}
    chosen = "engineers@example.com, KEEPER-*, keeper-*, but *-old; at most 20"
    left = "those of groups that left are emptied"
    assert told.changed == {"teams": f"{chosen}; roles, which begin with role-, are made; {left}"}


@pytest.mark.parametrize("button", ["show", "save"])
@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"groups": "nobody@example.com"}, "teams.groups"),
        ({"patterns": "*"}, "teams.patterns"),
        ({"exclusions": "?"}, "teams.exclusions"),
        ({"most": "many"}, "teams.most"),
        ({"most": "0"}, "teams.most"),
    ],
)
def test_what_cannot_be_meant_is_named_and_what_was_typed_stays(typed, field, button):
    here = place()
    page = here.browser().open(PAGE).send("Teams", button, **typed)
    sound(page)
    assert (page.status, f"#f-{field.replace('.', '-')}" in page.links()) == (400, True)
    ((name, text),) = typed.items()
    assert dict(page.form("Teams").fields)[name] == text
    assert here.fakes.services.connections.get("c1").settings.teams == TeamChoice()


def test_a_directory_that_does_not_list_its_groups_loses_nothing_of_the_form():
    here = place()
    here.fakes.directory.unreadable.add("groups")
    page = here.browser().open(PAGE).send("Teams", "show", patterns="keeper-*")
    sound(page)
    assert "groups.list broke off" in page.text
    assert dict(page.form("Teams").fields)["patterns"] == "keeper-*"


@pytest.mark.parametrize("door", ["page", "api"])
def test_removals_that_are_held_are_approved_for_those_who_were_seen(door):
    here = place(team(TeamState.THERE, team_id="t1", people=3, held=2, held_digest="d" * 32), choice=CHOSEN)
    if door == "page":
        done = here.browser().open(PAGE).send("Decisions", "remove")
        assert "Approved." in done.text
    else:
        headers = {"Content-Type": "application/json"}
        body = json.dumps({"digest": "d" * 32}).encode()
        answer = here.asking()("POST", f"{ROOT}{PAGE}/g-there/removals", body, headers)
        assert (answer.status, json.loads(answer.body)) == (200, {"people": 2})
    given = here.fakes.services.teams.approvals("c1")["g-there"]
    assert (given.digest, given.at) == ("d" * 32, START)
    assert here.fakes.queue.runs == [RunKind.FULL]
    late = here.asking()(
        "POST", f"{ROOT}{PAGE}/g-there/removals", b'{"digest": "e"}', {"Content-Type": "application/json"}
    )
    assert late.status == 412


def test_a_team_that_is_to_be_emptied_says_so():
    here = place(team(TeamState.LEFT, team_id="t1", people=3, held=2, held_digest="d" * 32), choice=CHOSEN)
    page = here.open(PAGE)
    sound(page)
    assert "To be emptied" in page.text
    assert "Take 2 people out" in page.text
    assert "left the group" not in page.text


def test_once_no_group_is_chosen_nobody_is_offered_to_be_taken_out():
    held = team(TeamState.THERE, team_id="t1", people=3, held=2, held_digest="d" * 32)
    here = place(held, team(TeamState.WAITING), choice=CHOSEN)
    here.browser().open(PAGE).send("Teams", "save", patterns="")
    page = here.open(PAGE)
    sound(page)
    assert 'value="remove' not in page.text
    assert TEAMS[TeamState.LEFT][0] in page.text
    assert set(here.fakes.services.teams.get("c1")) == {"g-there"}
    answer = here.asking()(
        "POST", f"{ROOT}{PAGE}/g-there/removals", json.dumps({"digest": "d" * 32}).encode(), {"Content-Type": JSON}
    )
    assert answer.status == 412


CHOSEN = TeamChoice(patterns=("keeper-*",))


@pytest.mark.parametrize("door", ["page", "api"])
def test_an_adoption_is_confirmed_for_the_team_that_was_seen(door):
    name = f"a:b/{EVIL}"
    here = place(team(TeamState.NAME_TAKEN, namesake=Namesake(team_id="t:9", name=name)), choice=CHOSEN)
    assert 'name="do" value="adopt' not in here.open(PAGE, READER).text
    if door == "page":
        page = here.browser().open(PAGE)
        sound(page)
        assert "Confirmed." in page.send("Decisions", "adopt").text
    else:
        (item,) = json.loads(here.open(f"{ROOT}{PAGE}").text)["items"]
        assert item["namesake"] == {"team_id": "t:9", "team_name": name, "external_id": "", "obstacle": None}
        body = {"team_id": "t:9", "team_name": name}
        assert ask_to_adopt(here, body) == (200, {"name": EVIL, "external_id": "g-name_taken"})
    confirmed = here.fakes.services.teams.adoptions("c1")["g-name_taken"]
    assert (confirmed.team_id, confirmed.team_name, confirmed.name, confirmed.at) == ("t:9", name, EVIL, START)
    assert here.fakes.queue.runs == [RunKind.FULL]
    assert ask_to_adopt(here, {"team_id": "t:9", "team_name": "other"})[0] == 412
    assert ask_to_adopt(here, {"team_id": "t:9"})[0] == 400


def ask_to_adopt(here: Place, body: object) -> tuple[int, object]:
    headers = {"Content-Type": "application/json"}
    answer = here.asking()("POST", f"{ROOT}{PAGE}/g-name_taken/adoption", json.dumps(body).encode(), headers)
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize("obstacle", Obstacle)
def test_a_team_that_cannot_be_adopted_is_not_offered_and_it_says_why(obstacle):
    namesake = Namesake(team_id="t9", name=EVIL, obstacle=obstacle)
    here = place(team(TeamState.NAME_TAKEN, namesake=namesake), choice=CHOSEN)
    page = here.open(PAGE)
    sound(page)
    assert f"cannot be adopted: {namesake.why}".replace("'", "&#39;") in page.text
    assert 'value="adopt' not in page.text
    assert ask_to_adopt(here, {"team_id": "t9", "team_name": EVIL})[0] == 409


def test_long_lists_have_pages(monkeypatch):
    monkeypatch.setattr(settings, "TEAMS_A_PAGE", 1)
    here = place(team(TeamState.THERE), team(TeamState.WAITING))
    assert "Page 1 of 2" in here.open(PAGE).text
    assert f"{PAGE}?page=2" in here.open(PAGE).links()
    assert TEAMS[TeamState.WAITING][0] in here.open(f"{PAGE}?page=2").text


def test_the_api_lists_them_in_pages_and_shows_and_takes_the_choice():
    here = place(team(TeamState.REFUSED, reason="no"), team(TeamState.THERE))
    first = json.loads(here.open(f"{ROOT}{PAGE}?limit=1").text)
    rest = json.loads(here.open(f"{ROOT}{PAGE}?limit=1&cursor={first['cursor']}").text)
    items = {item["state"]: item for item in (*first["items"], *rest["items"])}
    assert (first["total"], items["refused"]["reason"], items["there"]["created"]) == (2, "no", None)
    body = {"teams": {"groups": ["engineers@example.com"], "most": 7}}
    headers = {"Content-Type": "application/json", "If-Match": '"4"'}
    answer = here.asking()("PATCH", f"{ROOT}{HOME}", json.dumps(body).encode(), headers)
    assert answer.status == 200, answer.body
    assert json.loads(answer.body)["teams"] == {
        "groups": [{"id": "g7", "email": "engineers@example.com", "name": "Engineers"}],
        "patterns": [],
        "exclusions": [],
        "role_prefix": "",
        "roles": False,
        "most": 7,
        "empty_left": False,
    }


def test_an_edit_of_something_else_leaves_the_choice():
    here = place(choice=TeamChoice(groups=(ENGINEERS,), patterns=("keeper-*",)))
    here.open(f"{HOME}/limits").send("Name and limits", "Save", name="Vault")
    kept = here.fakes.services.connections.get("c1").settings
    assert (kept.name, kept.teams) == ("Vault", TeamChoice(groups=(ENGINEERS,), patterns=("keeper-*",)))
