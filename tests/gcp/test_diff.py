"""`make diff` against the stand-in for gcloud: what a deployment would change, field by field, and nothing changed."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from infra.gcp import commands, lock
from infra.gcp.description import DEPLOYMENT
from infra.gcp.diff import HIDDEN, diff
from infra.gcp.gcloud import Gcloud
from infra.gcp.target import Target
from tests.gcp.stand_in import FORMER, StandIn
from tests.gcp.test_deploy import TARGET, container, deployed
from tests.gcp.test_ownership import empty, place, without_marks


@pytest.fixture
def cloud(whole: StandIn) -> StandIn:
    return copy.deepcopy(whole)


def differing(cloud: StandIn, target: Target = TARGET) -> list[str]:
    """Return what is said to differ, after seeing that the status says so too."""
    said: list[str] = []
    before = copy.deepcopy(cloud.things), len(cloud.changes())
    status = diff(target, Gcloud(cloud, pauses=(), unused_is_missing=True), said.append)
    assert (cloud.things, len(cloud.changes())) == before, "nothing is changed"
    assert not [key for key in cloud.inputs if key in "\n".join(said)], "no payload is shown"
    lines = [line for line in said if line.startswith("  ")]
    refused = any("would be refused" in text for text in said)
    assert status == (1 if lines or refused else 0)
    return lines + [text for text in said if "would be refused" in text]


def test_nothing_differs_after_a_deployment(cloud):
    assert differing(cloud) == []


def test_each_field_is_told_with_what_it_is_and_what_it_becomes(cloud):
    cloud.things["subscription"]["planned-changes"]["ackDeadlineSeconds"] = 10
    container(cloud, "console")["resources"]["limits"]["memory"] = "1Gi"
    del cloud.things["topic"]["run-requests"]
    lines = differing(cloud)
    assert lines[0] == "  make       Topic run-requests"
    assert lines[lines.index("  change     Subscription planned-changes, pushed to apply-changes") + 1 :][:1] == [
        "             ackDeadlineSeconds: 10 -> 600"
    ]
    assert '             memory: "1Gi" -> "512Mi"' in lines


def test_it_tells_what_a_deployment_with_other_settings_changes(cloud):
    lines = differing(cloud, replace(TARGET, access=FORMER))
    assert lines == [
        f"  make       Identity-Aware Proxy lets {FORMER} through to reauthorize",
        "  change     Identity-Aware Proxy lets nobody else through to reauthorize",
        '             unwanted: ["domain:example.com"] -> []',
        f"  make       Identity-Aware Proxy lets {FORMER} through to console",
        "  change     Identity-Aware Proxy lets nobody else through to console",
        '             unwanted: ["domain:example.com"] -> []',
    ]
    admin = differing(cloud, replace(TARGET, admin="other@example.com", access="domain:example.com"))
    changed = 'environment.DIRECTORY_ADMIN: "admin@example.com" -> "other@example.com"'
    told = [line for line in admin if line.startswith("    ") and " release: " not in line]
    assert told == [f"             {changed}"] * 7


def test_another_source_is_told_as_an_image_that_is_not_built_yet(cloud, monkeypatch):
    monkeypatch.setattr(commands, "source_digest", lambda: "0123456789abcdef")
    lines = differing(cloud)
    assert lines[0] == "  make       Image of source 0123456789abcdef: built once, for all functions"
    images = [line for line in lines if line.startswith("             image: ")]
    assert len(images) == len(DEPLOYMENT.functions)
    assert all("@sha256:" in line and line.endswith('functions@IMAGE_DIGEST"') for line in images)
    said: list[str] = []
    diff(TARGET, Gcloud(cloud, pauses=(), unused_is_missing=True), said.append)
    assert said[-1].startswith("New revisions get all traffic")


def test_a_variable_that_is_not_ours_is_told_without_its_value(cloud):
    container(cloud, "console")["env"].append({"name": "TOKEN", "value": "hush"})
    (_, line) = differing(cloud)
    assert line == f"             environment.TOKEN: {HIDDEN} -> nothing"


def test_a_list_that_lacks_something_is_told_whole_in_the_form_that_is_wanted(cloud):
    del cloud.things["metric"]["autoprovisioning_runs"]["metricDescriptor"]["labels"]
    (_, line) = differing(cloud)
    assert line.startswith("             metricDescriptor.labels: [] -> [{")
    assert '"valueType": "STRING"' in line


def test_it_tells_what_is_refused(cloud):
    without_marks(cloud)
    lines = differing(cloud)
    assert "  topic dead-letters\n" in lines[-1]
    assert '             labels.system: nothing -> "keeper-autoprovisioning"' in lines
    other = empty()
    place(other, "topic", "dead-letters", labels={"system": "billing"})
    assert "topic dead-letters (somebody else's)" in differing(other)[-1]


@pytest.mark.parametrize("enabled", [False, True], ids=["no API", "every API"])
def test_everything_is_made_in_an_empty_project(enabled):
    lines = differing(empty() if enabled else StandIn())
    made = {line[13:] for line in lines if not line.startswith(" " * 13)}
    wanted = commands.all_steps(replace(TARGET, number="123456789012"))[1 if enabled else 0 :]
    assert {step.title for step in wanted if step.make} == made
    # The one thing that is added to what every project has.
    (changed,) = [place for place, line in enumerate(lines) if line.startswith("  change ")]
    assert lines[changed + 1 : changed + 2] == [
        "             auditConfigs.secretmanager.googleapis.com.DATA_READ: nothing -> true"
    ]


def test_it_tells_all_that_a_deployment_then_does(cloud):
    cloud.things["job"]["keeper-full"]["schedule"] = "0 0 * * *"
    cloud.things["metric"]["autoprovisioning_runs"]["filter"] = "x"
    del cloud.things["subscription"]["dead-letters"]
    told = [line[13:] for line in differing(cloud) if line[:9] in ("  make   ", "  change ")]
    before, said = len(cloud.changes()), deployed(cloud)
    done = [line[13:] for line in said if line[:9] in ("  make   ", "  change ")]
    assert told == done
    assert len([command for command in cloud.changes()[before:] if lock.NAME not in command]) == 3
