"""Revisions: which of them serve, wait or did not start, as Cloud Run tells it and a deployment understands it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from infra.gcp import commands, services
from infra.gcp.deploy import deploy
from infra.gcp.description import DEPLOYMENT, MOVED
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.release import served
from infra.gcp.rollback import rollback
from tests.gcp.stand_in import NUMBER, StandIn
from tests.gcp.test_deploy import NAMES, TARGET, changes_of, deployed, nobody, redeployed

SECOND = "0123456789abcdef"
KNOWN = replace(TARGET, number=NUMBER)


@pytest.fixture
def cloud(whole: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A whole deployment, and another source to deploy."""
    monkeypatch.setattr(commands, "source_digest", lambda: SECOND)
    return copy.deepcopy(whole)


def serving(cloud: StandIn) -> dict[str, str]:
    """Return the revision that has all traffic, by function."""
    shares = {name: item["status"]["traffic"] for name, item in cloud.things["service"].items()}
    return {name: each["revisionName"] for name, several in shares.items() for each in several if each.get("percent")}


def numbers(cloud: StandIn) -> dict[str, int]:
    return {name: int(revision.split("-")[-2]) for name, revision in serving(cloud).items()}


def refused(cloud: StandIn, **allowed: Any) -> str:
    with pytest.raises(SystemExit) as ended:
        deployed(cloud, **allowed)
    return str(ended.value)


def test_a_revision_that_does_not_start_ends_it_at_once_and_is_made_anew(cloud):
    before, waited = serving(cloud), []
    cloud.broken = {"console"}
    with pytest.raises(GcloudFailed, match="failed to start and listen"):
        deploy(TARGET, Gcloud(cloud, sleep=waited.append), lambda text: None, nobody, visit=cloud.visit)
    assert (serving(cloud), waited) == (before, [])
    cloud.broken.clear()
    assert redeployed(changes_of(cloud)) == {"console"}
    assert numbers(cloud)["console"] == 3


@pytest.mark.parametrize("name", MOVED)
def test_a_first_revision_that_does_not_start_is_made_anew_by_the_next_deployment(name):
    """Until one has started, a share of traffic can be given to none by its name."""
    cloud = StandIn()
    cloud.broken = {name}
    for _ in range(2):
        with pytest.raises(GcloudFailed, match="failed to start and listen"):
            deployed(cloud)
    cloud.broken.clear()
    deployed(cloud)
    assert numbers(cloud) == dict.fromkeys(NAMES, 1) | {name: 3}
    assert changes_of(cloud) == []


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_first_revision_whose_answers_are_lost_is_made_anew_too(whole, lost):
    """The first try is told as one that may pass, or the mended one is."""
    place = next(index for index, command in enumerate(whole.changes()) if command[1:4] == ("run", "deploy", "console"))
    cloud = StandIn()
    cloud.broken, cloud.lost = {"console"}, {place} if lost < 2 else set()
    with pytest.raises(GcloudFailed, match="failed to start and listen"):
        deployed(cloud)
    cloud.broken.clear()
    cloud.lost = {cloud.acted + lost}
    deployed(cloud)
    assert numbers(cloud) == dict.fromkeys(NAMES, 1) | {"console": 3 if lost < 2 else 2}
    assert changes_of(cloud) == []


# ---- what waits for traffic


@pytest.fixture
def waiting(cloud: StandIn) -> StandIn:
    cloud.sick = {"directory_webhook"}
    refused(cloud)
    cloud.sick.clear()
    return cloud


def test_what_waits_was_not_rolled_back_and_a_rollback_takes_its_address(waiting):
    """Else the address stays for good, and the webhook's is public."""
    before = serving(waiting)
    known = served(KNOWN, Gcloud(waiting))
    assert [(item.waiting, item.rolled_back) for item in known] == [(True, False)] * len(MOVED)
    assert rollback(TARGET, Gcloud(waiting), lambda text: None, known[0].release.id) == []
    assert rollback(TARGET, Gcloud(waiting), lambda text: None, known[0].deployed.before) == []
    assert serving(waiting) == before
    assert services.CANDIDATE not in str(waiting.things["service"])
    known = served(KNOWN, Gcloud(waiting))
    assert [(item.waiting, item.rolled_back) for item in known] == [(False, True)] * len(MOVED)
    changed = len(waiting.changes())
    assert rollback(TARGET, Gcloud(waiting), lambda text: None, known[0].release.id) == []
    assert len(waiting.changes()) == changed + 2, "but for the lock, nothing"


def test_another_release_replaces_what_waits(waiting, monkeypatch):
    first = served(KNOWN, Gcloud(waiting))[0].release.id
    monkeypatch.setattr(commands, "source_digest", lambda: "fedcba9876543210")
    deployed(waiting)
    assert set(numbers(waiting).values()) == {3}
    assert {item.release.before for item in served(KNOWN, Gcloud(waiting))} == {first}


