"""Whose credentials the directory is read with, where none are enough, and what is asked for beside them."""

from __future__ import annotations

import gzip
import json
import logging
import secrets
from pathlib import Path
from typing import Any

import pytest
import requests

from autoprovisioning.adapters.directory import anonymous
from autoprovisioning.adapters.directory.transport import SCOPES
from autoprovisioning.domain.errors import ConfigurationRefused, ProvisioningError
from infra.local.simulation import DirectorySide
from tests.contract.directory_reader import reading
from tests.contract.google_stand_in import Google, run_as_function
from tests.contract.listener import DROPPED, Listener, Response
from tests.contract.shown import every_word


@pytest.mark.parametrize(
    "endpoint", ["https://admin.googleapis.com", "http://10.0.0.1:80", "http://localhost.evil.test"]
)
def test_without_credentials_only_loopback_is_read(endpoint: str) -> None:
    with pytest.raises(ConfigurationRefused, match="loopback"):
        anonymous(endpoint)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"])
def test_loopback_is_read_without_credentials(endpoint: str) -> None:
    assert isinstance(anonymous(endpoint)(), requests.Session)


def test_compression_is_asked_for_as_google_wants_it(listener: Listener) -> None:
    body = gzip.compress(json.dumps({"id": "u1"}).encode())
    listener.answer = lambda _: Response(200, body, {"Content-Encoding": "gzip"})
    assert reading(listener.url).user("u1") is not None
    headers = listener.requests[0].headers
    assert "gzip" in headers["accept-encoding"]
    assert "gzip" in headers["user-agent"]
    assert "authorization" not in headers


def delegated_reads(listener: Listener, url: str, folder: Path, times: int, threads: int = 1) -> list[str]:
    """Read in a process whose environment is a function's: credentials come from its metadata server."""
    given = listener.url, url, str(times), str(threads)
    return run_as_function(listener, folder, "-m", "tests.contract.delegated_read", *given)


def test_delegation_is_keyless_read_only_and_as_the_administrator(
    workspace: DirectorySide, listener: Listener, tmp_path: Path
) -> None:
    user = workspace.insert({"primaryEmail": "reader@example.com", "name": {"givenName": "R", "familyName": "E"}})
    workspace.control("PUT", "tokens", {"tokens": ["delegated-token"]})
    google = Google(listener, {"sign": [Response(DROPPED)]})  # a lost connection is tried again
    assert delegated_reads(listener, workspace.url, tmp_path, 2) == [f"read {user['id']}"] * 2
    (claims,) = google.claims
    assert claims["iss"] == "provisioner@p.iam.gserviceaccount.com"
    assert claims["sub"] == "admin@example.com"
    assert claims["aud"] == f"{listener.url}/token"
    assert claims["scope"].split() == list(SCOPES)
    assert all(scope.endswith(".readonly") for scope in SCOPES)
    assert google.assertions == ["signed.by.google"]


def test_of_threads_that_read_at_a_cold_start_one_gets_the_token_for_all(
    workspace: DirectorySide, listener: Listener, tmp_path: Path
) -> None:
    user = workspace.insert({"primaryEmail": "reader@example.com", "name": {"givenName": "R", "familyName": "E"}})
    workspace.control("PUT", "tokens", {"tokens": ["delegated-token"]})
    google = Google(listener, {})
    assert delegated_reads(listener, workspace.url, tmp_path, 2, threads=8) == [f"read {user['id']}"] * 16
    assert (len(google.claims), len(google.assertions)) == (1, 1)


def test_a_delegation_that_is_not_set_up_is_told_apart_from_one_that_fails(
    workspace: DirectorySide, listener: Listener, tmp_path: Path
) -> None:
    user = workspace.insert({"primaryEmail": "reader@example.com", "name": {"givenName": "R", "familyName": "E"}})
    workspace.control("PUT", "tokens", {"tokens": ["delegated-token"]})
    denied = {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "s3cret detail"}}
    unlisted = {"error": "unauthorized_client", "error_description": "s3cret detail"}
    Google(
        listener,
        {
            "sign": [Response(403, json.dumps(denied).encode()), Response(503, b"{}")],
            "token": [Response(401, json.dumps(unlisted).encode())],
        },
    )
    lines = delegated_reads(listener, workspace.url, tmp_path, 4)
    kinds = [line.partition(":")[0] for line in lines]
    assert kinds == ["ConfigurationRefused", "Transient", "ConfigurationRefused", f"read {user['id']}"]
    assert "PERMISSION_DENIED" in lines[0]
    assert "unauthorized_client" in lines[2]
    assert "s3cret" not in "".join(lines)


@pytest.mark.parametrize(
    "effect",
    [
        {"status": 400, "reason": "invalid"},
        {"status": 401, "reason": "authError"},
        {"status": 403, "reason": "forbidden"},
        {"status": 503},
        {"status": 503, "retry_after": 120},
        {"drop": True},
    ],
)
def test_no_error_and_no_log_of_the_directory_carries_the_token(
    workspace: DirectorySide, caplog: pytest.LogCaptureFixture, effect: dict[str, Any]
) -> None:
    caplog.set_level(logging.DEBUG)
    token = secrets.token_urlsafe()
    workspace.control("PUT", "tokens", {"tokens": [token]})
    directory = reading(workspace.url, token=token)
    assert directory.probe() is True
    workspace.fault(times=None, **effect)
    with pytest.raises(ProvisioningError) as raised:
        directory.user("1")
    assert token not in every_word(raised.value) + caplog.text
