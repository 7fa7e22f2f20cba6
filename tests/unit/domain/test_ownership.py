"""Whose user it is: of several connections the one that has the user, else the first in the administrator's order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprovisioning.domain.entry import Action, Entry, Mark, Status, failed
from autoprovisioning.domain.ownership import Candidate, Placement, place
from tests.support.builders import DAY, NOW, entry

HERE = entry()  # an active account, and the user belonged here last
LEFT = entry(in_scope=False)  # an active account, of which a timer may run
CLOSED = entry(Status.SUSPENDED, in_scope=False)  # suspended when the user left
AWAY = entry(Status.SUSPENDED)  # suspended in the directory
LOCKED = entry(Status.LOCKED)
MAKING = entry(Status.NONE, mark=Mark(change_id="x", message_id="m", action=Action.CREATE, until=NOW))
KNOWN = entry(Status.NONE)  # a member without an account


def placed(*told: tuple[bool | None, Entry | None]) -> Placement:
    return place(
        [
            Candidate(connection_id=f"c{number}", in_scope=in_scope, entry=there)
            for number, (in_scope, there) in enumerate(told, 1)
        ]
    )


TABLE = [
    # (in scope, entry) of c1, c2, ... -> in scope, owner, overlaps
    ("nobody has them: the first", [(True, None), (True, None)], [True, False], "c1", ("c2",)),
    ("a member known without an account is nobody's yet", [(True, None), (True, KNOWN)], [True, False], "c1", ("c2",)),
    ("who has an account stays", [(True, None), (True, HERE)], [False, True], "c2", ("c1",)),
    ("whose account is being made, too", [(True, None), (True, MAKING)], [False, True], "c2", ("c1",)),
    ("who is away stays", [(True, None), (True, AWAY)], [False, True], "c2", ("c1",)),
    ("a lock is no reason to move", [(True, CLOSED), (True, LOCKED)], [False, True], "c2", ("c1",)),
    ("where they belonged last beats an account that is left over", [(True, LEFT), (True, AWAY)],
     [False, True], "c2", ("c1",)),
    ("an active account beats a suspended one", [(True, CLOSED), (True, LEFT)], [False, True], "c2", ("c1",)),
    ("a suspended one beats none: the vault is there", [(True, None), (True, CLOSED)], [False, True], "c2", ("c1",)),
    ("two that have them: the first", [(True, HERE), (True, HERE)], [True, False], "c1", ("c2",)),
    ("who left moves", [(True, None), (False, HERE)], [True, False], "c1", ()),
    ("who is nowhere in scope is nobody's", [(False, HERE), (False, None)], [False, False], "", ()),
    ("an unsure one that has them keeps them", [(None, HERE), (True, None)], [None, None], "", ()),
    ("... whatever its place", [(True, None), (None, HERE)], [None, None], "", ()),
    ("an unsure one that has nothing of them stops nobody", [(None, None), (True, None)], [None, True], "c2", ()),
    ("... nor one that they had left", [(None, CLOSED), (True, None)], [None, True], "c2", ()),
    ("... nor one that only knows them", [(None, KNOWN), (True, None)], [None, True], "c2", ()),
    ("unsure everywhere", [(None, None), (None, None)], [None, None], "", ()),
    ("unsure is not in scope", [(None, None), (False, HERE)], [None, False], "", ()),
    ("of three", [(None, None), (True, None), (True, HERE)], [None, False, True], "c3", ("c2",)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "in_scope", "owner", "overlaps"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_whose_user_it_is(told, in_scope, owner, overlaps):
    placement = placed(*told)
    assert [*placement.in_scope.values()] == in_scope
    assert (placement.owner, placement.overlaps) == (owner, overlaps)


FAILED = replace(KNOWN, failure=failed(None, "address_taken", "It is taken.", "create:x", NOW))
MOVES = [
    # the owner's entry, ready -> awaited, stuck
    (None, True, True, False),
    (MAKING, True, True, False),
    (CLOSED, True, True, False),
    (HERE, True, False, False),
    (LOCKED, True, False, False),  # somebody's decision: it keeps no other account open
    (FAILED, True, True, True),
    (replace(KNOWN, pending=True), True, True, True),
    (None, False, True, True),
    (replace(HERE, pending=True), False, False, False),
]


@pytest.mark.parametrize(("there", "ready", "awaited", "stuck"), MOVES)
def test_a_move_waits_for_access_on_the_new_connection(there, ready, awaited, stuck):
    placement = place(
        [
            Candidate(connection_id="c1", in_scope=True, entry=there, ready=ready),
            Candidate(connection_id="c2", in_scope=False, entry=replace(HERE, scim_id="k2")),
        ]
    )
    assert (placement.owner, placement.awaited, placement.stuck) == ("c1", awaited, stuck)


@pytest.mark.parametrize(
    ("here", "keeper", "handed"),
    [(HERE, "k", {"c2"}), (replace(HERE, scim_id="k9"), "k", set()), (HERE, "other", set()),
     (replace(HERE, scim_id=""), "k", set()), (None, "k", set())],
)  # fmt: skip
def test_one_account_on_two_rosters_of_one_keeper_was_moved_from_node_to_node(here, keeper, handed):
    there = replace(HERE, scim_id="" if here is not None and not here.scim_id else "k1")
    placement = place(
        [
            Candidate(connection_id="c1", in_scope=True, entry=there, keeper="k"),
            Candidate(connection_id="c2", in_scope=False, entry=here, keeper=keeper),
        ]
    )
    assert placement.handed == handed


@pytest.mark.parametrize(
    ("there", "outdated"),
    [(replace(HERE, last_action_at=NOW + DAY), {"c2"}), (replace(LOCKED, last_action_at=NOW + DAY), {"c2"}),
     (replace(HERE, last_action_at=NOW - DAY), set()), (HERE, set()),
     (replace(CLOSED, last_action_at=NOW + DAY, locked_at=NOW + DAY), set()),
     (replace(HERE, last_action_at=NOW + DAY, scim_id="k9"), set()), (None, set())],
)  # fmt: skip
def test_a_lock_of_ours_is_outdated_by_later_access_to_the_same_account(there, outdated):
    here = replace(CLOSED, locked_at=NOW)
    placement = place(
        [
            Candidate(connection_id="c1", in_scope=False, entry=there, keeper="k"),
            Candidate(connection_id="c2", in_scope=True, entry=here, keeper="k"),
        ]
    )
    assert placement.outdated == outdated


@pytest.mark.parametrize(
    ("here", "there", "awaited"),
    [(LOCKED, LEFT, True), (LOCKED, replace(LEFT, scim_id="k9"), False), (LOCKED, CLOSED, False),
     (LOCKED, LOCKED, False), (HERE, LEFT, False), (CLOSED, LEFT, True)],
)  # fmt: skip
def test_an_account_that_is_active_elsewhere_is_not_let_in_by_the_record_of_a_lock(here, there, awaited):
    placement = place(
        [
            Candidate(connection_id="c1", in_scope=False, entry=there, keeper="k"),
            Candidate(connection_id="c2", in_scope=True, entry=here, keeper="k"),
        ]
    )
    assert (placement.owner, placement.awaited) == ("c2", awaited)


ENTRIES = st.sampled_from([None, HERE, LEFT, CLOSED, AWAY, LOCKED, MAKING, KNOWN, FAILED])
CANDIDATES = st.lists(
    st.tuples(st.sampled_from([True, False, None]), ENTRIES, st.booleans()), min_size=1, max_size=4
).map(
    lambda rows: [
        Candidate(connection_id=f"c{number}", in_scope=in_scope, entry=there, ready=ready)
        for number, (in_scope, there, ready) in enumerate(rows)
    ]
)


@given(CANDIDATES)
def test_at_most_one_connection_has_a_user_and_only_one_whose_scope_holds_them(candidates):
    placement = place(candidates)
    inside = [name for name, answer in placement.in_scope.items() if answer]
    assert inside == ([placement.owner] if placement.owner else [])
    for each in candidates:
        told = placement.in_scope[each.connection_id]
        assert not (told and not each.in_scope), "nobody is let in who does not belong"
        assert told is not False or each.in_scope is not None, "what could not be told takes nobody's access"
        assert not each.in_scope or told is not None or not placement.owner


@given(CANDIDATES)
def test_who_is_let_in_stays_there_whatever_the_others_say_and_their_order(candidates):
    owner = place(candidates).owner
    settled = [
        replace(each, entry=replace(each.entry or KNOWN, status=Status.ACTIVE, mark=None, scim_id="k7", in_scope=True))
        if each.connection_id == owner
        else replace(each, entry=replace(each.entry, in_scope=False) if each.entry is not None else None)
        for each in candidates
    ]
    for order in (settled, settled[::-1]):
        for answer in (True, False, None):
            now = [each if each.connection_id == owner else replace(each, in_scope=answer) for each in order]
            assert not owner or place(now).owner == owner


@given(CANDIDATES)
def test_somebody_whom_nobody_has_belongs_to_the_first_whose_scope_is_known_to_hold_them(candidates):
    new = [replace(each, entry=None) for each in candidates]
    first = next((each.connection_id for each in new if each.in_scope), "")
    assert place(new).owner == first