def test_tags_of_other_people_stay(cloud):
    traffic = cloud.things["service"]["console"]["spec"]["traffic"]
    traffic.append({"revisionName": "console-00001-abc", "tag": "mine"})
    assert changes_of(cloud)
    tags = [share.get("tag") for share in cloud.things["service"]["console"]["spec"]["traffic"]]
    assert tags == [None, "mine"]
    assert changes_of(cloud) == []


STEPS = 1 + 1 + 2 * len(MOVED) + 1  # the lock, the build, revisions, traffic, the lock


@pytest.mark.parametrize("after", range(STEPS))
def test_whenever_it_is_broken_off_the_old_serve_until_all_new_ones_are_there(cloud, after):
    before = serving(cloud)
    cloud.interrupt_after = cloud.acted + after
    with pytest.raises(KeyboardInterrupt):
        deployed(cloud)
    cloud.interrupt_after = None
    if after <= 2 + len(MOVED):
        assert serving(cloud) == before
    assert set(numbers(cloud).values()) <= {1, 2}
    deployed(cloud, unlock=True)
    assert set(numbers(cloud).values()) == {2}
    assert len(cloud.things["revision"]) == 2 * len(MOVED)
    assert changes_of(cloud) == []


@pytest.mark.parametrize("index", range(2 * len(MOVED)))
def test_serving_again_ends_well_whichever_answer_was_lost(cloud, index):
    deployed(cloud)
    rollback(TARGET, Gcloud(cloud), lambda text: None)
    cloud.lost = {cloud.acted + 1 + index}
    assert len(changes_of(cloud, again=True)) == 2 * len(MOVED)
    assert set(numbers(cloud).values()) == {2}
    assert changes_of(cloud) == []


# ---- what Cloud Run tells of a service


def test_a_revision_that_waits_is_ready_though_the_service_names_the_one_that_serves(cloud):
    """Else each deployment would make another revision of each function, and none would ever be tried."""
    cloud.retires = True
    before = serving(cloud)
    cloud.sick = {"directory_webhook"}
    for _ in range(2):
        assert "not true that directory-webhook itself refuses" in refused(cloud)
    assert (serving(cloud), len(cloud.things["revision"])) == (before, 2 * len(MOVED))
    cloud.sick.clear()
    assert tuple(text.split()[4] for text in changes_of(cloud)) == MOVED
    assert set(numbers(cloud).values()) == {2}
    assert changes_of(cloud) == []


@pytest.mark.parametrize("index", [place for place, item in enumerate(DEPLOYMENT.functions) if not item.iap])
def test_a_status_of_before_is_not_taken_for_that_of_what_was_just_deployed(cloud, index):
    """Else no revision would be seen to wait, none be tried, and all traffic moved."""
    before = serving(cloud)
    cloud.lost, cloud.status_lag = {cloud.acted + 2 + index}, 100
    function = DEPLOYMENT.functions[index]
    cloud.sick = {function.entry_point}
    assert f"The smoke test failed: not true that {function.name} " in refused(cloud)
    assert serving(cloud) == before


def test_traffic_that_was_not_moved_though_gcloud_says_so_ends_the_deployment(cloud):
    cloud.unrouted = {"console"}
    said = refused(cloud)
    assert "Traffic was not moved, though gcloud says that it was: console serves console-00001-abc" in said
    assert numbers(cloud) == dict.fromkeys(NAMES, 2) | {"console": 1}
    cloud.unrouted.clear()
    assert [text.split()[4] for text in changes_of(cloud)] == ["console"] * 2, "tried again, and moved"
    assert set(numbers(cloud).values()) == {2}
    assert changes_of(cloud) == []


def test_traffic_that_does_not_follow_to_the_latest_revision_is_sent_to_it_by_name(cloud, monkeypatch):
    cloud.retires = cloud.latest_stays = True
    for number, source in ((2, SECOND), (3, "fedcba9876543210")):
        monkeypatch.setattr(commands, "source_digest", lambda source=source: source)
        assert "Traffic was not moved" in refused(cloud)
        assert set(numbers(cloud).values()) == {number - 1}
        changed = [text for text in changes_of(cloud) if "--to-revisions=" in text]
        assert [text.split()[4] for text in changed] == list(MOVED)
        assert set(numbers(cloud).values()) == {number}
        assert changes_of(cloud) == []


def test_a_revision_that_did_not_start_is_not_told_as_rolled_back(cloud):
    cloud.broken = {"console"}
    with pytest.raises(GcloudFailed, match="failed to start and listen"):
        deployed(cloud)
    known = {item.name: item for item in served(KNOWN, Gcloud(cloud))}
    assert (known["console"].waiting, known["console"].rolled_back) == (True, False)
    cloud.broken.clear()
    deployed(cloud)
    assert set(numbers(cloud)) == NAMES
    assert {item.release.id for item in served(KNOWN, Gcloud(cloud))} == {known["console"].deployed.id}
