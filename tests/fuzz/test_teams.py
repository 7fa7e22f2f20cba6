"""Groups that become teams, whatever the Directory and Keeper answer: nobody else's team is touched, and all ends.

What a server says that it did about a membership, and did not do, is believed: it is told as not seen, not repaired.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from autoprovisioning.app.administration.approve_removals import approve_removals
from autoprovisioning.domain.errors import ProvisioningError
from autoprovisioning.domain.teams import TeamChoice, TeamState
from tests.fuzz.examples import COUNT, EXAMPLES
from tests.fuzz.liar import PREFIX, TRUTH, Liar, Request, lying
from tests.fuzz.lies import Lie
from tests.fuzz.scenario import ADDRESSES, ADMIN, LATER, USERS, Scenario
from tests.fuzz.test_engine import LIES, REFUSALS, STEP, WAITED_FOR, Step
from tests.support.settings import with_settings

pytestmark = pytest.mark.timeout(600)
BOARD = {"id": "t-board", "displayName": "Board", "members": ["k-somebody"]}  # people made it
GROUPS = {"g-eng": "Engineers", "g-sales": "Sales", "g-board": "Board"}
REQUESTS_OF_A_RUN = 500


@dataclass
class WithTeams(Scenario):
    """The same customer, with three groups that are to be teams; a team of people has the name of the third."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.liar.keeper.teams.seed([BOARD])
        for group_id, name in GROUPS.items():
            self.liar.directory.customer.add_group(
                {"id": group_id, "email": f"keeper-{group_id}@example.com", "name": name}
            )
        self.group_ids = {group["name"]: group["id"] for group in self.liar.directory.customer.groups.values()}
        self.join_team("u1", "Engineers")
        self.join_team("u1", "Board")
        choice = TeamChoice(patterns=("keeper-g*",))
        self.services.connections.change("c1", lambda current: with_settings(current, teams=choice))
        self.run()
        self.pump()

    def join_team(self, user_id: str, name: str) -> None:
        group_id = self.group_ids[name]
        if user_id in self.live and user_id not in self.liar.directory.customer.members[group_id]:
            self.liar.directory.customer.add_member(group_id, {"id": user_id})

    def leave_team(self, user_id: str, name: str) -> None:
        group_id = self.group_ids[name]
        if user_id in self.liar.directory.customer.members[group_id]:
            self.liar.directory.customer.remove_member(group_id, user_id)

    def rename_team(self, _user_id: str, name: str) -> None:
        group = self.liar.directory.customer.groups[self.group_ids[name]]
        group["name"] = name if group["name"] != name else f"{name} of Europe"

    def _watched(self, work: Callable[[], object]) -> ProvisioningError | None:
        error = super()._watched(work)
        board = self.liar.keeper.teams.teams.get("t-board")
        if board is not None:
            assert board.record() == {**BOARD, "externalId": "", "role": False, "pending": False, "queued": []}
        return error

    def truth_at_last(self) -> None:
        super().truth_at_last()
        for _ in range(2):
            for team in self.services.teams.get("c1").values():
                if team.held:
                    approve_removals(self.services, "c1", team.group_id, team.held_digest, ADMIN)
            self.run(retry=True)
            self.pump(LATER)

    def check_teams(self) -> None:
        """See that who has access is in the teams of their groups alone."""
        kept, customer = self.services.teams.get("c1"), self.liar.directory.customer
        believed = [each.lie for each in self.liar.given if each.lie is not TRUTH and b'"groups"' in each.request.body]
        for name in ("Engineers", "Sales"):
            group_id = self.group_ids[name]
            there = [team for team in self.liar.keeper.teams.teams.values() if team.external_id == group_id]
            if kept[group_id].state is TeamState.DOUBLE:
                continue
            assert kept[group_id].state is TeamState.THERE, kept[group_id]
            (team,) = there
            assert team.name == customer.groups[group_id]["name"]
            for user_id in USERS:
                entry = self.entry(user_id)
                if not self.entitled(user_id) or entry is None or entry.failure is not None or believed:
                    continue
                inside = entry.scim_id in team.members
                assert inside is (user_id in customer.members[group_id]), (user_id, name, entry, kept[group_id])


