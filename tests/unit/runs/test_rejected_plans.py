"""A held plan that was rejected: not carried out later, and no shield for what it did not speak of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.domain.directory_user import Scope
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.holds import HoldState
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.builders import active, notice
from tests.support.in_memory import SALES
from tests.support.scenario import Office
from tests.support.settings import with_settings


def held_and_rejected() -> Office:
    """Eight leavers above the limit of ten a day, whose suspension an administrator rejected."""
    office = Office()
    for number in range(30):
        office.hire(f"x{number}", f"x{number}@example.com")
    office.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=10)))
    office.run()
    for number in range(4):
        office.suspend(f"x{number}")
        notice(office, f"x{number}")
    for number in range(10, 18):
        office.leave(f"x{number}")
    office.run()
    (hold,) = office.services.holds.standing("c1")
    decide_hold(office.services, "c1", hold.digest, "reject", Actor(address="admin@example.com", directory_id="u0"))
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


def test_a_rejection_does_not_shield_who_is_deleted_later():
    office = Office()
    for number in range(10):
        office.hire(f"x{number}", f"x{number}@example.com")
    units = Scope(groups=(), org_units=(SALES,))
    office.services.connections.change(
        "c1",
        lambda current: with_settings(current, scope=units, limit=VolumeLimit(minimum=5, percent=1.0, share=1000.0)),
    )
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
    (hold,) = office.services.holds.standing("c1")
    decide_hold(office.services, "c1", hold.digest, "reject", Actor(address="admin@example.com", directory_id="u0"))
    shielded = sorted(member.user_id for member in hold.members)[:2]
    office.desk.clock.advance(timedelta(days=2))
    office.suspend(shielded[0])
    office.delete(shielded[1])
    for _ in range(3):
        office.desk.clock.advance(timedelta(days=1))
        office.run()
    assert [active(office, user_id) for user_id in shielded] == [[False], [False]]
    assert sum(active(office, member.user_id) == [True] for member in hold.members) == len(hold.members) - 2


def test_a_set_that_was_rejected_once_is_raised_anew_when_it_happens_again():
    office = held_and_rejected()
    office.services.connections.change(
        "c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=5, percent=1.0))
    )
    for number in range(10, 18):
        office.join(f"x{number}")
    office.run()
    office.desk.clock.advance(timedelta(days=100))
    for number in range(10, 18):
        office.leave(f"x{number}")
    office.run()
    (hold,) = [each for each in office.services.holds.standing("c1") if each.state is HoldState.WAITING]
    assert len(hold.members) == 8
    decide_hold(office.services, "c1", hold.digest, "approve", Actor(address="admin@example.com", directory_id="u0"))
    office.run()
    assert leavers(office) == [False] * 8


def test_who_waits_in_a_plan_is_not_taken_alone_where_the_timer_it_names_was_not_kept():
    """A worker that had the entry marked meanwhile kept the run from recording the timer: the look begins another."""
    office = Office(limit=1)
    office.run()
    for user_id in ("u1", "u2"):
        office.leave(user_id)
    office.run()
    office.services.roster.commit(office.connection, ["u1", "u2"], unrecorded)
    office.desk.clock.advance(timedelta(minutes=1))
    office.sweep()
    assert active(office, "u1") == [True]


def unrecorded(entries: Mapping[str, Entry]) -> tuple[Edit, None]:
    """Make u1 as if nobody had seen them leave; it is told of u2."""
    u1, u2 = entries["u1"], entries["u2"]
    begun = replace(u1, timers={}, in_scope=True, version=u1.version + 1)
    return Edit(entries={"u1": begun, "u2": replace(u2, in_scope=False, version=u2.version + 1)}), None


def test_a_rejection_stands_where_the_timer_it_names_began_anew_between_two_runs():
    """A look that read the group a moment too early had ended it: no run saw anybody in scope since."""
    office = held_and_rejected()

    def ended(entries: Mapping[str, Entry]) -> tuple[Edit, None]:
        return Edit(
            entries={each: replace(entry, timers={}, version=entry.version + 1) for each, entry in entries.items()}
        ), None

    office.services.roster.commit(office.connection, [f"x{number}" for number in range(10, 18)], ended)
    office.desk.clock.advance(timedelta(hours=25))
    office.run()
    notice(office, "x10")
    assert leavers(office) == [True] * 8
