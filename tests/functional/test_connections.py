"""Several connections: whose user it is, moves, independence, and what an administrator does with one as a whole."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.scope import Scope
from infra.local.connect import CONNECTION
from infra.local.simulation import KeeperSide, wait_for
from tests.contract.scim_servers import as_new, keeper
from tests.support.system import GROUP, GROUP_ID, System, person

ACTOR = Actor(address="admin@example.com", directory_id="u0")
SECOND = "second"
OTHER_GROUP = "other-users@example.com"
OTHER_ID = "g-other"


@pytest.fixture(scope="module")
def other_node(tmp_path_factory):
    """Another Keeper node, a process of its own."""
    with keeper(tmp_path_factory.mktemp("other-node")) as node:
        yield node


@pytest.fixture
def other(system, other_node):
    """The other node as new, and a scope group for it, which has a member of the first one's too."""
    as_new(other_node)
    state = system.directory.control("GET", "state")
    state["groups"].append({"id": OTHER_ID, "email": OTHER_GROUP, "name": "Other users"})
    state["users"] += [person(20), person(21)]
    state["members"][OTHER_ID] = [
        {"id": f"u{number}", "email": f"person{number}@example.com", "type": "USER", "role": "MEMBER"}
        for number in (1, 20, 21)
    ]
    system.directory.control("PUT", "state", state)
    yield other_node
    other_node.rotate()  # work still in progress must not reach into the next test


def set_up(system: System, node: KeeperSide, connection_id: str, *groups: str, token: str = ""):
    from autoprovisioning.app.administration.configure import finish, set_up, turn_on
    from autoprovisioning.domain.settings import Settings

    settings = Settings(name=connection_id, endpoint=node.endpoint, scope=Scope.named(groups=groups))
    set_up(system.services(), settings, token or node.token, ACTOR, connection_id)
    finish(system.services(), connection_id, ACTOR)
    return turn_on(system.services(), connection_id, ACTOR, run=False)


@pytest.fixture
def both(system, other):
    """Two connections that have provisioned everybody, and a live notification channel."""
    system.connect()
    set_up(system, other, SECOND, OTHER_GROUP)
    summary = system.sync()
    assert (summary["created"], summary["failed"]) == (14, 0)
    system.world.watch_directory()
    return system, other


def active(node: KeeperSide) -> set[str]:
    return {account.get("externalId", "") for account in node.accounts() if account["active"]}


def entry(system: System, connection_id: str, user_id: str):
    services = system.services()
    return services.roster.entry(services.connections.get(connection_id), user_id)


def version_state(system: System, connection_id: str, version: str) -> str:
    from autoprovisioning.adapters.secrets import build_client

    client = build_client(system.world.cloud.environment["SECRET_MANAGER_EMULATOR_HOST"])
    name = f"projects/{system.world.cloud.project}/secrets/keeper-token-{connection_id}/versions/{version}"
    return client.get_secret_version(name=name).state.name


def documents(system: System, path: str) -> list[dict]:
    from google.cloud import firestore

    client = firestore.Client(project=system.world.cloud.project)
    return [item.to_dict() or {} for item in client.collection(path).stream()]


def test_a_new_user_belongs_to_the_first_connection_whose_scope_holds_them(both):
    system, other = both
    assert active(system.keeper) == {f"u{number}" for number in range(12)}
    assert active(other) == {"u20", "u21"}
    assert system.sync()["unchanged"] == 14
    system.directory.patch("u1", {"name": {"familyName": "Mine"}})
    system.await_account("u1", lambda account: account["name"]["familyName"] == "Mine")
    assert active(other) == {"u20", "u21"}


def test_overlaps_are_reported_and_not_looked_at_by_every_sweep(both):
    system, _ = both
    system.sync()
    notes = [note for run in documents(system, f"connections/{SECOND}/runs") for note in run["notes"]]
    assert any("several connections" in note for note in notes)
    answer = system.ask("reconcile", body=b'{"kind": "sweep"}')
    assert answer.json() == {"looked_at": 0}


