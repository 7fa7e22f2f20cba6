"""`make rollback`, `make destroy` and `make logs` against the stand-in for gcloud."""

from __future__ import annotations

from typing import Any

import pytest

from infra.gcp import commands, destroy, logs
from infra.gcp.description import DEPLOYMENT
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.rollback import previous, rollback
from infra.gcp.steps import shown
from tests.gcp.gcloud_parser import TARGET as KNOWN
from tests.gcp.gcloud_parser import complaints
from tests.gcp.stand_in import StandIn
from tests.gcp.test_deploy import NAMES, TARGET, changes_of, deployed

pytestmark = pytest.mark.timeout(600)  # gcloud's parser takes a tenth of a second a command, or more on a busy machine


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    cloud = StandIn()
    deployed(cloud)
    return cloud


def redeploy(cloud: StandIn, monkeypatch: pytest.MonkeyPatch, digest: str) -> None:
    monkeypatch.setattr(commands, "source_digest", lambda: digest)
    deployed(cloud)


def serving(cloud: StandIn) -> set[str]:
    return {service["status"]["traffic"][0]["revisionName"][-9:-4] for service in cloud.things["service"].values()}


def roll_back(cloud: StandIn) -> list[str]:
    return rollback(TARGET, Gcloud(cloud, sleep=lambda seconds: None), lambda text: None)


# ---- rollback


def test_a_rollback_serves_what_was_served_before_and_a_deployment_serves_the_latest_again(cloud, monkeypatch):
    redeploy(cloud, monkeypatch, "0123456789abcdef")
    assert serving(cloud) == {"00002"}
    assert set(roll_back(cloud)) == NAMES
    assert serving(cloud) == {"00001"}
    changed = changes_of(cloud)
    assert all("--to-latest" in text for text in changed)
    assert serving(cloud) == {"00002"}


def test_a_rollback_ends_well_though_an_answer_was_lost(cloud, monkeypatch):
    redeploy(cloud, monkeypatch, "0123456789abcdef")
    cloud.lost = {cloud.acted, cloud.acted + 3}
    assert set(roll_back(cloud)) == NAMES
    assert serving(cloud) == {"00001"}


def test_what_is_gone_already_though_a_look_still_told_it_is_taken_away(cloud):
    gone = ("NOT_FOUND: Resource not found", "Policy binding with the specified principal and role not found!")
    cloud.failures = [("topics delete directory-changes", gone[0], 1), ("remove-iam-policy-binding", gone[1], 1)]
    destroyed(cloud, "keeper-prod")
    assert [part for part, _, left in cloud.failures if left] == []


def test_a_rollback_leaves_what_the_last_deployment_did_not_touch(cloud):
    cloud.things["function"]["console"]["serviceConfig"]["timeoutSeconds"] = 1
    cloud.things["function"]["console"]["labels"]["release"] = "before"
    for function in cloud.things["function"].values():
        function["labels"]["release"] = "before"
    deployed(cloud)
    assert roll_back(cloud) == ["console"]


def test_an_interrupted_deployment_is_rolled_back_as_far_as_it_came(cloud, monkeypatch):
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    cloud.interrupt_after = len(cloud.changes()) + 4  # the first one's check of callers is turned off again
    with pytest.raises(KeyboardInterrupt):
        deployed(cloud)
    cloud.interrupt_after = None
    assert len(roll_back(cloud)) == 3
    assert serving(cloud) == {"00001"}


def test_a_first_deployment_has_nothing_to_go_back_to(cloud):
    before = len(cloud.changes())
    assert roll_back(cloud) == []
    assert len(cloud.changes()) == before


def test_nothing_deployed_is_told_as_that():
    cloud = StandIn()
    cloud.enabled |= {"cloudfunctions.googleapis.com", "run.googleapis.com"}
    with pytest.raises(SystemExit, match="Nothing is deployed"):
        roll_back(cloud)


def revision(name: str, made: str, image: str, ready: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": made},
        "spec": {"containers": [{"image": image}]},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def test_a_revision_that_failed_or_is_the_same_again_is_no_way_back():
    revisions = [
        revision("r1", "1", "old"),
        revision("r2", "2", "broken", "False"),
        revision("r3", "3", "new"),
        revision("r4", "4", "new"),
    ]
    assert previous(revisions, "r4") == "r1"
    assert previous(revisions, "r1") is None
    assert previous(revisions, "gone") is None


# ---- destroy


def test_gcloud_takes_every_command_that_destroys():
    removals = destroy.removals(KNOWN, audit=True)
    assert complaints(command for removal in removals for command in (removal.look, *removal.commands)) == {}


def destroyed(cloud: StandIn, typed: str, *, audit: bool = False) -> None:
    destroy.destroy(TARGET, Gcloud(cloud), lambda text: None, lambda question: typed, audit=audit)


LEFT = {"role", "database", "backups", "field", "index", "revision", "version"}


def left(cloud: StandIn) -> set[str]:
    return {kind for kind, things in cloud.things.items() if things}


def test_a_destroyed_deployment_leaves_the_audit_and_no_grant(cloud):
    cloud(("gcloud", "secrets", "create", "keeper-token-c1", "--replication-policy=automatic", "--project=p"), "")
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


@pytest.mark.parametrize("typed", ["", "yes", "keeper-pro", "KEEPER-PROD"])
def test_nothing_is_destroyed_unless_the_projects_name_is_typed(cloud, typed):
    before = len(cloud.changes())
    with pytest.raises(SystemExit, match="Nothing was changed"):
        destroyed(cloud, typed)
    assert len(cloud.changes()) == before


def test_a_destruction_that_failed_goes_on_from_there(cloud):
    cloud.failures = [("functions delete console", "PERMISSION_DENIED: no", 1)]
    with pytest.raises(GcloudFailed, match="functions delete console"):
        destroyed(cloud, "keeper-prod")
    assert "console" in cloud.things["function"]
    destroyed(cloud, "keeper-prod")
    assert left(cloud) == LEFT


def test_a_destroyed_deployment_can_be_deployed_again_on_the_audit_that_stayed(cloud):
    destroyed(cloud, "keeper-prod")
    deployed(cloud)
    assert set(cloud.things["function"]) == NAMES
    assert changes_of(cloud) == []


@pytest.mark.parametrize("enabled", [set(), {"pubsub.googleapis.com", "run.googleapis.com"}])
def test_a_project_whose_apis_were_never_enabled_has_nothing_to_roll_back_or_destroy(enabled):
    cloud, pauses = StandIn(), []
    cloud.enabled |= enabled
    gcloud = Gcloud(cloud, sleep=pauses.append, unused_is_missing=True)
    with pytest.raises(SystemExit, match="Nothing is deployed"):
        rollback(TARGET, gcloud, lambda text: None)
    destroy.destroy(KNOWN, gcloud, lambda text: None, lambda question: "keeper-prod", audit=False)
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
