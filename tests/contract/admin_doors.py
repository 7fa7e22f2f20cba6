"""An administrators' function on its real server, with keys of ours for the proxy's, and a directory that counts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from infra.local.processes import Supervisor, free_port, python
from infra.local.simulation import IAP_AUDIENCE
from tests.contract.listener import Listener, Request, Response, listening
from tests.contract.test_identity import Keys
from tests.support.wire import Answer, ask

ROOT = Path(__file__).parents[2]
ADMIN = "admin@example.com"
ASSERTION = "X-Goog-IAP-JWT-Assertion"


@dataclass
class Door:
    """One function, whom the directory knows, and how often it was asked."""

    function: str
    address: str
    keys: Keys
    directory: Listener
    users: dict[str, dict[str, Any]] = field(default_factory=dict)

    def signed(self, who: str = ADMIN, **claims: Any) -> str:
        """Return an assertion of the proxy's for somebody; a claim given as None is left out."""
        user = self.users.get(who, {"id": "nobody"})
        return self.keys.signed(**{"email": who, "sub": f"accounts.google.com:{user['id']}", **claims})

    def ask(
        self,
        method: str = "GET",
        path: str = "/",
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
        who: str = ADMIN,
        **claims: Any,
    ) -> Answer:
        """Send a request as somebody whom the proxy let through."""
        return ask(method, self.address + path, body, {ASSERTION: self.signed(who, **claims), **(headers or {})})

    def asked(self) -> list[str]:
        """Return whom the directory was asked for since the last call."""
        found = [unquote(request.path.partition("/users/")[2].partition("?")[0]) for request in self.directory.requests]
        self.directory.requests.clear()
        return found

    def answer(self, request: Request) -> Response:
        """Answer users.get."""
        user = self.users.get(unquote(request.path.partition("/users/")[2].partition("?")[0]))
        status = 200 if user is not None else 404
        told = user or {"error": {"code": 404, "message": "Resource Not Found: userKey", "errors": []}}
        return Response(status, json.dumps(told).encode(), {"Content-Type": "application/json"})


def user(user_id: str, address: str, **rank: bool) -> dict[str, Any]:
    """Return a directory user."""
    return {"id": user_id, "primaryEmail": address, "orgUnitPath": "/", "name": {"fullName": "A B"}, **rank}


@contextlib.contextmanager
def open_door(function: str, folder: Path) -> Iterator[Door]:
    """Start the function; Firestore is not there, so that whatever passes the door is answered 503."""
    port, nowhere = free_port(), f"127.0.0.1:{free_port()}"
    with listening() as directory, listening() as published, Supervisor(folder) as supervisor:
        door = Door(function, f"http://127.0.0.1:{port}", Keys(), directory)
        published.answer = lambda _: door.keys.published()
        directory.answer = door.answer
        environment = {
            "GOOGLE_CLOUD_PROJECT": "demo-doors",
            "LOCAL_MODE": "true",
            "FIRESTORE_EMULATOR_HOST": nowhere,
            "PUBSUB_EMULATOR_HOST": nowhere,
            "SECRET_MANAGER_EMULATOR_HOST": nowhere,
            "DIRECTORY_API_ENDPOINT": directory.url,
            "OUTSIDE_TIMEOUT_SECONDS": "1",
            "FORM_KEY": "a key for forms",
            "CHANNEL_KEY": "a key for channels",
            "IAP_AUDIENCE": IAP_AUDIENCE,
            "IAP_CERTS_URL": published.url,
            "THREADS": "8",
            "HOME": str(folder),
            "PYTHONUNBUFFERED": "1",
        }
        argv = python("-m", "functions_framework", "--target", function, "--host", "127.0.0.1", "--port", str(port))
        ready = f"{door.address}/robots.txt"
        supervisor.start(function, argv, env=environment, ready=ready, cwd=ROOT / "functions")
        supervisor.wait_ready()
        yield door
