"""`make deploy` and its relatives against a stand-in for gcloud that keeps state."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from autoprovisioning.adapters.directory.transport import SCOPES
from infra.gcp import commands, deploy, lock
from infra.gcp.description import DEPLOYMENT, KEYS, MOVED
from infra.gcp.gcloud import PAUSES, Gcloud, GcloudFailed
from infra.gcp.steps import shown
from infra.gcp.target import Target
from tests.gcp.stand_in import FORMER, StandIn

pytestmark = pytest.mark.timeout(600)  # gcloud's parser takes a tenth of a second a command, or more on a busy machine

TARGET = Target(
    project="keeper-prod",
    region="europe-west1",
    admin="admin@example.com",
    alerts="on-call@example.com",
    access="domain:example.com",
)
NAMES = {function.name for function in DEPLOYMENT.functions}


@pytest.fixture
def cloud() -> StandIn:
    return StandIn()


def nobody(question: str) -> str:
    raise EOFError


def deployed(cloud: StandIn, target: Target = TARGET, **allowed: Any) -> list[str]:
    said: list[str] = []
    unasked = {
        "visit": cloud.visit,
        "ask": nobody,
        "now": datetime.fromisoformat(cloud.time()),
    }  # no two are of one second
    deploy.deploy(target, Gcloud(cloud, sleep=lambda seconds: None), said.append, **unasked | allowed)
    return said


def changes_of(cloud: StandIn, target: Target = TARGET, **allowed: Any) -> list[str]:
    """Return the commands that change something, without those that take and return the lock around them."""
    before = len(cloud.changes())
    deployed(cloud, target, **allowed)
    changed = [shown(command) for command in cloud.changes()[before:]]
    return [text for text in changed if lock.NAME not in text]


def test_a_first_deployment_makes_everything(cloud):
    said = deployed(cloud)
    assert set(cloud.things["service"]) == NAMES
    assert len(cloud.things["image"]) == 1
    assert set(cloud.things["topic"]) == set(DEPLOYMENT.topics) == set(cloud.things["subscription"])
    assert set(cloud.things["job"]) == {job.name for job in DEPLOYMENT.jobs}
    assert len(cloud.things["account"]) == len(DEPLOYMENT.accounts)
    assert len(cloud.things["alert"]) == len({alert["displayName"] for alert in cloud.things["alert"].values()}) > 7
    assert said[-1].startswith("Console: https://console-123456789012.europe-west1.run.app")


def test_the_client_id_and_the_scopes_are_printed_for_pasting(cloud):
    said = "\n".join(deployed(cloud))
    (identity,) = [item for item in cloud.things["account"].values() if item["displayName"] == "keeper-directory"]
    assert f"Client ID     {identity['uniqueId']}\n" in said
    assert f"OAuth scopes  {','.join(SCOPES)}\n" in said


def test_the_keys_are_random_and_seen_nowhere(cloud):
    said = "\n".join(deployed(cloud))
    assert [len(key) for key in cloud.inputs] == [64] * len(KEYS)
    for key in cloud.inputs:
        assert key not in said + "\n".join(shown(command) for command in cloud.issued)
    other = StandIn()
    deployed(other)
    assert len({*cloud.inputs, *other.inputs}) == 2 * len(KEYS)


def test_a_second_deployment_changes_nothing(cloud):
    deployed(cloud)
    assert changes_of(cloud) == []


@pytest.mark.parametrize("after", [0, 1, 20, 60, 100, 130, 150])
def test_an_interrupted_deployment_goes_on_where_it_stopped(cloud, after):
    whole = StandIn()
    deployed(whole)
    cloud.interrupt_after = after
    with pytest.raises(KeyboardInterrupt):
        deployed(cloud)
    assert len(cloud.changes()) == after
    cloud.interrupt_after = None
    deployed(cloud, unlock=True)
    around = ("services identity create", lock.NAME)
    changed, wanted = (
        [alike(shown(c)) for c in each.changes() if not any(part in shown(c) for part in around)]
        for each in (cloud, whole)
    )
    assert sorted(changed) == sorted(wanted)
    assert changes_of(cloud) == []


def redeployed(changed: list[str]) -> set[str]:
    """Return the functions of which these commands make a new revision."""
    return {text.split()[3] for text in changed if text.startswith("gcloud run deploy ")}


def alike(text: str) -> str:
    return re.sub(r"deployed=[\w-]+", "deployed=then", text)


def test_what_a_fresh_project_does_not_know_yet_is_tried_again(cloud):
    cloud.failures = [
        ("projects add-iam-policy-binding", "INVALID_ARGUMENT: Service account x does not exist.", 2),
        ("firestore databases describe", "API has not been used in project 1 before or it is disabled", 3),
    ]
    pauses: list[float] = []
    deploy.deploy(TARGET, Gcloud(cloud, sleep=pauses.append), lambda text: None, visit=cloud.visit)
    assert pauses == [*PAUSES[:3], *PAUSES[:2]]  # Firestore is looked at as soon as the lock is held
    assert changes_of(cloud) == []


def test_a_first_deployment_waits_until_its_grants_are_known_everywhere(cloud):
    cloud.lag = 500  # IAM's page: seven minutes, or longer; each command takes some of them
    said = patiently_deployed(cloud)
    assert set(cloud.things["service"]) == NAMES
    waits = [text for text in said if text.startswith("  wait ")]
    assert "permissions are propagated" in waits[0]
    line = re.compile(r"  wait       \d+ s of up to 10 minutes, since this may pass: ERROR: ")
    assert all(map(line.match, waits))
    assert changes_of(cloud) == []


def patiently_deployed(cloud: StandIn) -> list[str]:
    said: list[str] = []
    deploy.deploy(TARGET, Gcloud(cloud, sleep=cloud.wait, say=said.append), said.append, visit=cloud.visit)
    return said


@pytest.mark.parametrize(
    ("on", "role", "refusal"),
    [
        ("project:keeper-prod", "roles/cloudbuild.serviceAgent", "permissions are propagated"),
        ("bucket:gs://keeper-source-123456789012", "roles/storage.objectViewer", "storage.objects.get"),
        ("project:keeper-prod", "roles/run.serviceAgent", "must have permission to read the image"),
        ("secret:form-key", "roles/secretmanager.secretAccessor", "Permission denied on secret"),
    ],
)
def test_a_grant_that_is_not_known_yet_is_waited_for(cloud, monkeypatch, on, role, refusal):
    deployed(cloud)
    policy = cloud.policies[on]
    policy["bindings"] = [binding for binding in policy["bindings"] if binding["role"] != role]
    cloud.since.clear()
    cloud.lag = 420
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    assert any(text.startswith("  wait ") and refusal in text for text in patiently_deployed(cloud))
    assert changes_of(cloud) == []


def test_a_metric_that_is_not_known_yet_is_waited_for(cloud):
    deployed(cloud)
    del cloud.things["metric"], cloud.things["alert"]
    cloud.lag = 420
    assert any(text.startswith("  wait ") and "Cannot find metric" in text for text in patiently_deployed(cloud))
    assert changes_of(cloud) == []


def test_an_image_that_is_built_and_not_listed_yet_is_waited_for(cloud, monkeypatch):
    deployed(cloud)
    cloud.listing_lag = 420
    cloud.wait(420)
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    said = patiently_deployed(cloud)
    assert any(text.startswith("  wait ") and "no image has the tag 0123456789abcdef" in text for text in said)
    assert [text for text in cloud.changes() if "IMAGE_DIGEST" in shown(text)] == []
    assert sum(command[1:3] == ("builds", "submit") for command in cloud.issued) == 2
    assert changes_of(cloud) == []


def test_where_a_new_project_may_not_build_in_its_region_the_image_is_built_elsewhere(cloud):
    """Cloud Build's page of locations; the refusal is that of google-github-actions/deploy-cloudrun#480."""
    cloud.restricted = True
    pauses: list[float] = []
    said: list[str] = []
    deploy.deploy(TARGET, Gcloud(cloud, sleep=pauses.append), said.append, visit=cloud.visit)
    assert pauses == []
    assert any("Cloud Build may not be used in europe-west1" in text for text in said)
    tried = [shown(command) for command in cloud.issued if command[1:3] == ("builds", "submit")]
    assert ["--region=global" in text for text in tried] == [False, True]
    planned: list[str] = []
    deploy.plan(TARGET, planned.append)
    assert sum("gcloud builds submit" in text for text in planned) == 2
    assert changes_of(cloud) == []


