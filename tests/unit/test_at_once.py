"""What administrators do at the same time, or while our own work is under way, never undoes or betrays the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.configure import delete, edit, settings_of
from autoprovisioning.app.tokens import reauthorize
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import Busy, NotFound, ProvisioningError, Stale
from autoprovisioning.domain.roster import Action, Mark
from tests.fake_state import FakeChannels
from tests.office import Office

ACTOR = "admin@example.com"
ELSEWHERE = "https://keepersecurity.eu/api/rest/scim/v2/9"


@pytest.fixture
def office() -> Office:
    """An office in step, whose Keeper accepts three tokens."""
    office = Office()
    office.reconcile_to_the_end()
    office.keeper.accepts |= {"another", "theirs"}
    return office


def before_adding(office: Office, token: str, happens: Callable[[], object]) -> None:
    """Let something happen once this token was tried, before it is stored."""
    add = office.desk.tokens.add

    def adding(connection_id: str, added: str) -> str:
        if added == token:
            happens()
        return add(connection_id, added)

    office.desk.tokens.add = adding


def tokens(office: Office) -> list[str]:
    """Return the tokens that can still be read."""
    return sorted(office.desk.tokens.enabled.values())


def under_way(office: Office) -> None:
    """Let a change of u1 be under way for a minute."""
    entry, now = office.entry("u1"), office.desk.clock.now
    mark = Mark("x1", "m1", Action.UPDATE, now + timedelta(minutes=1))
    shard = office.services.roster.shard(office.connection, "u1")
    office.desk.store.shards["c1", shard][1]["u1"] = replace(entry, mark=mark)


def delete_it(office: Office) -> None:
    delete(office.services, FakeChannels(office.desk.store), "c1", ACTOR, "Keeper")


def begin_deletion(office: Office) -> None:
    under_way(office)
    with pytest.raises(Busy):
        delete_it(office)


def move(office: Office) -> None:
    settings = replace(settings_of(office.connection), endpoint=ELSEWHERE)
    edit(office.services, "c1", office.connection.edition, settings, ACTOR, "theirs")


@pytest.mark.parametrize(("happens", "error"), [(move, Stale), (begin_deletion, NotFound)])
def test_a_token_is_never_used_where_it_was_not_tried(office, happens, error):
    before_adding(office, "another", lambda: happens(office))
    with pytest.raises(error):
        reauthorize(office.services, "c1", "another", ACTOR)
    assert "another" not in tokens(office)
    assert office.desk.tokens.read("c1", office.connection.token_version) != "another"
