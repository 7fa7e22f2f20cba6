"""`make logs`: what the functions logged lately."""

from __future__ import annotations

import os
import subprocess

from infra.gcp.commands import ROOT
from infra.gcp.description import DEPLOYMENT
from infra.gcp.gcloud import NotInstalled
from infra.gcp.steps import Command, gcloud
from infra.gcp.target import Target

SEVERITIES = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LINES = 500
COLUMNS = (
    "value(timestamp.date('%Y-%m-%d %H:%M:%S'),severity,resource.labels.service_name,"
    "firstof(jsonPayload.message,textPayload,httpRequest.requestUrl))"
)


def command(target: Target, function: str, severity: str, since: str) -> Command:
    """Return the command that reads logs, oldest first.

    Raises:
        SystemExit: no such function or severity.
    """
    names = [item.name for item in DEPLOYMENT.functions]
    wanted = function.replace("_", "-")
    if function and wanted not in names:
        raise SystemExit(f"FUNCTION=... must be one of {', '.join(names)}")
    if severity not in SEVERITIES:
        raise SystemExit(f"SEVERITY=... must be one of {', '.join(SEVERITIES)}")
    services = " OR ".join(f'"{name}"' for name in ([wanted] if wanted else names))
    query = f'resource.type="cloud_run_revision" AND resource.labels.service_name=({services}) AND severity>={severity}'
    return gcloud(
        *("logging", "read", query),
        freshness=since,
        order="asc",
        limit=str(LINES),
        format=COLUMNS,
        project=target.project,
    )


def show(read: Command) -> int:
    """Run it in the foreground; returns its exit status.

    Raises:
        NotInstalled: there is no gcloud.
    """
    environment = {**os.environ, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    try:
        return subprocess.run(read, cwd=ROOT, env=environment, check=False).returncode
    except (FileNotFoundError, PermissionError):
        raise NotInstalled from None
