"""Steps for a budget that reports by mail how the project's costs grow, if BUDGET is given.

A budget belongs to the billing account, to which the person who deploys may have no access: nothing else depends on it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from infra.gcp.steps import AS_JSON, FOUND, Command, Exactly, OneOf, Step, differences, gcloud
from infra.gcp.target import CHANNEL, Target

SERVICES = ("billingbudgets.googleapis.com", "cloudbilling.googleapis.com")
TITLE = "Keeper autoprovisioning: "  # plus the project: nothing else says whose a budget is; 60 characters at most
BUDGETS = ("billing", "budgets")
FORECAST = "forecasted-spend"
THRESHOLDS = (("0.5", "current-spend"), ("0.9", "current-spend"), ("1.0", "current-spend"), ("1.0", FORECAST))
MOST_CHANNELS = 5  # of one budget, all of type email: Budget API, NotificationsRule


def services(target: Target) -> tuple[str, ...]:
    """Return the APIs that are needed for it."""
    return SERVICES if target.budget else ()


def of_project(target: Target) -> Command:
    """Return the command that shows the project's billing account."""
    return (*gcloud("billing", "projects", "describe", target.project), AS_JSON)


def listed(target: Target) -> Command:
    """Return the command that lists the billing account's budgets."""
    return (*gcloud(*BUDGETS, "list", billing_account=target.billing_account, **_quota(target)), AS_JSON)


def deletion(target: Target) -> Command:
    """Return the command that deletes one."""
    return gcloud(*BUDGETS, "delete", FOUND, **_quota(target), quiet=True)


def _quota(target: Target) -> dict[str, str]:
    """Return the flag that says whose quota is used; without it the Budget API refuses a person."""
    return {"billing_project": target.project}


def title(target: Target) -> str:
    """Return the name that ours is shown under."""
    return f"{TITLE}{target.project}"


def ours(target: Target) -> Any:
    """Return the test that finds ours among the billing account's."""
    return lambda budget: budget.get("displayName") == title(target)


def by_hand(target: Target) -> str:
    """Say what to do if the person who deploys has no access to the billing account."""
    return (
        "Nothing else depends on it. Have somebody who administers the billing account give you "
        f"roles/billing.costsManager on it, or make a budget for {target.project} at "
        "https://console.cloud.google.com/billing (Budgets & alerts), and leave BUDGET out."
    )


def steps(target: Target) -> list[Step]:
    """Return the steps, if a budget is wanted; billing account and notification channels must be known.

    One that differs is deleted only once its replacement exists, since a currency may be refused. SDK 528's
    `budgets update` is not used: given thresholds in a file, it sets a field that a budget does not have, and fails.
    """
    if not target.budget:
        return []
    shown = f"Budget: {target.budget} a month, mail at 50, 90 and 100 percent, and if more is forecast"
    if not target.billing_account:  # it could not be seen: looking again says why
        look = of_project(target)
        return [Step(title=shown, look=look, make=(look,), wanted={"billingEnabled": True}, by_hand=by_hand(target))]
    wanted = _wanted(target)
    step = Step(
        title=shown,
        look=listed(target),
        make=(_creation(target),),
        wanted=wanted,
        find=partial(_closest, target, wanted),
        by_hand=by_hand(target),
    )
    others = Step(
        title="No other budget of that name, such as one that was replaced",
        look=listed(target),
        make=(),
        wanted={"unwanted": Exactly([])},
        change=(deletion(target),),
        find=partial(_replaced, target, wanted),
        names=lambda found: list(found["unwanted"]),
        by_hand=by_hand(target),
    )
    return [step, others] if target.budgets_open else [step]  # that there is no access is said once


def _closest(target: Target, wanted: dict[str, Any], budgets: Any) -> Any:
    """Return our budget, preferably the one that is as wanted; None if there is none."""
    there = [_comparable(budget) for budget in budgets or () if ours(target)(budget)]
    return min(there, key=lambda budget: len(differences(budget, wanted)), default=None)


def _replaced(target: Target, wanted: dict[str, Any], budgets: Any) -> Any:
    """Return which budgets of our name are no longer needed: none until one of them is as wanted."""
    best = _closest(target, wanted, budgets)
    if best is None or differences(best, wanted):
        return {"unwanted": []}
    names = [str(budget["name"]) for budget in budgets if ours(target)(budget)]
    return {"unwanted": [name for name in names if name != best["name"]]}


def _channels(target: Target) -> list[str]:
    """Return the notification channels of addresses, as many as there may be."""
    return [target.channels.get(address, CHANNEL) for address in target.addresses[:MOST_CHANNELS]]


def _creation(target: Target) -> Command:
    channels = ",".join(_channels(target))
    told = {"notifications_rule_monitoring_notification_channels": channels} if channels else {}
    return gcloud(
        *(*BUDGETS, "create"),
        billing_account=target.billing_account,
        display_name=title(target),
        budget_amount=target.budget,
        filter_projects=f"projects/{target.number}",
        calendar_period="month",
        credit_types_treatment="include-all-credits",
        threshold_rule=[f"percent={percent},basis={basis}" for percent, basis in THRESHOLDS],
        **told,
        **_quota(target),
    )


def amount(target: Target) -> tuple[str, str]:
    """Return the amount in whole units, and its currency; empty for that of the billing account."""
    units = target.budget.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return units, target.budget[len(units) :]


def _wanted(target: Target) -> dict[str, Any]:
    units, currency = amount(target)
    return {
        "amount": {
            "specifiedAmount": {
                "units": OneOf((units, int(units))),
                **({"currencyCode": currency} if currency else {}),
                "nanos": 0,
            }
        },
        "budgetFilter": {
            "projects": [OneOf((f"projects/{target.number}", f"projects/{target.project}"))],
            "calendarPeriod": OneOf(("MONTH", None)),  # the default
            "creditTypesTreatment": OneOf(("INCLUDE_ALL_CREDITS", None)),  # the default
        },
        "thresholdRules": sorted(
            ({"thresholdPercent": float(percent), "spendBasis": enumerated(basis)} for percent, basis in THRESHOLDS),
            key=_by_percent,
        ),
        "notificationsRule": {"monitoringNotificationChannels": sorted(map(_number, _channels(target)))},
    }


def _comparable(budget: Any) -> Any:
    """Return a budget with its rules and channels in one order, and channels by their numbers."""
    rules = [{"spendBasis": "CURRENT_SPEND", **rule} for rule in budget.get("thresholdRules", ())]
    told = budget.get("notificationsRule", {})
    channels = sorted(map(_number, told.get("monitoringNotificationChannels", ())))
    return budget | {
        "thresholdRules": sorted(rules, key=_by_percent),
        "notificationsRule": told | {"monitoringNotificationChannels": channels},
    }


def _by_percent(rule: dict[str, Any]) -> tuple[float, str]:
    return float(rule.get("thresholdPercent", 0)), str(rule["spendBasis"])


def enumerated(choice: str) -> str:
    """Return a choice of a flag as the API spells it."""
    return choice.upper().replace("-", "_")


def _number(channel: str) -> str:
    return channel.rpartition("/")[2]
