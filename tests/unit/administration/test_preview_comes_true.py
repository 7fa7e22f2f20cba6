"""What a preview says is what the next run does."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from autoprovisioning.app.administration.configure import turn_off, turn_on
from autoprovisioning.app.administration.confirm_adoptions import confirm_adoptions
from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.administration.preview import save_preview
from autoprovisioning.app.administration.preview_lines import HELD
from autoprovisioning.domain.deprovisioning import Delays
from autoprovisioning.domain.events import EventName
from autoprovisioning.domain.holds import HoldState, Standing
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from autoprovisioning.domain.requests import Line, Would
from tests.support.previewing import ACTOR, IN_A_WEEK, NEVER, NOW, at, everything, policy, roster
from tests.support.scenario import GROUP, USERS, Scenario

NAMES = {
    Would.DELETE: EventName.DELETED,
    Would.SUSPEND: EventName.SUSPENDED,
    Would.UNSUSPEND: EventName.UNSUSPENDED,
    Would.CREATE: EventName.CREATED,
    Would.ADOPT: EventName.ADOPTED,
    Would.UPDATE: EventName.UPDATED,
}
VERBS = st.sampled_from(
    ["rename", "suspend", "archive", "restore", "leave", "join", "delete", "wait", "run", "seed", "approve", "reject",
     "seed", "seed", "seed", "alias", "confirm"]
)  # fmt: skip
SEEDS = {"Ada": ("", True, timedelta(0)), "Grace": ("u99", True, None), "Eve": ("", False, timedelta(days=2000))}
DELAYS = st.sampled_from(
    [NOW, NEVER, Delays(suspend_after=None, delete_after=0), Delays(suspend_after=0, delete_after=1), IN_A_WEEK]
)
ROWS = st.sampled_from([DEFAULT_ROWS, (*DEFAULT_ROWS, Row(target="title", source='"Clerk"'))])


def held_back(scenario: Scenario) -> set[tuple[str, str]]:
    return {
        (member.resource, member.action)
        for hold in scenario.services.holds.standing("c1")
        for member, verdict in hold.each()
        if verdict.standing in (Standing.WAITING, Standing.WITHDRAWN, Standing.REJECTED)
    }


def worked(scenario: Scenario, verb: str, user_id: str, name: str) -> None:
    match verb:
        case "rename":
            scenario.rename(user_id, name)
        case "wait" | "run":
            getattr(scenario, verb)()
        case "approve" | "reject":
            for hold in scenario.services.holds.standing("c1"):
                if hold.state is HoldState.WAITING:
                    decide_hold(scenario.services, "c1", hold.digest, verb, ACTOR)
        case "seed":
            _seed(scenario, f"{user_id}@example.com", name)
        case "alias":
            scenario.alias(user_id, f"{user_id}.alias@example.com")
            _seed(scenario, f"{user_id}.alias@example.com", name)
        case "confirm":
            admin = at(scenario)
            done, lines = admin.preview()
            chosen = [line.user_id for line in lines if line.scim_id and line.would in (Would.CREATE, Would.DOUBT)]
            users = chosen if name == "Eve" and chosen else None
            confirm_adoptions(scenario.services, "c1", done.id, users, ACTOR)
        case _:
            getattr(scenario, verb)(user_id)


def _seed(scenario: Scenario, address: str, name: str) -> None:
    external_id, active, age = SEEDS[name]
    if scenario.keeper.named(address) is None:
        scenario.keeper.seed(address, external_id, active=active, age=age)


def _fails(scenario: Scenario, line: Line, happened: set[EventName], *, anew: bool) -> None:
    failure = roster(scenario)[line.user_id].failure
    assert failure is not None, line
    assert happened == {EventName.FAILED} or not anew, line
    assert (failure.code == "adoption_in_doubt") is (line.would is Would.DOUBT), line


@bounded(max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_preview_says_what_the_next_run_does(data):
    scenario = Scenario(limit=data.draw(st.sampled_from([1, 2, 1000]), label="limit"))
    scenario.reconcile_to_the_end()
    for number in range(5, 5 + data.draw(st.integers(0, 3), label="new")):
        scenario.hire(f"u{number}", f"u{number}@example.com")
    users = st.sampled_from((*USERS[:3], "u5", "u6"))
    names = st.sampled_from(("Ada", "Grace", "Eve"))
    for _ in range(data.draw(st.integers(0, 6), label="steps")):
        worked(scenario, data.draw(VERBS), data.draw(users), data.draw(names))
    admin = at(scenario)
    changes = {
        "deprovisioning": policy(data.draw(DELAYS, label="policy")),
        "mapping": AttributeMapping(data.draw(ROWS, label="rows")),
        "scope_groups": data.draw(st.sampled_from([(GROUP.id,), ()]), label="groups"),
        "archived_as_suspended": data.draw(st.booleans(), label="archived"),
    }
    if data.draw(st.booleans(), label="off"):
        turn_off(scenario.services, "c1", ACTOR)
        scenario.wait()
    before = everything(scenario)
    done, lines = admin.preview(**changes)
    assert everything(scenario) == before

    save_preview(scenario.services, "c1", done.id, ACTOR)
    turn_on(scenario.services, "c1", ACTOR)
    known = set(scenario.fakes.store.events["c1"])
    unfailed = {user_id for user_id, entry in roster(scenario).items() if entry.failure is None}
    scenario.run()

    happened: dict[str, set[EventName]] = {}
    for event in scenario.fakes.store.events["c1"].values():
        if event.id not in known and event.user_id:
            happened.setdefault(event.user_id, set()).add(event.name)
    for line in lines:
        if line.would in (Would.SUSPEND, Would.DELETE) and line.detail.endswith(HELD):
            assert line.user_id not in happened, line
            assert (line.user_id, line.would.value) in held_back(scenario), line
        elif line.would in NAMES:
            assert NAMES[line.would] in happened.get(line.user_id, ()), line
        elif line.would in (Would.FAIL, Would.DOUBT):
            _fails(scenario, line, happened.get(line.user_id, set()), anew=line.user_id in unfailed)
        else:
            assert roster(scenario)[line.user_id].timers, line
    told = {line.user_id for line in lines if line.would is not Would.WAIT}
    assert set(happened) <= told
    if done.result.held:
        assert not {EventName.SUSPENDED, EventName.DELETED} & set().union(*happened.values())
    counted = sum(count for name, count in done.result.counts.items() if name != "unchanged")
    assert counted == len(lines)
