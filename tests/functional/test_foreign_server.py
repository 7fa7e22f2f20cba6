"""The whole system in front of django-scim2, a server that nobody here wrote: everybody ends in step or with a reason.

What that server is like stands in tests/contract/test_scim_django.py.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from infra.local.connect import connect
from infra.local.simulation import http, wait_for
from tests.contract.scim_servers import django_node
from tests.support.system import GROUP, GROUP_ID, System, person
from tests.support.wire import Forwarder

POLICY = Deprovisioning(deleted=Delays(suspend_after=None, delete_after=0))
DELIVERIES = 12  # of one message, at most: afterwards nobody would read what became of it


@dataclass
class Foreign:
    """The server, as its own administrator sees it."""

    endpoint: str
    token: str
    log: Path

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return http(method, self.endpoint + path, body, {"Authorization": f"Bearer {self.token}"})

    def accounts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", "/Users?count=1000")["Resources"]
        return found

    def of(self, user_id: str) -> dict[str, Any] | None:
        return next((account for account in self.accounts() if account["externalId"] == user_id), None)

    def active(self) -> dict[str, bool]:
        """Return who has an account, and whether it is active."""
        return {account["externalId"]: account["active"] for account in self.accounts()}

    def patch(self, scim_id: str, path: str, value: Any) -> None:
        self.call("PATCH", f"/Users/{scim_id}", {"Operations": [{"op": "replace", "path": path, "value": value}]})

    def patched(self, scim_id: str) -> int:
        """Count the PATCH requests for an account."""
        return len(re.findall(rf'"PATCH \S+/Users/{scim_id} ', self.log.read_text()))

    def empty(self) -> None:
        for account in self.accounts():
            self.call("DELETE", f"/Users/{account['id']}")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    folder = tmp_path_factory.mktemp("django")
    with django_node(folder) as (endpoint, token):
        yield Foreign(endpoint, token, folder / "django.log")


@pytest.fixture
def foreign(system: System, served: Foreign) -> Foreign:
    """The server as new, connected."""
    served.empty()
    connect(served.endpoint, served.token, (GROUP,), {"deprovisioning": POLICY})
    return served


def settled(system: System, user_id: str) -> int:
    """Deliver a look, as often as Pub/Sub would, until it is done with; returns how often that took."""
    for deliveries in range(1, DELIVERIES + 1):
        if system.look(user_id, f"look-{user_id}") == 204:
            return deliveries
    pytest.fail(f"the look at {user_id} was delivered {DELIVERIES} times")


def failed(system: System, user_id: str, *codes: str) -> str:
    """Return the text of the failure that must stand."""
    failure = system.entry(user_id).failure
    assert failure is not None, user_id
    assert failure.code in codes
    assert failure.next_attempt > failure.first
    return str(failure.text)


def test_a_working_day(system: System, foreign: Foreign):
    summary = system.sync()
    everybody = {f"u{number}": True for number in range(12)}
    assert (summary["created"], summary["failed"], foreign.active()) == (12, 0, everybody)
    assert system.sync()["unchanged"] == 12
    system.world.watch_directory()

    system.directory.patch("u2", {"primaryEmail": "moved@example.com"})
    system.directory.patch("u4", {"suspended": True})
    system.directory.delete("u5")
    system.directory.leave(GROUP_ID, "u6")
    system.directory.insert(person(40))
    system.directory.join(GROUP_ID, "u40")
    wait_for(lambda: (foreign.of("u2") or {})["userName"] == "moved@example.com", "the new address")
    wait_for(lambda: foreign.active() == {**everybody, "u4": False, "u5": True} or "u5" not in foreign.active(), "u4")
    system.sync()
    del everybody["u5"]
    assert foreign.active() == {**everybody, "u4": False, "u6": False, "u40": True}

    system.directory.patch("u4", {"suspended": False})
    system.directory.join(GROUP_ID, "u6")
    system.sync()
    assert foreign.active() == {**everybody, "u40": True}
    moved = foreign.of("u2")
    assert moved is not None
    assert moved["emails"] == [{"value": "moved@example.com", "primary": True}]
    summary = system.sync("drift")
    assert (summary["failed"], summary["updated"]) == (0, 0)


def test_drift_is_repaired_and_a_lock_is_left(system: System, foreign: Foreign):
    system.sync()
    vandalized, locked = foreign.of("u1"), foreign.of("u2")
    assert vandalized is not None
    assert locked is not None
    foreign.patch(vandalized["id"], "emails", [{"value": "vandal@example.com", "primary": True}])
    foreign.patch(locked["id"], "active", False)
    summary = system.sync("drift")
    assert (summary["updated"], summary["failed"]) == (1, 0)
    assert (foreign.of("u1") or {})["emails"][0]["value"] == "person1@example.com"
    assert (foreign.of("u2") or {})["active"] is False
    assert system.entry("u2").status.value == "locked"
    assert system.sync("drift")["updated"] == 0


def test_a_name_that_it_cannot_change_is_that_users_failure(system: System, foreign: Foreign):
    """displayName is part of every change of a name, and 501 is its final answer to that."""
    system.sync()
    account = foreign.of("u3")
    assert account is not None
    system.directory.patch("u3", {"name": {"givenName": "Given3", "familyName": "Byron"}})
    system.directory.patch("u4", {"suspended": True})
    assert settled(system, "u3") == 1
    assert "501" in failed(system, "u3", "not_offered")
    assert [settled(system, "u3"), settled(system, "u4")] == [1, 1]
    summary = system.sync()
    wait_for(lambda: foreign.patched(account["id"]) >= 2, "the lines that Django writes after its answers")
    assert foreign.patched(account["id"]) == 2, "once more by the sync, which tries again at once, and not before"
    assert (summary["failed"], summary["updated"]) == (1, 0)
    assert foreign.of("u3") == account
    assert (foreign.of("u4") or {})["active"] is False

    system.directory.patch("u3", {"suspended": True})
    assert settled(system, "u3") == 1
    assert (foreign.of("u3") or {})["active"] is False, "a leaver leaves, whatever failed before"


def test_an_account_that_it_cannot_hand_over_is_that_users_failure(system: System, foreign: Foreign):
    """Adoption writes the externalId, which is a 501 too; nobody gets a second account for that."""
    body = {"userName": "person1@example.com", "emails": [{"value": "person1@example.com"}], "active": True}
    stranger = foreign.call("POST", "/Users", {**body, "externalId": ""})
    summary = system.sync()
    assert (summary["created"], summary["adopted"], summary["failed"]) == (11, 0, 1)
    failed(system, "u1", "not_offered", "adoption_in_doubt")
    assert foreign.call("GET", f"/Users/{stranger['id']}") == stranger
    assert len(foreign.accounts()) == 12
    assert foreign.patched(stranger["id"]) <= 1


def test_a_taken_address_that_it_calls_a_failure_of_its_own_ends(system: System, foreign: Foreign):
    """A 500 for one user's change, each time: that user's failure, and the rest goes on."""
    system.sync()
    foreign.call("POST", "/Users", {"userName": "taken@example.com", "externalId": "somebody"})
    account = foreign.of("u1")
    assert account is not None
    system.directory.patch("u1", {"primaryEmail": "taken@example.com"})
    system.directory.patch("u2", {"suspended": True})
    settled(system, "u1")
    for _ in range(3):
        system.sync()
    text = failed(system, "u1", "keeper_failed", "unresolved")
    assert "suspen" not in text
    assert foreign.of("u1") == account
    assert (foreign.of("u2") or {})["active"] is False
    assert foreign.patched(account["id"]) < 60
    assert system.services().runs.open("keeper") == []
    system.directory.patch("u1", {"primaryEmail": "free@example.com"})
    assert settled(system, "u1") <= 2
    assert (foreign.of("u1") or {})["userName"] == "free@example.com"


def test_nobody_gets_two_accounts_when_the_answers_to_creations_are_lost(system: System, served: Foreign):
    """No filter finds an externalId there: believing the empty listing would mean that nobody was created."""
    served.empty()
    parts = urlsplit(served.endpoint)
    forwarder = Forwarder(parts.port or 0)
    try:
        connect(f"http://127.0.0.1:{forwarder.port}{parts.path}", served.token, (GROUP,))
        forwarder.withhold_after = forwarder.requests
        lost = threading.Thread(target=let_go, args=(forwarder,))
        lost.start()
        system.sync()
        lost.join()
        assert forwarder.withheld.is_set()
        wait_for(lambda: system.sync()["unchanged"] == 12, "everybody in step", 60)
        everybody = {f"u{number}" for number in range(12)}
        assert sorted(account["externalId"] for account in served.accounts()) == sorted(everybody)
        assert {user_id: system.entry(user_id).failure for user_id in everybody} == dict.fromkeys(everybody)
    finally:
        forwarder.close()


def let_go(forwarder: Forwarder) -> None:
    """Keep answers back until one was lost, and cut the connections that wait for theirs."""
    forwarder.withheld.wait(30)
    forwarder.withhold = False
    forwarder.drop()
