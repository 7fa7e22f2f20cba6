"""Drift runs over the wire: what a server makes of the values it stores is left alone, what somebody changed is not."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoprovisioning.adapters.scim import ScimAccounts
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.keeper import PatchDialect
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from autoprovisioning.domain.runs import RunKind
from infra.local.simulation import KeeperSide
from tests.contract.scim_servers import Counts
from tests.support.scenario import LATER, Scenario
from tests.support.settings import with_settings

PHONE = 'phoneNumbers[type eq "work"].value'
ROWS = (
    *DEFAULT_ROWS,
    Row(target=PHONE, source="phones[type=work].value"),
    Row(target="title", source="organizations[primary].title"),
)
NORMALIZATIONS: dict[str, dict[str, Any]] = {
    "as sent": {},
    "lower case": {"lower_case": True},
    "trimmed": {"trim": True},
    "NFC": {"nfc": True},
    "cut": {"longest": 9},
    "bare phone numbers": {"bare_phones": True},
    "all of it": {"lower_case": True, "trim": True, "nfc": True, "longest": 9, "bare_phones": True},
}
WAYS = {
    "one by one": {"bulk": False},
    "Bulk": {"bulk": True, "bulk_responses": False},
    "Bulk that shows": {"bulk": True, "bulk_responses": True},
    "Keeper's dialect": {"bulk": False, "dialect": PatchDialect.KEEPER},
}


class Node:
    """The simulated Keeper node, and our use cases at work on it over the wire."""

    def __init__(self, side: KeeperSide, dialect: PatchDialect) -> None:
        self.side = side
        self.scenario = Scenario()
        clock = self.scenario.fakes.clock
        accounts = ScimAccounts(side.endpoint, side.token, dialect, Counts(), clock, timeout=5.0)
        self.scenario.services = replace(self.scenario.services, accounts_for=lambda *_: accounts)
        mapping = AttributeMapping(ROWS)
        self.scenario.services.connections.change("c1", lambda connection: with_settings(connection, mapping=mapping))
        for user_id in ("u1", "u2"):
            self.edit(user_id, primaryEmail=f"{user_id.upper()}@example.com")

    def edit(self, user_id: str, **changes: Any) -> None:
        """Change a user's profile in the directory, whose values no server of these keeps as they are."""
        user = self.scenario.directory.live[user_id]
        address = str(changes.get("primaryEmail", user.profile["primaryEmail"]))
        family = unicodedata.normalize("NFD", "Zoë de la Vallée")
        profile = {
            **user.profile,
            "name": {"givenName": " Augusta  ", "familyName": family, "fullName": f"Augusta {family} "},
            "emails": [{"address": address, "primary": True}],
            "phones": [{"type": "work", "value": "+44 (20) 7946-0000"}],
            "organizations": [{"primary": True, "title": "Countess of Lovelace"}],
            **changes,
        }
        self.scenario.directory.live[user_id] = replace(user, primary_email=address, profile=profile)

    def run(self, kind: RunKind = RunKind.FULL) -> list[Event]:
        """Run to the end; returns what was recorded."""
        known = set(self._events())
        self.scenario.fakes.clock.advance(LATER)
        self.side.control("DELETE", "requests")
        self.scenario.plan(kind)
        self.scenario.work_off()
        return [event for name, event in self._events().items() if name not in known]

    def _events(self) -> dict[str, Event]:
        return dict(self.scenario.fakes.store.events["c1"])

    def written(self) -> list[dict[str, Any]]:
        return [request for request in self.side.requests()["log"] if request["method"] != "GET"]

    def account(self, user_id: str) -> dict[str, Any]:
        found = self.side.of(user_id)
        assert found is not None
        return found

    def tamper(self, user_id: str, **changes: Any) -> None:
        self.side.control("PATCH", f"accounts/{self.account(user_id)['id']}", changes)

    def entry(self, user_id: str) -> Entry:
        found = self.scenario.entry(user_id)
        assert found is not None
        return found


@pytest.fixture
def node(keeper: KeeperSide) -> Callable[..., Node]:
    def built(dialect: PatchDialect = PatchDialect.STANDARD, **settings: Any) -> Node:
        keeper.settings(**settings)
        return Node(keeper, dialect)

    return built


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_what_a_server_makes_of_values_is_written_once(node, kind, way):
    there = node(normalization=NORMALIZATIONS[kind], **WAYS[way])
    assert [event.name for event in there.run()] == [EventName.CREATED] * 3
    for _ in range(2):
        assert there.run(RunKind.DRIFT) == []
        assert there.written() == []


