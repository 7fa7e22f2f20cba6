"""BUDGET: a budget on the project's billing account. Where that is closed to who deploys, nothing else fails."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from infra.gcp import budget, commands, deploy, destroy
from infra.gcp.gcloud import Answer, Gcloud, GcloudFailed
from infra.gcp.steps import shown
from infra.gcp.target import Refused, Target
from tests.gcp.gcloud_parser import TARGET as KNOWN
from tests.gcp.gcloud_parser import complaints
from tests.gcp.stand_in import PROJECT, StandIn
from tests.gcp.stand_in.billing import ACCOUNT
from tests.gcp.test_deploy import TARGET, changes_of, deployed
from tests.gcp.test_diff import differing
from tests.gcp.test_lost_answers import inventory

PAID = replace(TARGET, budget="50EUR")
NAME = "Keeper autoprovisioning: keeper-prod"
OTHERS = {"displayName": "Somebody's", "name": f"{ACCOUNT}/budgets/77", "budgetFilter": {"projects": ["projects/9"]}}


@pytest.fixture(scope="module")
def paid(whole: StandIn) -> StandIn:
    cloud = copy.deepcopy(whole)
    cloud.things["budget"] = {OTHERS["name"]: copy.deepcopy(OTHERS)}
    deployed(cloud, PAID)
    return cloud


@pytest.fixture
def cloud(paid: StandIn) -> StandIn:
    return copy.deepcopy(paid)


def budgets(cloud: StandIn) -> list[dict[str, Any]]:
    """Return ours."""
    assert cloud.things["budget"][OTHERS["name"]] == OTHERS
    return [item for item in cloud.things["budget"].values() if item["displayName"] != OTHERS["displayName"]]


def destroyed(cloud: StandIn, target: Target = PAID) -> list[str]:
    said: list[str] = []
    gcloud = Gcloud(cloud, sleep=lambda seconds: None, unused_is_missing=True)
    destroy.destroy(target, gcloud, said.append, lambda question: PROJECT, destroy.Wanted())
    return said


# ---- the setting


@pytest.mark.parametrize("value", ["50", "50EUR", "1USD", "999999999JPY"])
def test_a_whole_amount_is_taken(value):
    given = {"PROJECT": PROJECT, "REGION": "europe-west1", "ADMIN": "a@example.com", "ALERTS": "b@example.com"}
    target = Target.given(given | {"BUDGET": value})
    assert target.budget == value
    assert f"BUDGET={value}" in target.settings


@pytest.mark.parametrize("value", ["50.25EUR", "0", "EUR", "50eur", "50 EUR", "-5", "50EURO", "5,000"])
def test_any_other_is_refused_with_what_to_give(value):
    with pytest.raises(Refused, match="is not a whole amount a month: give a whole number"):
        Target.given({"BUDGET": value})


def test_gcloud_takes_every_command_of_a_budget():
    target = replace(KNOWN, budget="50EUR", billing_account=ACCOUNT)
    steps = [*budget.steps(target), *budget.steps(replace(target, billing_account=""))]
    several = [*(command for step in steps for command in step.commands), budget.of_project(target)]
    assert complaints(several) == {}
    assert [shown(command) for command in several if PROJECT not in shown(command)] == []


def test_without_the_setting_the_billing_account_is_not_asked_for(whole):
    cloud = copy.deepcopy(whole)
    before = len(cloud.issued)
    deployed(cloud)
    assert [shown(command) for command in cloud.issued[before:] if "billing" in shown(command)] == []
    assert budget.SERVICES[0] not in cloud.enabled


# ---- made, compared, changed, removed


def test_it_is_of_the_project_alone_and_tells_those_who_get_alerts(cloud):
    (made,) = budgets(cloud)
    assert made["displayName"] == NAME
    assert made["amount"] == {"specifiedAmount": {"units": "50", "currencyCode": "EUR"}}
    assert made["budgetFilter"]["projects"] == ["projects/123456789012"]
    (channel,) = cloud.things["channel"]
    assert made["notificationsRule"]["monitoringNotificationChannels"] == [channel]
    assert sorted((rule["thresholdPercent"], rule["spendBasis"]) for rule in made["thresholdRules"]) == [
        (0.5, "CURRENT_SPEND"),
        (0.9, "CURRENT_SPEND"),
        (1.0, "CURRENT_SPEND"),
        (1.0, "FORECASTED_SPEND"),
    ]


def test_a_second_deployment_changes_nothing_nor_does_one_without_the_setting(cloud):
    assert changes_of(cloud, PAID) == []
    assert differing(cloud, PAID) == []
    assert changes_of(cloud) == []
    assert len(budgets(cloud)) == 1


def test_what_the_api_leaves_out_since_it_is_the_default_is_no_difference(cloud):
    (made,) = budgets(cloud)
    del made["budgetFilter"]["calendarPeriod"], made["budgetFilter"]["creditTypesTreatment"]
    made["budgetFilter"]["projects"] = [f"projects/{PROJECT}"]
    for rule in made["thresholdRules"]:
        if rule["spendBasis"] == "CURRENT_SPEND":
            del rule["spendBasis"]
    assert changes_of(cloud, PAID) == []


def test_without_a_currency_any_is_as_wanted(cloud):
    assert changes_of(cloud, replace(TARGET, budget="50")) == []


@pytest.mark.parametrize(
    ("differ", "line"),
    [
        (lambda made: made["amount"]["specifiedAmount"].update(units="60"), 'specifiedAmount.units: "60" -> "50"'),
        (lambda made: made["budgetFilter"].update(projects=["projects/1"]), "budgetFilter.projects[0]: "),
        (lambda made: made.pop("budgetFilter"), 'budgetFilter.projects: [] -> ["projects/123456789012"]'),
        (lambda made: made["thresholdRules"].pop(), "thresholdRules: "),
        (lambda made: made["notificationsRule"].clear(), "monitoringNotificationChannels: "),
    ],
    ids=["amount", "another project", "every project", "thresholds", "nobody is told"],
)
def test_a_field_that_differs_is_named_and_the_budget_made_anew(cloud, differ, line):
    differ(budgets(cloud)[0])
    assert any(line in told for told in differing(cloud, PAID) if told.startswith("    "))
    assert len(changes_of(cloud, PAID)) == 2
    assert len(budgets(cloud)) == 1
    assert changes_of(cloud, PAID) == []


def test_another_amount_and_another_address_are_a_change(cloud):
    target = replace(PAID, budget="80EUR", alerts="on-call@example.com,boss@example.com")
    deployed(cloud, target)
    (made,) = budgets(cloud)
    assert made["amount"]["specifiedAmount"]["units"] == "80"
    assert len(made["notificationsRule"]["monitoringNotificationChannels"]) == 2
    assert changes_of(cloud, target) == []


def test_a_pager_gets_alerts_and_no_budget_and_of_many_addresses_five(whole):
    cloud = copy.deepcopy(whole)
    cloud.things["budget"] = {OTHERS["name"]: copy.deepcopy(OTHERS)}
    pager = f"projects/{PROJECT}/notificationChannels/77"
    cloud.things["channel"][pager] = {"name": pager, "type": "pagerduty", "displayName": "Pager"}
    many = replace(PAID, alerts=",".join([pager, *(f"a{number}@example.com" for number in range(7))]))
    deployed(cloud, many)
    told = budgets(cloud)[0]["notificationsRule"]["monitoringNotificationChannels"]
    assert len(told) == 5
    assert pager not in told
    alone = replace(PAID, alerts=pager)
    deployed(cloud, alone)
    assert budgets(cloud)[0]["notificationsRule"] == {}
    assert changes_of(cloud, alone) == []


def test_a_destruction_takes_ours_whether_or_not_the_setting_is_given(cloud):
    for target in (PAID, TARGET):
        there = copy.deepcopy(cloud)
        said = destroyed(there, target)
        assert budgets(there) == []
        assert f"  Budget {NAME}" in said


def test_a_destruction_of_a_project_that_never_had_one_asks_nothing_of_the_billing_account(whole):
    cloud = copy.deepcopy(whole)
    before = len(cloud.issued)
    destroyed(cloud, TARGET)
    assert [shown(command) for command in cloud.issued[before:] if "billing" in shown(command)] == []


# ---- lost answers


@pytest.mark.parametrize("lost", [{1, 2}, {2}, {1, 2, 4}])
def test_lost_answers_make_no_second_budget(whole, lost):
    """After the lock: the APIs, the budget."""
    cloud = copy.deepcopy(whole)
    cloud.things["budget"] = {OTHERS["name"]: copy.deepcopy(OTHERS)}
    cloud.lost = {cloud.acted + index for index in lost}
    deployed(cloud, PAID)
    assert len(budgets(cloud)) == 1
    assert changes_of(cloud, PAID) == []


@pytest.mark.parametrize("lost", [{1}, {2}, {1, 2}])
def test_lost_answers_to_a_change_leave_one_budget(cloud, lost):
    """After the lock: another is made, and the one before it deleted."""
    budgets(cloud)[0]["amount"]["specifiedAmount"]["units"] = "7"
    cloud.lost = {cloud.acted + index for index in lost}
    deployed(cloud, PAID)
    assert [made["amount"]["specifiedAmount"]["units"] for made in budgets(cloud)] == ["50"]
    assert changes_of(cloud, PAID) == []


def test_a_lost_answer_to_its_deletion_ends_no_destruction(cloud):
    cloud.lost = {cloud.acted + 1}  # the lock comes first
    destroyed(cloud)
    assert budgets(cloud) == []
    assert not cloud.things.get("function")


# ---- a billing account that is closed


def closed(cloud: StandIn, *, sees: bool = True) -> None:
    cloud.may_budget, cloud.sees_billing = False, sees


SAYS = {True: "The caller does not have permission", False: "does not have permission to access projects instance"}


@pytest.mark.parametrize("sees", [True, False], ids=["its budgets", "which one it is"])
def test_a_deployment_ends_well_and_says_what_to_do_by_hand(sees):
    cloud = StandIn()
    closed(cloud, sees=sees)
    said = deployed(cloud, PAID)
    assert not cloud.things.get("budget")
    plain = StandIn()
    deployed(plain)
    assert inventory(cloud) == inventory(plain)
    (place,) = [number for number, line in enumerate(said) if line.startswith("  by hand    Budget: 50EUR")]
    assert SAYS[sees] in said[place + 1]
    assert "roles/billing.costsManager" in said[place + 2]
    assert "leave BUDGET out" in said[place + 2]
    assert any(line.endswith("0 changed, 1 left to do by hand.") or "1 left to do by hand" in line for line in said)


@pytest.mark.parametrize("sees", [True, False])
def test_a_diff_and_the_doctor_say_that_they_could_not_look(cloud, sees):
    closed(cloud, sees=sees)
    assert differing(cloud, PAID)[0].startswith("  by hand    Budget: 50EUR a month")
    assert SAYS[sees] in differing(cloud, PAID)[1]


@pytest.mark.parametrize("refused", ["list", "delete"])
def test_a_destruction_goes_on_and_says_what_to_delete_by_hand(cloud, refused):
    cloud.failures = [(f"billing budgets {refused}", "PERMISSION_DENIED: The caller does not have permission", 99)]
    said = "\n".join(destroyed(cloud))
    assert len(budgets(cloud)) == 1
    assert not cloud.things.get("function")
    assert not cloud.things.get("account")
    assert f"delete the budget '{NAME}'" in said


def test_a_currency_that_the_billing_account_does_not_have_is_told_and_ends_nothing(whole):
    cloud = copy.deepcopy(whole)
    said = deployed(cloud, replace(TARGET, budget="50USD"))
    assert any("INVALID_ARGUMENT" in line for line in said)
    assert said[-1].startswith("Console: ")


def test_a_budget_stays_until_the_one_that_replaces_it_is_there(cloud):
    before = copy.deepcopy(budgets(cloud))
    deployed(cloud, replace(TARGET, budget="50USD"))
    assert budgets(cloud) == before
    cloud.failures = [("billing budgets delete", "PERMISSION_DENIED: The caller does not have permission", 1)]
    more = replace(TARGET, budget="80EUR")
    deployed(cloud, more)
    assert [made["amount"]["specifiedAmount"]["units"] for made in budgets(cloud)] == ["50", "80"]
    (command,) = changes_of(cloud, more)
    assert command.startswith(f"gcloud billing budgets delete {before[0]['name']} ")


def test_what_is_refused_anywhere_else_still_ends_the_deployment(cloud):
    cloud.failures = [("alpha monitoring policies list", "PERMISSION_DENIED: no", 99)]
    with pytest.raises(GcloudFailed):
        deployed(cloud, PAID)


# ---- what gcloud says


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        ("ERROR: (gcloud.billing.budgets.create) UNAVAILABLE: The service is currently unavailable.", True),
        ("ERROR: (gcloud.beta.billing.budgets.list) HTTPError 503: try again", True),
        ("ERROR: (gcloud.billing.budgets.create) PERMISSION_DENIED: The caller does not have permission", False),
        ("ERROR: (gcloud.services.enable) INTERNAL: Billing must be enabled. Please retry.", False),
    ],
)
def test_the_name_of_a_command_does_not_tell_what_went_wrong(said, passes):
    tries: list[Callable[[], None]] = []

    def answers(command: Any, stdin: str) -> Answer:
        tries.append(lambda: None)
        return Answer(status=1, out="", err=said)

    with pytest.raises(GcloudFailed):
        Gcloud(answers, sleep=lambda seconds: None, pauses=(1.0,)).look(budget.of_project(KNOWN))
    assert len(tries) == (2 if passes else 1)


def test_a_plan_explains_the_billing_account():
    said: list[str] = []
    deploy.plan(PAID, said.append)
    text = "\n".join(said)
    assert "  BILLING_ACCOUNT       the project's, which gcloud billing projects describe keeper-prod" in text
    assert "--billing-account=BILLING_ACCOUNT" in text
    assert "billingbudgets" in shown(commands.foundation(PAID)[0].make[0])
