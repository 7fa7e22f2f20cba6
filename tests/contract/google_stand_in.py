"""What a function finds on Google Cloud to get its access tokens, on one loopback address."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

from tests.contract.listener import Listener, Request, Response

ROOT = Path(__file__).parents[2]


class Google:
    """The metadata server, signJwt and the token endpoint on one address; `plan` says what to refuse next."""

    def __init__(self, listener: Listener, plan: dict[str, list[Response]]) -> None:
        self.plan = plan
        self.claims: list[dict[str, Any]] = []
        self.assertions: list[str] = []
        listener.answer = self.answer

    def answer(self, request: Request) -> Response:
        if request.path == "/token":
            return self._planned("token") or self._token(request)
        if request.path.endswith(":signJwt"):
            return self._planned("sign") or self._sign(request)
        return self._metadata(urllib.parse.urlsplit(request.path).path)

    def _planned(self, name: str) -> Response | None:
        return self.plan[name].pop(0) if self.plan.get(name) else None

    def _metadata(self, path: str) -> Response:
        account = "/computeMetadata/v1/instance/service-accounts/"
        answers: dict[str, Any] = {
            "/": "computeMetadata/",
            "/computeMetadata/v1/project/project-id": "p",
            f"{account}default/": {"email": "function@p.iam.gserviceaccount.com", "scopes": [], "aliases": []},
            f"{account}default/token": _grant("function-token"),
            f"{account}function@p.iam.gserviceaccount.com/token": _grant("function-token"),
        }
        if path not in answers:
            return Response(404, headers={"Metadata-Flavor": "Google"})
        found = answers[path]
        text, kind = (found, "text/plain") if isinstance(found, str) else (json.dumps(found), "application/json")
        return Response(200, text.encode(), {"Metadata-Flavor": "Google", "Content-Type": kind})

    def _sign(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer function-token"
        assert "/serviceAccounts/provisioner@p.iam.gserviceaccount.com:" in request.path
        self.claims.append(json.loads(json.loads(request.body)["payload"]))
        return Response(200, json.dumps({"keyId": "k", "signedJwt": "signed.by.google"}).encode())

    def _token(self, request: Request) -> Response:
        form = urllib.parse.parse_qs(request.body.decode())
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        self.assertions += form["assertion"]
        return Response(200, json.dumps(_grant("delegated-token")).encode(), {"Content-Type": "application/json"})


def _grant(token: str) -> dict[str, Any]:
    return {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}


def run_as_function(listener: Listener, folder: Path, *arguments: str) -> list[str]:
    """Run Python with a function's environment, whose credentials come from the metadata server; returns its lines."""
    host = listener.url.removeprefix("http://")
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = kept | {
        "GCE_METADATA_HOST": host,
        "GCE_METADATA_IP": host,
        "HOME": str(folder),
        "CLOUDSDK_CONFIG": str(folder),
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'functions'}",
    }
    argv = [sys.executable, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
