"""Two deployments at once: one of them learns who else is deploying."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.gcp import commands, deploy, destroy, lock
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.lock import Held
from infra.gcp.rollback import rollback
from infra.gcp.steps import Command, shown
from tests.gcp.gcloud_parser import TARGET as KNOWN
from tests.gcp.gcloud_parser import complaints
from tests.gcp.stand_in import StandIn
from tests.gcp.test_deploy import TARGET, changes_of, deployed, nobody

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
THEIRS = {"holder": "other_at_example-com", "since": "2026-11-25t11-30-00z", "id": "0" * 16, "does": "deploy"}


@pytest.fixture
def cloud() -> StandIn:
    cloud = StandIn()
    deployed(cloud)
    return cloud


def locked(cloud: StandIn, **labels: str) -> None:
    cloud(lock.take(TARGET, **THEIRS | labels), "")


def is_locked(cloud: StandIn) -> bool:
    return lock.NAME in cloud.things.get("secret", {})


def roll_back(cloud: StandIn, **allowed: Any) -> None:
    rollback(TARGET, Gcloud(cloud, sleep=lambda seconds: None), lambda text: None, **allowed)


def test_gcloud_takes_the_commands_of_the_lock():
    commands_of_it = [lock.look(KNOWN), lock.take(KNOWN, **THEIRS), lock.give_back(KNOWN, '"1a2b"')]
    assert complaints(commands_of_it) == {}


@pytest.mark.parametrize("act", [deployed, roll_back])
def test_whoever_comes_second_is_told_who_is_at_work_and_changes_nothing(cloud, act):
    locked(cloud)
    before = len(cloud.changes())
    expected = r"other_at_example-com has been running make deploy since 2026-11-25 11:30 UTC\..*UNLOCK=yes"
    with pytest.raises(Held, match=expected):
        act(cloud, now=NOW)
    assert [shown(command) for command in cloud.changes()[before:] if lock.NAME not in shown(command)] == []
    assert cloud.things["secret"][lock.NAME]["labels"]["id"] == THEIRS["id"]


@pytest.mark.parametrize(
    ("since", "unlock"), [("2026-11-25t11-30-00z", True), ("2026-11-25t10-00-00z", False), ("", False)]
)
@pytest.mark.parametrize("act", [deployed, roll_back])
def test_a_lock_is_taken_over_when_that_is_wanted_or_its_holder_has_had_it_for_too_long(cloud, act, since, unlock):
    locked(cloud, since=since)
    act(cloud, now=NOW, unlock=unlock)
    assert not is_locked(cloud)


def test_the_lock_is_given_back_whatever_ends_a_deployment(cloud, monkeypatch):
    assert not is_locked(cloud)
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    cloud.failures = [("run deploy console", "PERMISSION_DENIED: no", 1)]
    with pytest.raises(GcloudFailed):
        deployed(cloud)
    assert not is_locked(cloud)


def test_a_lock_that_cannot_be_given_back_is_told_and_hides_no_other_error(cloud):
    said: list[str] = []
    cloud.failures = [(f"secrets delete {lock.NAME}", "PERMISSION_DENIED: no", 1)]
    deploy.deploy(TARGET, Gcloud(cloud), said.append, nobody, visit=cloud.visit)
    assert any("could not be released" in text and "UNLOCK=yes" in text for text in said)


def test_the_lock_is_given_back_though_nobody_reads_what_is_said_any_more(cloud, monkeypatch):
    """Ctrl-C ends `make deploy | tee log` as a whole, and tee first."""
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    gone: list[str] = []

    def say(text: str) -> None:
        if gone:
            raise BrokenPipeError
        if "Image of source" in text:
            gone.append(text)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deploy.deploy(TARGET, Gcloud(cloud, say=say), say, nobody, visit=cloud.visit)
    assert not is_locked(cloud)


def test_a_deployment_that_was_killed_leaves_a_lock_that_the_next_one_may_take_over(cloud, monkeypatch):
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    cloud.interrupt_after = cloud.acted + 3
    with pytest.raises(KeyboardInterrupt):
        deployed(cloud)
    cloud.interrupt_after = None
    with pytest.raises(Held, match="owner_at_example-com"):
        deployed(cloud)
    deployed(cloud, unlock=True)
    assert changes_of(cloud) == []


def test_a_lock_of_ones_own_that_is_not_told_yet_stops_nothing(cloud, monkeypatch):
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    cloud.failures = [(f"secrets describe {lock.NAME}", "NOT_FOUND: not known here yet", 9)]
    deployed(cloud)
    assert cloud.failures[0][2] == 0
    assert len({item["metadata"]["labels"]["release"] for item in cloud.things["service"].values()}) == 1
    assert not is_locked(cloud)


def test_a_lock_that_was_left_behind_goes_with_the_deployment(cloud):
    locked(cloud)
    destroy.destroy(TARGET, Gcloud(cloud), lambda text: None, lambda question: TARGET.project, destroy.Wanted())
    assert not is_locked(cloud)


class Race:
    """The cloud as one deployment sees it, while another does something just before one of its commands."""

    def __init__(self, cloud: StandIn, before: str, other: Any) -> None:
        self.cloud, self.before, self.other = cloud, before, other

    def __call__(self, command: Command, stdin: str) -> Any:
        if self.before in shown(command) and self.other is not None:
            other, self.other = self.other, None
            other()
        return self.cloud(command, stdin)


def race(cloud: StandIn, before: str, other: Any, **allowed: Any) -> None:
    gcloud = Gcloud(Race(cloud, before, other), sleep=lambda seconds: None)
    deploy.deploy(TARGET, gcloud, lambda text: None, nobody, now=NOW, visit=cloud.visit, **allowed)


def test_of_two_who_take_the_lock_at_once_one_is_refused(cloud):
    with pytest.raises(Held, match="other_at_example-com"):
        race(cloud, f"secrets create {lock.NAME}", lambda: locked(cloud))
    assert cloud.things["secret"][lock.NAME]["labels"]["id"] == THEIRS["id"]


def test_of_two_who_take_the_lock_over_at_once_one_is_refused(cloud):
    locked(cloud)

    def other() -> None:
        etag = cloud.things["secret"][lock.NAME]["etag"]
        cloud(lock.give_back(TARGET, etag), "")
        locked(cloud, id="1" * 16, holder="third_at_example-com")

    with pytest.raises(Held, match="third_at_example-com"):
        race(cloud, f"secrets delete {lock.NAME}", other, unlock=True)
    assert cloud.things["secret"][lock.NAME]["labels"]["id"] == "1" * 16


def test_whoever_was_overtaken_stops_before_the_next_change_and_leaves_the_lock_alone(cloud, monkeypatch):
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")

    def other() -> None:
        cloud(lock.give_back(TARGET, cloud.things["secret"][lock.NAME]["etag"]), "")
        locked(cloud)

    with pytest.raises(Held, match=r"taken over meanwhile.*other_at_example-com"):
        race(cloud, "run deploy provision-user", other)
    releases = [item["metadata"]["labels"]["release"] for item in cloud.things["service"].values()]
    assert len(set(releases)) == 2
    assert cloud.things["secret"][lock.NAME]["labels"]["id"] == THEIRS["id"]


def slept(cloud: StandIn, monkeypatch: pytest.MonkeyPatch) -> Gcloud:
    """Return a gcloud of a laptop that sleeps in its first pause: meanwhile another release is left untested."""
    others: list[str] = []

    def sleep(seconds: float) -> None:
        if others:
            return
        others.append("fedcba9876543210")
        with monkeypatch.context() as patch:
            patch.setattr(commands, "source_digest", lambda: others[0])
            cloud.sick = {"directory_webhook"}
            with pytest.raises(SystemExit, match="smoke test failed"):
                deployed(cloud, now=NOW + timedelta(hours=3))

    return Gcloud(cloud, sleep=sleep)


def numbers_that_serve(cloud: StandIn) -> set[int]:
    shares = [share for service in cloud.things["service"].values() for share in service["status"]["traffic"]]
    return {int(share["revisionName"].split("-")[-2]) for share in shares if share.get("percent")}


def test_whoever_was_overtaken_in_a_pause_does_not_try_again(cloud, monkeypatch):
    """Else all traffic of a function went to the latest revision, which is another's, and failed its test."""
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    cloud.failures = [("update-traffic console", "UNAVAILABLE: try again", 1)]
    with pytest.raises(Held, match="taken over and released"):
        deploy.deploy(TARGET, slept(cloud, monkeypatch), nothing, nobody, now=NOW, visit=cloud.visit)
    assert numbers_that_serve(cloud) == {1, 2}


