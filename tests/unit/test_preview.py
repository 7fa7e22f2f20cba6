"""A preview says what the next run would do, and does none of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from autoprovisioning.app.configure import Settings, delete, edit, settings_of, turn_off, turn_on
from autoprovisioning.app.holding import decide_hold
from autoprovisioning.app.preview import HELD, KEPT, PATIENCE, ask_preview, compute_preview, save_preview
from autoprovisioning.app.reports import Line, Preview, PreviewState, Would
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.errors import BadInput, NotFound, Rejected, Stale, Transient
from autoprovisioning.domain.events import EventName
from autoprovisioning.domain.guard import HoldState
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from autoprovisioning.domain.roster import Action, Mark, Status
from autoprovisioning.domain.users import Group, Scope
from tests.fake_reports import FakePreviews
from tests.fake_state import FakeChannels
from tests.fakes import FakeDirectory
from tests.office import GROUP, USERS, Office

ACTOR = "admin@example.com"
A_MOMENT = timedelta(minutes=1)
OUT = "the app is turned off for them (not in scope)"
TAKEN = (
    "The address Dan@example.com belongs to another directory user's account in Keeper. Give this user another "
    "address, or rename or delete the other account in Keeper's Admin Console."
)
NOW, NEVER, IN_A_WEEK = Delays(0), Delays(None), Delays(7, 30)


def policy(delays: Delays) -> Deprovisioning:
    return Deprovisioning(delays, delays, delays)


@dataclass
class Desk:
    """An office, and the previews that an administrator asks for there."""

    office: Office
    previews: FakePreviews

    def settings(self, **changes: Any) -> Settings:
        return replace(settings_of(self.office.connection), **changes)

    def ask(self, **changes: Any) -> Preview:
        office = self.office
        settings = self.settings(**changes)
        return ask_preview(office.services, self.previews, "c1", office.connection.edition, settings, ACTOR)

    def compute(self, preview: Preview) -> Preview:
        deadline = self.office.desk.clock.now + timedelta(minutes=8)
        compute_preview(self.office.services, self.previews, "c1", preview.id, deadline)
        return self.previews.get("c1", preview.id) or preview

    def preview(self, **changes: Any) -> tuple[Preview, list[Line]]:
        """Ask and compute; returns the preview with its lines."""
        done = self.compute(self.ask(**changes))
        assert (done.state, done.problem) == (PreviewState.DONE, "")
        return done, list(self.previews.every_line(done))


def at(office: Office) -> Desk:
    return Desk(office, FakePreviews(office.desk.clock))


@pytest.fixture
def desk() -> Desk:
    """An office in step, with u1 to u3 in scope."""
    office = Office()
    office.reconcile_to_the_end()
    return at(office)


def everything(office: Office) -> Any:
    """Return all that a preview must leave as it is."""
    store = office.desk.store
    queue = office.desk.queue
    kept = (
        store.connections, store.shards, store.events, store.usage, store.failures, store.runs, store.guards,
        store.holds, store.claims, store.leases, store.swept, office.keeper.accounts,
    )  # fmt: skip
    filled = [{key: value for key, value in each.items() if value} for each in kept]  # reading makes empty places
    return copy.deepcopy([*filled, queue.looks, queue.batches, queue.runs])


# ---- the kinds of lines


def hired(office: Office) -> None:
    office.hire("u4", "dan@example.com")


def hired_with_account(office: Office, external_id: str = "", *, active: bool = True) -> None:
    office.keeper.seed("Dan@example.com", external_id, active=active)
    hired(office)


def hired_without_name(office: Office) -> None:
    hired(office)
    user = office.directory.live["u4"]
    office.directory.live["u4"] = replace(user, profile={"id": "u4", "primaryEmail": "dan@example.com"})


def refused(office: Office) -> None:
    office.keeper.faults.append(Rejected("Keeper refuses this account's data"))
    office.rename("u1", "Grace")
    office.run()


def suspended_before(office: Office) -> None:
    office.suspend("u1")
    office.run()


def returned(office: Office) -> None:
    suspended_before(office)
    office.restore("u1")


KINDS: list[tuple[str, Callable[[Office], object], dict[str, Any], Would, str, str]] = [
    ("hired", hired, {}, Would.CREATE, "u4", ""),
    ("an account of theirs", hired_with_account, {}, Would.ADOPT, "u4", "Dan@example.com"),
    (
        "a locked account of theirs",
        lambda office: hired_with_account(office, active=False),
        {},
        Would.ADOPT,
        "u4",
        "Dan@example.com (stays locked)",
    ),
    (
        "somebody else's account",
        lambda office: hired_with_account(office, "u99"),
        {},
        Would.FAIL,
        "u4",
        TAKEN,
    ),
    ("renamed", lambda office: office.rename("u1", "Grace"), {}, Would.UPDATE, "u1", "displayName, name.givenName"),
    (
        "a row more",
        lambda office: None,
        {"mapping": AttributeMapping((*DEFAULT_ROWS, Row("title", '"Clerk"')))},
        Would.UPDATE,
        "u1",
        "title",
    ),
    ("left", lambda office: office.leave("u1"), {}, Would.SUSPEND, "u1", OUT),
    ("another scope", lambda office: None, {"org_units": ("/Sales",)}, Would.SUSPEND, "u1", OUT),
    ("suspended", lambda office: office.suspend("u1"), {}, Would.SUSPEND, "u1", "suspended in the directory"),
    ("deleted", lambda office: office.delete("u1"), {}, Would.SUSPEND, "u1", "deleted in the directory"),
    (
        "deleted long ago",
        lambda office: office.directory.live.pop("u1"),
        {},
        Would.SUSPEND,
        "u1",
        "deleted in the directory",
    ),
    (
        "to be deleted at once",
        lambda office: office.leave("u1"),
        {"deprovisioning": policy(Delays(None, 0))},
        Would.DELETE,
        "u1",
        OUT,
    ),
    (
        "archived, to be treated as suspended",
        lambda office: office.archive("u1"),
        {"archived_as_suspended": True},
        Would.SUSPEND,
        "u1",
        "suspended in the directory",
    ),
    ("back again", returned, {}, Would.UNSUSPEND, "u1", ""),
    (
        "in a week",
        lambda office: office.leave("u1"),
        {"deprovisioning": policy(IN_A_WEEK)},
        Would.WAIT,
        "u1",
        f"suspended on 2026-12-01 ({OUT}), deleted on 2026-12-24 ({OUT})",
    ),
    (
        "deleted long ago, in a week",
        lambda office: office.directory.live.pop("u1"),
        {"deprovisioning": policy(IN_A_WEEK)},
        Would.WAIT,
        "u1",
        "suspended on 2026-12-01 (deleted in the directory), deleted on 2026-12-24 (deleted in the directory)",
    ),
    (
        "suspended already",
        suspended_before,
        {"deprovisioning": policy(IN_A_WEEK)},
        Would.WAIT,
        "u1",
        "deleted on 2026-12-24 (suspended in the directory)",
    ),
    ("refused before", refused, {}, Would.FAIL, "u1", "Keeper refuses this account's data"),
]


@pytest.mark.parametrize(
    ("arrange", "changes", "would", "user_id", "detail"), [row[1:] for row in KINDS], ids=[row[0] for row in KINDS]
)
def test_each_user_is_told_with_what_would_happen_to_them(desk, arrange, changes, would, user_id, detail):
    arrange(desk.office)
    before = everything(desk.office)
    done, lines = desk.preview(**changes)
    assert [line.detail for line in lines if (line.would, line.user_id) == (would, user_id)] == [detail]
    assert [line.user_id for line in lines].count(user_id) == 1
    accounts = {entry.user_id for entry in desk.office.services.roster.load(desk.office.connection).values()}
    told = {line.user_id for line in lines}
    assert done.counts["unchanged"] == len(accounts - told)
    assert everything(desk.office) == before


def test_a_mandatory_attribute_without_a_value_fails_and_is_named(desk):
    hired_without_name(desk.office)
    _, lines = desk.preview()
    assert [(line.would, line.user_id) for line in lines] == [(Would.FAIL, "u4")]
    assert "displayName" in lines[0].detail


def test_somebody_who_is_updated_now_and_suspended_later_is_told_twice(desk):
    desk.office.leave("u1")
    desk.office.rename("u1", "Grace")
    done, lines = desk.preview(deprovisioning=policy(IN_A_WEEK))
    assert [(line.would, line.user_id) for line in lines] == [(Would.UPDATE, "u1"), (Would.WAIT, "u1")]
    assert done.counts == {"update": 1, "wait": 1, "unchanged": 2}


def test_whoever_is_never_deprovisioned_or_is_archived_does_not_wait(desk):
    desk.office.leave("u1")
    desk.office.run()
    desk.office.archive("u2")
    _, lines = desk.preview(deprovisioning=policy(NEVER))
    assert lines == []


def test_lines_come_by_kind_then_by_address(desk):
    office = desk.office
    office.leave("u2")
    office.suspend("u1")
    office.rename("u3", "Grace")
    hired(office)
    done, lines = desk.preview()
    told = [(line.would, line.email) for line in lines]
    assert told == [
        (Would.SUSPEND, "ada@example.com"),
        (Would.SUSPEND, "bob@example.com"),
        (Would.CREATE, "dan@example.com"),
        (Would.UPDATE, "cyd@example.com"),
    ]
    assert done.counts == {"suspend": 2, "create": 1, "update": 1, "unchanged": 0}


def test_many_creations_are_matched_with_a_listing(desk):
    for number in range(10, 40):
        desk.office.hire(f"u{number}", f"person{number}@example.com")
    desk.office.keeper.seed("person10@example.com")
    desk.office.keeper.seed("person11@example.com", "u99")
    done, lines = desk.preview()
    assert done.counts == {"create": 28, "adopt": 1, "fail": 1, "unchanged": 3}
    assert [line.user_id for line in lines if line.would in (Would.ADOPT, Would.FAIL)] == ["u10", "u11"]


def test_a_change_that_was_cut_short_is_noted_and_not_guessed_at(desk):
    office, now = desk.office, desk.office.desk.clock.now
    entry = office.entry("u1")
    mark = Mark("x1", "m1", Action.UPDATE, now - A_MOMENT)
    shard = office.services.roster.shard(office.connection, "u1")
    office.desk.store.shards["c1", shard][1]["u1"] = replace(entry, mark=mark)
    done, lines = desk.preview()
    assert (lines, done.counts) == ([], {"unchanged": 2})
    assert any("cut short" in note for note in done.notes)


# ---- the brakes


def test_an_incomplete_listing_deprovisions_nobody_and_says_so(desk):
    desk.office.leave("u1")
    desk.office.suspend("u2")
    desk.office.directory.unreadable.add(GROUP.id)
    done, lines = desk.preview()
    assert [line for line in lines if line.would in (Would.SUSPEND, Would.DELETE)] == []
    assert any("could not be read" in note for note in done.notes)
    assert any("complete listings" in note for note in done.notes)


@pytest.mark.parametrize(("limit", "held"), [(2, False), (1, True)])
def test_a_preview_says_when_the_volume_guard_would_hold_it(limit, held):
    office = Office(limit=limit)
    office.reconcile_to_the_end()
    office.leave("u1")
    office.leave("u2")
    before = everything(office)
    done, _ = at(office).preview()
    assert done.held is held
    assert everything(office) == before


def test_what_an_administrator_approved_is_not_held_and_what_was_rejected_is():
    office = Office(limit=1)
    office.reconcile_to_the_end()
    office.leave("u1")
    office.leave("u2")
    office.run()
    digest = office.services.records.holds("c1")[0].digest
    waiting = office.desk.store.holds["c1"][digest]
    decide_hold(office.services, "c1", digest, approve=True, actor=ACTOR)
    assert at(office).preview()[0].held is False
    office.services.records.put_hold("c1", waiting)
    decide_hold(office.services, "c1", digest, approve=False, actor=ACTOR)
    assert at(office).preview(limit=replace(office.connection.limit, minimum=100))[0].held is True


def test_what_goes_on_beside_a_rejected_plan_is_not_told_as_held():
    office = Office(limit=3)
    office.reconcile_to_the_end()
    for user_id in USERS[:3]:
        office.leave(user_id)
    office.hire("u4", "dan@example.com")
    office.hire("u5", "eve@example.com")
    office.services.connections.change("c1", lambda current: replace(current, limit=replace(current.limit, minimum=1)))
    office.run()
    digest = office.services.records.holds("c1")[0].digest
    decide_hold(office.services, "c1", digest, approve=False, actor=ACTOR)
    office.leave("u4")
    done, lines = at(office).preview(limit=replace(office.connection.limit, minimum=100))
    held = {line.user_id: "rejected before" in line.detail for line in lines if line.would is Would.SUSPEND}
    assert held == {"u1": True, "u2": True, "u3": True, "u4": False}
    assert (done.held, done.notes) == (False, ("Suspensions and deletions that would be held: 3; that go on: 1",))


# ---- the connection as it would be


def test_a_connection_that_is_off_is_previewed_as_if_turned_on_and_its_timers_stood_still(desk):
    office = desk.office
    edit(office.services, "c1", office.connection.edition, desk.settings(deprovisioning=policy(IN_A_WEEK)), ACTOR)
    office.leave("u1")
    office.run()
    turn_off(office.services, "c1", ACTOR)
    office.desk.clock.advance(timedelta(days=20))
    hired(office)
    _, lines = desk.preview()
    assert [(line.would, line.user_id, line.detail[:23]) for line in lines] == [
        (Would.CREATE, "u4", ""),
        (Would.WAIT, "u1", "suspended on 2026-12-21"),
    ]
    assert office.connection.state is State.OFF


def test_a_draft_is_previewed_with_an_empty_roster(desk):
    office = desk.office
    token = office.desk.tokens.add("new", "secret")
    draft = Connection(
        "new", order=-1, endpoint="https://keepersecurity.eu/api/rest/scim/v2/2", token_version=token,
        scope=Scope((GROUP,)),
    )  # fmt: skip
    office.services.connections.create(draft)
    preview = ask_preview(office.services, desk.previews, "new", 0, settings_of(draft), ACTOR)
    compute_preview(office.services, desk.previews, "new", preview.id, office.desk.clock.now + A_MOMENT)
    done = desk.previews.get("new", preview.id)
    assert done.state is PreviewState.DONE
    assert done.counts == {"adopt": 3, "unchanged": 0}  # they have accounts, through the other connection


def test_users_of_an_earlier_connection_are_not_this_ones(desk):
    office = desk.office
    token = office.desk.tokens.add("first", "secret")
    other = Group("g2", "others@example.com")
    office.directory.groups[other.id] = other
    office.directory.memberships[other.id] = {"u1"}
    office.services.connections.create(
        Connection(
            "first", -1, state=State.ON, endpoint="https://x.example", token_version=token, scope=Scope((other,))
        )
    )
    done, lines = desk.preview()
    assert [(line.would, line.user_id, line.detail) for line in lines] == [(Would.SUSPEND, "u1", OUT)]
    assert any("several connections" in note for note in done.notes)


@pytest.mark.parametrize(("members", "taken"), [({"u1", "u2", "u9"}, 2), ({"u9"}, 0)])
def test_users_taken_from_a_later_connection_are_told_since_that_one_deprovisions_them(desk, members, taken):
    office = desk.office
    other = Group("g2", "others@example.com")
    office.directory.groups[other.id] = other
    office.directory.memberships[other.id] = members
    draft = Connection(
        "first", -1, endpoint="https://x.example", token_version=office.desk.tokens.add("first", "secret"),
        scope=Scope((other,)),
    )  # fmt: skip
    office.services.connections.create(draft)
    asked = ask_preview(office.services, desk.previews, "first", 0, settings_of(draft), ACTOR)
    compute_preview(office.services, desk.previews, "first", asked.id, office.desk.clock.now + A_MOMENT)
    notes = desk.previews.get("first", asked.id).notes
    assert [note[-3:] for note in notes if "taken from connection Keeper (c1)" in note] == [": 2"] * (taken > 0)
    turn_on(office.services, "first", ACTOR)
    office.run()
    office.run()
    suspended = [entry for entry in roster(office).values() if entry.status is Status.SUSPENDED]
    assert len(suspended) == taken


# ---- asking, and saving


def test_what_an_edit_would_be_refused_for_a_preview_is_refused_for(desk):
    office = desk.office
    edition = office.connection.edition
    bad = [
        (NotFound, "no such", edition, desk.settings()),
        (Stale, "c1", edition + 1, desk.settings()),
        (BadInput, "c1", edition, desk.settings(name="")),
        (BadInput, "c1", edition, desk.settings(scope_groups=("nobody@example.com",))),
        (BadInput, "c1", edition, desk.settings(endpoint="https://keepersecurity.eu/api/rest/scim/v2/9")),
    ]
    for error, connection_id, known, settings in bad:
        with pytest.raises(error):
            ask_preview(office.services, desk.previews, connection_id, known, settings, ACTOR)
        with pytest.raises(error):
            edit(office.services, connection_id, known, settings, ACTOR)
    assert office.desk.queue.previews == []


def test_a_connection_without_a_token_has_no_preview(desk):
    desk.office.services.connections.change("c1", lambda current: replace(current, token_version=""))
    with pytest.raises(BadInput, match="token: there is none"):
        desk.ask()


def test_a_connection_that_is_being_deleted_has_no_preview(desk):
    asked = desk.ask()
    desk.office.services.connections.change("c1", lambda current: replace(current, state=State.DELETING))
    with pytest.raises(NotFound):
        desk.ask()
    assert desk.compute(asked).state is PreviewState.WAITING


def test_a_preview_of_a_connection_deleted_meanwhile_leaves_no_names_behind(desk, monkeypatch):
    users = FakeDirectory.users

    def listing(self, fields):
        delete(desk.office.services, FakeChannels(desk.office.desk.store), "c1", ACTOR, "Keeper")
        return users(self, fields)

    monkeypatch.setattr(FakeDirectory, "users", listing)
    hired(desk.office)
    asked = desk.compute(desk.ask())
    assert list(desk.previews.every_line(asked)) == []


def test_a_preview_waits_until_its_message_is_delivered(desk):
    asked = desk.ask(name="Vault")
    now = desk.office.desk.clock.now
    assert desk.previews.get("c1", asked.id) == asked
    assert (asked.state, asked.asked_by, asked.asked_at, asked.expires) == (
        PreviewState.WAITING,
        ACTOR,
        now,
        now + KEPT,
    )
    assert desk.office.desk.queue.previews == [("c1", asked.id)]


def test_saving_a_preview_saves_its_settings(desk):
    asked = desk.ask(name="Vault", org_units=("/Sales",))
    saved = save_preview(desk.office.services, desk.previews, "c1", asked.id, ACTOR)
    assert settings_of(saved) == asked.settings


def test_a_preview_of_a_connection_that_was_edited_since_is_computed_but_not_saved(desk):
    asked = desk.ask(name="Vault")
    edit(desk.office.services, "c1", asked.edition, desk.settings(name="Safe"), ACTOR)
    assert desk.compute(asked).state is PreviewState.DONE
    with pytest.raises(Stale):
        save_preview(desk.office.services, desk.previews, "c1", asked.id, ACTOR)
    assert desk.office.connection.name == "Safe"


def test_a_preview_that_expired_is_neither_computed_nor_saved(desk):
    asked = desk.ask()
    desk.office.desk.clock.advance(KEPT)
    before = everything(desk.office)
    assert desk.compute(asked).state is PreviewState.WAITING
    with pytest.raises(NotFound):
        save_preview(desk.office.services, desk.previews, "c1", asked.id, ACTOR)
    assert everything(desk.office) == before


# ---- when it goes wrong


def test_a_refused_token_fails_the_preview_and_pauses_nothing(desk):
    desk.office.keeper.accepts = set()
    done = desk.compute(desk.ask())
    assert done.state is PreviewState.FAILED
    assert "access token" in done.problem
    assert done.finished == desk.office.desk.clock.now
    assert desk.office.connection.state is State.ON


def test_a_group_that_is_gone_by_then_fails_the_preview(desk):
    asked = desk.ask()
    del desk.office.directory.groups[GROUP.id]
    failed = desk.compute(asked)
    assert (failed.state, "scope.groups" in failed.problem) == (PreviewState.FAILED, True)


def throttled(office: Office, minutes: int) -> None:
    until = office.desk.clock.now + timedelta(minutes=minutes)
    office.services.connections.change("c1", lambda current: replace(current, throttled_until=until))


def test_what_trying_again_may_help_is_delivered_again_and_then_computed(desk):
    asked = desk.ask()
    throttled(desk.office, 2)
    with pytest.raises(Transient):
        desk.compute(asked)
    running = desk.previews.get("c1", asked.id)
    assert (running.state, "asked this connection to wait" in running.problem) == (PreviewState.RUNNING, True)
    desk.office.desk.clock.advance(timedelta(minutes=2))
    done = desk.compute(asked)
    assert (done.state, done.problem) == (PreviewState.DONE, "")


def test_after_some_minutes_it_fails_with_what_was_wrong_the_last_time(desk):
    asked = desk.ask()
    throttled(desk.office, 60)
    with pytest.raises(Transient):
        desk.compute(asked)
    desk.office.desk.clock.advance(PATIENCE)
    failed = desk.compute(asked)
    assert (failed.state, "asked this connection to wait" in failed.problem) == (PreviewState.FAILED, True)


def test_a_deadline_that_passes_is_tried_again(desk):
    asked = desk.ask()
    with pytest.raises(Transient):
        compute_preview(desk.office.services, desk.previews, "c1", asked.id, desk.office.desk.clock.now)
    assert desk.previews.get("c1", asked.id).state is PreviewState.RUNNING


def test_a_preview_that_is_done_stays_as_it_is(desk):
    done = desk.compute(desk.ask())
    hired(desk.office)
    desk.office.desk.clock.advance(A_MOMENT)
    assert desk.compute(done) == done


def test_whose_lookup_keeper_refuses_is_told_to_fail(desk, monkeypatch):
    hired(desk.office)
    from autoprovisioning.domain.accounts import Found
    from tests.fakes import FakeAccounts

    monkeypatch.setattr(
        FakeAccounts, "find", lambda self, lookups: [Found(each.key, error=Rejected("no")) for each in lookups]
    )
    _, lines = desk.preview()
    assert [(line.would, line.user_id, line.detail) for line in lines] == [(Would.FAIL, "u4", "no")]


# ---- what it says is what the next run does

NAMES = {
    Would.DELETE: EventName.DELETED,
    Would.SUSPEND: EventName.SUSPENDED,
    Would.UNSUSPEND: EventName.UNSUSPENDED,
    Would.CREATE: EventName.CREATED,
    Would.ADOPT: EventName.ADOPTED,
    Would.UPDATE: EventName.UPDATED,
}
VERBS = st.sampled_from(
    ["rename", "suspend", "archive", "restore", "leave", "join", "delete", "wait", "run", "seed", "approve", "reject"]
)
DELAYS = st.sampled_from([NOW, NEVER, Delays(None, 0), Delays(0, 1), IN_A_WEEK])
ROWS = st.sampled_from([DEFAULT_ROWS, (*DEFAULT_ROWS, Row("title", '"Clerk"'))])


def worked(office: Office, verb: str, user_id: str, name: str) -> None:
    match verb:
        case "rename":
            office.rename(user_id, name)
        case "wait" | "run":
            getattr(office, verb)()
        case "approve" | "reject":
            for hold in office.services.records.holds("c1"):
                if hold.state is HoldState.WAITING:
                    decide_hold(office.services, "c1", hold.digest, approve=verb == "approve", actor=ACTOR)
        case "seed":
            if office.keeper.named(f"{user_id}@example.com") is None:
                office.keeper.seed(f"{user_id}@example.com", "" if name == "Ada" else "u99", active=name != "Eve")
        case _:
            getattr(office, verb)(user_id)


@bounded(max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_preview_says_what_the_next_run_does(data):
    office = Office(limit=data.draw(st.sampled_from([1, 2, 1000]), label="limit"))
    office.reconcile_to_the_end()
    for number in range(5, 5 + data.draw(st.integers(0, 3), label="new")):
        office.hire(f"u{number}", f"u{number}@example.com")
    users = st.sampled_from((*USERS[:3], "u5", "u6"))
    names = st.sampled_from(("Ada", "Grace", "Eve"))
    for _ in range(data.draw(st.integers(0, 6), label="steps")):
        worked(office, data.draw(VERBS), data.draw(users), data.draw(names))
    desk = at(office)
    changes = {
        "deprovisioning": policy(data.draw(DELAYS, label="policy")),
        "mapping": AttributeMapping(data.draw(ROWS, label="rows")),
        "scope_groups": data.draw(st.sampled_from([(GROUP.id,), ()]), label="groups"),
        "archived_as_suspended": data.draw(st.booleans(), label="archived"),
    }
    if data.draw(st.booleans(), label="off"):
        turn_off(office.services, "c1", ACTOR)
        office.wait()
    before = everything(office)
    done, lines = desk.preview(**changes)
    assert everything(office) == before

    save_preview(office.services, desk.previews, "c1", done.id, ACTOR)
    turn_on(office.services, "c1", ACTOR)
    known = set(office.desk.store.events["c1"])
    unfailed = {user_id for user_id, entry in roster(office).items() if entry.failure is None}
    office.run()

    happened: dict[str, set[EventName]] = {}
    for event in office.desk.store.events["c1"].values():
        if event.id not in known and event.user_id:
            happened.setdefault(event.user_id, set()).add(event.name)
    for line in lines:
        if line.would in (Would.SUSPEND, Would.DELETE) and line.detail.endswith(HELD):
            assert line.user_id not in happened, line
            assert roster(office)[line.user_id].held == line.would.value, line
        elif line.would in NAMES:
            assert NAMES[line.would] in happened.get(line.user_id, ()), line
        elif line.would is Would.FAIL and line.user_id in unfailed:
            assert happened.get(line.user_id) == {EventName.FAILED}, line
        elif line.would is Would.FAIL:
            assert roster(office)[line.user_id].failure is not None, line
        else:
            assert roster(office)[line.user_id].timers, line
    told = {line.user_id for line in lines if line.would is not Would.WAIT}
    assert set(happened) <= told
    if done.held:
        assert not {EventName.SUSPENDED, EventName.DELETED} & set().union(*happened.values())
    counted = sum(count for name, count in done.counts.items() if name != "unchanged")
    assert counted == len(lines)


def roster(office: Office) -> dict[str, Any]:
    return office.services.roster.load(office.connection)
