"""A lease is prolonged while its holder works, never past the holder's time, and given back at the end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autoprovisioning.app.runs.lease import leased
from autoprovisioning.domain.errors import Transient
from tests.support.executors import Inline
from tests.support.in_memory import FakeServices

NAME = "work"
LENGTH = timedelta(minutes=2)
LONGEST = timedelta(minutes=30)


class Holder:
    """Somebody who works under a lease while time passes."""

    def __init__(self) -> None:
        self.executor = Inline()
        self.fakes = FakeServices(executor=self.executor)
        self.until = self.fakes.clock() + LONGEST

    def lease(self):
        return leased(self.fakes.services, NAME, LENGTH, self.until)

    def pass_time(self, steps: int = 1) -> bool:
        """Let so many thirds of the lease's length pass; returns whether it is prolonged further."""
        goes_on = True
        for _ in range(steps):
            self.fakes.clock.advance(LENGTH / 3)
            goes_on = goes_on and self.executor.elapse(f"lease {NAME}")
        return goes_on

    def is_free(self) -> bool:
        return self.fakes.services.leases.take(NAME, "another", self.fakes.clock(), timedelta(0)) is not None


@pytest.fixture
def holder() -> Holder:
    return Holder()


def test_it_is_prolonged_while_its_holder_works_and_free_afterwards(holder):
    with holder.lease() as fence:
        assert fence == 1
        assert holder.pass_time(9)
        assert not holder.is_free()
        with holder.lease() as second:
            assert second is None
    assert holder.is_free()


def test_it_is_not_prolonged_past_its_holders_time(holder):
    with holder.lease():
        assert not holder.pass_time(45)
        holder.fakes.clock.advance(LENGTH)
        assert holder.is_free()


def test_one_that_was_lost_is_not_taken_again(holder):
    with holder.lease():
        holder.fakes.clock.advance(LENGTH)
        assert holder.fakes.services.leases.take(NAME, "another", holder.fakes.clock(), LENGTH) == 2
        assert not holder.executor.elapse(f"lease {NAME}")


def test_a_database_that_fails_once_does_not_end_it(holder, monkeypatch):
    take = holder.fakes.services.leases.take
    answers = iter([Transient("away")])

    def sometimes(*of):
        for error in answers:
            raise error
        return take(*of)

    with holder.lease():
        monkeypatch.setattr(holder.fakes.services.leases, "take", sometimes)
        assert holder.pass_time(6)
        assert not holder.is_free()


def test_it_is_given_back_when_the_work_fails(holder):
    def work() -> None:
        with holder.lease():
            raise LookupError("work")

    with pytest.raises(LookupError):
        work()
    assert holder.is_free()