def test_a_user_moves_from_one_connection_to_the_next_and_back(both):
    system, other = both
    before = system.account("u1")
    system.directory.leave(GROUP_ID, "u1")
    system.directory.patch("u1", {"name": {"familyName": "Mover"}})
    system.await_account("u1", lambda account: account["name"]["familyName"] == "Mover")
    assert "u1" in active(system.keeper), "hasMember alone never proves that somebody left"
    assert system.ask("reconcile", body=b'{"kind": "sweep"}').json() == {"looked_at": 1}
    wait_for(lambda: "u1" in active(other), "the account on the next node")
    system.await_account("u1", lambda account: not account["active"])

    system.directory.join(GROUP_ID, "u1")
    assert system.ask("reconcile", body=b'{"kind": "sweep"}').json() == {"looked_at": 0}, "who has an account stays"
    system.directory.leave(OTHER_ID, "u1")
    system.ask("reconcile", body=b'{"kind": "sweep"}')
    after = system.await_account("u1", lambda account: account["active"])
    assert after["id"] == before["id"]
    wait_for(lambda: "u1" not in active(other), "the end of the account on the next node")


def test_a_run_sees_a_move_through_on_both_connections(both):
    system, other = both
    system.directory.leave(GROUP_ID, "u1")
    system.sync()
    wait_for(lambda: "u1" in active(other), "the account on the next node")
    wait_for(lambda: "u1" not in active(system.keeper), "the end of the account on the first node")
    runs = {name: documents(system, f"connections/{name}/runs") for name in (CONNECTION, SECOND)}
    # Whichever of the two runs meets the other one at this user leaves the user to it.
    assert {run["state"] for found in runs.values() for run in found} <= {"done", "unsettled"}
    assert system.sync()["unchanged"] == 15, "the suspended account on the first one, and three on the second"


def test_a_paused_connection_does_not_stop_the_other_and_keeps_its_users(both):
    system, other = both
    system.keeper.rotate()
    system.directory.patch("u1", {"name": {"familyName": "Waits"}})
    wait_for(lambda: system.state() == "paused", "the pause")
    system.directory.patch("u20", {"name": {"familyName": "Goes on"}})
    wait_for(lambda: other.of("u20")["name"]["familyName"] == "Goes on", "the other connection's change")
    system.directory.patch("u21", {"suspended": True})
    summary = system.sync()
    assert summary["failed"] == 0
    wait_for(lambda: active(other) == {"u20"}, "the other connection's suspension")
    assert "u1" not in {account.get("externalId") for account in other.accounts()}


def test_an_unreadable_scope_group_of_one_connection_is_no_proof_for_another(both):
    system, other = both
    system.directory.leave(OTHER_ID, "u20")
    system.directory.leave(GROUP_ID, "u5")
    system.directory.fault(match={"method": "members.list", "key": OTHER_ID}, status=503, times=None)
    assert system.ask("reconcile", body=b'{"kind": "sweep"}').json() == {"looked_at": 1}
    system.await_account("u5", lambda account: not account["active"])
    assert active(other) == {"u20", "u21"}


@pytest.mark.parametrize("spelling", [str, lambda endpoint: f" {endpoint}/", str.upper])
def test_a_second_connection_to_the_same_node_is_refused(settled, spelling):
    """Its accounts are the first one's: each would undo what the other does to them."""
    from autoprovisioning.domain.errors import BadInput

    node = KeeperSide(endpoint=spelling(settled.keeper.endpoint), token=settled.keeper.token)
    with pytest.raises(BadInput, match="already provisions this node"):
        set_up(settled, node, SECOND)