@pytest.fixture(scope="module")
def liar() -> Iterator[Liar]:
    with lying() as server:
        yield server


NAMES = st.sampled_from(("Engineers", "Sales"))
TEAM_STEP = st.builds(
    Step,
    st.sampled_from(("join_team", "join_team", "leave_team", "rename_team")),
    st.tuples(st.sampled_from(USERS), NAMES),
    LIES,
)
SWEEP = st.builds(Step, st.sampled_from(("sweep", "run")), st.just(()), LIES)
HISTORY = st.lists(st.one_of(TEAM_STEP, SWEEP, STEP), max_size=8)


@settings(EXAMPLES, max_examples=max(1, COUNT // 2))
@given(history=HISTORY, bulk=st.booleans())
def test_after_passing_lies_everybody_is_in_their_teams(liar: Liar, history: list[Step], bulk: bool):
    note(f"{history}")
    scenario = WithTeams(liar, bulk=bulk)
    waiting = liar.lies_in_turn()
    for step in history:
        for side, skip, lie in step.lies:
            waiting[side].append((skip, lie))
        getattr(scenario, step.verb)(*step.arguments)
        scenario.pump()
    scenario.truth_at_last()
    scenario.check_everybody()
    scenario.check_teams()


KINDS = {
    "the list of teams": rf"GET {PREFIX}/Groups",
    "new teams": rf"POST {PREFIX}/Groups",
    "names of teams": rf"PATCH {PREFIX}/Groups",
    "memberships": rf"(PATCH|POST) {PREFIX}/(Users|Bulk).* groups",
    "the list of groups": r"GET /admin/directory/v1/groups\?.*customer",
    "groups of a user": r"GET /admin/directory/v1/groups\?.*userKey",
    "members": r"GET /admin/directory/v1/groups/[^/]+/members",
    "a member": r"GET .*hasMember",
}
MORNING = (
    Step("hire", ("u4", ADDRESSES[3])),
    Step("join_team", ("u4", "Engineers")),
    Step("join_team", ("u2", "Engineers")),
    Step("join_team", ("u3", "Sales")),
    Step("sweep"),
    Step("suspend", ("u2",)),
    Step("leave_team", ("u2", "Engineers")),
    Step("restore", ("u2",)),
    Step("leave_team", ("u1", "Engineers")),
    Step("rename_team", ("u1", "Sales")),
)


@pytest.mark.parametrize("kind", KINDS)
@settings(EXAMPLES, max_examples=max(1, COUNT // 12))
@given(
    history=st.lists(TEAM_STEP.map(lambda step: Step(step.verb, step.arguments)), max_size=4),
    lie=REFUSALS,
    bulk=st.booleans(),
)
def test_a_lasting_refusal_about_teams_has_an_end(liar: Liar, history: Sequence[Step], kind: str, lie: Lie, bulk: bool):
    note(f"{history}, {lie}")
    scenario = WithTeams(liar, bulk=bulk)
    pattern = re.compile(KINDS[kind])

    def lie_to(request: Request) -> Lie:
        line = f"{request.line} groups" if b'"groups"' in request.body else request.line
        return lie if pattern.match(line) else TRUTH

    liar.lie_to = lie_to
    for step in (*MORNING, *history):
        getattr(scenario, step.verb)(*step.arguments)
        scenario.pump()
    for number in range(6):
        asked = len(liar.given)
        scenario.run()
        scenario.pump(LATER)
        assert len(liar.given) - asked <= REQUESTS_OF_A_RUN, f"run {number}"
    if lie.status not in WAITED_FOR and not lie.whole.startswith("throttled"):
        for user_id in USERS:
            wrong = scenario.out_of_step(user_id)
            assert not wrong, f"{user_id} has no access, or lost it, for teams: {wrong}, {scenario.entry(user_id)}"
    scenario.truth_at_last()
    scenario.check_everybody()
    scenario.check_teams()
