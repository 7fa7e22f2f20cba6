"""The billing account, which belongs to nobody who has a project only, and its budgets."""

from __future__ import annotations

from typing import Any

from tests.gcp.stand_in.cloud import NUMBER, PROJECT, Cloud, Handler, Refused

ACCOUNT = "billingAccounts/012345-6789AB-CDEF01"
CURRENCY = "EUR"
API = "billingbudgets.googleapis.com"


def _of_project(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    if not cloud.sees_billing:
        raise Refused(
            f"[you@example.com] does not have permission to access projects instance [{names[0]}] (or it may not "
            "exist): The caller does not have permission."
        )
    return {
        "billingAccountName": ACCOUNT,
        "billingEnabled": True,
        "name": f"projects/{PROJECT}/billingInfo",
        "projectId": PROJECT,
    }


def _allowed(cloud: Cloud, flags: dict[str, Any]) -> None:
    if flags.get("billing-project") != PROJECT:
        raise Refused(f"PERMISSION_DENIED: The {API} API requires a quota project, which is not set by default.")
    if API not in cloud.enabled:
        raise Refused(f"PERMISSION_DENIED: {API} has not been used in project {NUMBER} before or it is disabled.")
    if not cloud.may_budget:
        raise Refused("PERMISSION_DENIED: The caller does not have permission")


def _list(cloud: Cloud, names: list[str], flags: dict[str, Any], stdin: str) -> Any:
    _allowed(cloud, flags)
    assert flags["billing-account"] == ACCOUNT
    return list(cloud.things.get("budget", {}).values())


def _create(cloud: Cloud, names: list[str], flags: dict[str, Any], stdin: str) -> Any:
    _allowed(cloud, flags)
    channels = list(filter(None, flags.get("notifications-rule-monitoring-notification-channels", "").split(",")))
    if len(channels) > 5 or any(cloud.thing("channel", name)["type"] != "email" for name in channels):
        raise Refused("INVALID_ARGUMENT: Request contains an invalid argument.")
    if len(flags["display-name"]) > 60:
        raise Refused("INVALID_ARGUMENT: Request contains an invalid argument.")
    assert flags["filter-projects"] in (f"projects/{NUMBER}", f"projects/{PROJECT}")
    budget = {
        "name": cloud.numbered(f"{ACCOUNT}/budgets"),
        "displayName": flags["display-name"],
        "amount": {"specifiedAmount": _money(flags["budget-amount"])},
        "budgetFilter": {
            "projects": [f"projects/{NUMBER}"],  # whatever it was named by
            "calendarPeriod": flags["calendar-period"].upper(),
            "creditTypesTreatment": flags["credit-types-treatment"].upper().replace("-", "_"),
        },
        "thresholdRules": [_rule(text) for text in flags["threshold-rule"][::-1]],  # no order is promised
        "notificationsRule": {"monitoringNotificationChannels": channels[::-1]} if channels else {},
        "etag": cloud.etag(),
    }
    return cloud.put("budget", budget["name"], budget, new=True)


def _money(text: str) -> dict[str, str]:
    """Return an amount as gcloud reads it; in the billing account's currency, which it takes no other for."""
    amount, currency = text.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), text[-3:] if text[-3:].isalpha() else CURRENCY
    if currency != CURRENCY:
        raise Refused("INVALID_ARGUMENT: Request contains an invalid argument.")
    return {"units": str(int(amount)), "currencyCode": currency}


def _rule(text: str) -> dict[str, Any]:
    parts = dict(part.split("=") for part in text.split(","))
    return {"thresholdPercent": float(parts["percent"]), "spendBasis": parts["basis"].upper().replace("-", "_")}


def _delete(cloud: Cloud, names: list[str], flags: dict[str, Any], stdin: str) -> Any:
    _allowed(cloud, flags)
    return cloud.delete("budget", names[0])


HANDLERS: dict[str, Handler] = {
    "billing projects describe": _of_project,
    "billing budgets list": _list,
    "billing budgets create": _create,
    "billing budgets delete": _delete,
}
