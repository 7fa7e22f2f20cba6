"""Which groups become teams, and what is done about each: tables, and what must hold for any of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.team_plan import CREATIONS_A_RUN, plan_teams
from autoprovisioning.domain.teams import (
    RESTS,
    ConfirmedAdoption,
    GroupTeam,
    Namesake,
    Obstacle,
    Team,
    TeamChoice,
    TeamState,
    after_edit,
    team_name,
)
from tests.support.builders import DAY, NOW

ENGINEERS = Group(id="g1", email="engineers@example.com", name="Engineers")
SALES = Group(id="g2", email="keeper-sales@example.com", name="Sales")
CHOSEN = TeamChoice(groups=(ENGINEERS,))
KNOWN = GroupTeam(
    group_id="g1",
    name="Engineers",
    email=ENGINEERS.email,
    state=TeamState.THERE,
    since=NOW,
    team_id="t1",
    team_name="Engineers",
)


def planned(choice=CHOSEN, groups=(ENGINEERS,), teams=(), known=(), now=NOW, confirmed=()):
    by_group = ({each.group_id: each for each in some} for some in (known, confirmed))
    return plan_teams(choice, groups, teams, next(by_group), now=now, confirmed=next(by_group))


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (TeamChoice(), set()),
        (CHOSEN, {"g1"}),
        (TeamChoice(patterns=("KEEPER-*",)), {"g2"}),
        (TeamChoice(patterns=("engineer?",)), {"g1"}),
        (TeamChoice(patterns=("*@example.com",)), {"g1", "g2"}),
        (TeamChoice(patterns=("engineer",)), set()),
        (TeamChoice(patterns=("[es]*",)), set()),
        (TeamChoice(patterns=("*@example.com",), exclusions=("sales",)), {"g1"}),
        (TeamChoice(groups=(ENGINEERS,), exclusions=("eng*",)), set()),
    ],
)
def test_groups_are_chosen_by_id_and_by_patterns_over_name_and_address(choice, chosen):
    assert {group.id for group in (ENGINEERS, SALES) if choice.chooses(group)} == chosen
    assert choice.on is choice.followed is bool(choice.groups or choice.patterns)
    assert replace(choice, empty_left=True).followed


@pytest.mark.parametrize(
    ("choice", "field"),
    [
        (TeamChoice(patterns=("*",)), "teams.patterns"),
        (TeamChoice(patterns=("",)), "teams.patterns"),
        (TeamChoice(patterns=("a" * 201,)), "teams.patterns"),
        (TeamChoice(patterns=("a\nb",)), "teams.patterns"),
        (TeamChoice(patterns=("a",) * 51), "teams.patterns"),
        (TeamChoice(exclusions=("**",)), "teams.exclusions"),
        (TeamChoice(role_prefix="a\nb"), "teams.role_prefix"),
        (TeamChoice(most=0), "teams.most"),
        (TeamChoice(pending_days=0), "teams.pending_days"),
        (TeamChoice(pending_days=91), "teams.pending_days"),
        (TeamChoice(most=1_001), "teams.most"),
    ],
)
def test_what_cannot_be_meant_is_refused(choice, field):
    with pytest.raises(BadInput) as refused:
        choice.check()
    assert refused.value.field == field
    TeamChoice(patterns=("keeper-*",), exclusions=("*-old",), role_prefix="role ").check()


def test_a_group_without_a_name_gives_its_address():
    assert team_name(Group(id="g", email="g@example.com", name="  ")) == "g@example.com"


OURS = Team(id="t1", name="Engineers", external_id="g1")
THEIRS = Team(id="t9", name="engineers ")


@pytest.mark.parametrize(
    ("teams", "known", "state", "creates", "renames"),
    [
        pytest.param([], [], TeamState.WAITING, ["g1"], [], id="none there"),
        pytest.param([OURS], [], TeamState.THERE, [], [], id="carries the id"),
        pytest.param([OURS], [KNOWN], TeamState.THERE, [], [], id="ours"),
        pytest.param([replace(OURS, name="Old")], [KNOWN], TeamState.WAITING, [], ["t1"], id="other name"),
        pytest.param([replace(OURS, name="ENGINEERS")], [KNOWN], TeamState.WAITING, [], ["t1"], id="other case"),
        pytest.param([replace(OURS, name="Old"), THEIRS], [KNOWN], TeamState.NAME_TAKEN, [], [], id="new name taken"),
        pytest.param([OURS, replace(OURS, id="t2")], [KNOWN], TeamState.DOUBLE, [], [], id="two carry it"),
        pytest.param([THEIRS], [], TeamState.NAME_TAKEN, [], [], id="name of people's team"),
        pytest.param([replace(OURS, external_id="g7")], [], TeamState.NAME_TAKEN, [], [], id="another group's team"),
        pytest.param([], [KNOWN], TeamState.DELETED, [], [], id="deleted in Keeper"),
        pytest.param([replace(THEIRS, name="Engineers")], [KNOWN], TeamState.DELETED, [], [], id="made anew by people"),
    ],
)
def test_what_is_done_about_a_chosen_group(teams, known, state, creates, renames):
    plan = planned(teams=teams, known=known)
    assert plan.known["g1"].state is state
    assert [each.group_id for each in plan.creates] == creates
    assert [each.team_id for each in plan.renames] == renames


SENT = replace(KNOWN, created=NOW, unseen_since=NOW)


@pytest.mark.parametrize(
    ("teams", "days", "state", "serves"),
    [
        ([OURS], 0, TeamState.THERE, True),
        ([], 0, TeamState.SENT, False),
        ([], 13, TeamState.SENT, False),
        ([], 14, TeamState.UNSEEN, False),
        ([OURS], 14, TeamState.THERE, True),
        ([replace(THEIRS, name="Engineers")], 1, TeamState.SENT, False),
    ],
)
def test_a_team_that_was_sent_and_is_not_listed_is_awaited_and_never_sent_again(teams, days, state, serves):
    other = replace(ENGINEERS, id="g3", name="ENGINEERS", email="e@example.com")
    choice = TeamChoice(groups=(ENGINEERS, other), most=1)
    plan = planned(choice, (ENGINEERS, other), teams, [SENT], now=NOW + days * DAY)
    kept = plan.known["g1"]
    assert (kept.state, kept.serves, kept.team_id, kept.unseen_since) == (
        state, serves, "t1", None if serves else NOW,
    )  # fmt: skip
    assert plan.creates == []
    assert plan.known["g3"].state is TeamState.NAME_TAKEN
    again = planned(choice, (ENGINEERS, other), teams, plan.known.values(), now=NOW + days * DAY)
    assert again.known == plan.known


def test_a_team_that_was_seen_and_is_not_listed_was_deleted():
    seen = planned(teams=[OURS], known=[SENT]).known["g1"]
    assert planned(known=[seen]).known["g1"].state is TeamState.DELETED


def test_an_unseen_team_is_made_again_where_the_choice_says_so_anew():
    kept = planned(TeamChoice(), known=[SENT]).known
    assert [planned(known=kept.values()).creates, planned(known=kept.values()).known["g1"].state] == [
        [],
        TeamState.SENT,
    ]
    gone = planned(TeamChoice(), known=[SENT], now=NOW + DAY).known
    assert gone == {}
    assert [each.group_id for each in planned(known=gone.values()).creates] == ["g1"]


@pytest.mark.parametrize(
    ("known", "back"),
    [(SENT, TeamState.SENT), (replace(SENT, team_id=""), TeamState.SENT), (KNOWN, TeamState.DELETED)],
    ids=["awaited", "confirmed without an id", "deleted in Keeper"],
)
def test_no_second_team_is_made_of_a_group_that_a_listing_lacked(known, back):
    for days in (2, 3):
        known = planned(groups=(), known=[known], now=NOW + days * DAY).known["g1"]
        assert (known.state, known.serves) == (TeamState.LEFT, False)
    plan = planned(known=[known], now=NOW + 4 * DAY)
    assert (plan.known["g1"].state, plan.creates) == (back, [])
    assert planned(groups=(), known=[known], now=NOW + 16 * DAY).known == {}, "it is gone"
    by_name, renamed = TeamChoice(patterns=("eng*",)), replace(ENGINEERS, name="Sales", email="sales@example.com")
    assert planned(by_name, groups=(renamed,), known=[known], now=NOW + 4 * DAY).known == {}, "it is not chosen"


def test_a_group_that_left_the_choice_or_the_directory_keeps_its_team_and_is_kept_in_mind():
    for plan in (
        planned(TeamChoice(), teams=[OURS], known=[KNOWN], now=NOW + DAY),
        planned(groups=(), teams=[OURS], known=[KNOWN], now=NOW + DAY),
    ):
        assert plan.known == {"g1": replace(KNOWN, state=TeamState.LEFT, since=NOW + DAY)}
        assert not plan.creates + plan.renames
    assert planned(TeamChoice(), teams=[], known=[KNOWN]).known == {}
    assert planned(TeamChoice(), teams=[OURS], known=[]).known == {}


def test_once_no_group_is_chosen_what_has_a_team_is_kept_and_nobody_is_held():
    held = replace(KNOWN, held=2, held_digest="d", unread=True)
    waiting = replace(KNOWN, group_id="g2", team_id="", state=TeamState.WAITING)
    deleted = replace(KNOWN, group_id="g3", state=TeamState.DELETED)
    known = {each.group_id: each for each in (held, waiting, deleted)}
    assert after_edit(TeamChoice(), known, NOW + DAY) == {"g1": replace(KNOWN, state=TeamState.LEFT, since=NOW + DAY)}


def test_an_edit_of_the_choice_leaves_those_alone_that_it_still_chooses():
    other = replace(KNOWN, group_id="g2", name="Sales", email="sales@example.com")
    doubtful = replace(other, group_id="g3", team_id="", state=TeamState.WAITING, asked="Sales")
    kept = after_edit(CHOSEN, {"g1": KNOWN, "g2": other, "g3": doubtful}, NOW + DAY)
    left = replace(other, state=TeamState.LEFT, since=NOW + DAY)
    assert kept == {"g1": KNOWN, "g2": left, "g3": doubtful}, "of what is in doubt a run finds out whether it was made"


def test_what_somebody_renamed_before_its_creation_was_recorded_gets_its_name_back():
    asked = replace(KNOWN, team_id="", team_name="", state=TeamState.WAITING, asked="Engineers")
    plan = planned(teams=[Team(id="t1", name="Sales", external_id="g1")], known=[asked])
    assert [(each.team_id, each.name) for each in plan.renames] == [("t1", "Engineers")]


def test_since_tells_how_long_a_state_lasts():
    taken = planned(teams=[THEIRS]).known["g1"]
    later = planned(teams=[THEIRS], known=[taken], now=NOW + DAY).known["g1"]
    assert (later.since, later.state) == (NOW, TeamState.NAME_TAKEN)
    free = planned(known=[later], now=NOW + DAY).known["g1"]
    assert (free.since, free.state) == (NOW + DAY, TeamState.WAITING)


def test_what_failed_is_kept_in_mind_for_the_team_that_it_was_about():
    failed = replace(KNOWN, state=TeamState.REFUSED, reason="no")
    old = Team(id="t1", name="Old", external_id="g1")
    assert planned(teams=[old], known=[failed]).known["g1"] == failed
    plan = planned(teams=[replace(old, id="t2")], known=[failed])
    assert ([each.team_id for each in plan.renames], plan.known["g1"].team_id) == (["t2"], "t2")


def test_a_role_is_made_only_where_roles_are_chosen_and_no_team_becomes_one():
    choice = replace(CHOSEN, role_prefix="Eng")
    assert planned(choice).known["g1"].state is TeamState.ROLE
    assert [each.group_id for each in planned(replace(choice, roles=True)).creates] == ["g1"]
    renamed = planned(replace(choice, roles=True), teams=[replace(OURS, name="Builders")], known=[KNOWN])
    assert (renamed.known["g1"].state, renamed.renames) == (TeamState.ROLE, [])


@pytest.mark.parametrize("known", [[], [KNOWN]], ids=["of another tool", "ours"])
@pytest.mark.parametrize(("name", "external_id"), [("Engineers", "g1"), ("Engineers", ""), ("Builders", "g1")])
def test_nobody_is_put_into_a_role_that_is_there_unless_roles_are_chosen(known, name, external_id):
    choice, role = replace(CHOSEN, role_prefix="Eng"), replace(OURS, external_id=external_id)
    plan = planned(choice, (replace(ENGINEERS, name=name),), [role], known)
    assert (plan.known["g1"].state, plan.known["g1"].serves, plan.requests) == (TeamState.ROLE, False, [])
    again = planned(replace(choice, roles=True), teams=[replace(role, external_id="g1")], known=plan.known.values())
    assert (again.known["g1"].state, again.known["g1"].team_id) == (TeamState.THERE, "t1")


def test_from_an_edit_of_the_role_prefix_on_nobody_is_put_into_a_role():
    assert not after_edit(replace(CHOSEN, role_prefix="Eng"), {"g1": KNOWN}, NOW)["g1"].serves
    assert after_edit(replace(CHOSEN, role_prefix="Eng", roles=True), {"g1": KNOWN}, NOW)["g1"] == KNOWN


def test_two_groups_of_one_name_give_one_team():
    twin = replace(ENGINEERS, id="g3", email="others@example.com", name="ENGINEERS")
    plan = planned(TeamChoice(patterns=("*engineers*", "others*")), (ENGINEERS, twin))
    assert sorted(each.state for each in plan.known.values()) == [TeamState.NAME_TAKEN, TeamState.WAITING]
    assert len(plan.creates) == 1


def test_no_more_teams_are_made_than_are_allowed_and_existing_ones_count():
    groups = [Group(id=f"g{number}", email=f"k{number}@example.com", name=f"K{number}") for number in range(5)]
    there = [Team(id="t0", name="K4", external_id="g4")]
    plan = planned(TeamChoice(patterns=("k*",), most=3), groups, there)
    assert [each.group_id for each in plan.creates] == ["g0", "g1"]
    states = [plan.known[group.id].state for group in groups]
    assert states == [TeamState.WAITING] * 2 + [TeamState.TOO_MANY] * 2 + [TeamState.THERE]


def test_a_run_makes_a_hundred_teams_and_the_next_one_goes_on():
    groups = [Group(id=f"g{number:03}", email="", name=f"K{number:03}") for number in range(CREATIONS_A_RUN + 2)]
    plan = planned(TeamChoice(patterns=("k*",), most=500), groups)
    assert len(plan.creates) == CREATIONS_A_RUN
    assert {each.state for each in plan.known.values()} == {TeamState.WAITING}


CONFIRMED = ConfirmedAdoption(
    group_id="g1", name="Engineers", team_id="t9", team_name="engineers ", by="boss@example.com", at=NOW
)
TAKEN = replace(
    KNOWN, state=TeamState.NAME_TAKEN, team_id="", team_name="", namesake=Namesake(team_id="t9", name="engineers ")
)


@pytest.mark.parametrize(
    ("teams", "choice", "obstacle"),
    [
        pytest.param([THEIRS], CHOSEN, None, id="made by people"),
        pytest.param([replace(THEIRS, external_id="g2")], CHOSEN, Obstacle.OWNED, id="another group's"),
        pytest.param([replace(THEIRS, external_id="x")], CHOSEN, Obstacle.OWNED, id="another tool's"),
        pytest.param([THEIRS, replace(THEIRS, id="t8")], CHOSEN, Obstacle.SEVERAL, id="not the only one"),
        pytest.param(
            [THEIRS, replace(THEIRS, id="t8", external_id="x")], CHOSEN, Obstacle.OWNED, id="one of them is owned"
        ),
        pytest.param([THEIRS], replace(CHOSEN, role_prefix="eng"), Obstacle.ROLE, id="it is a role"),
        pytest.param([THEIRS], replace(CHOSEN, role_prefix="Eng", roles=True), Obstacle.ROLE, id="it would become one"),
        pytest.param([replace(THEIRS, id="")], CHOSEN, Obstacle.NO_ID, id="no usable id"),
    ],
)
def test_which_team_of_the_name_may_be_adopted(teams, choice, obstacle):
    plan = planned(choice, teams=teams)
    assert plan.known["g1"].namesake.obstacle is obstacle
    assert bool(plan.known["g1"].namesake.why) is (obstacle is not None)
    confirmed = replace(CONFIRMED, team_id=teams[0].id)
    assert not planned(choice, teams=teams).adopts, "never by itself"
    adopts = planned(choice, teams=teams, known=[TAKEN], confirmed=[confirmed]).adopts
    assert [each for _, each in adopts] == ([confirmed] if obstacle is None else [])


@pytest.mark.parametrize(
    ("teams", "groups", "choice", "told"),
    [
        ([], (ENGINEERS,), CHOSEN, "is not in Keeper any more"),
        ([replace(THEIRS, name="Engineers")], (ENGINEERS,), CHOSEN, "is called Engineers now"),
        ([replace(THEIRS, name="Board")], (ENGINEERS,), CHOSEN, "is called Board now"),
        ([replace(THEIRS, external_id="g7")], (ENGINEERS,), CHOSEN, "carries the externalId g7 now"),
        ([THEIRS], (replace(ENGINEERS, name="Builders"),), CHOSEN, "group is called Builders now"),
        ([THEIRS], (), CHOSEN, "not chosen any more"),
        ([THEIRS], (ENGINEERS,), TeamChoice(groups=(SALES,)), "not chosen any more"),
        ([THEIRS, OURS], (ENGINEERS,), CHOSEN, "a team of its own"),
        ([THEIRS, replace(THEIRS, id="t8")], (ENGINEERS,), CHOSEN, "several teams"),
        ([THEIRS], (ENGINEERS,), replace(CHOSEN, role_prefix="Eng"), "role"),
        (
            [THEIRS, replace(OURS, name="Sales", external_id="g2")],
            (ENGINEERS, SALES),
            TeamChoice(groups=(ENGINEERS, SALES), most=1),
            "as many teams as are allowed",
        ),
    ],
)
def test_a_confirmation_is_for_what_was_seen(teams, groups, choice, told):
    plan = planned(choice, groups, teams, [TAKEN], confirmed=[CONFIRMED])
    assert plan.adopts == []
    assert told in plan.lapsed["g1"]
    assert "boss@example.com" in plan.lapsed["g1"]
    kept = plan.known.get("g1")
    if kept is not None and kept.state is TeamState.NAME_TAKEN:
        assert kept.reason == plan.lapsed["g1"]
        assert planned(choice, groups, teams, [kept]).known["g1"].reason == kept.reason


def test_a_confirmation_does_not_last_and_is_settled_once_carried_out():
    assert planned(teams=[THEIRS], known=[TAKEN], confirmed=[CONFIRMED], now=NOW + DAY).adopts == []
    done = planned(teams=[replace(OURS, id="t9")], known=[TAKEN], confirmed=[CONFIRMED])
    assert (done.lapsed, done.known["g1"].state, done.known["g1"].namesake) == ({"g1": ""}, TeamState.THERE, None)


def test_an_adoption_that_failed_rests_and_is_tried_again_at_once_where_it_is_confirmed_anew():
    failed = replace(TAKEN, state=TeamState.REFUSED, reason="no", since=NOW)
    early = planned(teams=[THEIRS], known=[failed], confirmed=[CONFIRMED])
    assert (early.adopts, early.lapsed, early.known) == ([], {}, {"g1": failed})
    assert planned(teams=[THEIRS], known=[failed], confirmed=[CONFIRMED], now=NOW + RESTS).adopts
    anew = replace(CONFIRMED, at=NOW + RESTS / 2)
    assert planned(teams=[THEIRS], known=[failed], confirmed=[anew], now=NOW + RESTS / 2).adopts
    assert planned(teams=[THEIRS], known=[failed], now=NOW + DAY).known["g1"].state is TeamState.NAME_TAKEN


@pytest.mark.parametrize("known", [KNOWN, SENT], ids=["lost", "never taken"])
def test_a_team_of_ours_without_the_groups_id_is_offered_and_not_taken_for_deleted_or_awaited(known):
    for _ in range(2):
        known = planned(teams=[replace(OURS, external_id="")], known=[known]).known["g1"]
        assert (known.state, known.serves) == (TeamState.NAME_TAKEN, False)
        assert known.namesake == Namesake(team_id="t1", name="Engineers")


NAMES = st.sampled_from(["Engineers", "engineers", "Sales", "Board", "role-x", "keeper-1", ""])
IDS = st.sampled_from(["g1", "g2", "g3", "g4"])
GROUPS = st.lists(
    st.builds(Group, id=IDS, name=NAMES, email=st.just("any@example.com")), unique_by=lambda group: group.id
)
TEAMS = st.lists(
    st.builds(Team, id=st.sampled_from(["t1", "t2", "t3", "t4"]), name=NAMES, external_id=st.one_of(st.just(""), IDS)),
    unique_by=lambda team: team.id,
)
RECORDS = st.lists(
    st.builds(
        GroupTeam,
        group_id=IDS,
        name=NAMES,
        email=st.just(""),
        state=st.sampled_from(TeamState),
        since=st.just(NOW),
        team_id=st.sampled_from(["", "t1", "t2", "t3", "t9"]),
    ),
    unique_by=lambda record: record.group_id,
)
CHOICES = st.builds(
    TeamChoice,
    groups=st.lists(st.builds(Group, id=IDS)).map(tuple),
    patterns=st.lists(st.sampled_from(["e*", "any*", "keeper-?"])).map(tuple),
    exclusions=st.lists(st.sampled_from(["s*", "board"])).map(tuple),
    role_prefix=st.sampled_from(["", "role-"]),
    roles=st.booleans(),
    most=st.integers(1, 3),
)


ADOPTIONS = st.lists(
    st.builds(
        ConfirmedAdoption,
        group_id=IDS,
        name=NAMES,
        team_id=st.sampled_from(["t1", "t2", "t3", "t9"]),
        team_name=NAMES,
        by=st.just("boss@example.com"),
        at=st.just(NOW),
    ),
    unique_by=lambda confirmed: confirmed.group_id,
)


@given(choice=CHOICES, groups=GROUPS, teams=TEAMS, known=RECORDS, confirmed=ADOPTIONS)
def test_only_a_team_that_is_nobodys_is_adopted_and_for_one_group(choice, groups, teams, known, confirmed):
    plan = planned(choice, groups, teams, known, confirmed=confirmed)
    by_id, chosen = {team.id: team for team in teams}, {group.id: group for group in groups if choice.chooses(group)}
    carried = {team.external_id for team in teams}
    for noted, adoption in plan.adopts:
        team = by_id[adoption.team_id]
        assert adoption in confirmed
        assert (team.external_id, team.name) == ("", adoption.team_name)
        assert adoption.group_id in chosen
        assert adoption.group_id not in carried
        assert noted.name == adoption.name == team_name(chosen[adoption.group_id])
        assert not choice.makes_role(noted.name)
        assert not noted.serves, "nobody is put into it before it is the group's"
    adopted = [adoption.team_id for _, adoption in plan.adopts]
    assert len(adopted) == len(set(adopted))
    ours = sum(group_id in carried for group_id in chosen)
    assert len(plan.creates) + len(plan.adopts) <= max(0, choice.most - ours)


@given(choice=CHOICES, groups=GROUPS, teams=TEAMS, known=RECORDS)
def test_whatever_is_met_no_team_is_reused_and_none_of_others_is_touched(choice, groups, teams, known):
    plan = planned(choice, groups, teams, known)
    by_id, chosen = {team.id: team for team in teams}, {group.id: group for group in groups if choice.chooses(group)}
    carried = [team.external_id for team in teams]
    for rename in plan.renames:
        assert by_id[rename.team_id].external_id == rename.group_id  # matched by the id alone
        assert carried.count(rename.group_id) == 1
        assert rename.group_id in chosen
    names = [each.name.casefold() for each in plan.creates]
    assert len(names) == len(set(names))
    for create in plan.creates:
        assert create.group_id in chosen
        assert create.group_id not in carried
        assert create.name.casefold() not in {team.name.casefold() for team in teams}
        assert choice.roles or not choice.makes_role(create.name)
    ours = sum(group_id in carried for group_id in chosen)
    assert len(plan.creates) <= max(0, choice.most - ours)
    assert set(chosen) <= set(plan.known)
    for noted in filter(lambda each: each.serves, plan.known.values()):
        assert by_id[noted.team_id].external_id == noted.group_id
        assert choice.roles or not choice.makes_role(by_id[noted.team_id].name)


@given(choice=CHOICES, groups=GROUPS, teams=TEAMS, known=RECORDS)
def test_it_comes_to_an_end(choice, groups, teams, known):
    """A name that a rename sets free is used by the run after it."""
    rounds = 0
    plan = planned(choice, groups, teams, known)
    while plan.creates or plan.renames:
        rounds += 1
        assert rounds <= len(groups)
        renamed = {each.team_id: each.name for each in plan.renames}
        teams = [replace(team, name=renamed.get(team.id, team.name)) for team in teams]
        teams += [Team(id=f"new{each.group_id}", name=each.name, external_id=each.group_id) for each in plan.creates]
        plan = planned(choice, groups, teams, plan.known.values())
