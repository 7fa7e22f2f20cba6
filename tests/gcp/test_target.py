"""Settings: what fits nothing is refused before the first command; capitals and several notification channels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from infra.gcp import __main__ as command_line
from infra.gcp import deploy, destroy, doctor, lock
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.steps import shown
from infra.gcp.target import Refused, Target
from tests.gcp.stand_in import StandIn
from tests.gcp.test_deploy import TARGET, changes_of, deployed, members

GIVEN = {
    "PROJECT": "keeper-prod",
    "REGION": "europe-west1",
    "ADMIN": "admin@example.com",
    "ALERTS": "on-call@example.com",
    "ACCESS": "group:keeper-admins@example.com",
}
CHANNEL = "projects/keeper-prod/notificationChannels/77"


@pytest.mark.parametrize(
    ("name", "value", "problem", "mend"),
    [
        ("PROJECT", "", "is missing", "like keeper-prod"),
        ("PROJECT", "Keeper Prod", "is not a project id", "like keeper-prod"),
        ("REGION", "europe-west", "is not a region", "like europe-west1"),
        ("REGION", "europe-west99", "is not a region", "like europe-west1"),
        ("REGION", "eur3", "is not a region", "like europe-west1"),
        ("ADMIN", "admin", "is not an e-mail address", "like keeper-sync@example.com"),
        ("ADMIN", 'x@e.co";touch F;"', "is not an e-mail address", "like keeper-sync@example.com"),
        ("ALERTS", "", "is missing", "addresses that people read"),
        ("ALERTS", "on-call", "is neither an address nor a notification channel", "separated by commas"),
        ("ALERTS", "on-call@example.com,", "is neither an address nor a notification channel", "separated by commas"),
        ("ALERTS", "projects/p/notificationChannels/x", "is neither an address", "notificationChannels/NUMBER"),
        ("ALERTS", "projects/other/notificationChannels/1", "is of another project", "a channel of keeper-prod"),
        ("ADMIN", "\N{KELVIN SIGN}eeper@example.com", "is not an e-mail address", "like keeper-sync@example.com"),
        ("ALERTS", "projects/keeper-prod/notificationChannels/\u0661", "is neither an address", "NUMBER"),
        ("ACCESS", "domain:example.\N{LATIN SMALL LETTER LONG S}e", "is nobody", "domain:DOMAIN"),
        ("RUNBOOKS", "https://example.com/\x01", "is not the address of a web page", "https://"),
        ("LOCATION", "Frankfurt", "is not a location of Firestore", "eur3"),
        ("LOCATION", "eu", "is not a location of Firestore", "eur3"),
        ("ACCESS", "keeper-admins@example.com", "is nobody", "group:ADDRESS"),
        ("ACCESS", "example.com", "is nobody", "domain:DOMAIN"),
        ("ACCESS", "allUsers", "is nobody", "user:ADDRESS"),
        ("ACCESS", "group:keeper-admins", "is nobody", "group:ADDRESS"),
        ("ACCESS", "group:a@example.com,group:b@example.com", "is nobody", "one of them"),
        ("RUNBOOKS", "docs/runbooks", "is not the address of a web page", "https://"),
    ],
)
@pytest.mark.parametrize("verb", sorted(command_line.VERBS))
def test_what_fits_nothing_is_refused_before_anything_is_run(monkeypatch, verb, name, value, problem, mend):
    monkeypatch.setitem(command_line.VERBS, verb, lambda *_: pytest.fail("it was run"))
    with pytest.raises(SystemExit) as ended:
        command_line.main([verb], {**GIVEN, name: value})
    (line,) = str(ended.value).splitlines()
    assert line.startswith(name)
    assert problem in line
    assert mend in line.partition(": give ")[2]


def test_everything_that_is_wrong_is_named_at_once():
    with pytest.raises(Refused) as refused:
        Target.given({"REGION": "nowhere", "ACCESS": "me"})
    assert [line.split("=")[0].split()[0] for line in str(refused.value).splitlines()] == [
        "PROJECT",
        "REGION",
        "ADMIN",
        "ALERTS",
        "ACCESS",
    ]


@pytest.mark.parametrize(
    "more",
    [
        {"LOCATION": "eur3"},
        {"LOCATION": "europe-west3"},
        {"ACCESS": "group:keeper-admins@example.com"},
        {"ACCESS": "user:o'brien@example.com"},
        {"ACCESS": "domain:sub.example.co.uk"},
        {"ALERTS": f"on-call@example.com, {CHANNEL}"},
        {"RUNBOOKS": "https://git.example.com/keeper/docs/runbooks"},
        {"LOCATION": "", "RUNBOOKS": ""},
        {"ACCESS": ""},  # a deployment that is there goes on letting in whom it does
    ],
)
def test_what_fits_is_taken(more):
    target = Target.given(GIVEN | more)
    assert target.project == "keeper-prod"
    assert command_line.main(["plan"], GIVEN | more) == 0


@pytest.mark.parametrize("audit", ["yes", "Delete"])
def test_an_unknown_wish_for_the_audit_is_refused(audit):
    with pytest.raises(SystemExit, match="AUDIT"):
        command_line.main(["destroy"], GIVEN | {"AUDIT": audit})


# ---- capitals


@pytest.mark.parametrize("given", [{"ADMIN": "Admin@Example.COM"}, {"ACCESS": "Group:Keeper-Admins@Example.com"}])
def test_capitals_empty_no_policy_and_are_no_difference(given):
    cloud, target = StandIn(), Target.given(GIVEN | given)
    deployed(cloud, target)
    for name in ("console", "reauthorize"):
        assert members(cloud, f"iap:{name}") == {target.may_enter}
    assert changes_of(cloud, target) == []


def test_capitals_of_an_address_that_alerts_go_to_make_no_second_channel():
    cloud = StandIn()
    deployed(cloud)
    assert changes_of(cloud, replace(TARGET, alerts="On-Call@Example.com")) == []


# ---- whom alerts reach


def test_alerts_go_to_every_address_and_to_channels_that_are_there():
    cloud = StandIn()
    pager = {"name": CHANNEL, "type": "pagerduty", "displayName": "The pager"}
    cloud.put("channel", CHANNEL, pager)
    target = Target.given(GIVEN | {"ALERTS": f"on-call@example.com,{CHANNEL},lead@example.com"})
    deployed(cloud, target)
    by_title = {item["displayName"]: item["name"] for item in cloud.things["channel"].values()}
    first, second = (by_title[f"Keeper autoprovisioning: {name}@example.com"] for name in ("on-call", "lead"))
    assert {tuple(alert["notificationChannels"]) for alert in cloud.things["alert"].values()} == {
        (first, CHANNEL, second)
    }
    assert changes_of(cloud, target) == []
    only_the_pager = replace(target, alerts=CHANNEL)
    assert all("monitoring policies update" in text for text in changes_of(cloud, only_the_pager))
    assert {tuple(alert["notificationChannels"]) for alert in cloud.things["alert"].values()} == {(CHANNEL,)}


def test_a_channel_that_is_not_there_ends_a_deployment_before_it_makes_anything():
    cloud = StandIn()
    target = replace(TARGET, alerts=CHANNEL)
    with pytest.raises(GcloudFailed, match=rf"channels describe {CHANNEL}.*\nfailed: .*NOT_FOUND"):
        deployed(cloud, target)
    made = [text for text in map(shown, cloud.changes()) if lock.NAME not in text]
    assert made == [text for text in made if "services enable" in text]


def test_a_destroyed_deployment_leaves_a_channel_that_somebody_made():
    cloud = StandIn()
    named_like_ours = {"name": CHANNEL, "type": "pagerduty", "displayName": "Keeper autoprovisioning: pager"}
    cloud.put("channel", CHANNEL, named_like_ours)
    target = replace(TARGET, alerts=f"{TARGET.alerts},{CHANNEL}")
    deployed(cloud, target)
    destroy.destroy(target, Gcloud(cloud), lambda text: None, lambda question: TARGET.project, destroy.Wanted())
    assert list(cloud.things["channel"]) == [CHANNEL]


# ---- no such project


def test_an_api_that_is_not_enabled_is_not_taken_for_a_missing_project():
    cloud = StandIn()
    said = (
        "[you@example.com] does not have permission to access projects instance [keeper-prod] (or it may not exist): "
        "Cloud Resource Manager API has not been used in project 1 before or it is disabled."
    )
    cloud.failures = [("projects describe", said, 99)]
    with pytest.raises(GcloudFailed, match="Cloud Resource Manager API"):
        deployed(cloud)


@pytest.mark.parametrize(
    "ask",
    [
        lambda target, cloud: deploy.deploy(target, cloud, lambda text: None),
        lambda target, cloud: destroy.destroy(target, cloud, lambda text: None, lambda question: "", destroy.Wanted()),
        lambda target, cloud: doctor.examine(target, cloud, lambda text: None),
    ],
    ids=["deploy", "destroy", "doctor"],
)
def test_no_such_project_is_told_whatever_is_asked_of_it(ask):
    cloud, target = StandIn(), replace(TARGET, project="keeper-prod-2")
    with pytest.raises(SystemExit, match="PROJECT=keeper-prod-2 does not exist"):
        ask(target, Gcloud(cloud))
    assert cloud.changes() == []
