"""The scheduler's jobs."""

from __future__ import annotations

import base64
from typing import Any

from tests.gcp.stand_in.cloud import PROJECT, REGION, Cloud, Handler, delete, describe, listed
from tests.gcp.stand_in.policies import known_member

DEFAULT_DEADLINE = "180s"


def _put_job(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    known_member(cloud, f"serviceAccount:{flags['oidc-service-account-email']}")
    job = {
        "name": f"projects/{PROJECT}/locations/{REGION}/jobs/{names[0]}",
        "schedule": flags["schedule"],
        "timeZone": flags["time-zone"],
        "state": "ENABLED",
        **({} if flags["attempt-deadline"] == DEFAULT_DEADLINE else {"attemptDeadline": flags["attempt-deadline"]}),
        "httpTarget": {
            "uri": _with_a_path(flags["uri"]),
            "httpMethod": flags["http-method"].upper(),
            "headers": {"Content-Type": "application/json", "User-Agent": "Google-Cloud-Scheduler"},
            "body": base64.b64encode(flags["message-body"].encode()).decode(),
            "oidcToken": {
                "serviceAccountEmail": flags["oidc-service-account-email"],
                "audience": flags["oidc-token-audience"],
            },
        },
        "retryConfig": {
            **({"retryCount": int(flags["max-retry-attempts"])} if int(flags["max-retry-attempts"]) else {}),
            "maxRetryDuration": "0s",
            "minBackoffDuration": flags["min-backoff"],
            "maxBackoffDuration": flags["max-backoff"],
            "maxDoublings": 5,
        },
    }
    return cloud.put("job", names[0], job, new="headers" in flags)


def _with_a_path(uri: str) -> str:
    """Return an address as the scheduler keeps it: one without a path gets a slash."""
    return uri if uri.partition("://")[2].count("/") else f"{uri}/"


HANDLERS: dict[str, Handler] = {
    "scheduler jobs create http": _put_job,
    "scheduler jobs update http": _put_job,
    "scheduler jobs describe": describe("job"),
    "scheduler jobs list": listed("job"),
    "scheduler jobs delete": delete("job"),
}
