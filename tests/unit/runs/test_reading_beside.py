"""Users are read while groups' members are: the same people come in the same order, and nobody is judged too early."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprovisioning.adapters.threads import Threads
from autoprovisioning.app.runs import list_users
from autoprovisioning.app.runs.list_users import MOST_AHEAD, Pages, Parts, everybody
from autoprovisioning.app.runs.read_directory import Survey, begin
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.directory_user import DirectoryUser
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import NotSent, Transient
from autoprovisioning.domain.listing_parts import Listings
from autoprovisioning.domain.scope import Group, Scope
from autoprovisioning.domain.settings import Settings
from tests.simulation.scheduler import Scheduler
from tests.simulation.threads import Tasks
from tests.support.builders import DAY, MINUTE, NOW
from tests.support.executors import Inline
from tests.support.in_memory import FakeDirectory
from tests.support.scenario import Scenario, person

AT_ONCE = 4
PATIENCE = 10.0
FIELDS: frozenset[str] = frozenset()
LETTERS = "abcdef"


class SlowDirectory(FakeDirectory):
    """Each page takes its time, by chance, or as `of_members` and `of_users` say.

    `most` is how many pages were asked for at once at most, `besides` how many when the first listing of everybody in
    one began; `users_asked` and `members_told` when the first page of
    users was asked for, and when the last one of members was there.
    """

    def __init__(self, scheduler: Scheduler, chance: Random, page: int) -> None:
        super().__init__(page)
        self._scheduler, self._chance = scheduler, chance
        self.of_members = self.of_users = 0.0  # seconds
        self._now, self.most = 0, 0
        self.besides: int | None = None
        self.users_asked: datetime | None = None
        self.members_told: datetime | None = None

    def _slow(self, pages: Iterator[Any], seconds: float) -> Iterator[Any]:
        while True:
            self._now += 1
            self.most = max(self.most, self._now)
            self._scheduler.pause(seconds or 0.01 + self._chance.random())
            self._now -= 1
            try:
                page = next(pages)
            except StopIteration:
                return
            yield page

    def users(self, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        self.users_asked = self.users_asked or self._scheduler.now
        self.besides = self._now
        return self._slow(super().users(fields), self.of_users)

    def users_beginning(self, letters: str, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        self.users_asked = self.users_asked or self._scheduler.now
        return self._slow(super().users_beginning(letters, fields), self.of_users)

    def members(self, group_id: str) -> Iterator[Sequence[str]]:
        yield from self._slow(super().members(group_id), self.of_members)
        self.members_told = self._scheduler.now


@dataclass(kw_only=True)
class Customer:
    """A directory to be read, and what is wrong with it."""

    people: Sequence[str]  # what their addresses begin with
    groups: int = 2
    page: int = 3
    in_parts: bool = False
    unreadable: frozenset[str] = frozenset()
    failing: frozenset[str] = frozenset()
    broken_after: int | None = None
    roster: Sequence[str] = ()
    some_will_do: bool = False

    def fill(self, directory: FakeDirectory) -> FakeDirectory:
        for number, letters in enumerate(self.people):
            user_id = f"u{number}"
            directory.live[user_id] = person(user_id, f"{letters}{number}@example.com", "Ada")
            directory.memberships[f"g{number % self.groups}"].add(user_id)
        directory.unreadable, directory.failing = set(self.unreadable), set(self.failing)
        directory.broken_after = self.broken_after
        return directory

    @property
    def connection(self) -> Connection:
        scope = Scope(groups=tuple(Group(id=f"g{number}") for number in range(self.groups)))
        return Connection(id="c1", state=State.ON, settings=Settings(endpoint="https://e.example", scope=scope))


@dataclass
class Read:
    """What a reading found: whom in which order and when dated, the survey, or how it ended."""

    order: list[str] = field(default_factory=list)
    dates: list[datetime | None] = field(default_factory=list)
    survey: Survey | None = None
    error: str = ""

    def told(self) -> dict[str, Any]:
        survey = self.survey
        assert survey is not None or self.error
        names = ("members", "complete", "seen", "notes", "sizes", "in_parts", "doubted", "divided", "unread", "listed")
        return {
            "order": self.order,
            "error": self.error,
            **({name: getattr(survey, name) for name in names} if survey is not None else {}),
        }


def read(
    customer: Customer, directory: Any, executor: Any, clock: Any, deadline: datetime, most_ahead: int = 0
) -> Read:
    """Read users and members as a run does."""
    roster = [Entry(user_id=user_id, email=f"{user_id}@example.com") for user_id in customer.roster]
    parts = Parts(
        beginnings=tuple(LETTERS),
        executor=executor,
        at_once=AT_ONCE,
        known=lambda: roster,
        some_will_do=customer.some_will_do,
    )
    found = Read()
    pages = Pages(
        directory=directory,
        fields=FIELDS,
        clock=clock,
        parts=parts if customer.in_parts else None,
        most_ahead=most_ahead,
    )
    groups_until = clock() + (deadline - clock()) * 0.9
    late = lambda: clock() >= groups_until  # noqa: E731
    try:
        with closing(pages):
            found.survey = begin(directory, [customer.connection], executor, AT_ONCE, late, pages.read_ahead)
            for user in everybody(pages, found.survey, deadline):
                found.order.append(user.id)
                found.dates.append(found.survey.read_at)
    except (Transient, NotSent) as error:
        found.error = type(error).__name__
    return found


def beside(
    customer: Customer,
    seed: int = 1,
    most_ahead: int = MOST_AHEAD,
    of_members: float = 0.0,
    of_users: float = 0.0,
    within: timedelta = DAY,
) -> tuple[Read, SlowDirectory]:
    """Read them side by side, at speeds that the seed decides."""
    scheduler = Scheduler(seed, NOW)
    directory = SlowDirectory(scheduler, Random(seed), customer.page)
    customer.fill(directory)
    directory.of_members, directory.of_users = of_members, of_users
    done: list[Read] = []

    def work() -> None:
        done.append(read(customer, directory, Tasks(scheduler), scheduler.clock, NOW + within, most_ahead))

    scheduler.start(scheduler.process("run", DAY * 2), work)
    scheduler.run_until(NOW + DAY * 2)
    assert scheduler.defects == []
    assert scheduler.idle(), "nothing is left under way"
    return done[0], directory


def one_after_the_other(customer: Customer) -> Read:
    return read(customer, customer.fill(FakeDirectory(customer.page)), Inline(), lambda: NOW, NOW + DAY)


customers = st.builds(
    Customer,
    people=st.lists(st.sampled_from((*LETTERS, "z")), max_size=40),
    groups=st.integers(1, 6),
    page=st.integers(1, 5),
    in_parts=st.booleans(),
    unreadable=st.frozensets(st.sampled_from(("g0", "g3")), max_size=2),
    failing=st.one_of(st.just(frozenset[str]()), st.frozensets(st.sampled_from(LETTERS), max_size=2)),
    broken_after=st.one_of(st.none(), st.integers(0, 4)),
    roster=st.lists(st.sampled_from([f"u{number}" for number in range(40)]), max_size=6, unique=True),
)


@settings(max_examples=150, deadline=None)
@given(customer=customers, seed=st.integers(0, 10**6), most_ahead=st.sampled_from((0, 5, MOST_AHEAD)))
def test_whatever_the_speeds_it_is_as_one_after_the_other(customer, seed, most_ahead):
    found, directory = beside(customer, seed, most_ahead)
    assert found.told() == one_after_the_other(customer).told()
    assert directory.most <= AT_ONCE + 1, "the users' one beside the members'"
    if found.survey is not None and directory.members_told is not None:
        judged_too_early = [at for at in found.dates if at is None or at < directory.members_told]
        assert judged_too_early == []


@pytest.mark.parametrize("in_parts", [False, True])
def test_users_are_asked_for_at_once_and_the_longer_of_both_decides(in_parts):
    customer = Customer(people=list(LETTERS) * 4, in_parts=in_parts)
    _, apart = beside(customer, of_members=10, of_users=1, most_ahead=0)
    found, together = beside(customer, of_members=10, of_users=1)
    assert apart.users_asked is not None
    assert apart.users_asked == apart.members_told
    assert together.users_asked == NOW
    assert set(found.dates[:-1]) == {together.members_told}, "all but the last were there by then"


def test_one_listing_goes_no_further_ahead_than_its_bound():
    customer = Customer(people="a" * 40, groups=1, page=2)
    made: list[int] = []

    class Counted(FakeDirectory):
        def users(self, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
            for page in super().users(fields):
                made.append(len(page))
                yield page

    pages = Pages(directory=customer.fill(Counted(customer.page)), fields=FIELDS, clock=lambda: NOW, most_ahead=7)
    pages.read_ahead(lambda: 1)
    assert sum(made) == 8, "four pages of two"
    pages.read_ahead(lambda: 0)
    assert sum(made) == 8


def test_parts_go_no_further_ahead_than_the_bound_and_the_page_that_each_has_made():
    scheduler_free = Customer(people=list(LETTERS) * 10, in_parts=True, page=1)
    made: list[str] = []

    class Counted(FakeDirectory):
        def users_beginning(self, letters: str, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
            for page in super().users_beginning(letters, fields):
                made.append(letters)
                yield page

    parts = Parts(beginnings=tuple(LETTERS), executor=Inline(), at_once=AT_ONCE, known=lambda: ())
    directory = scheduler_free.fill(Counted(1))
    pages = Pages(directory=directory, fields=FIELDS, clock=lambda: NOW, parts=parts, most_ahead=6)
    pages.read_ahead(lambda: 2)
    assert len(made) == 6 + 2, "two of the four places are the members'"
    pages.close()


def test_pages_that_wait_long_are_packed_and_the_first_ones_are_not(monkeypatch):
    monkeypatch.setattr(list_users, "UNPACKED", 2)
    packed: list[str] = []

    class Packing(FakeDirectory):
        def packed(self, users: Sequence[DirectoryUser]) -> Sequence[DirectoryUser]:
            packed.extend(user.id for user in users)
            return tuple(users)

    directory = Customer(people="abcdef").fill(Packing(1))
    pages = Pages(directory=directory, fields=FIELDS, clock=lambda: NOW, most_ahead=4)
    pages.read_ahead(lambda: 1)
    assert packed == ["u2", "u3"]
    assert [user.id for page in pages.all() for user in page.users] == [f"u{number}" for number in range(6)]
    assert packed == ["u2", "u3"]


def test_a_part_that_fails_is_the_last_that_is_read_ahead():
    customer = Customer(people=list(LETTERS) * 10, page=1, in_parts=True, failing=frozenset("b"))
    found, _ = beside(customer, of_members=100, of_users=1)
    assert found.told() == one_after_the_other(customer).told()
    assert found.survey is not None
    assert (found.survey.doubted, found.survey.complete, len(found.order)) == (True, True, 60)


def test_where_a_part_failed_ahead_nothing_of_the_parts_is_under_way_beside_the_one_listing():
    customer = Customer(people=list(LETTERS) * 10, page=30, in_parts=True, failing=frozenset("b"))
    found, directory = beside(customer, of_members=12, of_users=10)
    assert found.dates[0] == directory.members_told, "the failure waited, and the page of another part was under way"
    assert directory.besides == 0


@pytest.mark.parametrize("in_parts", [False, True])
def test_where_time_runs_out_amid_both_it_is_as_it_was(in_parts):
    customer = Customer(people=list(LETTERS) * 10, page=1, in_parts=in_parts, some_will_do=True)
    within = timedelta(minutes=10)
    apart, _ = beside(customer, of_members=60, of_users=20, within=within, most_ahead=0)
    found, _ = beside(customer, of_members=60, of_users=20, within=within)
    assert found.survey is not None
    assert apart.survey is not None
    assert found.survey.members == apart.survey.members == {"g0": None, "g1": None}, "they were too long"
    if in_parts:
        assert (found.error, apart.error) == ("", "")
        assert set(apart.order) < set(found.order), "what was read meanwhile counts"
        assert set(found.survey.unread) <= set(LETTERS)
        assert found.survey.unread != ()
    else:
        assert (found.error, apart.error) == ("NotSent", "NotSent")


def test_where_groups_cannot_be_read_amid_both_nobody_who_left_them_is_deprovisioned():
    scenario = Scenario()
    scenario.reconcile_to_the_end()
    scenario.leave("u2")
    scenario.rename("u1", "Augusta")
    scenario.sent.clear()
    read_to_the_end = threading.Event()
    users, members = scenario.directory.users, scenario.directory.members

    def noting(fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        yield from users(fields)
        read_to_the_end.set()

    def breaking(group_id: str) -> Iterator[Sequence[str]]:
        yield from members(group_id)
        assert read_to_the_end.wait(PATIENCE), "users are read meanwhile"
        raise Transient("503")

    scenario.directory.users, scenario.directory.members = noting, breaking
    scenario.services = replace(scenario.services, executor=Threads(), reads_at_once=2)
    run = scenario.plan()
    assert (run.complete, run.planned) == (False, {"update": 1})
    scenario.work_off()
    assert [account.active for account in scenario.keeper.of("u2")] == [True]


def test_a_defect_in_one_of_both_leaves_no_thread_behind():
    customer = Customer(people="abc")
    ended = threading.Event()

    class Defective(FakeDirectory):
        def users(self, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
            raise LookupError("a defect")

        def members(self, group_id: str) -> Iterator[Sequence[str]]:
            threading.Event().wait(0.05)
            yield from super().members(group_id)
            ended.set()

    with pytest.raises(LookupError):
        read(customer, customer.fill(Defective()), Threads(), lambda: NOW, NOW + MINUTE, MOST_AHEAD)
    assert ended.is_set()


@pytest.mark.parametrize(
    ("at_once", "users", "order"),
    [
        (2, MOST_AHEAD, ["users", "members"]),
        (2, MOST_AHEAD + 1, ["members", "users"]),  # they could not all wait, and no listing is to stand still for long
        (1, MOST_AHEAD, ["members", "users"]),
    ],
)
def test_a_directory_too_large_to_wait_is_read_one_after_the_other(at_once, users, order):
    asked: list[str] = []
    scenario = Scenario()
    scenario.reconcile_to_the_end()
    listing, members = scenario.directory.users, scenario.directory.members
    users_asked = threading.Event()

    def telling(fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        asked.append("users")
        users_asked.set()
        return listing(fields)

    def slow(group_id: str) -> Iterator[Sequence[str]]:
        if order[0] == "users":
            users_asked.wait(PATIENCE)
        yield from members(group_id)
        asked.append("members")

    scenario.directory.users, scenario.directory.members = telling, slow
    scenario.services.listings.put(Listings(sizes={"a": users}, whole_at=scenario.fakes.clock(), waited=timedelta()))
    scenario.services = replace(scenario.services, executor=Threads(), reads_at_once=at_once)
    assert scenario.plan().complete
    assert asked == order