def test_a_rollback_that_was_overtaken_in_a_pause_does_not_try_again(cloud, monkeypatch):
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    deployed(cloud)
    before = len(cloud.changes())
    cloud.failures = [("update-traffic directory-webhook", "UNAVAILABLE: try again", 1)]
    with pytest.raises(Held, match="taken over and released"):
        rollback(TARGET, slept(cloud, monkeypatch), nothing, now=NOW)
    assert [text for text in map(shown, cloud.changes()[before:]) if "--to-revisions" in text][1:] == []
    assert numbers_that_serve(cloud) == {2}


def test_two_deployments_at_once_never_mix_functions(cloud, monkeypatch):
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")

    def other() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(commands, "source_digest", lambda: "fedcba9876543210")
            with pytest.raises(Held, match="owner_at_example-com"):
                deployed(cloud, now=NOW + timedelta(minutes=5))

    race(cloud, "run deploy reconcile", other)
    assert len({item["metadata"]["labels"]["release"] for item in cloud.things["service"].values()}) == 1


def test_a_lock_that_was_taken_over_and_given_back_meanwhile_is_no_free_way(cloud):
    """A laptop that slept: another deployment took the lock over, served its release, and is gone."""
    gcloud = Gcloud(cloud, sleep=lambda seconds: None)
    with lock.held(TARGET, gcloud, nothing, purpose="deploy", by="me@example.com", at=NOW, unlock=False) as ours:
        ours.see()
        cloud(lock.give_back(TARGET, cloud.things["secret"][lock.NAME]["etag"]), "")
        with pytest.raises(Held, match="taken over and released"):
            ours.see()


