"""Roles of administrators: asked anew for every change, remembered for a minute for those who look."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autoprovisioning.app.admission import Role, Roles
from autoprovisioning.domain.errors import Forbidden, Transient
from autoprovisioning.domain.users import DirectoryUser, Presence
from tests.unit.builders import NOW

ADA = "ada@example.com"


class People:
    """One user, and how often somebody asked."""

    def __init__(self, **rank: bool) -> None:
        self.user: DirectoryUser | None = DirectoryUser("u1", ADA, Presence.ACTIVE, **rank)
        self.out_of_reach = False

    def by_address(self, address: str) -> DirectoryUser | None:
        if self.out_of_reach:
            raise Transient("The directory does not answer")
        return self.user if address == ADA else None


def test_a_role_is_remembered_for_a_minute_and_no_longer():
    people = People(is_admin=True)
    roles = Roles(people)
    assert roles.lately(ADA, NOW) is Role.SUPER
    people.user = None
    assert roles.lately(ADA, NOW + timedelta(seconds=59)) is Role.SUPER
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


def test_a_refusal_is_not_remembered():
    people = People()
    roles = Roles(people)
    with pytest.raises(Forbidden):
        roles.lately(ADA, NOW)
    people.user = DirectoryUser("u1", ADA, Presence.ACTIVE, is_delegated_admin=True)
    assert roles.lately(ADA, NOW) is Role.DELEGATED


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
    people.user = DirectoryUser("u1", ADA, presence, is_admin=True, is_delegated_admin=True)
    with pytest.raises(Forbidden):
        Roles(people).now(ADA, NOW)