def test_an_image_that_is_built_and_never_listed_ends_the_deployment(cloud, monkeypatch):
    deployed(cloud)
    cloud.listing_lag = 3600
    cloud.wait(3600)
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    before = len(cloud.changes())
    with pytest.raises(GcloudFailed, match="no image has the tag 0123456789abcdef, though it was built"):
        patiently_deployed(cloud)
    assert [command for command in cloud.changes()[before:] if command[1] == "run"] == []


def test_what_does_not_pass_within_ten_minutes_ends_the_deployment(cloud):
    cloud.lag = 3600
    with pytest.raises(GcloudFailed, match="permissions are propagated"):
        deploy.deploy(TARGET, Gcloud(cloud, sleep=cloud.wait), lambda text: None, visit=cloud.visit)
    assert sum(PAUSES) == 600
    assert "service" not in cloud.things


def test_the_metrics_are_made_before_the_build_which_is_their_waiting_time(cloud):
    deployed(cloud)
    places = {shown(command): place for place, command in enumerate(cloud.changes())}
    metrics, functions = (
        [place for text, place in places.items() if part in text]
        for part in ("logging metrics create", "builds submit")
    )
    assert max(metrics) < min(functions)


def test_googles_own_identities_are_made_before_anything_else_needs_one(cloud):
    deployed(cloud)
    made = [shown(command) for command in cloud.changes()]
    own = [place for place, text in enumerate(made) if "serviceAgent" in text]
    assert [made[place - 1].split()[1:5] for place in own] == [["beta", "services", "identity", "create"]] * 4
    assert max(own) < min(place for place, text in enumerate(made) if "service-accounts create" in text)


