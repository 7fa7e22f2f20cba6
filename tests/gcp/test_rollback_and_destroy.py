"""`make rollback`, `make destroy` and `make logs` against the stand-in for gcloud."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from autoprovisioning import document_kinds, messages
from autoprovisioning.schemas import Schema
from infra.gcp import __main__ as command_line
from infra.gcp import commands, destroy, labels, logs
from infra.gcp.description import DEPLOYMENT
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.rollback import rollback
from infra.gcp.steps import shown
from tests.gcp.gcloud_parser import TARGET as KNOWN
from tests.gcp.gcloud_parser import complaints
from tests.gcp.stand_in import StandIn
from tests.gcp.test_deploy import NAMES, TARGET, changes_of, deployed, nobody

pytestmark = pytest.mark.timeout(600)  # gcloud's parser takes a tenth of a second a command, or more on a busy machine


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    cloud = StandIn()
    deployed(cloud)
    return cloud


def redeploy(cloud: StandIn, monkeypatch: pytest.MonkeyPatch, digest: str, **allowed: Any) -> str:
    """Deploy another source; returns its release."""
    monkeypatch.setattr(commands, "source_digest", lambda: digest)
    deployed(cloud, **allowed)
    return labels_of(cloud)["release"]


def labels_of(cloud: StandIn) -> dict[str, str]:
    return dict(cloud.things["service"]["console"]["metadata"]["labels"])


def serving(cloud: StandIn) -> set[str]:
    """Return which releases serve."""
    names = [service["status"]["traffic"][0]["revisionName"] for service in cloud.things["service"].values()]
    return {cloud.things["revision"][name]["metadata"]["labels"]["release"] for name in names}


def roll_back(cloud: StandIn, release: str = "", said: list[str] | None = None, **allowed: Any) -> list[str]:
    say = (said if said is not None else []).append
    return rollback(TARGET, Gcloud(cloud, sleep=lambda seconds: None), say, release, **allowed)


SECOND, THIRD = "0123456789abcdef", "fedcba9876543210"


# ---- rollback


def test_a_rollback_serves_what_was_served_before_and_a_deployment_serves_the_latest_again(cloud, monkeypatch):
    first = labels_of(cloud)["release"]
    second = redeploy(cloud, monkeypatch, SECOND)
    assert serving(cloud) == {second}
    assert set(roll_back(cloud)) == NAMES
    assert serving(cloud) == {first}
    changed = changes_of(cloud, again=True)
    assert all("update-traffic" in text for text in changed)  # to be tried first, then to be served
    assert ["--to-latest" in text for text in changed] == [False] * len(NAMES) + [True] * len(NAMES)
    assert serving(cloud) == {second}


@pytest.mark.parametrize("after", range(3 + len(NAMES)))
def test_a_rollback_that_is_broken_off_and_repeated_never_mixes_releases(cloud, monkeypatch, after):
    """After each of its commands: the lock, the functions, the lock."""
    first = labels_of(cloud)["release"]
    redeploy(cloud, monkeypatch, SECOND)
    redeploy(cloud, monkeypatch, THIRD)
    roll_back(cloud, first)
    redeploy(cloud, monkeypatch, "0" * 16)  # what is before it is not what was deployed before it
    cloud.interrupt_after = cloud.acted + after
    if after < 2 + len(NAMES):
        with pytest.raises(KeyboardInterrupt):
            roll_back(cloud)
    else:
        roll_back(cloud)
    cloud.interrupt_after = None
    for _ in range(2):
        roll_back(cloud, unlock=True)
        assert serving(cloud) == {first}


def test_a_rollback_goes_to_any_release_that_is_named(cloud, monkeypatch):
    first = labels_of(cloud)["release"]
    second = redeploy(cloud, monkeypatch, SECOND)
    third = redeploy(cloud, monkeypatch, THIRD)
    for release in (first, third, second):
        roll_back(cloud, release)
        assert serving(cloud) == {release}


def test_a_rollback_ends_well_though_an_answer_was_lost(cloud, monkeypatch):
    first = labels_of(cloud)["release"]
    redeploy(cloud, monkeypatch, SECOND)
    cloud.lost = {cloud.acted, cloud.acted + 1, cloud.acted + 3, cloud.acted + 10}
    assert set(roll_back(cloud)) == NAMES
    assert serving(cloud) == {first}
    assert "keeper-deployment-lock" not in cloud.things["secret"]


def test_a_function_without_a_revision_of_that_release_is_named_before_anything_is_changed(cloud, monkeypatch):
    first = labels_of(cloud)["release"]
    second = redeploy(cloud, monkeypatch, SECOND)
    third = redeploy(cloud, monkeypatch, THIRD)
    del cloud.things["revision"]["renew-watch-00001-abc"]
    cloud.things["revision"]["console-00002-abc"]["status"]["conditions"][0]["status"] = "False"
    with pytest.raises(SystemExit) as ended:
        roll_back(cloud, first)
    assert f"Release {first} has no ready revision of renew-watch: nothing was changed" in str(ended.value)
    assert f"RELEASE={third} of " in str(ended.value)
    assert f"RELEASE={second}" not in str(ended.value)
    with pytest.raises(SystemExit, match=f"{second} has no ready revision of console"):
        roll_back(cloud)
    assert serving(cloud) == {third}


def first_made_by_the_second(cloud: StandIn, name: str) -> None:
    """Let a function be there since the second release only."""
    del cloud.things["revision"][f"{name}-00001-abc"]
    things = json.dumps([cloud.things["revision"].pop(f"{name}-00002-abc"), cloud.things["service"][name]])
    revision, service = json.loads(things.replace(f"{name}-00002-abc", f"{name}-00001-abc"))
    cloud.things["revision"][f"{name}-00001-abc"], cloud.things["service"][name] = revision, service


def test_a_function_that_the_release_did_not_have_yet_stays_as_it_is(cloud, monkeypatch):
    first = labels_of(cloud)["release"]
    second = redeploy(cloud, monkeypatch, SECOND)
    first_made_by_the_second(cloud, "workspace-events")
    said: list[str] = []
    assert set(roll_back(cloud, said=said)) == NAMES - {"workspace-events"}
    assert "  stays      workspace-events: that release did not have it yet" in said
    assert serving(cloud) == {first, second}
    assert set(roll_back(cloud, second)) == NAMES - {"workspace-events"}
    assert serving(cloud) == {second}


def test_an_interrupted_deployment_is_rolled_back_as_far_as_it_came(cloud, monkeypatch):
    first = labels_of(cloud)["release"]
    monkeypatch.setattr(commands, "source_digest", lambda: SECOND)
    cloud.interrupt_after = cloud.acted + 2 + len(NAMES) + 3  # lock, build, revisions; three of them got traffic
    with pytest.raises(KeyboardInterrupt):
        deployed(cloud)
    cloud.interrupt_after = None
    assert len(roll_back(cloud, unlock=True)) == 3
    assert serving(cloud) == {first}


def test_the_release_before_is_the_one_that_served_not_the_one_that_was_deployed(cloud, monkeypatch):
    first = labels_of(cloud)["release"]
    redeploy(cloud, monkeypatch, SECOND)
    roll_back(cloud)
    redeploy(cloud, monkeypatch, THIRD)
    assert labels_of(cloud)["before"] == first
    roll_back(cloud)
    assert serving(cloud) == {first}


def test_a_deployment_that_goes_on_after_an_interruption_keeps_the_release_before(cloud, monkeypatch):
    first = labels_of(cloud)["release"]
    monkeypatch.setattr(commands, "source_digest", lambda: SECOND)
    cloud.interrupt_after = cloud.acted + 5
    with pytest.raises(KeyboardInterrupt):
        deployed(cloud)
    cloud.interrupt_after = None
    deployed(cloud, unlock=True)
    assert {service["metadata"]["labels"]["before"] for service in cloud.things["service"].values()} == {first}


def test_a_release_that_was_rolled_back_is_deployed_again_only_if_that_is_confirmed(cloud, monkeypatch):
    first = labels_of(cloud)["release"]
    second = redeploy(cloud, monkeypatch, SECOND)
    roll_back(cloud)
    asked: list[str] = []

    def answered(text: str) -> Callable[[str], str]:
        return lambda question: asked.append(question) or text

    for ask in (answered(""), answered("yes"), nobody):
        with pytest.raises(SystemExit, match="AGAIN=yes"):
            deployed(cloud, ask=ask)
        assert serving(cloud) == {first}
    assert f"Release {second} is one that was rolled back" in asked[0]
    deployed(cloud, ask=answered(second))
    assert serving(cloud) == {second}


def test_another_release_follows_a_rollback_unasked(cloud, monkeypatch):
    redeploy(cloud, monkeypatch, SECOND)
    roll_back(cloud)
    third = redeploy(cloud, monkeypatch, THIRD)
    assert serving(cloud) == {third}


def test_a_release_that_was_rolled_back_is_not_deployed_unasked_after_another_that_failed(cloud, monkeypatch):
    first = labels_of(cloud)["release"]
    second = redeploy(cloud, monkeypatch, SECOND)
    roll_back(cloud)
    cloud.sick = {"directory_webhook"}
    with pytest.raises(SystemExit, match="smoke test failed"):
        redeploy(cloud, monkeypatch, THIRD)
    cloud.sick.clear()
    monkeypatch.setattr(commands, "source_digest", lambda: SECOND)
    with pytest.raises(SystemExit, match="AGAIN=yes"):
        deployed(cloud)
    assert serving(cloud) == {first}
    deployed(cloud, again=True)
    assert serving(cloud) == {second}


def test_a_release_that_failed_its_smoke_test_is_not_gone_back_to(cloud, monkeypatch):
    """Neither while it waits for its traffic, nor once another one has replaced it."""
    first = labels_of(cloud)["release"]
    cloud.sick = {"directory_webhook"}
    with pytest.raises(SystemExit, match="smoke test failed"):
        redeploy(cloud, monkeypatch, SECOND)
    cloud.sick.clear()
    ill = labels_of(cloud)["release"]
    refusal = f"Nothing says that release {ill} ever served.*Nothing was changed"
    before = len(cloud.changes())
    with pytest.raises(SystemExit, match=refusal):
        roll_back(cloud, ill)
    assert len(cloud.changes()) == before + 2, "but for the lock, nothing"
    third = redeploy(cloud, monkeypatch, THIRD)
    with pytest.raises(SystemExit, match=refusal):
        roll_back(cloud, ill)
    assert serving(cloud) == {third}
    with pytest.raises(SystemExit) as ended:
        roll_back(cloud, "0" * 16)
    assert f"RELEASE={first}" in str(ended.value)
    assert ill not in str(ended.value)
    roll_back(cloud, ill, untested=True)
    assert serving(cloud) == {ill}


@pytest.mark.parametrize("late", ["2026-11-24T00:00:00+00:00", "2036-01-01T00:00:00+00:00"])
def test_a_deployment_of_a_machine_with_another_time_is_rolled_back_to_what_served_before_it(cloud, monkeypatch, late):
    """Labels tell the time of who deployed; what was deployed last, Google knows."""
    second = redeploy(cloud, monkeypatch, SECOND)
    monkeypatch.setattr(commands, "source_digest", lambda: THIRD)
    cloud.interrupt_after = cloud.acted + 2 + 4  # the lock, the build, four revisions
    with pytest.raises(KeyboardInterrupt):
        deployed(cloud, now=datetime.fromisoformat(late))
    cloud.interrupt_after = None
    roll_back(cloud, unlock=True)
    assert serving(cloud) == {second}
    cloud.interrupt_after = cloud.acted + 1 + len(NAMES) + 4  # the lock, all tags, some traffic
    with pytest.raises(KeyboardInterrupt):
        deployed(cloud, now=datetime.fromisoformat(late), again=True)
    cloud.interrupt_after = None
    monkeypatch.setattr(commands, "source_digest", lambda: "0" * 16)
    deployed(cloud, unlock=True)
    assert labels_of(cloud)["before"] == second


def test_a_rollback_that_moved_no_traffic_though_gcloud_says_so_is_told(cloud, monkeypatch):
    first = labels_of(cloud)["release"]
    second = redeploy(cloud, monkeypatch, SECOND)
    cloud.unrouted = {"reconcile"}
    with pytest.raises(
        SystemExit, match="Traffic was not moved, though gcloud says that it was: reconcile serves recon"
    ):
        roll_back(cloud)
    assert serving(cloud) == {first, second}
    cloud.unrouted.clear()
    assert roll_back(cloud) == ["reconcile"]
    assert serving(cloud) == {first}


def test_a_rollback_takes_back_traffic_that_was_asked_for_and_has_not_come(cloud, monkeypatch):
    """It may come at any time, and be of what is left."""
    first = labels_of(cloud)["release"]
    cloud.unrouted = {"console"}
    with pytest.raises(SystemExit, match="Traffic was not moved"):
        redeploy(cloud, monkeypatch, SECOND)
    cloud.unrouted.clear()
    assert len(roll_back(cloud)) == len(NAMES) - 1
    assert serving(cloud) == {first}
    asked = cloud.things["service"]["console"]["spec"]["traffic"]
    assert [share["revisionName"] for share in asked if share.get("percent")] == ["console-00001-abc"]


# ---- keys


def rotated(cloud: StandIn, monkeypatch: pytest.MonkeyPatch, *afterwards: str) -> str:
    """Deploy with a new version of the channel key, and do something to the first; returns the release before."""
    first = labels_of(cloud)["release"]
    cloud(("gcloud", "secrets", "versions", "add", "channel-key", "--data-file=-", "--project=keeper-prod"), "new")
    redeploy(cloud, monkeypatch, SECOND)
    for verb in afterwards:
        cloud(("gcloud", "secrets", "versions", verb, "1", "--secret=channel-key", "--project=keeper-prod"), "")
    return first


@pytest.mark.parametrize(
    ("afterwards", "told"),
    [
        (["disable"], "is disabled: gcloud secrets versions enable 1 --secret=channel-key --project=keeper-prod"),
        (["disable", "destroy"], "is destroyed"),
    ],
)
def test_a_release_whose_key_cannot_be_read_any_more_is_not_gone_back_to(cloud, monkeypatch, afterwards, told):
    first = rotated(cloud, monkeypatch, *afterwards)
    second = labels_of(cloud)["release"]
    expected = (
        rf"Release {first} could not start, since version 1 of channel-key \(directory-webhook, renew-watch\) {told}"
    )
    for release in ("", first):
        with pytest.raises(SystemExit, match=rf"{expected}\. Nothing was changed\. Roll forward"):
            roll_back(cloud, release)
    assert serving(cloud) == {second}
    assert "keeper-deployment-lock" not in cloud.things["secret"]


def test_a_release_whose_key_is_enabled_again_is_gone_back_to(cloud, monkeypatch):
    first = rotated(cloud, monkeypatch, "disable", "enable")
    assert set(roll_back(cloud)) == NAMES
    assert serving(cloud) == {first}


# ---- images


def test_a_release_whose_image_is_gone_is_not_gone_back_to(cloud, monkeypatch):
    first, (image,) = labels_of(cloud)["release"], cloud.things["image"]
    second = redeploy(cloud, monkeypatch, SECOND)
    del cloud.things["image"][image]
    expected = f"Release {first} could not start, since {image} was deleted. Nothing was changed. Roll forward"
    for release in ("", first):
        with pytest.raises(SystemExit, match=expected):
            roll_back(cloud, release)
    assert serving(cloud) == {second}
    assert "keeper-deployment-lock" not in cloud.things["secret"]


def test_an_image_that_is_kept_elsewhere_is_not_judged(cloud, monkeypatch):
    first = labels_of(cloud)["release"]
    for revision in cloud.things["revision"].values():
        revision["spec"]["containers"][0]["image"] = "europe-west1-docker.pkg.dev/keeper-prod/gcf-artifacts/x@sha256:1"
    redeploy(cloud, monkeypatch, SECOND)
    roll_back(cloud)
    assert serving(cloud) == {first}


# ---- schemas


def raised(monkeypatch: pytest.MonkeyPatch, place: int = 2, oldest: int = 1) -> None:
    kinds = list(labels.KINDS)
    kinds[place] = replace(kinds[place], current=kinds[place].current + 1, oldest=oldest)
    monkeypatch.setattr(labels, "KINDS", tuple(kinds))


def test_neither_rollback_nor_deployment_serves_what_could_not_read_what_is_written(cloud, monkeypatch):
    with monkeypatch.context() as patch:
        raised(patch)
        second = redeploy(cloud, patch, SECOND)
    with pytest.raises(SystemExit, match=r"roster shard: schema 3, but it reads 1 to 2.*Nothing was changed"):
        roll_back(cloud)
    with pytest.raises(SystemExit, match=r"roster shard: schema 3, but it reads 1 to 2.*not changed"):
        redeploy(cloud, monkeypatch, THIRD)
    assert serving(cloud) == {second}


def test_a_release_that_reads_the_former_schema_no_more_is_not_deployed(cloud, monkeypatch):
    raised(monkeypatch, oldest=3)
    with pytest.raises(SystemExit, match=r"roster shard: schema 2, but it reads 3 to 3"):
        redeploy(cloud, monkeypatch, SECOND)


def test_a_kind_of_document_that_one_release_does_not_know_hinders_nothing(cloud, monkeypatch):
    first = labels_of(cloud)["release"]
    with monkeypatch.context() as patch:
        patch.setattr(labels, "KINDS", (*labels.KINDS, Schema(name="something new", current=5)))
        redeploy(cloud, patch, SECOND)
    roll_back(cloud)
    assert serving(cloud) == {first}


def test_every_schema_is_told_and_each_in_the_place_it_has_had():
    named = [kind.name for kind in labels.KINDS]
    assert len(set(named)) == len(named)
    defined = [
        value for module in (document_kinds, messages) for value in vars(module).values() if isinstance(value, Schema)
    ]
    assert {item.name for item in defined} - set(named) == {messages.ENVELOPE.name}
    assert (named[0], named[18], named[21]) == ("connection", "notification channel", "run request")


def test_what_is_gone_already_though_a_look_still_told_it_is_taken_away(cloud):
    gone = ("NOT_FOUND: Resource not found", "Policy binding with the specified principal and role not found!")
    cloud.failures = [("topics delete directory-changes", gone[0], 1), ("remove-iam-policy-binding", gone[1], 1)]
    destroyed(cloud, "keeper-prod")
    assert [part for part, _, left in cloud.failures if left] == []


def test_a_first_deployment_has_nothing_to_go_back_to(cloud):
    before = serving(cloud)
    assert roll_back(cloud) == []
    assert serving(cloud) == before


def test_nothing_deployed_is_told_as_that():
    cloud = StandIn()
    cloud.enabled |= {"run.googleapis.com"}
    with pytest.raises(SystemExit, match="Nothing is deployed"):
        roll_back(cloud)


def test_a_deployment_of_a_version_from_before_releases_is_rolled_back_by_name_alone(cloud):
    for service in cloud.things["service"].values():
        del service["metadata"]["labels"]["before"]
    with pytest.raises(SystemExit, match=r"name the release, RELEASE=\.\.\."):
        roll_back(cloud)


# ---- destroy


def test_gcloud_takes_every_command_that_destroys():
    removals = destroy.removals(KNOWN, audit=True)
    assert complaints(command for removal in removals for command in (removal.look, *removal.commands)) == {}


def destroyed(cloud: StandIn, typed: str, *, audit: bool = False) -> None:
    destroy.destroy(TARGET, Gcloud(cloud), lambda text: None, lambda question: typed, destroy.Wanted(audit=audit))


LEFT = {"role", "database", "backups", "field", "index", "revision", "version"}


def left(cloud: StandIn) -> set[str]:
    return {kind for kind, things in cloud.things.items() if things}


def test_a_destroyed_deployment_leaves_the_audit_and_no_grant(cloud):
    cloud(
        ("gcloud", "secrets", "create", "keeper-token-0123456789ab", "--replication-policy=automatic", "--project=p"),
        "",
    )
    cloud(("gcloud", "secrets", "create", "somebody-elses", "--replication-policy=automatic", "--project=p"), "")
    destroyed(cloud, "keeper-prod")
    assert left(cloud) == LEFT | {"secret"}
    assert set(cloud.things["secret"]) == {"somebody-elses"}
    granted = {binding["role"] for binding in cloud.policies["project:keeper-prod"]["bindings"]}
    assert {role for role in granted if not role.endswith(".serviceAgent")} == set()  # those are Google's own
    assert cloud.things["database"]["(default)"]["deleteProtectionState"] == "DELETE_PROTECTION_ENABLED"


def test_the_audit_is_deleted_only_when_that_is_typed_too(cloud):
    with pytest.raises(SystemExit, match="Nothing was changed"):
        destroyed(cloud, "keeper-prod", audit=True)
    assert cloud.things["database"]
    destroyed(cloud, "keeper-prod with its audit", audit=True)
    assert left(cloud) == LEFT - {"database", "backups"}


def backed_up(cloud: StandIn, number: int, uid: str, state: str = "READY") -> str:
    name = f"projects/keeper-prod/locations/europe-west1/backups/{number}"
    backup = {
        "name": name,
        "database": "projects/keeper-prod/databases/(default)",
        "databaseUid": uid,
        "state": state,
        "snapshotTime": f"2026-11-{number}T03:00:00Z",
        "expireTime": f"2026-12-{number}T03:00:00Z",
    }
    cloud.put("backup", name, backup)
    return name


def with_backups(cloud: StandIn) -> tuple[str, str]:
    """Return a backup of the database, and one of a database before it."""
    return backed_up(cloud, 11, cloud.things["database"]["(default)"]["uid"]), backed_up(cloud, 10, "before")


def destroyed_with(cloud: StandIn, wanted: destroy.Wanted, typed: str) -> str:
    said: list[str] = []
    destroy.destroy(TARGET, Gcloud(cloud), said.append, lambda question: typed, wanted)
    return "\n".join(said)


def test_backups_outlive_the_audit_and_are_listed_unless_they_are_to_go_too(cloud):
    with_backups(cloud)
    said = destroyed_with(cloud, destroy.Wanted(audit=True), "keeper-prod with its audit")
    stay = said.partition("These backups, with the audit in them, stay until they expire")[2]
    assert "\n  Backup of 2026-11-11T03:00 until 2026-12-11T03:00\n" in stay
    assert len(cloud.things["backup"]) == 2
    assert not cloud.things["database"]


def test_backups_go_with_the_audit_when_that_is_typed_too_and_those_of_another_database_stay(cloud):
    ours, before = with_backups(cloud)
    everything = destroy.Wanted(audit=True, backups=True)
    with pytest.raises(SystemExit, match="Nothing was changed"):
        destroyed_with(cloud, everything, "keeper-prod with its audit")
    said = destroyed_with(cloud, everything, "keeper-prod with its audit and backups")
    assert list(cloud.things["backup"]) == [before]
    assert "\n  Backup of 2026-11-11T03:00 until 2026-12-11T03:00\n" in said.partition("These stay")[0]
    assert "\n  Backup of 2026-11-10T03:00" in said.partition("These stay")[2]
    assert "--location=europe-west1" in "".join(text for text in map(shown, cloud.changes()) if ours[-2:] in text)
    assert not cloud.things["database"]


def test_a_backup_that_is_still_being_made_leaves_the_database_to_the_next_try(cloud):
    name = backed_up(cloud, 11, cloud.things["database"]["(default)"]["uid"], "CREATING")
    everything = destroy.Wanted(audit=True, backups=True)
    with pytest.raises(GcloudFailed, match="still being created"):
        destroyed_with(cloud, everything, "keeper-prod with its audit and backups")
    assert cloud.things["database"]
    cloud.things["backup"][name]["state"] = "READY"
    destroyed_with(cloud, everything, "keeper-prod with its audit and backups")
    assert not cloud.things["backup"]
    assert not cloud.things["database"]


@pytest.mark.parametrize("given", [{"BACKUPS": "delete"}, {"BACKUPS": "yes", "AUDIT": "delete"}])
def test_backups_go_with_the_audit_alone(given):
    settings = {"PROJECT": "keeper-prod", "REGION": "europe-west1", "ADMIN": "a@example.com", "ALERTS": "b@example.com"}
    with pytest.raises(SystemExit, match=r"BACKUPS=\.\.\. must be delete, together with AUDIT=delete"):
        command_line.main(["destroy"], settings | given)


@pytest.mark.parametrize("typed", ["", "yes", "keeper-pro", "KEEPER-PROD"])
def test_nothing_is_destroyed_unless_the_projects_name_is_typed(cloud, typed):
    before = len(cloud.changes())
    with pytest.raises(SystemExit, match="Nothing was changed"):
        destroyed(cloud, typed)
    assert len(cloud.changes()) == before


def test_a_destruction_that_failed_goes_on_from_there(cloud):
    cloud.failures = [("run services delete console", "PERMISSION_DENIED: no", 1)]
    with pytest.raises(GcloudFailed, match="run services delete console"):
        destroyed(cloud, "keeper-prod")
    assert "console" in cloud.things["service"]
    destroyed(cloud, "keeper-prod")
    assert left(cloud) == LEFT


def test_a_destroyed_deployment_can_be_deployed_again_on_the_audit_that_stayed(cloud):
    destroyed(cloud, "keeper-prod")
    deployed(cloud)
    assert set(cloud.things["service"]) == NAMES
    assert changes_of(cloud) == []


@pytest.mark.parametrize("enabled", [set(), {"pubsub.googleapis.com", "run.googleapis.com"}])
def test_a_project_whose_apis_were_never_enabled_has_nothing_to_roll_back_or_destroy(enabled):
    cloud, pauses = StandIn(), []
    cloud.enabled |= enabled
    gcloud = Gcloud(cloud, sleep=pauses.append, unused_is_missing=True)
    with pytest.raises(SystemExit, match="Nothing is deployed"):
        rollback(TARGET, gcloud, lambda text: None)
    destroy.destroy(KNOWN, gcloud, lambda text: None, lambda question: "keeper-prod", destroy.Wanted())
    assert (cloud.changes(), pauses) == ([], [])


# ---- logs


def test_gcloud_takes_the_commands_that_read_logs():
    assert complaints([logs.command(TARGET, name, "WARNING", "30m") for name in ("", "console")]) == {}
    text = shown(logs.command(TARGET, "", "INFO", "1h"))
    assert all(f'"{function.name}"' in text for function in DEPLOYMENT.functions)
    assert logs.command(TARGET, "provision_user", "INFO", "1h") == logs.command(TARGET, "provision-user", "INFO", "1h")


@pytest.mark.parametrize(("function", "severity"), [("nobody", "INFO"), ("", "LOUD")])
def test_logs_of_what_is_not_there_are_refused(function, severity):
    with pytest.raises(SystemExit, match=r"must be one of"):
        logs.command(TARGET, function, severity, "1h")
