"""What is not ours stays: what we make is marked, against the stand-in."""

from __future__ import annotations

import pytest

from infra.gcp import commands, marks
from tests.gcp.stand_in import PROJECT, StandIn
from tests.gcp.stand_in.cloud import Refused, labels
from tests.gcp.test_deploy import TARGET, changes_of, deployed

ACCOUNT = f"keeper-directory@{PROJECT}.iam.gserviceaccount.com"


def test_a_deployment_marks_what_it_makes_and_records_its_region():
    cloud = StandIn()
    deployed(cloud)
    for kind in ("topic", "subscription", "secret", "repository"):
        assert {thing["labels"]["system"] for thing in cloud.things[kind].values()} == {marks.SYSTEM}
    described = [*cloud.things["account"].values(), *cloud.things["metric"].values()]
    assert {marks.by_description(thing) for thing in described} == {marks.Whose.OURS}
    assert marks.region_of(cloud.things["account"][ACCOUNT]) == "europe-west1"
    cloud.things["topic"]["run-requests"]["labels"]["cost-center"] = "17"
    assert changes_of(cloud) == []


def test_an_alert_policy_and_a_dashboard_of_somebody_else_with_the_same_names_stay_as_they_are():
    cloud = StandIn()
    policy = {"name": "projects/p/alertPolicies/9", "userLabels": {"alert": "dead-letters"}, "displayName": "Mine"}
    dashboard = {"name": "projects/p/dashboards/9", "displayName": "Keeper autoprovisioning"}
    cloud.put("alert", policy["name"], dict(policy))
    cloud.put("dashboard", dashboard["name"], dict(dashboard))
    deployed(cloud)
    assert cloud.things["alert"][policy["name"]] == policy
    assert cloud.things["dashboard"][dashboard["name"]] == dashboard


@pytest.mark.parametrize("pair", ["System=keeper", "system=Keeper", f"system={'x' * 64}", "system=a.b"])
def test_the_stand_in_takes_labels_as_the_services_do(pair):
    assert labels({"labels": marks.LABEL}) == {"labels": marks.LABELS}
    with pytest.raises(Refused, match="INVALID_ARGUMENT"):
        labels({"labels": pair})


def test_every_step_that_makes_something_of_a_name_knows_whose_it_is():
    made = [step for step in commands.all_steps(TARGET) if any("create" in command for command in step.make)]
    named = [step for step in made if "describe" in step.look]
    assert [step.title for step in named if step.owned is None] == [
        "Firestore in native mode, with point-in-time recovery and delete protection"  # judged by what is in it
    ]
    assert len(named) > 30