def test_a_refusal_ends_the_deployment_and_names_the_command(cloud):
    cloud.failures = [("run deploy console", "PERMISSION_DENIED: not you", 1)]
    with pytest.raises(GcloudFailed, match=r"gcloud run deploy console [^\n]*\nfailed: .*not you"):
        deployed(cloud)
    assert "job" not in cloud.things
    deployed(cloud)
    assert set(cloud.things["job"]) == {job.name for job in DEPLOYMENT.jobs}


def test_a_look_that_is_refused_is_not_taken_for_nothing_there(cloud):
    cloud.failures = [("pubsub topics describe directory-changes", "PERMISSION_DENIED: not yours", 1)]
    with pytest.raises(GcloudFailed, match="not yours"):
        deployed(cloud)
    assert "topic" not in cloud.things


def test_a_notification_channel_that_is_not_there_is_told_at_once(cloud):
    pauses: list[float] = []
    target = replace(TARGET, alerts=f"projects/{TARGET.project}/notificationChannels/7")
    with pytest.raises(GcloudFailed, match=r"channels describe [^\n]*/7 [^\n]*\nfailed: .*NOT_FOUND"):
        deploy.deploy(target, Gcloud(cloud, sleep=pauses.append), lambda text: None)
    assert pauses == []


def test_new_source_redeploys_every_function_and_nothing_else(cloud, monkeypatch):
    deployed(cloud)
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    changed = changes_of(cloud)
    built, *changed = changed
    assert built.startswith("gcloud builds submit .local/upload/0123456789abcdef ")
    assert redeployed(changed[: len(NAMES)]) == NAMES
    assert all("--no-traffic" in text for text in changed[: len(NAMES)])
    moved = [text.split()[4] for text in changed[len(NAMES) :] if "--to-latest" in text]
    assert tuple(moved) == MOVED
    assert len(changed) == 2 * len(NAMES)


