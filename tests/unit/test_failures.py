"""Failure paths of the use cases, end to end over the ports in memory: nobody wrongly in or out, nothing for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app import apply_batch as batches
from autoprovisioning.app.holding import decide_hold
from autoprovisioning.app.sweep import sweep
from autoprovisioning.domain.connections import State, VolumeLimit
from autoprovisioning.domain.errors import (
    AuthorizationRefused,
    BadInput,
    Rejected,
    SeatsExhausted,
    Throttled,
    Transient,
    Unresolved,
)
from autoprovisioning.domain.guard import HoldState
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from autoprovisioning.domain.roster import Status
from autoprovisioning.domain.runs import Look, RunKind, RunState
from autoprovisioning.domain.users import Group, Scope
from tests.fakes import FakeAccounts, FakeKeeper
from tests.office import GROUP, LATER, Office, person

SECOND = timedelta(seconds=1)


@pytest.fixture
def office() -> Office:
    """A customer of three provisioned people."""
    office = Office()
    office.run()
    return office


def notice(office: Office, user_id: str, event: str = "update") -> None:
    office.deliver(Look(user_id, event, asked_at=office.desk.clock.now))


def active(office: Office, user_id: str) -> list[bool]:
    return [account.active for account in office.keeper.of(user_id)]


def test_messages_that_meet_a_wait_do_not_prolong_it(office):
    office.keeper.faults.append(Throttled("429", retry_after=30))
    office.rename("u1", "Patient")
    notice(office, "u1")
    for _ in range(70):
        office.desk.clock.advance(SECOND / 2)
        office.refused.clear()
        notice(office, "u1")
    assert office.keeper.of("u1")[0].attributes["name.givenName"] == "Patient"


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


def test_a_lock_does_not_outlive_its_account(office):
    (account,) = office.keeper.of("u1")
    office.keeper.accounts[account.scim_id] = replace(account, active=False)
    office.plan(RunKind.DRIFT)
    office.work_off()
    assert office.entry("u1").status is Status.LOCKED
    del office.keeper.accounts[account.scim_id]
    office.plan(RunKind.DRIFT)
    office.work_off()
    assert (office.entry("u1").status, active(office, "u1")) == (Status.ACTIVE, [True])


def test_an_address_that_was_given_up_finds_no_account(office):
    office.keeper.faults.append(SeatsExhausted("428"))
    office.hire("u4", "dan@example.com")
    notice(office, "u4", "add")
    office.directory.live["u4"] = person("u4", "daniel@example.com", "Dan")
    office.directory.live["u5"] = person("u5", "dan@example.com", "Other")
    invited = office.keeper.seed("dan@example.com")
    office.desk.clock.advance(LATER)
    office.run()
    assert office.keeper.accounts[invited.scim_id].external_id == ""
    assert active(office, "u4") == [True]


def test_a_leavers_vanished_account_is_not_found_in_a_newcomers(office):
    (account,) = office.keeper.of("u1")
    del office.keeper.accounts[account.scim_id]
    office.delete("u1")
    office.hire("u4", "ada@example.com")
    office.keeper.seed("ada@example.com")
    notice(office, "u1", "delete")
    office.desk.clock.advance(LATER)
    office.run()
    assert (active(office, "u4"), active(office, "u1")) == ([True], [])


def test_a_suspended_account_recreated_in_keeper_is_suspended_again(office):
    office.suspend("u1")
    notice(office, "u1")
    (account,) = office.keeper.of("u1")
    del office.keeper.accounts[account.scim_id]
    office.keeper.seed("ada@example.com", "u1")
    office.rename("u1", "New name")
    notice(office, "u1")
    assert (office.entry("u1").status, active(office, "u1")) == (Status.SUSPENDED, [False])


def test_a_mapping_that_lost_a_row_writes_nothing(office):
    rows = (*DEFAULT_ROWS, Row("title", '"Contractor"'))
    office.services.connections.change("c1", lambda current: replace(current, mapping=AttributeMapping(rows)))
    office.run()
    office.services.connections.change("c1", lambda current: replace(current, mapping=AttributeMapping()))
    office.keeper.faults.append(Rejected("no write is due"))
    for _ in range(2):
        office.run()
    assert office.keeper.faults.pop().args == ("no write is due",)
    assert office.entry("u1").failure is None
    office.rename("u1", "Still noticed")
    office.run()
    assert office.keeper.of("u1")[0].attributes["name.givenName"] == "Still noticed"


def test_one_account_that_always_fails_does_not_stop_the_runs_after_it(office):
    office.rename("u1", "Poison")
    office.rename("u2", "Fine")
    poison, write = office.keeper.of("u1")[0].scim_id, office.keeper.write

    def failing(wanted):
        if wanted.scim_id == poison:
            raise Transient("HTTP 500")
        return write(wanted)

    office.keeper.write = failing
    first = office.plan()
    (batch,) = office.desk.queue.batches
    office.desk.queue.batches = []
    for _ in range(4):
        office.apply(batch)
        assert office.desk.queue.looks == [], "who was done is not looked at again"
        office.desk.clock.advance(timedelta(minutes=5))
    assert office.keeper.of("u2")[0].attributes["name.givenName"] == "Fine"
    assert office.plan().id != first.id


def test_a_mark_whose_account_keeper_refuses_to_show_ends_as_that_users_failure(office, monkeypatch):
    office.keeper.faults.append(Unresolved("lost"))
    office.rename("u1", "Lost")
    notice(office, "u1")

    def refused(_accounts, _scim_id):
        raise AuthorizationRefused("403", status=403)

    monkeypatch.setattr(FakeAccounts, "get", refused)
    office.desk.clock.advance(LATER)
    run = office.plan()
    office.work_off()
    entry = office.entry("u1")
    assert (entry.mark, entry.failure.code) == (None, "rejected")
    assert office.services.records.run("c1", run.id).state is RunState.DONE


def test_a_probe_that_is_refused_for_another_reason_loses_no_outcome(office, monkeypatch):
    office.rename("u1", "Later")
    office.keeper.faults.append(AuthorizationRefused("403", status=403))
    office.plan()
    probe, refusals = FakeAccounts.probe, iter([None, Rejected("HTTP 400")])  # the write's own, then ours

    def odd(accounts):
        refusal = next(refusals, None)
        if refusal is not None:
            raise refusal
        probe(accounts)

    monkeypatch.setattr(FakeAccounts, "probe", odd)
    (batch,) = office.desk.queue.batches
    office.apply(batch)
    assert (office.entry("u1").mark, office.entry("u1").pending) == (None, True)
    office.apply(batch)
    assert office.keeper.of("u1")[0].attributes["name.givenName"] == "Later"


def test_a_connection_whose_host_is_allowed_no_more_leaves_no_run_open(office):
    def refused(_connection, _token):
        raise BadInput("endpoint", "it is not one of Keeper's hosts", "List it.")

    object.__setattr__(office.services, "accounts_for", refused)
    run = office.plan()
    assert run.state is RunState.REFUSED
    assert "Keeper's hosts" in run.notes[0]


def test_an_address_of_somebody_else_backs_off_in_large_runs_too():
    office = Office()
    for number in range(25):
        office.hire(f"x{number}", f"x{number}@example.com")
        office.keeper.seed(f"x{number}@example.com", f"somebody-else-{number}")
    attempts = []
    for _ in range(5):
        office.run()
        office.desk.clock.advance(timedelta(minutes=15) + SECOND)
        attempts.append(office.entry("x1").failure.attempts)
    assert attempts == [1, 2, 2, 3, 3]


def test_a_user_is_worked_on_no_longer_than_their_mark_lives(office, monkeypatch):
    office.suspend("u1")
    deadlines = []
    write = FakeAccounts.write

    def watched(accounts, writes, deadline):
        deadlines.append(deadline - office.desk.clock.now)
        return write(accounts, writes, deadline)

    monkeypatch.setattr(FakeAccounts, "write", watched)
    office.run()
    assert deadlines == [office.services.timings.user_deadline]
    assert deadlines[0] < office.services.timings.user_mark


def test_not_being_a_member_by_one_answer_alone_gives_no_access_back(office):
    office.suspend("u1")
    notice(office, "u1")
    office.leave("u1")
    office.restore("u1")
    notice(office, "u1")
    assert active(office, "u1") == [False]
    office.run()
    assert active(office, "u1") == [False]


def test_a_remembered_member_who_left_gets_no_account(office):
    office.hire("u4", "dan@example.com")
    office.suspend("u4")
    notice(office, "u4")
    office.leave("u4")
    office.restore("u4")
    notice(office, "u4")
    assert active(office, "u4") == []


def test_a_sweep_looks_once_at_what_a_look_cannot_settle(office):
    units = Scope((GROUP,), ("/Sales",))
    office.services.connections.change("c1", lambda current: replace(current, scope=units))
    office.join("admin")
    assert sweep(office.services) == 1
    office.work_off()
    assert sweep(office.services) == 0
    office.leave("admin")
    assert sweep(office.services) == 0
    office.join("admin")
    assert sweep(office.services) == 1


@pytest.mark.parametrize("gone", ["delete", "archive"])
def test_a_leaver_who_is_gone_is_not_swept_for_ever_nor_hides_others(office, gone):
    office.services.connections.change("c1", lambda current: replace(current, limit=VolumeLimit(1, 1.0)))
    office.sweep()
    getattr(office, gone)("u1")
    office.leave("u1")
    notice(office, "u1", "delete" if gone == "delete" else "update")
    assert sweep(office.services) <= 1
    office.work_off()
    assert sweep(office.services) == 0
    office.leave("u2")
    office.desk.clock.advance(timedelta(days=2))
    office.sweep()
    assert active(office, "u2") == [False]


def held_and_rejected() -> Office:
    """Eight leavers above the limit of ten a day, whose suspension an administrator rejected."""
    office = Office()
    for number in range(30):
        office.hire(f"x{number}", f"x{number}@example.com")
    office.services.connections.change("c1", lambda current: replace(current, limit=VolumeLimit(10)))
    office.run()
    for number in range(4):
        office.suspend(f"x{number}")
        notice(office, f"x{number}")
    for number in range(10, 18):
        office.leave(f"x{number}")
    office.run()
    (hold,) = office.services.records.holds("c1")
    decide_hold(office.services, "c1", hold.digest, approve=False, actor="admin@example.com")
    return office


def leavers(office: Office) -> list[bool]:
    return [access for number in range(10, 18) for access in active(office, f"x{number}")]


def test_a_rejected_plan_is_not_carried_out_once_there_is_room():
    office = held_and_rejected()
    for wait in (timedelta(minutes=20), timedelta(hours=25)):
        office.desk.clock.advance(wait)
        office.run()
        notice(office, "x10")
        office.rename("x11", f"Renamed {wait}")
        notice(office, "x11")
        assert leavers(office) == [True] * 8


def test_a_rejection_says_nothing_about_another_reason():
    office = held_and_rejected()
    office.desk.clock.advance(timedelta(hours=25))
    office.run()
    office.suspend("x10")
    notice(office, "x10")
    assert leavers(office) == [False] + [True] * 7


def test_a_rejected_user_who_came_back_and_leaves_again_is_judged_anew():
    office = held_and_rejected()
    office.join("x10")
    office.run()
    office.leave("x10")
    office.desk.clock.advance(timedelta(hours=25))
    office.run()
    assert leavers(office) == [False] + [True] * 7


def test_coming_back_does_not_lift_a_lock_that_somebody_else_put_on_a_new_account(office):
    office.suspend("u1")
    notice(office, "u1")
    (account,) = office.keeper.of("u1")
    del office.keeper.accounts[account.scim_id]
    office.keeper.seed("ada@example.com", active=False)
    office.restore("u1")
    notice(office, "u1")
    assert (office.entry("u1").status, active(office, "u1")) == (Status.LOCKED, [False])


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
    assert active(office, "u1") == [True]


def test_a_rejection_does_not_shield_who_is_deleted_later():
    office = Office()
    for number in range(10):
        office.hire(f"x{number}", f"x{number}@example.com")
    units = Scope((), ("/Sales",))
    office.services.connections.change("c1", lambda current: replace(current, scope=units, limit=VolumeLimit(5, 1.0)))
    for number in range(10):
        office.directory.live[f"x{number}"] = replace(office.directory.live[f"x{number}"], org_unit_path="/Sales")
    for user_id in ("u1", "u2", "u3", "admin"):
        office.directory.live.pop(user_id, None)
    office.desk.clock.advance(timedelta(days=2))
    office.run()
    office.desk.clock.advance(timedelta(days=2))
    for number in range(10):
        office.directory.live[f"x{number}"] = replace(office.directory.live[f"x{number}"], org_unit_path="/")
        notice(office, f"x{number}")
    office.run()
    (hold,) = office.services.records.holds("c1")
    decide_hold(office.services, "c1", hold.digest, approve=False, actor="admin@example.com")
    shielded = sorted(user_id for user_id, _ in hold.members)[:2]
    office.desk.clock.advance(timedelta(days=2))
    office.suspend(shielded[0])
    office.delete(shielded[1])
    for _ in range(3):
        office.desk.clock.advance(timedelta(days=1))
        office.run()
    assert [active(office, user_id) for user_id in shielded] == [[False], [False]]
    assert sum(active(office, user_id) == [True] for user_id, _ in hold.members) == len(hold.members) - 2


def test_a_set_that_was_rejected_once_is_raised_anew_when_it_happens_again():
    office = held_and_rejected()
    office.services.connections.change("c1", lambda current: replace(current, limit=VolumeLimit(5, 1.0)))
    for number in range(10, 18):
        office.join(f"x{number}")
    office.run()
    office.desk.clock.advance(timedelta(days=100))
    for number in range(10, 18):
        office.leave(f"x{number}")
    office.run()
    (hold,) = [each for each in office.services.records.holds("c1") if each.state is HoldState.WAITING]
    assert len(hold.members) == 8
    decide_hold(office.services, "c1", hold.digest, approve=True, actor="admin@example.com")
    office.run()
    assert leavers(office) == [False] * 8


def test_a_write_that_keeper_never_answers_ends_as_a_failure_that_backs_off(office):
    office.suspend("u1")
    office.keeper.faults.extend([Unresolved("HTTP 500")] * 6)
    for _ in range(6):
        notice(office, "u1")
        office.desk.clock.advance(SECOND)
    failure = office.entry("u1").failure
    assert (failure.code, failure.attempts, office.entry("u1").pending) == ("unresolved", 2, False)
    assert len(office.keeper.faults) == 4, "two attempts, then a wait"
    office.keeper.faults.clear()
    office.desk.clock.advance(timedelta(minutes=31))
    notice(office, "u1")
    assert (office.entry("u1").failure, active(office, "u1")) == (None, [False])


def test_one_failing_search_does_not_keep_the_rest_of_its_batch_back(monkeypatch):
    monkeypatch.setattr(batches, "CHUNK", 5)
    office = Office()
    for number in range(12):
        office.hire(f"x{number:02}", f"x{number:02}@example.com")
    find = FakeAccounts.find

    def failing(accounts, lookups):
        for found in find(accounts, lookups):
            error = Transient("HTTP 500") if "x00" in {lookup.external_id for lookup in lookups} else None
            yield replace(found, error=error) if error and found.key == lookups[0].key else found

    monkeypatch.setattr(FakeAccounts, "find", failing)
    office.plan()
    for batch in office.desk.queue.batches:
        office.apply(batch)
    assert sum(bool(active(office, f"x{number:02}")) for number in range(12)) == 11


def test_who_asked_for_a_look_gets_it_though_the_batch_fails_afterwards(office):
    for user_id in ("u1", "u2"):
        office.rename(user_id, "Planned")
    office.plan()
    (batch,) = office.desk.queue.batches
    first, second = (change.user_id for change in batch.changes)
    office.keeper.meanwhile.append(lambda: (office.suspend(first), notice(office, first)))
    office.keeper.faults.extend([None, Transient("HTTP 500")])
    office.desk.queue.batches = []
    office.apply(batch)
    assert [look.user_id for look in office.desk.queue.looks] == [first]
    assert active(office, second) == [True]


def test_a_new_token_is_never_sent_to_the_old_endpoint(office):
    sent = []
    opened = office.services.accounts_for
    read = office.desk.tokens.read
    office.keeper.accepts.add("newer")

    def moved_meanwhile(connection_id, version):
        office.services.tokens.read = read
        newer = office.desk.tokens.add("c1", "newer")
        moved = "https://keepersecurity.eu/api/rest/scim/v2/2"
        office.services.connections.change("c1", lambda current: replace(current, token_version=newer, endpoint=moved))
        office.desk.tokens.disable("c1", version)
        return read(connection_id, version)

    def watched(connection, token):
        sent.append((connection.endpoint[-1], token))
        return opened(connection, token)

    object.__setattr__(office.services, "accounts_for", watched)
    office.services.tokens.read = moved_meanwhile
    office.rename("u1", "Renamed")
    notice(office, "u1")
    assert ("1", "newer") not in sent
    assert ("2", "newer") in sent


def test_who_moves_to_a_later_connection_is_let_in_while_the_earlier_one_is_paused():
    office = Office()
    other, node = Group("g2", "other@example.com", "Others"), FakeKeeper(office.desk.clock)
    office.directory.groups["g2"] = other
    version = office.desk.tokens.add("c2", "secret")
    second = replace(
        office.connection, id="c2", order=1, scope=Scope((other,)), token_version=version, shards=0, revision=0
    )
    office.services.connections.create(second)
    nodes = {"c1": office.keeper, "c2": node}
    object.__setattr__(office.services, "accounts_for", lambda each, token: nodes[each.id].opened(each, token))
    office.join("u1")
    office.run()
    office.leave("u1")
    office.directory.memberships["g2"].add("u1")
    office.run()
    office.directory.memberships["g2"].discard("u1")
    office.join("u1")
    office.desk.clock.advance(LATER)
    office.run()
    assert (active(office, "u1"), [account.active for account in node.of("u1")]) == ([True], [False])
    office.services.connections.change("c1", lambda current: replace(current, state=State.PAUSED))
    office.leave("u1")
    office.directory.memberships["g2"].add("u1")
    office.desk.clock.advance(LATER)
    office.run()
    assert [account.active for account in node.of("u1")] == [True]