def nothing(text: str) -> None:
    pass


def test_what_interrupts_the_taking_of_a_lock_gives_it_back(cloud, monkeypatch):
    take = lock.Lock.take

    def interrupted(self: lock.Lock, say: Any, *, unlock: bool) -> None:
        take(self, say, unlock=unlock)
        raise KeyboardInterrupt

    monkeypatch.setattr(lock.Lock, "take", interrupted)
    gcloud = Gcloud(cloud, sleep=lambda seconds: None)
    with pytest.raises(KeyboardInterrupt):
        lock.held(TARGET, gcloud, nothing, purpose="deploy", by="me@example.com", at=NOW, unlock=False).__enter__()
    assert not is_locked(cloud)


def destroyed(cloud: StandIn, **allowed: Any) -> None:
    gcloud = Gcloud(cloud, sleep=lambda seconds: None)
    destroy.destroy(TARGET, gcloud, nothing, lambda question: TARGET.project, destroy.Wanted(), **allowed)


def test_nothing_is_destroyed_while_somebody_deploys(cloud):
    locked(cloud)
    before = len(cloud.changes())
    with pytest.raises(Held, match="UNLOCK=yes"):
        destroyed(cloud, now=NOW)
    assert len(cloud.changes()) == before
    destroyed(cloud, now=NOW, unlock=True)
    assert not cloud.things["service"]
    assert not is_locked(cloud)


def test_nobody_deploys_while_it_is_destroyed_and_the_lock_is_given_back_last(cloud):
    refused: list[str] = []

    def other() -> None:
        with pytest.raises(Held) as held:
            deployed(cloud, now=NOW + timedelta(minutes=5))
        refused.append(str(held.value))

    gcloud = Gcloud(Race(cloud, "run services delete console", other), sleep=lambda seconds: None)
    destroy.destroy(TARGET, gcloud, nothing, lambda question: TARGET.project, destroy.Wanted(), now=NOW)
    assert "has been running make destroy since 2026-11-25 12:00 UTC" in refused[0]
    assert not cloud.things["service"]
    assert f"secrets delete {lock.NAME}" in shown(cloud.changes()[-1])


def test_a_destruction_that_was_overtaken_takes_nothing_more(cloud):
    def other() -> None:
        cloud(lock.give_back(TARGET, cloud.things["secret"][lock.NAME]["etag"]), "")
        locked(cloud)

    gcloud = Gcloud(Race(cloud, "run services delete console", other), sleep=lambda seconds: None)
    with pytest.raises(Held, match="taken over meanwhile"):
        destroy.destroy(TARGET, gcloud, nothing, lambda question: TARGET.project, destroy.Wanted(), now=NOW)
    assert cloud.things["topic"]


def test_what_came_after_the_list_was_shown_is_not_destroyed_unseen(cloud):
    def typed(question: str) -> str:
        name = "keeper-token-0123456789ab"
        cloud(("gcloud", "secrets", "create", name, "--replication-policy=automatic", "--project=keeper-prod"), "")
        return TARGET.project

    with pytest.raises(SystemExit, match=r"more by now: Secret keeper-token-0123456789ab\. Nothing was changed"):
        destroy.destroy(TARGET, Gcloud(cloud), nothing, typed, destroy.Wanted())
    assert cloud.things["service"]
    assert not is_locked(cloud)


@pytest.mark.parametrize("labels", [{}, {"system": "billing"}, {**THEIRS, "system": "billing"}, {"holder": "me"}])
@pytest.mark.parametrize("act", [deployed, roll_back, destroyed])
def test_a_secret_of_that_name_that_is_no_lock_is_neither_taken_over_nor_destroyed(cloud, act, labels):
    secret = {
        "name": f"projects/1/secrets/{lock.NAME}",
        "replication": {"automatic": {}},
        "etag": "1",
        "labels": labels,
    }
    cloud.put("secret", lock.NAME, secret)
    before = len(cloud.changes())
    with pytest.raises(Held, match="not a lock of this deployment"):
        act(cloud, now=NOW, unlock=True)
    assert len(cloud.changes()) == before
    assert cloud.things["secret"][lock.NAME] == secret