@pytest.mark.parametrize("through", ["run", "notification"])
def test_an_account_that_carries_another_users_id_is_never_adopted(system, other, through):
    theirs = {"userName": "person20@example.com", "externalId": "u99", "displayName": "Theirs", "active": True}
    system.connect()
    if through == "run":
        other.control("PUT", "accounts", [theirs])
        set_up(system, other, SECOND, OTHER_GROUP)
        assert system.sync()["failed"] == 1
    else:
        system.directory.leave(OTHER_ID, "u20")
        set_up(system, other, SECOND, OTHER_GROUP)
        system.sync()
        other.control("PUT", "accounts", [*other.accounts(), theirs])
        system.directory.join(OTHER_ID, "u20")
        assert system.look("u20") == 204
    assert "another directory user's account" in entry(system, SECOND, "u20").failure.text
    [left] = [account for account in other.accounts() if account["userName"] == "person20@example.com"]
    assert (left["externalId"], left["displayName"], left["active"]) == ("u99", "Theirs", True)


def test_an_account_that_nobody_holds_is_adopted_by_the_connection_it_is_on(system, other):
    other.control("PUT", "accounts", [{"id": "77", "userName": "person20@example.com", "active": True}])
    system.connect()
    set_up(system, other, SECOND, OTHER_GROUP)
    summary = system.sync()
    assert (summary["created"], summary["adopted"]) == (13, 1)
    assert other.of("u20")["id"] == "77"


def test_a_connection_set_up_with_a_wrong_token_is_not_there(system, other):
    from autoprovisioning.domain.errors import BadInput

    with pytest.raises(BadInput, match="token"):
        set_up(system, other, SECOND, OTHER_GROUP, token="wrong-token")
    assert documents(system, "connections") == []


def without_secrets(system: System):
    """Return the services with a Secret Manager that nobody answers for."""
    from dataclasses import replace

    from autoprovisioning.adapters.secrets import SecretManagerTokens, build_client

    unreachable = SecretManagerTokens(build_client("127.0.0.1:1"), system.world.cloud.project, timedelta(seconds=0.5))
    return replace(system.services(), tokens=unreachable)


def test_secret_manager_out_of_reach_leaves_no_half_connection(system, other):
    from autoprovisioning.app.administration.configure import edit, set_up
    from autoprovisioning.domain.errors import Transient
    from autoprovisioning.domain.settings import Settings

    settings = Settings(endpoint=other.endpoint, scope=Scope.named(groups=(OTHER_GROUP,)))
    with pytest.raises(Transient):
        set_up(without_secrets(system), settings, other.token, ACTOR, SECOND)
    assert documents(system, "connections") == []

    system.connect()
    before = system.services().connections.get(CONNECTION)
    moved = Settings(name="Moved", endpoint=other.endpoint, scope=Scope.named(groups=(OTHER_GROUP,)))
    with pytest.raises(Transient):
        edit(without_secrets(system), CONNECTION, before.edition, moved, ACTOR, other.token)
    assert system.services().connections.get(CONNECTION) == before
    assert before.settings.endpoint == system.keeper.endpoint


def test_an_edit_with_a_stale_edition_is_refused_and_changes_nothing(settled):
    from dataclasses import replace

    from autoprovisioning.app.administration.configure import edit
    from autoprovisioning.domain.errors import NotFound, Stale

    current = settled.services().connections.get(CONNECTION)
    wanted = replace(current.settings, name="Mine")
    for token in ("", settled.keeper.token):
        with pytest.raises(Stale, match="Reload"):
            edit(settled.services(), CONNECTION, current.edition - 1, wanted, ACTOR, token)
    with pytest.raises(NotFound):
        edit(settled.services(), "nowhere", 1, wanted, ACTOR)


