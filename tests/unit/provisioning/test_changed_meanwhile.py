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


def test_what_happens_while_a_drift_run_lists_keeper_is_newer_than_the_listing(office, monkeypatch):
    office.suspend("u1")
    notice(office, "u1")
    listing = FakeAccounts.list

    def slowly(accounts):
        shown = list(accounts._node.accounts.values())
        monkeypatch.setattr(FakeAccounts, "list", listing)
        office.restore("u1")
        notice(office, "u1")
        yield shown

    monkeypatch.setattr(FakeAccounts, "list", slowly)
    office.plan(RunKind.DRIFT)
    office.work_off()
    assert (office.entry("u1").status, active(office, "u1")) == (Status.ACTIVE, [True])


def test_a_token_replaced_a_moment_ago_does_not_pause_the_connection(office):
    read = office.desk.tokens.read
    office.keeper.accepts.add("newer")

    def replaced_meanwhile(connection_id, version):
        office.services.tokens.read = read
        newer = office.desk.tokens.add("c1", "newer")
        office.services.connections.change("c1", lambda current: replace(current, token_version=newer))
        office.desk.tokens.disable("c1", version)
        return read(connection_id, version)

    office.services.tokens.read = replaced_meanwhile
    office.rename("u1", "Renamed")
    notice(office, "u1")
    assert office.keeper.of("u1")[0].attributes["name.givenName"] == "Renamed"
    assert office.connection.state is State.ON


def test_a_connection_deleted_between_two_looks_is_not_written_to(office):
    office.keeper.afterwards.append(
        lambda: office.services.connections.change("c1", lambda current: replace(current, state=State.DELETING))
    )
    office.rename("u1", "Renamed")
    office.keeper.meanwhile.append(lambda: office.suspend("u1"))
    notice(office, "u1")
    (account,) = office.keeper.of("u1")
    assert (account.attributes["name.givenName"], account.active) == ("Renamed", True)
    assert office.directory.live["u1"].presence is Presence.SUSPENDED


def test_a_new_token_is_never_sent_to_the_old_endpoint(office):
    sent = []
    opened = office.services.accounts_for
    read = office.desk.tokens.read
    office.keeper.accepts.add("newer")

    def moved_meanwhile(connection_id, version):
        office.services.tokens.read = read
        newer = office.desk.tokens.add("c1", "newer")
        moved = "https://keepersecurity.eu/api/rest/scim/v2/2"
        office.services.connections.change(
            "c1", lambda current: with_settings(replace(current, token_version=newer), endpoint=moved)
        )
        office.desk.tokens.disable("c1", version)
        return read(connection_id, version)

    def watched(connection, token):
        sent.append((connection.settings.endpoint[-1], token))
        return opened(connection, token)

    object.__setattr__(office.services, "accounts_for", watched)
    office.services.tokens.read = moved_meanwhile
    office.rename("u1", "Renamed")
    notice(office, "u1")
    assert ("1", "newer") not in sent
    assert ("2", "newer") in sent


def test_a_connection_whose_host_is_allowed_no_more_leaves_no_run_open(office):
    def refused(_connection, _token):
        raise BadInput("endpoint", "it is not one of Keeper's hosts", "List it.")

    object.__setattr__(office.services, "accounts_for", refused)
    run = office.plan()
    assert run.state is RunState.REFUSED
    assert "Keeper's hosts" in run.notes[0]


def test_who_asked_for_a_look_gets_it_though_the_batch_fails_afterwards(office):
    for user_id in ("u1", "u2"):
        office.rename(user_id, "Planned")
    office.plan()
    (batch,) = office.desk.queue.batches
    first, second = (change.user_id for change in batch.changes)
    office.keeper.meanwhile.append(lambda: (office.suspend(first), notice(office, first)))
    office.keeper.faults.extend([None, Throttled("429", retry_after=30)])
    office.desk.queue.batches = []
    office.apply(batch)
    assert [look.user_id for look in office.desk.queue.looks] == [first]
    assert active(office, second) == [True]


def test_a_mapping_that_lost_a_row_writes_nothing(office):
    rows = (*DEFAULT_ROWS, Row(target="title", source='"Contractor"'))
    office.services.connections.change("c1", lambda current: with_settings(current, mapping=AttributeMapping(rows)))
    office.run()
    office.services.connections.change("c1", lambda current: with_settings(current, mapping=AttributeMapping()))
    office.keeper.faults.append(Rejected("no write is due"))
    for _ in range(2):
        office.run()
    assert office.keeper.faults.pop().args == ("no write is due",)
    assert office.entry("u1").failure is None
    office.rename("u1", "Still noticed")
    office.run()
    assert office.keeper.of("u1")[0].attributes["name.givenName"] == "Still noticed"
