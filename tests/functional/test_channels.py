"""Notification channels: renewed by what was granted, proven before the old one goes, and never silently dead."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from infra.local.simulation import wait_for
from tests.support.system import Town

EVENTS = {"add", "update", "delete", "undelete", "makeAdmin"}


@pytest.fixture
def town(town: Town) -> Town:
    """A town with a connection that is on: without one there is no channel."""
    town.connect()
    return town


def renew(town: Town, port: int = 0) -> list[dict]:
    """Call renew_watch as Cloud Scheduler does; returns the channels it keeps."""
    answer = town.ask("renew_watch", body=b"{}", port=port)
    assert answer.status == 200, answer.text
    return answer.json()["channels"]


def stored(town: Town) -> dict[str, dict]:
    """Return the documents of opened channels; a late sync message of another test leaves a lone proof."""
    found = {item.id: item.to_dict() for item in database(town).collection("channels").stream()}
    return {channel_id: fields for channel_id, fields in found.items() if "address" in fields}


def database(town: Town):
    from google.cloud import firestore

    return firestore.Client(project=town.world.cloud.project)


def alter(town: Town, channel_id: str, **fields: object) -> None:
    """Let time have passed for a channel, in our own record of it."""
    database(town).document(f"channels/{channel_id}").update(fields)


def open_at_google(town: Town) -> set[str]:
    return {channel["id"] for channel in town.directory.control("GET", "channels")["channels"]}


def proven(town: Town, *channel_ids: str) -> None:
    """Wait until the sync messages of these channels came through."""
    wait_for(lambda: all(stored(town).get(one, {}).get("proven") for one in channel_ids), "the proof")


def one_channel(town: Town) -> str:
    [channel] = renew(town)
    proven(town, channel["id"])
    return channel["id"]


def about_to_expire(town: Town, channel_id: str) -> None:
    now = datetime.now(UTC)
    alter(town, channel_id, opened=now - timedelta(hours=4, minutes=31), expires=now + timedelta(minutes=89))


def works(town: Town, name: str) -> None:
    """See a change through from notification to Keeper."""
    town.directory.patch("u1", {"name": {"familyName": name}})
    town.await_account("u1", lambda account: account["name"]["familyName"] == name)


def test_one_channel_watches_the_whole_customer_for_as_long_as_was_granted(town):
    town.sync()
    channel_id = one_channel(town)
    [at_google] = town.directory.control("GET", "channels")["channels"]
    assert (at_google["id"], at_google["event"]) == (channel_id, "")
    kept = stored(town)[channel_id]
    assert abs(kept["expires"].timestamp() - at_google["expires"]) < 0.01, "what was returned, not what was asked for"
    assert "token" not in kept
    assert town.world.cloud.environment["CHANNEL_KEY"] not in str(kept)
    works(town, "Watched")
    assert [channel["id"] for channel in renew(town)] == [channel_id]
    assert open_at_google(town) == {channel_id}


@pytest.mark.parametrize(("hours", "left", "renewed"), [(6, 91, False), (6, 89, True), (1, 16, False), (1, 14, True)])
def test_the_next_channel_is_opened_by_the_time_that_was_granted(town, hours, left, renewed):
    """90 minutes before the end; of a shorter grant after three quarters of it."""
    channel_id = one_channel(town)
    now = datetime.now(UTC)
    expires = now + timedelta(minutes=left)
    alter(town, channel_id, expires=expires, opened=expires - timedelta(hours=hours))
    renew(town)
    assert (len(open_at_google(town)) == 2) is renewed


def test_the_old_channel_goes_only_once_the_new_one_is_proven(town):
    town.sync()
    old = one_channel(town)
    about_to_expire(town, old)
    town.freeze("directory_webhook")
    [new] = {channel["id"] for channel in renew(town)} - {old}
    assert {channel["id"] for channel in renew(town)} == {old, new}
    assert open_at_google(town) == {old, new}, "the sync message has not come yet"
    town.thaw("directory_webhook")
    proven(town, new)
    works(town, "Overlap")
    assert [channel["id"] for channel in renew(town)] == [new]
    assert open_at_google(town) == {new}
    assert set(stored(town)) == {new}
    works(town, "Renewed")
    wait_for(lambda: town.look("u1") == 204 and town.entry("u1").mark is None, "quiet")
    assert [event["name"] for event in town.events("u1")][1:] == ["Update Auto Provisioned User"] * 2


def test_a_channel_that_never_proves_itself_is_replaced_and_alerted(town):
    town.freeze("directory_webhook")
    [mute] = renew(town)
    alter(town, mute["id"], opened=datetime.now(UTC) - timedelta(minutes=14))
    assert [channel["id"] for channel in renew(town)] == [mute["id"]], "it may still come"
    alter(town, mute["id"], opened=datetime.now(UTC) - timedelta(minutes=16))
    before = len(town.log("renew_watch"))
    [another] = {channel["id"] for channel in renew(town)} - {mute["id"]}
    alerts = [line for line in town.log("renew_watch")[before:].splitlines() if '"alert": "no_live_channel"' in line]
    assert [json.loads(line)["channel"] for line in alerts] == [mute["id"]]
    town.thaw("directory_webhook")
    proven(town, another)
    assert [channel["id"] for channel in renew(town)] == [another]
    assert open_at_google(town) == {another}


def test_a_stop_that_fails_is_tried_again_later(town):
    old = one_channel(town)
    about_to_expire(town, old)
    [new] = {channel["id"] for channel in renew(town)} - {old}
    proven(town, new)
    refusal = town.directory.fault(match={"method": "channels.stop"}, status=403, reason="forbidden", times=None)
    renew(town)
    assert town.directory.matched(refusal)
    assert open_at_google(town) == {old, new}
    assert set(stored(town)) == {old, new}
    town.directory.control("DELETE", "faults")
    renew(town)
    assert open_at_google(town) == set(stored(town)) == {new}


def test_a_channel_that_google_has_stopped_by_itself_counts_as_stopped(town):
    old = one_channel(town)
    about_to_expire(town, old)
    [new] = {channel["id"] for channel in renew(town)} - {old}
    proven(town, new)
    town.directory.control("DELETE", f"channels/{old}")
    renew(town)
    assert set(stored(town)) == {new}


def test_an_expired_channel_is_forgotten_and_replaced(town):
    old = one_channel(town)
    alter(town, old, expires=datetime.now(UTC) - timedelta(seconds=1))
    town.directory.control("DELETE", "requests")
    [new] = renew(town)
    assert new["id"] != old
    assert set(stored(town)) == {new["id"]}
    assert "channels.stop" not in town.directory.control("GET", "requests")["methods"]


def test_a_late_sync_message_of_a_removed_channel_is_forgotten_in_time(town):
    channel_id = one_channel(town)
    assert town.push("provision_user", {"user_id": "", "event": "sync", "channel": "gone"}) == 204
    proof = database(town).document("channels/gone")
    assert [channel["id"] for channel in renew(town)] == [channel_id]
    assert timedelta(days=2.9) < proof.get().get("expires") - datetime.now(UTC) < timedelta(days=3)
    alter(town, "gone", expires=datetime.now(UTC) - timedelta(seconds=1))
    assert [channel["id"] for channel in renew(town)] == [channel_id]
    assert not proof.get().exists
    assert open_at_google(town) == {channel_id}


def test_one_channel_for_each_event_where_the_api_insists(town):
    town.sync()
    town.directory.weather(demand_event=True)
    channels = renew(town)
    assert {channel["event"] for channel in channels} == EVENTS
    proven(town, *(channel["id"] for channel in channels))
    assert {channel["id"] for channel in renew(town)} == open_at_google(town)
    assert len(open_at_google(town)) == len(EVENTS)
    works(town, "By event")

    update = next(channel["id"] for channel in channels if channel["event"] == "update")
    about_to_expire(town, update)
    [new] = {channel["id"] for channel in renew(town)} - ids_of(channels)
    proven(town, new)
    renew(town)
    assert open_at_google(town) == ids_of(channels) - {update} | {new}
    works(town, "By the next one")


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
def test_a_channel_that_cannot_be_opened_leaves_those_there_are(town, fault, status, title):
    old = one_channel(town)
    about_to_expire(town, old)
    town.directory.fault(match={"method": "users.watch"}, times=None, **fault)
    answer = town.ask("renew_watch", body=b"{}")
    assert (answer.status, answer.json()["title"]) == (status, title)
    assert open_at_google(town) == set(stored(town)) == {old}
    town.directory.control("DELETE", "faults")
    assert len(renew(town)) == 2


def test_a_webhook_that_moved_is_watched_at_its_new_address(town):
    town.sync()
    old = one_channel(town)
    webhook = town.second("directory_webhook")
    renewer = town.second("renew_watch", WEBHOOK_URL=f"http://127.0.0.1:{webhook}")
    [new] = {channel["id"] for channel in renew(town, renewer)} - {old}
    proven(town, new)
    assert [channel["id"] for channel in renew(town, renewer)] == [new]
    assert open_at_google(town) == {new}
    works(town, "Moved")
    for name in (f"directory_webhook-{webhook}", f"renew_watch-{renewer}"):
        town.end(name)


def test_a_channel_made_with_another_key_is_replaced(town):
    """The webhook believes its token no more; a channel stored without a fingerprint is of an unknown key."""
    from google.cloud import firestore

    town.sync()
    old = one_channel(town)
    town.kill("directory_webhook")
    town.world.cloud.start_function("directory_webhook", {"CHANNEL_KEY": "the next key"}).wait_ready()
    try:
        renewer = town.second("renew_watch", CHANNEL_KEY="the next key")
        [new] = {channel["id"] for channel in renew(town, renewer)} - {old}
        proven(town, new)
        assert [channel["id"] for channel in renew(town, renewer)] == [new]
        assert open_at_google(town) == set(stored(town)) == {new}
        works(town, "Rekeyed")
        alter(town, new, fingerprint=firestore.DELETE_FIELD)
        assert len(renew(town, renewer)) == 2
        town.end(f"renew_watch-{renewer}")
    finally:
        town.kill("directory_webhook")  # it is started anew with the key of all others
