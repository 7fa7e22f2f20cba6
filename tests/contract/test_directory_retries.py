"""What GoogleDirectory tries again, how long it waits, and what it never repeats; faults are injected at the wire."""

from __future__ import annotations

import gzip
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from autoprovisioning.adapters.directory import GoogleDirectory
from autoprovisioning.adapters.directory.transport import ATTEMPTS
from autoprovisioning.domain.errors import ConfigurationRefused, Transient
from infra.local.processes import free_port
from infra.local.simulation import DirectorySide
from tests.contract.directory_reader import reading
from tests.contract.listener import Listener, Response
from tests.contract.scim_servers import Counts

USAGE_LIMITS = [("userRateLimitExceeded", 403), ("quotaExceeded", 403), ("rateLimitExceeded", 403)]


@pytest.mark.parametrize(
    ("reason", "status"),
    [*USAGE_LIMITS, ("rateLimitExceeded", 429), *(("backendError", status) for status in (408, 500, 502, 503, 504))],
)
def test_what_passes_is_tried_again(
    workspace: DirectorySide,
    directory: GoogleDirectory,
    customer: dict[str, Any],
    counts: Counts,
    reason: str,
    status: int,
) -> None:
    workspace.fault(match={"method": "users.get"}, status=status, reason=reason, domain="usageLimits", times=2)
    assert directory.user(customer["users"][4]["id"]) is not None
    assert counts == {"directory_requests": 3}


@pytest.mark.parametrize("effect", [{"status": 503}, {"status": 403, "reason": "quotaExceeded"}, {"drop": True}])
def test_retries_are_bounded(
    workspace: DirectorySide, directory: GoogleDirectory, counts: Counts, effect: dict[str, Any]
) -> None:
    workspace.fault(match={"method": "users.get"}, times=None, **effect)
    with pytest.raises(Transient, match=f"after {ATTEMPTS} attempts") as raised:
        directory.user("100000000000000000000")
    assert raised.value.retry_after is not None
    assert counts == {"directory_requests": ATTEMPTS}


@pytest.mark.parametrize("effect", [{"drop": True}, {"hang": True}])
def test_a_lost_connection_or_a_silent_server_is_tried_again(
    workspace: DirectorySide, customer: dict[str, Any], counts: Counts, effect: dict[str, Any]
) -> None:
    workspace.fault(match={"method": "users.get"}, times=1, **effect)
    assert reading(workspace.url, counts, seconds=0.3).user(customer["users"][4]["id"]) is not None
    assert counts == {"directory_requests": 2}


def test_a_damaged_or_truncated_answer_is_tried_again(listener: Listener) -> None:
    user = gzip.compress(json.dumps({"id": "u1", "primaryEmail": "a@example.com"}).encode())
    packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answers = [
        Response(200, b"\x1f\x8bnonsense", packed),
        Response(200, user[:20], {**packed, "Content-Length": str(len(user)), "Connection": "close"}),
        Response(200, b"<html>try later</html>"),
        Response(200, b'["no object"]'),
        Response(200, user, packed),
    ]
    listener.answer = lambda _: answers[len(listener.requests) - 1]
    found = reading(listener.url, seconds=0.5).user("u1")
    assert found is not None
    assert found.primary_email == "a@example.com"


def test_retry_after_is_obeyed(workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any]) -> None:
    workspace.fault(match={"method": "users.get"}, status=429, retry_after=0.4, times=1)
    started = time.monotonic()
    assert directory.user(customer["users"][4]["id"]) is not None
    assert time.monotonic() - started >= 0.4


def test_a_retry_after_that_is_a_date_is_obeyed_too(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any]
) -> None:
    past, far = (format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True) for ahead in (-60, 300))
    workspace.fault(match={"method": "users.get"}, status=503, retry_after=past, times=1)
    assert directory.user(customer["users"][4]["id"]) is not None
    workspace.fault(match={"method": "users.get"}, status=503, retry_after=far, times=1)
    with pytest.raises(Transient) as raised:
        directory.user("1")
    assert raised.value.retry_after == pytest.approx(300, abs=10)


def test_a_retry_after_too_long_to_wait_for_is_handed_on(
    workspace: DirectorySide, directory: GoogleDirectory, counts: Counts
) -> None:
    workspace.fault(match={"method": "users.get"}, status=503, retry_after=120, times=None)
    with pytest.raises(Transient) as raised:
        directory.user("1")
    assert raised.value.retry_after == 120
    assert counts == {"directory_requests": 1}


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, "invalid"), (403, "forbidden"), (403, "accessNotConfigured"), (401, "authError")],
)
def test_a_refusal_of_the_set_up_is_not_tried_again(
    workspace: DirectorySide, directory: GoogleDirectory, counts: Counts, status: int, reason: str
) -> None:
    workspace.fault(status=status, reason=reason, message="No such thing", times=None)
    with pytest.raises(ConfigurationRefused) as raised:
        directory.user("1")
    assert ("delegation" in str(raised.value)) == (status in (401, 403))
    assert counts == {"directory_requests": 2}  # the second says whether it is about this user only


def test_an_endpoint_that_is_not_there_is_transient() -> None:
    with pytest.raises(Transient):
        reading(f"http://127.0.0.1:{free_port()}").user("1")


def test_redirects_are_not_followed(listener: Listener) -> None:
    listener.answer = lambda _: Response(302, headers={"Location": f"{listener.url}/elsewhere"})
    with pytest.raises(ConfigurationRefused):
        reading(listener.url).user("1")
    assert not [request for request in listener.requests if "elsewhere" in request.path]
