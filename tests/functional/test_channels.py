"""Notification channels: renewed by what was granted, proven before the old one goes, and never silently dead."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from infra.local.simulation import wait_for
from tests.support.system import System

EVENTS = {"add", "update", "delete", "undelete", "makeAdmin"}


@pytest.fixture
def system(system: System) -> System:
    """A system with a connection that is on: without one there is no channel."""
    system.connect()
    return system


def renew(system: System, port: int = 0) -> list[dict]:
    """Call renew_watch as Cloud Scheduler does; returns the channels it keeps."""
    answer = system.ask("renew_watch", body=b"{}", port=port)
    assert answer.status == 200, answer.text
    return answer.json()["channels"]


def stored(system: System) -> dict[str, dict]:
    """Return the documents of opened channels; a late sync message of another test leaves a lone proof."""
    found = {item.id: item.to_dict() for item in database(system).collection("channels").stream()}
    return {channel_id: fields for channel_id, fields in found.items() if "address" in fields}


def database(system: System):
    from google.cloud import firestore

    return firestore.Client(project=system.world.cloud.project)


def alter(system: System, channel_id: str, **fields: object) -> None:
    """Let time have passed for a channel, in our own record of it."""
    database(system).document(f"channels/{channel_id}").update(fields)


def open_at_google(system: System) -> set[str]:
    return {channel["id"] for channel in system.directory.control("GET", "channels")["channels"]}


def proven(system: System, *channel_ids: str) -> None:
    """Wait until the sync messages of these channels came through."""
    wait_for(lambda: all(stored(system).get(one, {}).get("proven") for one in channel_ids), "the proof")


def one_channel(system: System) -> str:
    [channel] = renew(system)
    proven(system, channel["id"])
    return channel["id"]


def about_to_expire(system: System, channel_id: str) -> None:
    now = datetime.now(UTC)
    alter(system, channel_id, opened=now - timedelta(hours=4, minutes=31), expires=now + timedelta(minutes=89))


def works(system: System, name: str) -> None:
    """See a change through from notification to Keeper."""
    system.directory.patch("u1", {"name": {"familyName": name}})
    system.await_account("u1", lambda account: account["name"]["familyName"] == name)


def test_one_channel_watches_the_whole_customer_for_as_long_as_was_granted(system):
    system.sync()
    channel_id = one_channel(system)
    [at_google] = system.directory.control("GET", "channels")["channels"]
    assert (at_google["id"], at_google["event"]) == (channel_id, "")
    kept = stored(system)[channel_id]
    assert abs(kept["expires"].timestamp() - at_google["expires"]) < 0.01, "what was returned, not what was asked for"
    assert "token" not in kept
    assert system.world.cloud.environment["CHANNEL_KEY"] not in str(kept)
    works(system, "Watched")
    assert [channel["id"] for channel in renew(system)] == [channel_id]
    assert open_at_google(system) == {channel_id}


@pytest.mark.parametrize(("hours", "left", "renewed"), [(6, 91, False), (6, 89, True), (1, 16, False), (1, 14, True)])
def test_the_next_channel_is_opened_by_the_time_that_was_granted(system, hours, left, renewed):
    """90 minutes before the end; of a shorter grant after three quarters of it."""
    channel_id = one_channel(system)
    now = datetime.now(UTC)
    expires = now + timedelta(minutes=left)
    alter(system, channel_id, expires=expires, opened=expires - timedelta(hours=hours))
    renew(system)
    assert (len(open_at_google(system)) == 2) is renewed


def test_the_old_channel_goes_only_once_the_new_one_is_proven(system):
    system.sync()
    old = one_channel(system)
    about_to_expire(system, old)
    system.freeze("directory_webhook")
    [new] = {channel["id"] for channel in renew(system)} - {old}
    assert {channel["id"] for channel in renew(system)} == {old, new}
    assert open_at_google(system) == {old, new}, "the sync message has not come yet"
    system.thaw("directory_webhook")
    proven(system, new)
    works(system, "Overlap")
    assert [channel["id"] for channel in renew(system)] == [new]
    assert open_at_google(system) == {new}
    assert set(stored(system)) == {new}
    works(system, "Renewed")
    wait_for(lambda: system.look("u1") == 204 and system.entry("u1").mark is None, "quiet")
    assert [event["name"] for event in system.events("u1")][1:] == ["Update Auto Provisioned User"] * 2


def test_a_channel_that_never_proves_itself_is_replaced_and_alerted(system):
    system.freeze("directory_webhook")
    [mute] = renew(system)
    alter(system, mute["id"], opened=datetime.now(UTC) - timedelta(minutes=14))
    assert [channel["id"] for channel in renew(system)] == [mute["id"]], "it may still come"
    alter(system, mute["id"], opened=datetime.now(UTC) - timedelta(minutes=16))
    before = len(system.log("renew_watch"))
    [another] = {channel["id"] for channel in renew(system)} - {mute["id"]}
    alerts = [line for line in system.log("renew_watch")[before:].splitlines() if '"alert": "no_live_channel"' in line]
    assert [json.loads(line)["channel"] for line in alerts] == [mute["id"]]
    system.thaw("directory_webhook")
    proven(system, another)
    assert [channel["id"] for channel in renew(system)] == [another]
    assert open_at_google(system) == {another}


def test_a_stop_that_fails_is_tried_again_later(system):
    old = one_channel(system)
    about_to_expire(system, old)
    [new] = {channel["id"] for channel in renew(system)} - {old}
    proven(system, new)
    refusal = system.directory.fault(match={"method": "channels.stop"}, status=403, reason="forbidden", times=None)
    renew(system)
    assert system.directory.matched(refusal)
    assert open_at_google(system) == {old, new}
    assert set(stored(system)) == {old, new}
    system.directory.control("DELETE", "faults")
    renew(system)
    assert open_at_google(system) == set(stored(system)) == {new}


def test_a_channel_that_google_has_stopped_by_itself_counts_as_stopped(system):
    old = one_channel(system)
    about_to_expire(system, old)
    [new] = {channel["id"] for channel in renew(system)} - {old}
    proven(system, new)
    system.directory.control("DELETE", f"channels/{old}")
    renew(system)
    assert set(stored(system)) == {new}


def test_an_expired_channel_is_forgotten_and_replaced(system):
    old = one_channel(system)
    alter(system, old, expires=datetime.now(UTC) - timedelta(seconds=1))
    system.directory.control("DELETE", "requests")
    [new] = renew(system)
    assert new["id"] != old
    assert set(stored(system)) == {new["id"]}
    assert "channels.stop" not in system.directory.control("GET", "requests")["methods"]


def test_a_late_sync_message_of_a_removed_channel_is_forgotten_in_time(system):
    channel_id = one_channel(system)
    assert system.push("provision_user", {"user_id": "", "event": "sync", "channel": "gone"}) == 204
    proof = database(system).document("channels/gone")
    assert [channel["id"] for channel in renew(system)] == [channel_id]
    assert timedelta(days=2.9) < proof.get().get("expires") - datetime.now(UTC) < timedelta(days=3)
    alter(system, "gone", expires=datetime.now(UTC) - timedelta(seconds=1))
    assert [channel["id"] for channel in renew(system)] == [channel_id]
    assert not proof.get().exists
    assert open_at_google(system) == {channel_id}


def test_one_channel_for_each_event_where_the_api_insists(system):
    system.sync()
    system.directory.weather(demand_event=True)
    channels = renew(system)
    assert {channel["event"] for channel in channels} == EVENTS
    proven(system, *(channel["id"] for channel in channels))
    assert {channel["id"] for channel in renew(system)} == open_at_google(system)
    assert len(open_at_google(system)) == len(EVENTS)
    works(system, "By event")

    update = next(channel["id"] for channel in channels if channel["event"] == "update")
    about_to_expire(system, update)
    [new] = {channel["id"] for channel in renew(system)} - ids_of(channels)
    proven(system, new)
    renew(system)
    assert open_at_google(system) == ids_of(channels) - {update} | {new}
    works(system, "By the next one")


def ids_of(channels: list[dict]) -> set[str]:
    return {channel["id"] for channel in channels}


@pytest.mark.parametrize(
    ("fault", "status", "title"),
    [
        ({"status": 503}, 503, "transient"),
        ({"status": 403, "reason": "forbidden"}, 500, "configuration"),
        ({"status": 400, "reason": "invalid"}, 500, "configuration"),
    ],
)
def test_a_channel_that_cannot_be_opened_leaves_those_there_are(system, fault, status, title):
    old = one_channel(system)
    about_to_expire(system, old)
    system.directory.fault(match={"method": "users.watch"}, times=None, **fault)
    answer = system.ask("renew_watch", body=b"{}")
    assert (answer.status, answer.json()["code"]) == (status, title)
    assert open_at_google(system) == set(stored(system)) == {old}
    system.directory.control("DELETE", "faults")
    assert len(renew(system)) == 2


def test_a_webhook_that_moved_is_watched_at_its_new_address(system):
    system.sync()
    old = one_channel(system)
    webhook = system.second("directory_webhook")
    renewer = system.second("renew_watch", WEBHOOK_URL=f"http://127.0.0.1:{webhook}")
    [new] = {channel["id"] for channel in renew(system, renewer)} - {old}
    proven(system, new)
    assert [channel["id"] for channel in renew(system, renewer)] == [new]
    assert open_at_google(system) == {new}
    works(system, "Moved")
    for name in (f"directory_webhook-{webhook}", f"renew_watch-{renewer}"):
        system.end(name)


def test_a_channel_made_with_another_key_is_replaced(system):
    """The webhook believes its token no more; a channel stored without a fingerprint is of an unknown key."""
    from google.cloud import firestore

    system.sync()
    old = one_channel(system)
    system.kill("directory_webhook")
    system.world.cloud.start_function("directory_webhook", {"CHANNEL_KEY": "the next key"}).wait_ready()
    try:
        renewer = system.second("renew_watch", CHANNEL_KEY="the next key")
        [new] = {channel["id"] for channel in renew(system, renewer)} - {old}
        proven(system, new)
        assert [channel["id"] for channel in renew(system, renewer)] == [new]
        assert open_at_google(system) == set(stored(system)) == {new}
        works(system, "Rekeyed")
        alter(system, new, fingerprint=firestore.DELETE_FIELD)
        assert len(renew(system, renewer)) == 2
        system.end(f"renew_watch-{renewer}")
    finally:
        system.kill("directory_webhook")  # it is restarted with the key of all others
