"""What changes while it is being worked on: the directory, the token, the endpoint, the connection."""

from __future__ import annotations

from dataclasses import replace

from autoprovisioning.domain.connections import State
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Status
from autoprovisioning.domain.errors import BadInput, Rejected, Throttled
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from autoprovisioning.domain.runs import RunKind, RunState
from tests.support.builders import active, notice
from tests.support.in_memory import FakeAccounts
from tests.support.settings import with_settings


def test_what_happens_while_a_drift_run_lists_keeper_is_newer_than_the_listing(scenario, monkeypatch):
    scenario.suspend("u1")
    notice(scenario, "u1")
    listing = FakeAccounts.list

    def slowly(accounts):
        shown = list(accounts._node.accounts.values())
        monkeypatch.setattr(FakeAccounts, "list", listing)
        scenario.restore("u1")
        notice(scenario, "u1")
        yield shown

    monkeypatch.setattr(FakeAccounts, "list", slowly)
    scenario.plan(RunKind.DRIFT)
    scenario.work_off()
    assert (scenario.entry("u1").status, active(scenario, "u1")) == (Status.ACTIVE, [True])


def test_a_token_replaced_a_moment_ago_does_not_pause_the_connection(scenario):
    read = scenario.fakes.tokens.read
    scenario.keeper.accepts.add("newer")

    def replaced_meanwhile(connection_id, version):
        scenario.services.tokens.read = read
        newer = scenario.fakes.tokens.add("c1", "newer")
        scenario.services.connections.change("c1", lambda current: replace(current, token_version=newer))
        scenario.fakes.tokens.disable("c1", version)
        return read(connection_id, version)

    scenario.services.tokens.read = replaced_meanwhile
    scenario.rename("u1", "Renamed")
    notice(scenario, "u1")
    assert scenario.keeper.of("u1")[0].attributes["name.givenName"] == "Renamed"
    assert scenario.connection.state is State.ON


def test_a_connection_deleted_between_two_looks_is_not_written_to(scenario):
    scenario.keeper.afterwards.append(
        lambda: scenario.services.connections.change("c1", lambda current: replace(current, state=State.DELETING))
    )
    scenario.rename("u1", "Renamed")
    scenario.keeper.meanwhile.append(lambda: scenario.suspend("u1"))
    notice(scenario, "u1")
    (account,) = scenario.keeper.of("u1")
    assert (account.attributes["name.givenName"], account.active) == ("Renamed", True)
    assert scenario.directory.live["u1"].presence is Presence.SUSPENDED


def test_a_new_token_is_never_sent_to_the_old_endpoint(scenario):
    sent = []
    opened = scenario.services.accounts_for
    read = scenario.fakes.tokens.read
    scenario.keeper.accepts.add("newer")

    def moved_meanwhile(connection_id, version):
        scenario.services.tokens.read = read
        newer = scenario.fakes.tokens.add("c1", "newer")
        moved = "https://keepersecurity.eu/api/rest/scim/v2/2"
        scenario.services.connections.change(
            "c1", lambda current: with_settings(replace(current, token_version=newer), endpoint=moved)
        )
        scenario.fakes.tokens.disable("c1", version)
        return read(connection_id, version)

    def watched(connection, token):
        sent.append((connection.settings.endpoint[-1], token))
        return opened(connection, token)

    object.__setattr__(scenario.services, "accounts_for", watched)
    scenario.services.tokens.read = moved_meanwhile
    scenario.rename("u1", "Renamed")
    notice(scenario, "u1")
    assert ("1", "newer") not in sent
    assert ("2", "newer") in sent


def test_a_connection_whose_host_is_allowed_no_more_leaves_no_run_open(scenario):
    def refused(_connection, _token):
        raise BadInput("endpoint", "it is not one of Keeper's hosts", "List it.")

    object.__setattr__(scenario.services, "accounts_for", refused)
    run = scenario.plan()
    assert run.state is RunState.REFUSED
    assert "Keeper's hosts" in run.notes[0]


def test_who_asked_for_a_look_gets_it_though_the_batch_fails_afterwards(scenario):
    for user_id in ("u1", "u2"):
        scenario.rename(user_id, "Planned")
    scenario.plan()
    (batch,) = scenario.fakes.queue.batches
    first, second = (change.user_id for change in batch.changes)
    scenario.keeper.meanwhile.append(lambda: (scenario.suspend(first), notice(scenario, first)))
    scenario.keeper.faults.extend([None, Throttled("429", retry_after=30)])
    scenario.fakes.queue.batches = []
    scenario.apply(batch)
    assert [look.user_id for look in scenario.fakes.queue.looks] == [first]
    assert active(scenario, second) == [True]


def test_a_mapping_that_lost_a_row_writes_nothing(scenario):
    rows = (*DEFAULT_ROWS, Row(target="title", source='"Contractor"'))
    scenario.services.connections.change("c1", lambda current: with_settings(current, mapping=AttributeMapping(rows)))
    scenario.run()
    scenario.services.connections.change("c1", lambda current: with_settings(current, mapping=AttributeMapping()))
    scenario.keeper.faults.append(Rejected("no write is due"))
    for _ in range(2):
        scenario.run()
    assert scenario.keeper.faults.pop().args == ("no write is due",)
    assert scenario.entry("u1").failure is None
    scenario.rename("u1", "Still noticed")
    scenario.run()
    assert scenario.keeper.of("u1")[0].attributes["name.givenName"] == "Still noticed"
