"""The stand-in for Cloud Scheduler: calls its jobs as told, none of them twice at once, whatever they answer."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from infra.local.cloud import ROOT
from infra.local.processes import Supervisor, python
from infra.local.simulation import wait_for


class Called(BaseHTTPRequestHandler):
    """Answers slowly, fails on demand and remembers who called how."""

    calls: ClassVar[list[dict]] = []
    at_once: ClassVar[dict[str, int]] = {}
    most_at_once = 0

    def do_POST(self) -> None:
        cls = type(self)
        cls.at_once[self.path] = cls.at_once.get(self.path, 0) + 1
        cls.most_at_once = max(cls.most_at_once, cls.at_once[self.path])
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        cls.calls.append({"path": self.path, "body": body, "scheduler": self.headers["X-CloudScheduler"]})
        time.sleep(0.15)
        cls.at_once[self.path] -= 1
        self.send_response(503 if self.path == "/failing" else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's signature
        return


@pytest.fixture
def called():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Called)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_jobs_are_called_again_and_again_and_never_twice_at_once(called, tmp_path):
    jobs = [
        *("--job", "0.05", f"{called}/good", '{"kind": "sweep"}'),
        *("--job", "0.05", f"{called}/failing", "{}"),
        *("--job", "0.05", "http://127.0.0.1:1/absent", "{}"),
        *("--job", "600", f"{called}/later", "{}"),
    ]
    with Supervisor(tmp_path) as supervisor:
        supervisor.start("scheduler", python("-m", "infra.local.scheduler", *jobs), cwd=ROOT).wait_ready()
        for path in ("/good", "/failing"):
            wait_for(
                lambda path=path: sum(call["path"] == path for call in Called.calls) >= 3, f"three calls of {path}"
            )
        supervisor.check()
    good = next(call for call in Called.calls if call["path"] == "/good")
    assert good == {"path": "/good", "body": {"kind": "sweep"}, "scheduler": "true"}
    assert Called.most_at_once == 1
    assert "/later" not in {call["path"] for call in Called.calls}