def test_another_administrator_makes_a_release_of_all_functions(cloud):
    deployed(cloud)
    changed = changes_of(cloud, replace(TARGET, admin="other@example.com"))
    assert redeployed(changed) == NAMES
    assert not [text for text in changed if "builds submit" in text]
    releases = {service["metadata"]["labels"]["release"] for service in cloud.things["service"].values()}
    assert len(releases) == 1


def test_who_is_alerted_and_where_runbooks_are_is_no_other_release(cloud):
    deployed(cloud)
    changed = changes_of(cloud, replace(TARGET, runbooks="https://example.com/runbooks", access=FORMER))
    assert redeployed(changed) == set()


@pytest.mark.parametrize(
    ("kind", "name", "field", "value", "command"),
    [
        ("subscription", "planned-changes", "ackDeadlineSeconds", 10, "pubsub subscriptions update planned-changes"),
        ("subscription", "run-requests", "expirationPolicy", {"ttl": "2678400s"}, "subscriptions update run-requests"),
        ("job", "keeper-full", "schedule", "0 0 * * *", "scheduler jobs update http keeper-full"),
        ("role", "keeperTokenWriter", "includedPermissions", ["x"], "iam roles update keeperTokenWriter"),
        ("database", "(default)", "deleteProtectionState", "DELETE_PROTECTION_DISABLED", "firestore databases update"),
        ("metric", "autoprovisioning_runs", "filter", "x", "logging metrics update autoprovisioning_runs"),
        (
            "channel",
            "projects/keeper-prod/notificationChannels/1",
            "enabled",
            False,
            "monitoring channels update projects/",
        ),
        ("uptime", "projects/keeper-prod/uptimeCheckConfigs/1", "period", "60s", "monitoring uptime update projects/"),
    ],
)
def test_what_somebody_changed_by_hand_is_put_right(cloud, kind, name, field, value, command):
    deployed(cloud)
    cloud.things[kind][name][field] = value
    before = len(cloud.changes())
    said = "\n".join(deployed(cloud))
    _, change, *_ = cloud.changes()[before:]  # the first one takes the lock
    assert command in shown(change)
    assert re.search(rf"\n  change     .*\n             differs in: {field}\n", said)
    assert changes_of(cloud) == []


@pytest.mark.parametrize("told", ["without the slash", "with a deadline that is the default"])
def test_forms_that_google_may_tell_an_address_and_a_deadline_in_are_the_same(cloud, told):
    deployed(cloud)
    job = cloud.things["job"]["keeper-renew-watch"]
    if told == "without the slash":
        job["httpTarget"]["uri"] = job["httpTarget"]["uri"].rstrip("/")
    else:
        job["attemptDeadline"] = "180s"
    assert changes_of(cloud) == []


def test_a_label_of_a_metric_that_is_missing_is_put_right(cloud):
    deployed(cloud)
    cloud.things["metric"]["autoprovisioning_runs"]["metricDescriptor"]["labels"].pop()
    assert ["logging metrics update autoprovisioning_runs" in text for text in changes_of(cloud)] == [True]


def test_a_dashboard_that_somebody_changed_is_put_right_in_its_place(cloud):
    deployed(cloud)
    ((name, before),) = cloud.things["dashboard"].items()
    cloud.things["dashboard"][name] = before | {"mosaicLayout": {"columns": 1}}
    (change,) = changes_of(cloud)
    assert f"monitoring dashboards update {name}" in change
    assert cloud.things["dashboard"] == {name: before | {"etag": cloud.things["dashboard"][name]["etag"]}}
    assert changes_of(cloud) == []


