"""Alert policies, log-based metrics and the dashboard, as the files that gcloud reads.

The policies name the address of their runbooks by a placeholder, since only a deployment knows where this repository
is read.
"""

from __future__ import annotations

from pathlib import Path

HOME = Path(__file__).parent
POLICIES = HOME / "policies"
METRICS = HOME / "metrics"
DASHBOARD = HOME / "dashboard.json"
PLACEHOLDER = "{RUNBOOKS}"


def metrics() -> list[Path]:
    """Return the log-based metrics: the name of each is that of its file."""
    return sorted(METRICS.glob("*.json"))


def policies() -> list[Path]:
    """Return the alert policies, with the placeholder; they need the metrics to exist."""
    return sorted(POLICIES.glob("*.json"))


def prepare(policy: Path, runbooks: str, folder: Path) -> Path:
    """Write the policy to a folder with the address of the runbooks filled in; returns the file that gcloud reads."""
    ready = folder / policy.name
    ready.write_text(policy.read_text().replace(PLACEHOLDER, runbooks.rstrip("/")))
    return ready
