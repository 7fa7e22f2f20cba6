"""GoogleDirectory over DirectoryTransport, reading the simulator or whatever a test wants answered."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import requests

from autoprovisioning.adapters.directory import DirectoryTransport, GoogleDirectory, anonymous
from tests.contract.listener import Listener, Request, Response
from tests.contract.scim_servers import Counts

FIELDS = frozenset({"primaryEmail", "name", "emails"})
PARTNER = "900000000000000000001"  # a member of the scope group from outside the customer


def reading(url: str, counts: Counts | None = None, *, seconds: float = 5, token: str = "") -> GoogleDirectory:
    """Read with short pauses; without a token as `anonymous` does."""

    def bearing() -> requests.Session:
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {token}"
        return session

    transport = DirectoryTransport(
        url,
        bearing if token else anonymous(url),
        Counts() if counts is None else counts,
        timeout=timedelta(seconds=seconds),
        first_pause=0.01,
    )
    return GoogleDirectory(transport)


def answering(listener: Listener, *answers: Any, status: int = 200) -> GoogleDirectory:
    """Read an endpoint that gives these answers in turn, the last one for ever."""

    def answer(_: Request) -> Response:
        body = answers[min(len(listener.requests), len(answers)) - 1]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Response(status, content, {"Content-Type": "application/json"})

    listener.answer = answer
    return reading(listener.url)


def ids(pages: Any) -> list[str]:
    return [user.id for page in pages for user in page]


def group_id(customer: dict[str, Any], email: str) -> str:
    return str(next(group["id"] for group in customer["groups"] if group["email"] == email))