def test_of_two_edits_at_once_one_is_refused_and_its_token_disabled(system):
    from dataclasses import replace

    from autoprovisioning.app.administration.configure import edit
    from autoprovisioning.domain.errors import Stale

    system.connect()
    current = system.services().connections.get(CONNECTION)
    results: list[str] = []

    def change(name: str) -> None:
        try:
            edited = edit(
                system.services(), CONNECTION, current.edition, replace(current.settings, name=name), ACTOR,
                system.keeper.token, run=False,
            )  # fmt: skip
            results.append(edited.settings.name)
        except Stale:
            results.append("")

    writers = [threading.Thread(target=change, args=(name,)) for name in ("Left", "Right")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    after = system.services().connections.get(CONNECTION)
    assert sorted(results) == ["", after.settings.name]
    versions = {version: version_state(system, CONNECTION, version) for version in versions_since(current, after)}
    assert versions.pop(after.token_version) == "ENABLED"
    assert list(versions.values()) == ["DISABLED"]


def versions_since(before, after) -> list[str]:
    first = int(before.token_version) + 1
    return [str(number) for number in range(first, first + 2)] if after else []


def test_an_edit_turns_the_new_endpoint_and_token_on_together(system, other):
    from dataclasses import replace

    from autoprovisioning.app.administration.configure import edit

    system.restored()
    current = system.services().connections.get(CONNECTION)
    other.control("PUT", "accounts", system.keeper.accounts())
    moved = replace(current.settings, endpoint=other.endpoint)
    edited = edit(system.services(), CONNECTION, current.edition, moved, ACTOR, other.token)
    assert (edited.settings.endpoint, edited.revision) == (other.endpoint, current.revision + 1)
    system.directory.patch("u1", {"name": {"familyName": "Over there"}})
    wait_for(lambda: other.of("u1")["name"]["familyName"] == "Over there", "the change on the new node")
    assert system.state() == "on"


def test_deleting_waits_out_what_is_in_flight_and_keeps_the_audit(system):
    from autoprovisioning.app.administration.configure import delete, edit, turn_on
    from autoprovisioning.domain.errors import NotFound, Stale

    system.restored()
    system.ask("reconcile", body=b'{"kind": "drift"}')
    known = system.services().connections.get(CONNECTION)
    hold = system.keeper.fault(match={"method": "PATCH"}, hold_after=True)
    system.directory.patch("u1", {"name": {"familyName": "In flight"}})
    wait_for(lambda: system.keeper.matched(hold), "the change in flight")
    delete(system.services(), CONNECTION, ACTOR, "Keeper")
    assert not finished(system)
    assert system.state() == "deleting"
    deleting = system.services().connections.get(CONNECTION)
    for act in (
        lambda: turn_on(system.services(), CONNECTION, ACTOR),
        lambda: edit(system.services(), CONNECTION, deleting.edition, deleting.settings, ACTOR),
    ):
        with pytest.raises(NotFound):
            act()
    assert version_state(system, CONNECTION, known.token_version) == "ENABLED", "the change in flight still needs it"
    system.keeper.control("DELETE", "faults")

    wait_for(lambda: finished(system), "the end of the change in flight", 20, every=0.2)
    assert version_state(system, CONNECTION, known.token_version) == "DESTROYED"
    for name in ("roster", "runs", "holds", "guard", "failures", "claims"):
        assert documents(system, f"connections/{CONNECTION}/{name}") == [], name
    names = [event["name"] for event in system.events()]
    assert "Create User By Auto Provisioning" in names
    assert [event["reason"] for event in system.events()][-1] == "Deleted the configuration"
    assert len(system.active()) == 12, "the accounts stay as they are"

    versions = int(known.token_version)
    with pytest.raises(Stale, match="used before"):
        set_up(system, system.keeper, CONNECTION, GROUP)
    assert version_state(system, CONNECTION, str(versions + 1)) == "DISABLED"
    assert system.look("u1") == 204
    assert system.sync()["created"] == 0


def finished(system: System) -> bool:
    """Let a sweep look whether the deletion can be finished, and say whether it is."""
    system.ask("reconcile", body=b'{"kind": "sweep"}')
    return system.state() == "gone"


def test_deleting_waits_for_a_planner(system):
    from autoprovisioning.app.administration.configure import delete

    system.connect()
    system.directory.fault(match={"method": "users.list"}, delay=1.0)
    planner = threading.Thread(target=system.world.reconcile)
    planner.start()
    wait_for(lambda: system.services().runs.open(CONNECTION), "the planner")
    delete(system.services(), CONNECTION, ACTOR, "Keeper")
    assert not finished(system)
    planner.join()
    wait_for(lambda: finished(system), "the end of the deletion", 30, every=0.2)
    wait_for(lambda: system.look("u1") == 204, "quiet")
    assert documents(system, f"connections/{CONNECTION}/roster") == []
