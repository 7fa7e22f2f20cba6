"""Roles of administrators: looked up for every change, remembered for a minute for reading."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autoprovisioning.app.administration.roles import REMEMBERED, Admitted, Caller, Role, Roles
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.errors import Forbidden, Transient
from autoprovisioning.domain.events import Actor
from tests.support.builders import NOW

ADA = Caller(address="ada@example.com", account_id="u1")


class People:
    """One user, and how often somebody asked."""

    def __init__(self, **rank: bool) -> None:
        self.user: DirectoryUser | None = DirectoryUser(
            id="u1", primary_email=ADA.address, presence=Presence.ACTIVE, **rank
        )
        self.out_of_reach = False
        self.asked = 0

    def by_address(self, address: str) -> DirectoryUser | None:
        self.asked += 1
        if self.out_of_reach:
            raise Transient("The directory does not answer")
        return self.user if address == ADA.address else None


def test_a_role_is_remembered_for_a_minute_and_no_longer():
    people = People(is_admin=True)
    roles = Roles(people)
    assert roles.lately(ADA, NOW).role is Role.SUPER
    people.user = None
    assert roles.lately(ADA, NOW + timedelta(seconds=59)).role is Role.SUPER
    with pytest.raises(Forbidden):
        roles.lately(ADA, NOW + timedelta(seconds=60))


def test_a_change_asks_anew_and_forgets_what_was_remembered():
    people = People(is_admin=True)
    roles = Roles(people)
    roles.lately(ADA, NOW)
    people.user = None
    for ask in (roles.now, roles.lately):
        with pytest.raises(Forbidden):
            ask(ADA, NOW)


def test_a_clock_that_was_set_back_makes_nothing_last_longer():
    people = People(is_admin=True)
    roles = Roles(people)
    roles.lately(ADA, NOW)
    people.user = None
    with pytest.raises(Forbidden):
        roles.lately(ADA, NOW - timedelta(seconds=1))


def test_a_refusal_is_remembered_for_a_minute_for_those_who_look():
    people = People()
    roles = Roles(people)
    for seconds in range(60):
        with pytest.raises(Forbidden, match="not an administrator"):
            roles.lately(ADA, NOW + timedelta(seconds=seconds))
    assert people.asked == 1
    people.user = DirectoryUser(id="u1", primary_email=ADA.address, presence=Presence.ACTIVE, is_delegated_admin=True)
    assert roles.lately(ADA, NOW + timedelta(seconds=60)).role is Role.DELEGATED


def test_whoever_was_refused_is_let_in_by_a_change_and_reads_from_then_on():
    people = People()
    roles = Roles(people)
    with pytest.raises(Forbidden):
        roles.lately(ADA, NOW)
    people.user = DirectoryUser(id="u1", primary_email=ADA.address, presence=Presence.ACTIVE, is_admin=True)
    for ask in (roles.now, roles.lately):
        assert ask(ADA, NOW) == Admitted(actor=Actor(address=ADA.address, directory_id="u1"), role=Role.SUPER)


def test_however_many_are_refused_administrators_stay_known_and_memory_is_bounded():
    people = People(is_admin=True)
    roles = Roles(people)
    roles.lately(ADA, NOW)
    for number in range(3 * REMEMBERED):
        with pytest.raises(Forbidden):
            roles.lately(Caller(address=f"nobody{number}@example.com"), NOW)
    asked = people.asked
    roles.lately(ADA, NOW)
    assert people.asked == asked
    assert len(roles._refused._known) <= REMEMBERED
    assert len(roles._admitted._known) <= REMEMBERED


def test_an_address_that_went_to_another_user_is_not_the_administrators():
    roles = Roles(People(is_admin=True))
    for account in ("u2", "U1", " u1"):
        for ask in (roles.now, roles.lately):
            with pytest.raises(Forbidden, match="another user"):
                ask(Caller(address=ADA.address, account_id=account), NOW)
    assert roles.now(Caller(address=ADA.address), NOW).actor == Actor(address=ADA.address, directory_id="u1"), (
        "where the proxy does not say"
    )


def test_a_directory_out_of_reach_is_no_answer():
    people = People(is_admin=True)
    roles = Roles(people)
    roles.lately(ADA, NOW)
    people.out_of_reach = True
    with pytest.raises(Transient):
        roles.now(ADA, NOW)


@pytest.mark.parametrize("presence", [Presence.SUSPENDED, Presence.ARCHIVED, Presence.DELETED, Presence.UNKNOWN])
def test_only_active_users_have_a_role(presence):
    people = People()
    people.user = DirectoryUser(
        id="u1", primary_email=ADA.address, presence=presence, is_admin=True, is_delegated_admin=True
    )
    with pytest.raises(Forbidden):
        Roles(people).now(ADA, NOW)
