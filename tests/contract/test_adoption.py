"""Adoption at the wire: both simulators, the real adapters, and every way on which an account may be found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from autoprovisioning.app.administration.confirm_adoptions import confirm_adoptions
from autoprovisioning.app.administration.preview import ask_preview, compute_preview
from autoprovisioning.app.administration.requests import find
from autoprovisioning.app.provisioning.converge import converge
from autoprovisioning.app.provisioning.read_user import Asked
from autoprovisioning.app.runs.apply_batch import apply_batch
from autoprovisioning.app.runs.reconcile import reconcile
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.events import Actor, Event, EventName
from autoprovisioning.domain.requests import PREVIEW, Line, Preview, RequestState, Would
from autoprovisioning.domain.runs import Look, Run, RunKind
from autoprovisioning.domain.settings import Settings
from infra.local.simulation import DirectorySide, KeeperSide
from tests.contract.scim_servers import now, soon
from tests.support.in_memory import FakeServices
from tests.support.system import ADMIN, customer, person

BY = Actor(address=ADMIN, directory_id="u0")
PEOPLE = 3
MANY = 30  # creations that a run matches with one listing
HIRED = "2020-01-01T00:00:00.000Z"  # everybody of `customer`
BEFORE, AFTER = "2019-12-31T23:59:59.000Z", "2020-01-02T00:00:00.000Z"
WAYS = ("notification", "few", "many")
ACTOR = Actor(address=ADMIN, directory_id="u0")


@dataclass
class House:
    """A company with both simulators, and our use cases between them, over state in memory."""

    workspace: DirectorySide
    keeper: KeeperSide
    services: Services
    fakes: FakeServices

    def seed(self, address: str, created: str = AFTER, **more: Any) -> str:
        """Put an account there that carries no directory id; returns its SCIM id."""
        account = {"id": self.services.new_id(), "userName": address, "active": True, "meta": {"created": created}}
        self.keeper.control("PUT", "accounts", [*self.keeper.accounts(), account | more])
        return str(account["id"])

    def alias(self, user_id: str, address: str) -> None:
        self.workspace.call("POST", f"users/{user_id}/aliases", {"alias": address})

    def account(self, scim_id: str) -> dict[str, Any]:
        return next(each for each in self.keeper.accounts() if each["id"] == scim_id)

    def arrive(self, way: str, user_id: str) -> Run | None:
        """Let a user be seen for the first time, in one of the ways."""
        if way == "many":
            for number in range(100, 100 + MANY):
                self.workspace.insert(person(number))
        return self.notify(user_id) if way == "notification" else self.run()

    def notify(self, user_id: str) -> None:
        looked = Look(user_id=user_id, event="update", asked_at=now())
        converge(self.services, Asked(look=looked, message_id=self.services.new_id(), published=now()), soon())

    def run(self) -> Run:
        """Run to the end."""
        run = reconcile(self.services, RunKind.FULL, soon())[0]
        queue = self.fakes.queue
        while queue.batches:
            batches, queue.batches = queue.batches, []
            for batch in batches:
                apply_batch(self.services, batch, self.services.new_id(), now(), soon())
        return self.services.runs.get("c1", run.id) or run

    @property
    def connection(self) -> Connection:
        connection = self.services.connections.get("c1")
        assert connection is not None
        return connection

    def failure(self, user_id: str) -> str:
        entry = self.services.roster.entry(self.connection, user_id)
        return entry.failure.code if entry is not None and entry.failure is not None else ""

    def events(self, user_id: str) -> list[Event]:
        return [event for event in self.fakes.store.events["c1"].values() if event.user_id == user_id]

    def preview(self) -> tuple[Preview, dict[str, Line]]:
        asked = ask_preview(self.services, "c1", self.connection.edition, self.connection.settings, BY)
        compute_preview(self.services, "c1", asked.id, soon())
        done = find(self.services, PREVIEW, "c1", asked.id)
        assert done is not None
        assert (done.state, done.problem) == (RequestState.DONE, "")
        return done, {line.user_id: line for line in self.services.preview_lines.every(done)}

    def confirm(self, preview: Preview, *users: str) -> int:
        return confirm_adoptions(self.services, "c1", preview.id, users or None, BY).count


@pytest.fixture
def house(workspace, keeper, accounts, directory) -> House:
    fakes = FakeServices()
    version = fakes.tokens.add("c1", keeper.token)
    made = Connection(
        id="c1", state=State.ON, settings=Settings(endpoint=keeper.endpoint), token_version=version, roster_layout="64"
    )
    services = replace(
        fakes.services, clock=now, directory=directory, accounts_for=lambda _connection, _token: accounts
    )
    services.connections.create(made)
    workspace.control("PUT", "state", customer(PEOPLE))
    return House(workspace, keeper, services, fakes)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("active", [True, False])
def test_who_gets_a_leavers_address_as_an_alias_does_not_get_the_leavers_vault(house, way, active):
    vault = house.seed("leaver@example.com", active=active)
    before = house.account(vault)
    house.alias("u1", "leaver@example.com")
    run = house.arrive(way, "u1")
    assert house.account(vault) == before
    mine = house.keeper.of("u1")
    assert (mine["userName"], mine["active"]) == ("person1@example.com", True)
    (event,) = house.events("u1")
    assert event.name is EventName.CREATED
    assert "leaver@example.com" in event.reason
    if run is not None:
        assert [note for note in run.notes if "under an alias" in note and note.endswith(": 1")]


@pytest.mark.parametrize("way", WAYS)
def test_a_shared_account_under_an_alias_stays_what_it_is(house, way):
    shared = house.seed("support@example.com", BEFORE, displayName="Support")
    house.alias("u2", "Support@example.com")
    house.arrive(way, "u2")
    assert house.account(shared)["displayName"] == "Support"
    assert "externalId" not in house.account(shared)
    assert house.keeper.of("u2")["userName"] == "person2@example.com"


def in_doubt(house: House, way: str, user_id: str, scim_id: str, why: str) -> None:
    before = house.account(scim_id)
    house.arrive(way, user_id)
    assert house.account(scim_id) == before
    assert house.keeper.of(user_id) is None
    assert house.failure(user_id) == "adoption_in_doubt"
    (event,) = house.events(user_id)
    assert (event.name, event.code) == (EventName.FAILED, "adoption_in_doubt")
    assert why in event.reason
    assert "preview" in event.reason


@pytest.mark.parametrize("way", WAYS)
def test_a_new_hire_with_the_primary_address_of_somebody_deleted_does_not_get_their_account(house, way):
    vault = house.seed("person1@example.com")
    house.workspace.delete("u1")
    house.workspace.insert(person(50, primaryEmail="Person1@example.com"))
    in_doubt(house, way, "u50", vault, "a recently deleted user had this address")


@pytest.mark.parametrize("way", WAYS)
def test_an_account_that_is_older_than_the_user_is_in_doubt(house, way):
    in_doubt(house, way, "u1", house.seed("person1@example.com", BEFORE), "older than the user")


@pytest.mark.parametrize("way", WAYS)
def test_an_account_of_which_keeper_does_not_tell_when_it_was_created_is_in_doubt(house, way):
    house.keeper.settings(tell_created=False)
    in_doubt(house, way, "u1", house.seed("person1@example.com"), "Keeper does not say")


@pytest.mark.parametrize("created", ["yesterday", "", 7, None, "2019-12-31T23:59:59"])
def test_a_time_of_creation_that_is_none_proves_nothing(house, created):
    in_doubt(house, "few", "u1", house.seed("person1@example.com", created), "")


def test_while_the_deleted_users_cannot_be_listed_nobody_is_adopted_by_address(house):
    vault = house.seed("person1@example.com")
    house.workspace.fault(match={"method": "users.list"}, status=400, reason="invalid", times=None)
    in_doubt(house, "notification", "u1", vault, "did not list its deleted users")


def test_what_carries_the_directory_id_is_adopted_without_asking_who_was_deleted(house):
    theirs = house.seed("former@example.com", BEFORE, externalId="u1", active=False)
    fault = house.workspace.fault(match={"method": "users.list"}, status=400, reason="invalid", times=None)
    house.arrive("notification", "u1")
    assert house.account(theirs)["userName"] == "person1@example.com"
    assert house.workspace.matched(fault) == 0


@pytest.mark.parametrize("way", WAYS)
def test_a_free_account_that_is_younger_than_the_user_is_adopted(house, way):
    invited = house.seed("PERSON1@example.com", HIRED)
    house.arrive(way, "u1")
    assert house.account(invited)["externalId"] == "u1"
    (event,) = house.events("u1")
    assert (event.name, event.reason) == (EventName.ADOPTED, "")


@pytest.mark.parametrize("way", WAYS)
def test_what_was_confirmed_is_adopted_at_once_and_the_audit_says_so(house, way):
    vault = house.seed("person1@example.com", BEFORE)
    in_doubt(house, way, "u1", vault, "older than the user")
    preview, lines = house.preview()
    assert (lines["u1"].would, lines["u1"].scim_id) == (Would.DOUBT, vault)
    assert lines["u1"].detail.startswith("person1@example.com: ")
    assert house.confirm(preview) == 1
    _, lines = house.preview()
    assert (lines["u1"].would, lines["u1"].scim_id) == (Would.ADOPT, vault)
    assert lines["u1"].detail == "person1@example.com (confirmed)"
    if way == "notification":
        house.notify("u1")
    else:
        house.run()
    assert house.account(vault)["externalId"] == "u1"
    adopted = house.events("u1")[-1]
    assert adopted.name is EventName.ADOPTED
    assert "An administrator had confirmed" in adopted.reason


@pytest.mark.parametrize("active", [True, False])
def test_an_account_under_an_alias_is_adopted_where_it_was_chosen_and_never_with_all(house, active):
    former = house.seed("maiden.name@example.com", BEFORE, active=active)
    house.alias("u1", "maiden.name@example.com")
    preview, lines = house.preview()
    assert (lines["u1"].would, lines["u1"].scim_id) == (Would.CREATE, former)
    assert "maiden.name@example.com" in lines["u1"].detail
    assert ("(locked)" in lines["u1"].detail) is not active
    assert house.confirm(preview) == 0
    assert house.confirm(preview, "u1") == 1
    house.run()
    assert (house.account(former)["externalId"], house.account(former)["userName"]) == ("u1", "person1@example.com")
    assert house.account(former)["active"] is active
    (event,) = house.events("u1")
    assert event.name is EventName.ADOPTED


def vanish(house: House) -> None:
    """Provision u1, then take the account away in Keeper, and let there be another reason to write it."""
    house.run()
    house.keeper.control("DELETE", f"accounts/{house.keeper.of('u1')['id']}")
    house.workspace.patch("u1", {"name": {"familyName": "Byron"}})


@pytest.mark.parametrize("way", ["notification", "few"])
def test_an_account_that_stands_where_ours_vanished_is_weighed_alike(house, way):
    vanish(house)
    other = house.seed("person1@example.com", BEFORE)
    before = house.account(other)
    house.arrive(way, "u1")
    assert house.account(other) == before
    assert house.failure("u1") == "adoption_in_doubt"
    preview, lines = house.preview()
    assert (lines["u1"].would, lines["u1"].scim_id) == (Would.DOUBT, other)
    house.confirm(preview)
    house.arrive(way, "u1")
    assert house.account(other)["externalId"] == "u1"
    assert house.failure("u1") == ""


@pytest.mark.parametrize("way", ["notification", "few"])
def test_an_account_under_an_alias_is_not_taken_for_one_that_vanished(house, way):
    vanish(house)
    vault = house.seed("leaver@example.com")
    house.alias("u1", "leaver@example.com")
    house.arrive(way, "u1")
    assert "externalId" not in house.account(vault)
    assert house.keeper.of("u1")["userName"] == "person1@example.com"
    assert house.failure("u1") == ""


def test_a_creation_that_meets_a_409_weighs_what_it_finds_then(house):
    """Keeper does not show the account when it is searched for, and has it when another is to be created."""
    empty = {"totalResults": 0, "Resources": [], "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"]}
    vault = house.seed("person1@example.com", BEFORE)
    house.keeper.fault(match={"method": "GET", "path": "/Users"}, status=200, body=empty, times=2)
    in_doubt(house, "notification", "u1", vault, "older than the user")
