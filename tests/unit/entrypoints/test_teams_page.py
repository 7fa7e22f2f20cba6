"""The Teams page and its API: which groups become teams, and what became of each."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from autoprovisioning.domain.connections import State
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Entry, Status, Unseen
from autoprovisioning.domain.events import Actor, TeamUsage, of_team
from autoprovisioning.domain.mapping import AttributeMapping
from autoprovisioning.domain.memberships import Unsettled
from autoprovisioning.domain.people import Listed
from autoprovisioning.domain.requests import PREVIEW, Forecast, TeamsForeseen
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.scope import Group, Scope
from autoprovisioning.domain.team_review import needs
from autoprovisioning.domain.teams import MOST_LOST, GroupTeam, Namesake, Obstacle, TeamChoice, TeamState
from autoprovisioning.domain.words import GIVEN_UP, TEAM_NEEDS, TEAM_USAGE, TEAMS
from autoprovisioning.entrypoints.console.api.operations import ROOT
from autoprovisioning.entrypoints.console.pages import teams as pages
from autoprovisioning.entrypoints.pages import element
from tests.support.console import ADMIN, EVIL, HOME, READER, Place, full, sound
from tests.support.in_memory import START
from tests.support.plain_browser import Page as Shown
from tests.support.settings import with_settings

JSON = "application/json"
ENDPOINT = "https://keepersecurity.eu/api/rest/scim/v2/1"
PAGE = f"{HOME}/teams"
CHOICE = f"{HOME}/choose-teams"
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


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ([TeamState.THERE], "1 group is a team in Keeper"),
        ([TeamState.THERE, TeamState.THERE], "2 groups are teams in Keeper"),
        ([TeamState.THERE, TeamState.NAME_TAKEN], "1 of 2 groups is a team in Keeper"),
        ([TeamState.THERE, TeamState.THERE, TeamState.NAME_TAKEN], "2 of 3 groups are teams in Keeper"),
        ([TeamState.NAME_TAKEN], "None of 1 group is a team in Keeper"),
    ],
)
def test_it_begins_with_how_many_groups_are_teams(states, told):
    known = [team(state, group_id=f"g{number}") for number, state in enumerate(states)]
    text = re.sub(r"<[^>]+>", "", place(*known).open(PAGE, READER).text)
    assert told in text


def test_it_says_what_became_of_each_group_and_what_to_do_to_whoever_may_look():
    known = [
        team(state, team_id="t1", team_name="Old", reason=EVIL, people=3, held=2, unread=True) for state in TeamState
    ]
    page = place(*known, choice=TeamChoice(patterns=("keeper-*",))).open(PAGE, READER)
    sound(page)
    for state in TeamState:
        assert TEAMS[state][0].replace("'", "&#39;") in page.text
    assert "2 people are not taken out" in page.text
    assert "nobody is taken out" in page.text
    assert 'name="do"' not in page.text


def test_without_a_choice_it_says_what_will_be_there():
    page = place().open(PAGE)
    sound(page)
    assert "No group has been chosen in a full run yet." in page.text
    assert {PAGE, CHOICE} <= {*place().open(HOME).links()}
    assert CHOICE in page.links()
    assert "Groups: none" in place().open(HOME).text


def test_a_choice_is_shown_before_it_is_saved_and_saved_with_its_groups_resolved():
    here = place()
    typed = {
        "patterns": " KEEPER-* \nkeeper-*",
        "exclusions": "*-old",
        "most": "20",
    }
    found = here.browser().open(CHOICE).send("Teams", "search", q="engin", **typed)
    sound(found)
    shown = found.send("Teams", "add").send("Teams", "show")
    sound(shown)
    assert "2 groups would be chosen" in shown.text
    assert here.fakes.services.connections.get("c1").settings.teams == TeamChoice()
    ticked = dict.fromkeys(("roles", "empty_left", "remove_suspended"), "yes")
    saved = shown.send("Teams", "save", role_prefix="role-", pending_days="1", **ticked)
    assert saved.status == 200, saved.text
    assert here.fakes.services.connections.get("c1").settings.teams == TeamChoice(
        groups=(ENGINEERS,),
        patterns=("KEEPER-*", "keeper-*"),
        exclusions=("*-old",),
        role_prefix="role-",
        roles=True,
        most=20,
        empty_left=True,
        remove_suspended=True,
        pending_days=1,
    )
    assert here.fakes.queue.runs == [RunKind.FULL]
    (told,) = [event for event in here.fakes.store.events["c1"].values() if "teams" in event.changed]
    assert told.before == {"teams": "none"}
    chosen = "engineers@example.com, KEEPER-*, keeper-*, but *-old; at most 20"
    left = (
        "those of groups that left are emptied; whoever is suspended is taken out; what was sent is awaited for 1 day"
    )
    assert told.changed == {"teams": f"{chosen}; roles, which begin with role-, are made; {left}"}


def test_a_choice_is_previewed_with_its_numbers_and_saved_from_there():
    here = place()
    asked = here.browser().open(CHOICE).send("Teams", "preview", patterns="keeper-*")
    preview_id = asked.address.rpartition("/")[2]
    preview = here.fakes.services.requests.get(PREVIEW, "c1", preview_id)
    assert preview.subject.settings.teams == TeamChoice(patterns=("keeper-*",))
    told = TeamsForeseen(made=12, taken=3, memberships=1_204)
    here.fakes.services.requests.put(preview.done(START, Forecast(teams=told)))
    page = here.browser().open(f"{HOME}/previews/{preview_id}")
    sound(page)
    assert "<del>Groups: none</del>" in page.text
    assert "<ins>Groups: keeper-*; at most 50" in page.text
    assert "12 teams, 1,204 memberships; 3 names exist already in Keeper: adopt or leave." in page.text
    assert "Save and make 12 teams, 1,204 memberships in all" in page.buttons()
    shown = json.loads(here.open(f"{ROOT}{HOME}/previews/{preview_id}").text)["teams"]
    assert (shown["made"], shown["taken"], shown["memberships"]) == (12, 3, 1_204)
    page.send("Save changes", "save")
    assert here.fakes.services.connections.get("c1").settings.teams.patterns == ("keeper-*",)


@pytest.mark.parametrize("button", ["show", "save", "preview"])
@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"group": "nobody@example.com"}, "teams.groups"),
        ({"patterns": "*"}, "teams.patterns"),
        ({"exclusions": "?"}, "teams.exclusions"),
        ({"most": "many"}, "teams.most"),
        ({"most": "0"}, "teams.most"),
        ({"pending_days": "soon"}, "teams.pending_days"),
        ({"pending_days": "91"}, "teams.pending_days"),
    ],
)
def test_what_cannot_be_meant_is_named_and_what_was_typed_stays(typed, field, button):
    here = place()
    page = here.browser().open(CHOICE).send("Teams", button, **typed)
    sound(page)
    assert (page.status, f"#{element(field)}" in page.links()) == (400, True)
    ((name, text),) = typed.items()
    assert dict(page.form("Teams").fields)[name] == text
    assert here.fakes.services.connections.get("c1").settings.teams == TeamChoice()


def test_a_group_is_taken_out_of_the_choice_and_what_was_typed_stays():
    here = place(choice=TeamChoice(groups=(ENGINEERS, Group(id="g404", email="gone@example.com")), patterns=("a*",)))
    page = here.browser().open(CHOICE).send("Teams", "remove:g404", patterns="b*")
    sound(page)
    assert [value for name, value in page.form("Teams").fields if name == "group"] == ["g7"]
    assert dict(page.form("Teams").fields)["patterns"] == "b*"
    assert "engineers@example.com" in page.text
    assert here.fakes.services.connections.get("c1").settings.teams.patterns == ("a*",)


def test_a_directory_that_does_not_list_its_groups_loses_nothing_of_the_form():
    here = place()
    here.fakes.directory.unreadable.add("groups")
    page = here.browser().open(CHOICE).send("Teams", "show", patterns="keeper-*")
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
    here.browser().open(CHOICE).send("Teams", "save", patterns="")
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


@pytest.mark.parametrize("door", ["page of teams", "page of a team", "api"])
def test_a_team_to_whose_creation_keeper_gave_no_answer_is_asked_for_again(door):
    lost = team(TeamState.REFUSED, reason="Its answer was lost", asked=EVIL, lost=MOST_LOST)
    here = place(lost, choice=CHOSEN)
    for address in (PAGE, f"{PAGE}/g-refused"):
        page = here.open(address, READER)
        sound(page)
        assert {GIVEN_UP[0], "Its answer was lost"} <= {told for told in (*GIVEN_UP, lost.reason) if told in page.text}
        assert 'name="do"' not in page.text
    (item,) = json.loads(here.open(f"{ROOT}{PAGE}").text)["items"]
    assert (item["state"], item["given_up"]) == ("refused", True)
    match door:
        case "api":
            headers = {"Content-Type": JSON}
            ask = here.asking()
            answers = [ask("POST", f"{ROOT}{PAGE}/g-refused/retry", b"{}", headers) for _ in range(2)]
            assert [answer.status for answer in answers] == [200, 409]
        case "page of teams":
            assert "has been requested" in here.browser().open(PAGE).send("Decisions", "retry").text
        case _:
            assert "has been requested" in here.browser().open(f"{PAGE}/g-refused").send("Retry", "retry").text
    kept = here.fakes.services.teams.get("c1")["g-refused"]
    assert (kept.state, kept.lost, kept.asked) == (TeamState.WAITING, 0, "")
    assert here.fakes.queue.runs == [RunKind.FULL]


def ask_to_adopt(here: Place, body: object) -> tuple[int, object]:
    headers = {"Content-Type": "application/json"}
    answer = here.asking()("POST", f"{ROOT}{PAGE}/g-name_taken/adoption", json.dumps(body).encode(), headers)
    return answer.status, json.loads(answer.body)


def test_what_waits_in_keeper_and_what_somebody_ended_there_is_told_with_what_to_do():
    shown = Unsettled(waiting=1, since=START, late=2, ended=3)
    choice = replace(CHOSEN, pending_days=7)
    here = place(team(TeamState.THERE, team_id="t1", people=9, unsettled=shown), choice=choice)
    for page in (here.open(PAGE, READER), here.open(f"{PAGE}/g-there", READER)):
        sound(page)
        for told in (
            "1 person not seen there yet",
            "2 people not seen for 7 days",
            "3 people taken out in Keeper by somebody",
        ):
            assert told in page.text
    (item,) = json.loads(here.open(f"{ROOT}{PAGE}").text)["items"]
    assert item["unsettled"] == {"waiting": 1, "since": "2026-11-24T09:00:00Z", "late": 2, "ended": 3}
    assert item["unseen_since"] is None


@pytest.mark.parametrize("obstacle", Obstacle)
def test_a_team_that_cannot_be_adopted_is_not_offered_and_it_says_why(obstacle):
    namesake = Namesake(team_id="t9", name=EVIL, obstacle=obstacle)
    here = place(team(TeamState.NAME_TAKEN, namesake=namesake), choice=CHOSEN)
    page = here.open(PAGE)
    sound(page)
    assert f"cannot be adopted: {namesake.why}".replace("'", "&#39;") in page.text
    assert 'value="adopt' not in page.text
    assert ask_to_adopt(here, {"team_id": "t9", "team_name": EVIL})[0] == 409


def test_whoever_waits_for_somebody_comes_first_and_says_for_what_in_a_line():
    calm = team(TeamState.THERE, group_id="g1", name="Accounts", team_id="t1", team_name="Accounts")
    held = replace(calm, group_id="g2", name="Builders", team_name="", held=2, held_digest="d", unread=True)
    here = place(calm, held, replace(calm, group_id="g3", name="Cooks", state=TeamState.SENT))
    page = here.open(PAGE)
    sound(page)
    assert re.findall(r"<h2[^>]*>([^<]+)<span[^>]*>(\d+)", page.text) == [
        ("Waiting for somebody ", "1"),
        ("Nothing to be done ", "2"),
    ]
    assert re.findall(r'<th scope="row".*?>(\w+)</a>', page.text) == ["Builders", "Accounts", "Cooks"]
    told = re.findall(r"<summary>(.*?)</summary>", page.text, re.DOTALL)
    shown = [" ".join(re.sub(r"<[^>]+>", "", each).split()) for each in told]
    assert [each for each in shown if "Builders" in each or "Cooks" in each] == [
        "Take 2 people out? and 1 more for Builders: details",
        "Wait, or approve it in Keeper for Cooks: details",
    ]
    assert "<h2" not in here.open(f"{PAGE}?q=accounts").text


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"state": TeamState.THERE}, []),
        *(({"state": state}, [need]) for state, need in TEAM_NEEDS.items()),
        (
            {"namesake": Namesake(team_id="t9", name="x"), "state": TeamState.NAME_TAKEN},
            ["Adopt the team of this name?"],
        ),
        (
            {"namesake": Namesake(team_id="t9", name="x", obstacle=Obstacle.OWNED), "state": TeamState.NAME_TAKEN},
            [TEAM_NEEDS[TeamState.NAME_TAKEN]],
        ),
        ({"state": TeamState.LEFT, "held": 1}, ["Take 1 person out?"]),
        (
            {"state": TeamState.THERE, "unsettled": Unsettled(waiting=4, late=2), "unread": True},
            ["Look after 2 people in Keeper", "The group could not be read"],
        ),
    ],
)
def test_what_a_team_waits_for_is_said_in_short(given, wanted):
    assert needs(team(**given)) == wanted


def test_long_lists_have_pages(monkeypatch):
    monkeypatch.setattr(pages, "ROWS", 1)
    here = place(team(TeamState.THERE), team(TeamState.WAITING))
    assert "1&ndash;1 of 2" in here.open(PAGE).text
    assert f"{PAGE}?page=2" in here.open(PAGE).links()
    assert f"{PAGE}/g-waiting" in here.open(f"{PAGE}?page=2").links()


def in_it(user_id: str, name: str, inside: tuple[str, ...] | None, **entry: object) -> tuple[Listed, Entry]:
    """Somebody with the teams whose group has them, and as the roster has them."""
    listed = Listed(f"{user_id}@example.com", name, Presence.ACTIVE, teams=inside)
    known = Entry(user_id=user_id, email=listed.email, status=Status.ACTIVE, in_scope=True)
    return listed, replace(known, **entry)


def peopled(*teams: GroupTeam) -> Place:
    """A team with people who relate to it in every way."""
    here = place(*teams, choice=TeamChoice(patterns=("keeper-*",)))
    known = {
        "u1": in_it("u1", "Ada", ("t1",), teams=("t1",)),
        "u2": in_it("u2", EVIL, ("t1",), teams=("t1",), status=Status.SUSPENDED),
        "u3": in_it("u3", "Cyd", (), teams=("t1",)),
        "u4": in_it("u4", "Dan", ("t1",)),
        "u5": in_it("u5", "Eve", ("t1",), status=Status.SUSPENDED),
        "u6": in_it("u6", "Flo", ("t1",), asked=("t1",)),
        "u7": in_it("u7", "Gus", ("t2",), teams=("t2",)),
        "u8": in_it("u8", "Hal", ("t1",), teams=("t1",), unseen=(Unseen(team_id="t1", since=START),)),
        "u9": in_it("u9", "Ida", ("t1",), teams=("t1",), unseen=(Unseen(team_id="t1", since=START, seen=True),)),
    }
    roster = {user_id: entry for user_id, (_, entry) in known.items()}
    here.fakes.store.shards["c1", 0] = (1, roster)
    listed = {user_id: each for user_id, (each, _) in known.items()}
    here.fakes.services.people.put(full(), START, listed, roster)
    return here


def test_people_are_counted_by_how_they_relate_to_a_team():
    here = peopled(team(TeamState.THERE, team_id="t1", team_name="Old"), team(TeamState.REFUSED))
    listed = json.loads(here.open(f"{ROOT}{PAGE}").text)
    counts = {
        item["state"]: [item[name] for name in ("people", "joins", "leaves", "waits")] for item in listed["items"]
    }
    assert counts == {"there": [5, 1, 1, 3], "refused": [None] * 4}
    page = here.open(PAGE)
    sound(page)
    assert "<strong>5 memberships</strong>" in page.text


def test_whoever_was_put_into_a_team_since_the_full_run_is_in_it():
    here = peopled(team(TeamState.THERE, team_id="t1"))
    _, roster = here.fakes.store.shards["c1", 0]
    roster["u4"] = replace(roster["u4"], teams=("t1",))
    roster["u3"] = replace(roster["u3"], teams=())
    roster["u7"] = replace(roster["u7"], teams=("t1", "t2"))  # joined the group since: no full run knows
    [item] = json.loads(here.open(f"{ROOT}{PAGE}").text)["items"]
    assert [item[name] for name in ("people", "joins", "leaves", "waits")] == [6, 0, 0, 3]


ONE = f"{PAGE}/g-there"


def members(page: Shown) -> dict[str, str]:
    """Return how each person relates to the team, by the links of the table."""
    rows = re.findall(r'<tr role="row">\s*<th scope="row"(.*?)</tr>', page.text, re.DOTALL)
    return {
        found[1]: re.sub(r".*>", "", re.findall(r'data-label="Team">(.*?)</span>', row)[0])
        for row in rows
        if (found := re.search(r"/users/(\w+)", row))
    }


def test_the_page_of_a_team_says_who_is_in_it_and_why():
    here = peopled(team(TeamState.THERE, team_id="t1", team_name="Old", created=START, held=1, held_digest="d" * 32))
    page = here.open(ONE)
    sound(page)
    assert members(page) == {
        "u1": "In the team",
        "u2": "In the team",
        "u3": "To leave",
        "u4": "To join",
        "u5": "Without access",
        "u6": "Not answered",
        "u8": "Waits in Keeper",
        "u9": "Taken out there",
    }
    assert "Keeps it while without access" in page.text
    assert "Left the group; stays until removals are approved, as 1 at once are many" in page.text
    assert "In the group; joins with the next sweep or run" in page.text
    assert "In the group; joins once access is back" in page.text
    assert "Commander" in page.text
    done = here.browser().open(ONE).send("Decisions", "remove")
    assert "Approved." in done.text
    assert {"u4"} == members(here.open(f"{ONE}?membership=joins")).keys()
    assert {"u1"} == members(here.open(f"{ONE}?q=ada")).keys()
    assert members(here.open(f"{ONE}?q=nobody")) == {}
    listed = json.loads(here.open(f"{ROOT}{ONE}/people?membership=leaves&limit=1").text)
    assert [(who["user_id"], who["membership"]) for who in listed["items"]] == [("u3", "leaves")]
    assert listed["counts"] == {"inside": 2, "unseen": 1, "ended": 1, "asked": 1, "joins": 1, "waits": 1, "leaves": 1}
    assert len(here.open(f"{ROOT}{ONE}/people.csv?search=ada").text.splitlines()) == 2
    assert json.loads(here.open(f"{ROOT}{ONE}").text)["leaves"] == 1


@pytest.mark.parametrize("state", TeamState)
@pytest.mark.parametrize("role", [READER, ADMIN])
def test_the_page_of_a_team_in_any_state_says_what_to_do(state, role):
    page = peopled(team(state, team_id="t1", team_name="Old", reason=EVIL, unread=True)).open(f"{PAGE}/g-{state}", role)
    sound(page)
    assert TEAMS[state][0].replace("'", "&#39;") in page.text
    waits = team(state, team_id="t1").serves or state in (TeamState.SENT, TeamState.UNSEEN)
    assert ("What is to be done in Keeper" in page.text) is waits
    without = place(team(state)).open(f"{PAGE}/g-{state}")
    sound(without)
    assert "no team yet" in without.text


def test_a_group_that_was_never_chosen_has_no_page():
    assert place().open(f"{PAGE}/g9").status == 404
    assert place().open(f"{ROOT}{PAGE}/g9/people").status == 404


@pytest.mark.parametrize(
    ("state", "pilot", "reason"),
    [
        (State.PAUSED, None, "In the group; waits until the connection is reauthorized"),
        (State.ON, {"u1": "u1@example.com"}, "In the group; outside the pilot"),
    ],
)
def test_whoever_is_to_join_is_told_what_for(state, pilot, reason):
    here = peopled(team(TeamState.THERE, team_id="t1"))
    here.fakes.services.connections.change("c1", lambda known: replace(known, state=state, pilot=pilot))
    [item] = json.loads(here.open(f"{ROOT}{ONE}/people?search=dan").text)["items"]
    assert item["why"] == reason


def test_a_team_is_told_what_happened_to_it():
    here = peopled(team(TeamState.THERE, team_id="t1"))
    stamp = here.fakes.services.stamp(Actor(address="run r1"))
    made = of_team(stamp, "Created a team for the group e@example.com.", "t1", {}, {"team": EVIL})
    here.told.happened = (made, replace(made, id="x2", teams=("t2",), reason="Something else."))
    for page in (here.open(ONE), here.open(f"{HOME}/audit?team=t1"), here.open(f"{ROOT}{HOME}/events?team=t1")):
        assert "reated a team for the group" in page.text
        assert "omething else" not in page.text
    sound(here.open(ONE))
    sound(here.open(f"{HOME}/audit?team=t1"))


@pytest.mark.parametrize("door", [PAGE, f"{ROOT}{PAGE}", f"{ROOT}{PAGE}.csv"])
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"g-there", "g-refused", "g8"}),
        ("state=refused", {"g-refused"}),
        ("held=true", {"g-there"}),
        ("{search}=sales%20keeper", {"g8"}),
        ("{search}=nobody", set()),
    ],
)
def test_teams_are_filtered_and_searched_alike_at_every_door(door, query, found):
    here = place(
        team(TeamState.THERE, team_id="t1", held=2, held_digest="d"),
        team(TeamState.REFUSED),
        team(TeamState.WAITING, group_id=SALES.id, name="Sales", email=SALES.email),
    )
    asked = query.format(search="q" if door == PAGE else "search")
    page = here.open(f"{door}?{asked}" if asked else door)
    assert page.status == 200
    assert {group_id for group_id in ("g-there", "g-refused", "g8") if re.search(rf"{group_id}\b", page.text)} == found


def test_usage_counts_what_was_done_about_teams_apart_from_googles_events():
    here = place(choice=CHOSEN)
    here.told.used_for_teams = {TeamUsage.JOINED: 41, TeamUsage.RENAMED: 1}
    page = here.open(f"{HOME}/usage")
    sound(page)
    assert f'{TEAM_USAGE[TeamUsage.JOINED]}</th><td class="number">1,230</td>' in page.text  # of 30 days
    shown = json.loads(here.open(f"{ROOT}{HOME}/usage?days=2").text)
    assert shown["teams"] == {"joined": 82, "left": 0, "created": 0, "adopted": 0, "renamed": 2}
    assert shown["days"][0]["teams"] == {"joined": 41, "renamed": 1}
    assert TEAM_USAGE[TeamUsage.JOINED] not in place().open(f"{HOME}/usage").text


def test_a_name_that_a_spreadsheet_would_compute_is_none_in_the_download():
    csv = place(team(TeamState.THERE, name="=1+1")).open(f"{ROOT}{PAGE}.csv").text
    assert "\r\n'=1+1," in csv


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
        "remove_suspended": False,
        "pending_days": 14,
    }


def test_an_edit_of_something_else_leaves_the_choice():
    here = place(choice=TeamChoice(groups=(ENGINEERS,), patterns=("keeper-*",)))
    here.open(f"{HOME}/limits").send("Name and limits", "Save", name="Vault")
    kept = here.fakes.services.connections.get("c1").settings
    assert (kept.name, kept.teams) == ("Vault", TeamChoice(groups=(ENGINEERS,), patterns=("keeper-*",)))