@pytest.mark.parametrize("way", WAYS)
def test_what_somebody_changes_beside_it_is_repaired(node, way):
    there = node(normalization=NORMALIZATIONS["all of it"], **WAYS[way])
    there.run()
    there.run(RunKind.DRIFT)
    there.tamper("u1", displayName="Augusta B", title="Countess")
    (repaired,) = there.run(RunKind.DRIFT)
    assert repaired.before == {"displayName": "Augusta B", "title": "Countess"}
    assert set(repaired.changed) == {"displayName", "title"}
    assert there.account("u1")["displayName"] == "Augusta Z"
    for _ in range(2):
        assert there.run(RunKind.DRIFT) == []
        assert there.written() == []


@pytest.mark.parametrize("way", WAYS)
def test_an_update_renews_what_is_remembered(node, way):
    there = node(normalization=NORMALIZATIONS["all of it"], **WAYS[way])
    there.run()
    there.run(RunKind.DRIFT)
    for user_id in ("u1", "u2"):
        there.edit(user_id, primaryEmail=f"{user_id}@EXAMPLE.com", phones=[{"type": "work", "value": "+1 (5) 55"}],
                   organizations=[{"primary": True, "title": "Dame of Lovelace"}])  # fmt: skip
    updated = there.run()
    assert [set(event.before) for event in updated] == [set(event.changed) for event in updated]
    assert {str(event.before["title"]) for event in updated} == {"Countess of Lovelace"}
    for _ in range(2):
        assert there.run(RunKind.DRIFT) == []
        assert there.written() == []
    there.tamper("u1", title="Countess of Lovelace"[:9])
    assert len(there.run(RunKind.DRIFT)) == 1


def test_the_audit_of_a_directory_change_in_a_drift_run_tells_what_we_wrote_before(node):
    there = node(normalization=NORMALIZATIONS["cut"])
    there.run()
    there.edit("u1", organizations=[{"primary": True, "title": "Dame of Lovelace"}])
    there.tamper("u1", displayName="Augusta B")  # else nobody looks at this user
    (updated,) = there.run(RunKind.DRIFT)
    assert updated.changed["title"] == "Dame of Lovelace"
    assert updated.before == {"title": "Countess of Lovelace", "displayName": "Augusta B"}


@pytest.mark.parametrize("effect", [{"drop_after": True}, {"page_after": 200}])
def test_a_change_whose_answer_was_lost_reads_as_it_was_sent(node, keeper, effect):
    there = node(normalization=NORMALIZATIONS["all of it"])
    there.run()
    keeper.fault(match={"method": "PATCH"}, times=4, **effect)
    keeper.fault(match={"method": "GET", "path": "/Users/"}, times=8, status=500)
    there.edit("u1", organizations=[{"primary": True, "title": "Dame of Lovelace"}])
    there.run()
    keeper.control("DELETE", "faults")
    events = there.run()
    assert [(event.recovered, event.changed, event.before) for event in events] == [
        (True, {"title": "Dame of Lovelace"}, {"title": "Countess of Lovelace"})
    ]
    assert there.entry("u1").email == "U1@example.com"
    assert there.written() == []
    assert there.run(RunKind.DRIFT) == []


def test_a_lost_change_that_was_not_done_is_not_taken_for_done_because_its_value_begins_alike(node, keeper):
    there = node()
    there.edit("u1", organizations=[{"primary": True, "title": "Countess"}])
    there.run()
    keeper.fault(match={"method": "PATCH"}, times=4, drop_before=True)
    there.edit("u1", organizations=[{"primary": True, "title": "Countess of Lovelace"}])
    there.run()
    there.run()
    assert there.account("u1")["title"] == "Countess of Lovelace"


def test_an_update_that_is_ignored_is_no_cut_value(node, keeper):
    there = node()
    there.edit("u1", organizations=[{"primary": True, "title": "Countess"}])
    there.run()
    account = there.account("u1")
    keeper.fault(match={"method": "PATCH"}, times=None, status=200, body=account)
    there.edit("u1", organizations=[{"primary": True, "title": "Countess of Lovelace"}])
    (failed,) = there.run()
    assert failed.code == "contradicted"
    assert "shows what was there before in: title" in failed.reason


def test_an_account_that_is_created_anew_is_remembered_anew(node):
    there = node(normalization=NORMALIZATIONS["all of it"])
    there.run()
    there.side.control("POST", f"recreate/{there.account('u1')['id']}")
    there.run(RunKind.DRIFT)
    assert there.account("u1")["externalId"] == "u1"
    there.scenario.fakes.clock.advance(timedelta(hours=1))
    for _ in range(2):
        assert there.run(RunKind.DRIFT) == []
        assert there.written() == []