def test_a_variable_that_is_not_ours_is_removed_from_a_function(cloud):
    deployed(cloud)
    container(cloud, "console")["env"].append({"name": "LOCAL_MODE", "value": "true"})
    assert "run deploy console" in changes_of(cloud)[0]
    assert "LOCAL_MODE" not in str(container(cloud, "console")["env"])


def container(cloud: StandIn, name: str) -> dict[str, Any]:
    """Return the container that a function's next revision would be made of."""
    (only,) = cloud.things["service"][name]["spec"]["template"]["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize(
    ("key", "mounted", "using"),
    [
        ("channel-key", "CHANNEL_KEY=channel-key:2", {"directory-webhook", "renew-watch"}),
        ("form-key", "FORM_KEY=form-key:2", {"console", "reauthorize"}),
    ],
)
def test_a_rotated_key_reaches_the_functions_that_use_it(cloud, key, mounted, using):
    deployed(cloud)
    cloud(("gcloud", "secrets", "versions", "add", key, "--data-file=-", "--project=keeper-prod"), "new")
    changed = changes_of(cloud)
    assert redeployed(changed) == NAMES
    assert redeployed([text for text in changed if mounted in text]) == using


def test_the_public_webhook_gets_no_key_that_makes_forms(cloud):
    """Neither mounted nor readable with its identity; functions that take forms, in turn, open no channels."""
    deployed(cloud)
    webhook = "serviceAccount:keeper-directory-webhook@keeper-prod.iam.gserviceaccount.com"
    assert webhook in members(cloud, "secret:channel-key")
    assert webhook not in members(cloud, "secret:form-key")
    mounted = {
        name: {
            item["valueFrom"]["secretKeyRef"]["name"] for item in container(cloud, name)["env"] if "valueFrom" in item
        }
        for name in cloud.things["service"]
    }
    assert mounted == {name: set() for name in mounted} | {
        "directory-webhook": {"channel-key"},
        "renew-watch": {"channel-key"},
        "console": {"form-key"},
        "reauthorize": {"form-key"},
    }


def members(cloud: StandIn, resource: str) -> set[str]:
    return {member for binding in cloud.policies[resource]["bindings"] for member in binding["members"]}


def test_nobody_but_the_webhooks_callers_is_let_in_unasked(cloud):
    deployed(cloud)
    unasked = "run.googleapis.com/invoker-iam-disabled"
    services = cloud.things["service"].items()
    assert [name for name, item in services if unasked in item["metadata"]["annotations"]] == ["directory-webhook"]
    assert [key for key, policy in cloud.policies.items() if "allUsers" in str(policy)] == []


@pytest.mark.parametrize("name", sorted(NAMES - {"directory-webhook"}))
def test_a_function_that_somebody_opened_to_everybody_is_closed_again(cloud, name):
    """By the same switch that opens the webhook, beside which a missing role protects nothing."""
    deployed(cloud)
    service = cloud.things["service"][name]
    service["metadata"]["annotations"]["run.googleapis.com/invoker-iam-disabled"] = "True"
    (change,) = changes_of(cloud)
    assert f"run services update {name} --invoker-iam-check " in change
    assert changes_of(cloud) == []


@pytest.mark.parametrize("function", ["console", "reauthorize"])
def test_whoever_is_not_wanted_any_more_is_not_let_in_any_more(cloud, function):
    deployed(cloud, replace(TARGET, access=FORMER))
    assert members(cloud, f"iap:{function}") == {FORMER}
    viewer = {"role": "roles/iap.settingsAdmin", "members": [FORMER]}
    cloud.policies[f"iap:{function}"]["bindings"].append(viewer)
    changed = changes_of(cloud)
    assert len([text for text in changed if function in text]) == 2
    wanted = {"role": "roles/iap.httpsResourceAccessor", "members": ["domain:example.com"]}
    assert cloud.policies[f"iap:{function}"]["bindings"] == [wanted, viewer]
    assert changes_of(cloud) == []


