"""Whatever the Directory and Keeper answer: nobody loses access or is adopted without proof, and all end in step.

A history is a list of steps: an administrator does something in the directory, or a run plans, while some of the next
answers are lies. Then both sides tell the truth again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import example, given, note, settings
from hypothesis import strategies as st

from autoprovisioning.domain.runs import Batch
from tests.fuzz.examples import COUNT, EXAMPLES
from tests.fuzz.liar import PREFIX, TRUTH, Liar, lying
from tests.fuzz.lies import RETRY_AFTER, WHOLE, Lie, Trick, lies
from tests.fuzz.scenario import ADDRESSES, LATER, PATIENCE, USERS, Scenario

pytestmark = pytest.mark.timeout(600)  # a failing example is made smaller for some minutes
REQUESTS_OF_A_RUN = 400  # for four users and what is delivered because of it, however often Keeper fails


@pytest.fixture(scope="module")
def liar() -> Iterator[Liar]:
    with lying() as server:
        yield server


@dataclass(frozen=True)
class Step:
    """What happens, and the lies told from then on: to which side, and after how many answers."""

    verb: str
    arguments: tuple[str, ...] = ()
    lies: tuple[tuple[str, int, Lie], ...] = ()


SIDES = st.sampled_from(("directory", "keeper"))
LIES = st.lists(st.tuples(SIDES, st.integers(0, 6), lies(slow=False)), max_size=4).map(tuple)


def _steps(verb: str, *arguments: st.SearchStrategy[str]) -> st.SearchStrategy[Step]:
    return st.builds(Step, st.just(verb), st.tuples(st.sampled_from(USERS), *arguments), LIES)


ADDRESS = st.sampled_from(ADDRESSES)
STEP = st.one_of(
    _steps("hire", ADDRESS),
    _steps("rename", st.sampled_from(("Ada", "Grace", "Łucja"))),
    _steps("readdress", ADDRESS),
    _steps("suspend"),
    _steps("restore"),
    _steps("leave"),
    _steps("join"),
    _steps("delete"),
    _steps("undelete"),
    st.builds(Step, st.just("stranger"), st.tuples(ADDRESS, st.sampled_from(("", "", "somebody"))), LIES),
    *[st.builds(Step, st.just(verb), st.just(()), LIES) for verb in ("run", "drift", "sweep", "wait")],
)
HISTORY = st.lists(STEP, max_size=8)


def happen(scenario: Scenario, step: Step) -> None:
    """Let a step happen, and let our system react to it."""
    getattr(scenario, step.verb)(*step.arguments)
    scenario.pump()


LESS = (Trick("drop", 0),)  # an answer without its first attribute
# Keeper answers the reactivation with success, and does not carry it out.
NOT_REACTIVATED = [
    Step("suspend", ("u2",), (("directory", 0, Lie(tricks=LESS)), ("keeper", 1, Lie(tricks=LESS, undone=True)))),
    Step("restore", ("u2",)),
]


@EXAMPLES
@given(history=HISTORY, bulk=st.booleans())
@example(history=NOT_REACTIVATED, bulk=False)
def test_after_passing_lies_everybody_is_in_step(liar: Liar, history: list[Step], bulk: bool):
    note(f"{history}")
    scenario = Scenario(liar, bulk=bulk)
    waiting = liar.lies_in_turn()
    for step in history:
        for side, skip, lie in step.lies:
            waiting[side].append((skip, lie))
        happen(scenario, step)
    scenario.truth_at_last()
    scenario.check_everybody()


KINDS = {
    "searches": rf"GET {PREFIX}/Users\?.*filter=",
    "listings": rf"GET {PREFIX}/Users\?.*startIndex=",
    "one account read": rf"GET {PREFIX}/Users/",
    "what Keeper offers": rf"GET {PREFIX}/ServiceProviderConfig",
    "creations": rf"POST {PREFIX}/Users",
    "changes": rf"PATCH {PREFIX}/Users/",
    "Bulk": rf"POST {PREFIX}/Bulk",
    "every write": rf"(POST|PATCH|DELETE) {PREFIX}",
    "all of Keeper": rf"\w+ {PREFIX}",
    "the one user": r"GET /admin/directory/v1/users/u[1-4]",
    "the list of users": r"GET /admin/directory/v1/users\?(?!.*(showDeleted|query))",
    "the list of deleted users": r"GET /admin/directory/v1/users\?.*showDeleted",
    "members": r"GET /admin/directory/v1/groups/[^/]+/members",
    "a member": r"GET .*hasMember",
    "all of the directory": r"\w+ /admin",
}
A_MORNING = (Step("hire", ("u4", ADDRESSES[3])), Step("rename", ("u1", "Ada")), Step("suspend", ("u2",)))
DONE_WITHOUT = ("searches", "what Keeper offers", "Bulk")  # there is another way to do the same
OF_ONE_USER = ("one account read", "creations", "changes", "every write")
WAITED_FOR = frozenset({401, 429})  # answers that are about the connection
STATUSES = (301, 400, 401, 403, 404, 405, 408, 409, 410, 412, 415, 422, 428, 429, 500, 501, 502, 503, 507, 599)
NO_SCIM = ("a page", "a SCIM error", "latin-1", "a nest", "a list", "no JSON", "null")
BROKEN = ("no gzip", "cut short", "dropped", "no HTTP")
REFUSALS = st.one_of(
    st.builds(Lie, st.sampled_from(STATUSES), st.sampled_from(("", *sorted(WHOLE))), undone=st.just(True)),
    st.builds(Lie, st.just(200), st.sampled_from(NO_SCIM), undone=st.booleans()),
    st.builds(Lie, manner=st.sampled_from(BROKEN), undone=st.booleans()),
    st.sampled_from(RETRY_AFTER).map(lambda text: Lie(429, headers=(("Retry-After", text),), undone=True)),
)


@pytest.mark.parametrize("kind", KINDS)
@settings(EXAMPLES, max_examples=max(1, COUNT // 6))
@given(
    history=st.lists(STEP.map(lambda step: Step(step.verb, step.arguments)), max_size=6),
    lie=REFUSALS,
    bulk=st.booleans(),
)
@example(history=[], lie=Lie(404, undone=True), bulk=False)  # listed as suspended, and "no such user" when asked for
def test_a_lasting_refusal_has_an_end(liar: Liar, history: Sequence[Step], kind: str, lie: Lie, bulk: bool):
    """Users out of step fail with a reason or wait until a given time; no run and no message goes on for ever."""
    note(f"{history}, {lie}")
    scenario = Scenario(liar, bulk=bulk)
    pattern = re.compile(KINDS[kind])
    liar.lie_to = lambda request: lie if pattern.match(request.line) else TRUTH
    for step in (*A_MORNING, *history):
        happen(scenario, step)
    for number in range(6):
        asked = len(liar.given)
        scenario.run()
        scenario.pump(LATER)
        assert len(liar.given) - asked <= REQUESTS_OF_A_RUN, f"run {number}"
    for run in scenario.open_runs():
        assert scenario.clock.now - run.started <= PATIENCE, run
    for user_id in USERS:
        wrong = scenario.out_of_step(user_id)
        assert not wrong or settled(scenario, user_id, kind, lie), f"{user_id}: {wrong}, {scenario.entry(user_id)}"
    if kind in (*DONE_WITHOUT, *OF_ONE_USER) and lie.status not in WAITED_FOR:
        assert scenario.dead == []
    if not kind.startswith("all of"):
        old = [
            message
            for message in (*scenario.dead, *scenario.messages)
            if scenario.clock.now - message.published > PATIENCE
        ]
        assert [message for message in old if isinstance(message.payload, Batch)] == []
    scenario.truth_at_last()
    scenario.check_everybody()


def settled(scenario: Scenario, user_id: str, kind: str, lie: Lie) -> bool:
    """Say whether nobody has to wonder about somebody who is out of step."""
    if not scenario.told(user_id):
        return False
    entry = scenario.entry(user_id)
    failing = entry is not None and entry.failure is not None
    waiting = lie.status in WAITED_FOR or lie.whole.startswith("throttled") or lie.status == 301
    if waiting or kind not in (*DONE_WITHOUT, *OF_ONE_USER):
        return True
    return failing and (kind in OF_ONE_USER or scenario.in_the_way(user_id))
