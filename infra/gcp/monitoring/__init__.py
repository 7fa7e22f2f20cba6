"""Alert policies, log-based metrics and the dashboard, as the files that gcloud reads.

The policies have placeholders for what only a deployment knows: where this repository is read, and the webhook's host
(`watching.py`).
"""

from __future__ import annotations

from pathlib import Path

HOME = Path(__file__).parent
POLICIES = HOME / "policies"
METRICS = HOME / "metrics"
DASHBOARD = HOME / "dashboard.json"
RUNBOOKS = "{RUNBOOKS}"
WEBHOOK = "{WEBHOOK}"
OF_WEBHOOK = "webhook-unreachable"  # the policy that needs one


def metrics() -> list[Path]:
    """Return the log-based metrics: the name of each is that of its file."""
    return sorted(METRICS.glob("*.json"))


def policies() -> list[Path]:
    """Return the alert policies, with the placeholders; they need the metrics to exist."""
    return sorted(POLICIES.glob("*.json"))