@pytest.mark.parametrize("function", ["directory-webhook", "reconcile", "console"])
def test_nobody_keeps_a_right_to_invoke_a_function_who_was_not_granted_it(cloud, function):
    deployed(cloud)
    granted = members(cloud, f"service:{function}") if cloud.policies[f"service:{function}"]["bindings"] else set()
    more = {"role": "roles/run.invoker", "members": ["allUsers", FORMER]}
    cloud.policies[f"service:{function}"]["bindings"].append(more)
    changed = changes_of(cloud)
    assert [("--member=allUsers" in text, f"--member={FORMER}" in text) for text in changed] == [
        (True, False),
        (False, True),
    ]
    assert members(cloud, f"service:{function}") == granted


def test_roles_that_a_version_before_granted_on_the_whole_project_are_taken_away_and_no_others(cloud):
    deployed(cloud)
    before = copy.deepcopy(cloud.policies["project:keeper-prod"]["bindings"])
    accounts = "serviceAccount:keeper-{}@keeper-prod.iam.gserviceaccount.com".format
    formerly = [
        ("roles/datastore.user", [accounts("console"), accounts("reconcile")]),
        ("roles/artifactregistry.writer", [accounts("build")]),
        ("roles/storage.objectViewer", [accounts("build"), "user:somebody@example.com"]),
        ("roles/editor", [accounts("directory")]),
    ]
    bindings = cloud.policies["project:keeper-prod"]["bindings"]
    bindings += [{"role": role, "members": members} for role, members in formerly]
    changed = changes_of(cloud)
    assert len(changed) == 5
    assert all("remove-iam-policy-binding" in text and "--condition=None" in text for text in changed)
    elses = {"role": "roles/storage.objectViewer", "members": ["user:somebody@example.com"]}
    assert cloud.policies["project:keeper-prod"]["bindings"] == [*before, elses]
    assert changes_of(cloud) == []


def test_what_a_role_allowed_before_is_left_to_what_serves_until_the_new_release_does(cloud, monkeypatch):
    """Else the one that serves on after a smoke test that failed could not do any more what it does."""
    deployed(cloud)
    role = cloud.things["role"]["keeperTokenWriter"]
    more = "secretmanager.versions.get"
    wanted, role["includedPermissions"] = list(role["includedPermissions"]), [more]
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    cloud.sick = {"reconcile"}
    with pytest.raises(SystemExit, match="smoke test failed"):
        deployed(cloud)
    assert set(cloud.things["role"]["keeperTokenWriter"]["includedPermissions"]) == {*wanted, more}
    cloud.sick.clear()
    changed = changes_of(cloud)
    places = [place for place, text in enumerate(changed) if "iam roles update keeperTokenWriter" in text]
    assert places == [len(changed) - 1]
    assert set(cloud.things["role"]["keeperTokenWriter"]["includedPermissions"]) == set(wanted)
    assert changes_of(cloud) == []


def test_a_role_that_somebody_deleted_is_brought_back(cloud):
    """Google tells it for a week as if nothing was amiss, and grants of it allow nothing."""
    deployed(cloud)
    cloud.things["role"]["keeperTokenWriter"]["deleted"] = True
    (change,) = changes_of(cloud)
    assert change.startswith("gcloud iam roles undelete keeperTokenWriter ")
    assert changes_of(cloud) == []


def test_fields_that_are_indexed_again_are_put_right_alone(cloud):
    deployed(cloud)
    name = next(name for name, field in cloud.things["field"].items() if "ttlConfig" not in field)
    del cloud.things["field"][name]
    (change,) = changes_of(cloud)
    assert "firestore indexes fields update" in change


def test_an_unknown_project_is_told_as_that(cloud):
    with pytest.raises(SystemExit, match=r"PROJECT=keeper-prod-2 does not exist.*: give another project"):
        deployed(cloud, replace(TARGET, project="keeper-prod-2"))
    assert cloud.changes() == []
