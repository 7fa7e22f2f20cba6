"""Locks of accounts that nobody provisions: when one is due still, what an outcome leaves, and what the audit says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.events import EventName
from autoprovisioning.domain.guard import Kind
from autoprovisioning.domain.locks import (
    ENTITLED,
    GONE,
    LOCKED,
    OTHERWISE,
    PROVISIONED,
    UNLOCKED,
    Lock,
    Owner,
    after,
    done,
    kept,
    not_after_all,
    still_active,
    told,
    why_not,
)
from autoprovisioning.domain.unprovisioned import Report, Unprovisioned
from tests.support.builders import DAY, NOW

ROW = Unprovisioned(scim_id="k1", user_name="Old@example.com", external_id="x1")
LOCK = Lock(account=ROW, by="ann@example.com", at=NOW, approved_by="bob@example.com", change_id="c1")
ASKED = replace(LOCK, locked_at=NOW, unlock_by="cleo@example.com")
ACTIVE = Account(scim_id="k1", user_name="old@example.com", external_id="x1", active=True)
INACTIVE = replace(ACTIVE, active=False)
NOBODY, SOMEBODY = Owner(), Owner(entitled=True)


@pytest.mark.parametrize(
    ("lock", "account", "owner", "provisioned", "why"),
    [
        (LOCK, ACTIVE, NOBODY, False, ""),
        (LOCK, None, NOBODY, False, GONE),
        (LOCK, ACTIVE, NOBODY, True, PROVISIONED),
        (LOCK, replace(ACTIVE, user_name="other@example.com"), NOBODY, False, OTHERWISE),
        (LOCK, replace(ACTIVE, external_id=""), NOBODY, False, OTHERWISE),
        (LOCK, ACTIVE, SOMEBODY, False, ENTITLED),
        (LOCK, INACTIVE, NOBODY, False, LOCKED),
        (ASKED, INACTIVE, NOBODY, False, ""),
        (ASKED, INACTIVE, SOMEBODY, False, ""),
        (ASKED, ACTIVE, NOBODY, False, UNLOCKED),
        (ASKED, None, NOBODY, False, GONE),
        (ASKED, INACTIVE, NOBODY, True, PROVISIONED),
        (ASKED, replace(INACTIVE, user_name="other@example.com"), NOBODY, False, OTHERWISE),
    ],
)
def test_what_counts_is_how_both_sides_are_right_before(lock, account, owner, provisioned, why):
    assert why_not(lock, account, owner, provisioned=provisioned) == why


@pytest.mark.parametrize(
    ("lock", "account", "did"),
    [
        (LOCK, INACTIVE, False),  # nothing was sent yet: somebody else locked it
        (replace(LOCK, until=NOW), INACTIVE, True),
        (replace(LOCK, until=NOW), ACTIVE, False),
        (replace(ASKED, until=NOW), ACTIVE, True),
        (replace(ASKED, until=NOW), INACTIVE, False),
    ],
)
def test_an_account_shows_what_became_of_a_mark_that_ran_out(lock, account, did):
    assert done(lock, account) is did


def test_what_is_locked_can_be_undone_and_what_is_undone_is_forgotten():
    locked = after(LOCK, NOW + DAY)
    assert locked is not None
    assert (locked.waits, locked.returns, locked.over, locked.locked_at) == (False, False, True, NOW + DAY)
    assert after(ASKED, NOW) is None
    ended = not_after_all(LOCK, GONE)
    assert ended is not None
    assert (ended.waits, ended.over, ended.ended) == (False, True, GONE)
    assert not_after_all(ASKED, GONE) is None


def test_a_plan_names_it_by_account_and_choice():
    member = LOCK.member
    assert (member.resource, member.trigger, member.kind, member.kind.budget) == (
        "k1", "Old@example.com", Kind.LOCKING, Kind.TAKING,
    )  # fmt: skip
    assert replace(LOCK, at=NOW + DAY).member != member


@pytest.mark.parametrize(
    ("lock", "listed", "ended"),
    [(LOCK, False, True), (LOCK, True, False), (replace(LOCK, at=NOW + DAY), False, False),
     (replace(LOCK, until=NOW), False, False)],
)  # fmt: skip
def test_a_later_report_without_the_account_ends_it(lock, listed, ended):
    report = Report(at=NOW + DAY / 2, digest="", accounts=(ROW,) if listed else ())
    assert lock.outlived(report) is ended


@pytest.mark.parametrize(
    ("lock", "reason", "name", "said"),
    [
        (LOCK, "", EventName.SUSPENDED, "was locked: ann@example.com chose it, bob@example.com approved"),
        (ASKED, "", EventName.UNSUSPENDED, "was unlocked again: cleo@example.com asked for it"),
        (LOCK, LOCKED, EventName.CONFIGURED, f"was not locked: {LOCKED}"),
    ],
)
def test_the_audit_says_who_chose_and_who_approved(lock, reason, name, said):
    event = told(lock, NOW, reason)
    assert (event.name, event.id, event.email) == (name, "c1", "Old@example.com")
    assert said in event.reason
    assert event.actor == ("cleo@example.com" if lock is ASKED else "bob@example.com")


@pytest.mark.parametrize(
    ("admin", "entitled", "known"), [(True, None, True), (False, False, False), (False, None, None)]
)
def test_whether_an_administrator_loses_access_is_known_or_not(admin, entitled, known):
    user = DirectoryUser(id="u1", primary_email="a@example.com", presence=Presence.ACTIVE, is_admin=admin)
    assert Owner(users=(user,), entitled=entitled).administrator is known


@pytest.mark.parametrize(("locked_at", "listed"), [(None, True), (NOW - DAY, True), (NOW, False), (NOW + DAY, False)])
def test_a_report_from_before_a_lock_does_not_list_the_account(locked_at, listed):
    report = Report(at=NOW, digest="", accounts=(ROW,))
    assert still_active(report, (), {"k1": replace(LOCK, locked_at=locked_at)}) == [ROW] * listed
    assert still_active(report, {"k1"}, {}) == []


def test_of_too_many_the_oldest_that_are_over_go_first():
    locks = [replace(LOCK, account=replace(ROW, scim_id=f"k{day}"), at=NOW + day * DAY) for day in range(4)]
    over = [replace(lock, ended=GONE) for lock in locks[:3]]
    assert sorted(kept([*over, locks[3]], 2)) == ["k2", "k3"]
    assert sorted(kept(locks, 2)) == ["k0", "k1", "k2", "k3"]
