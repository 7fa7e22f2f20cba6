"""The simulated world around the local cloud: a Workspace customer, a Keeper node, a proxy and a scheduler."""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local.cloud import CHANGES, ROOT, LocalCloud
from infra.local.control import control
from infra.local.processes import Process, Supervisor, free_port, python

IAP_AUDIENCE = "/projects/1/locations/local/services/console"
SWEEP_SECONDS = 10


def http(method: str, url: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    """Send JSON, return JSON; an error status raises urllib.error.HTTPError."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - loopback
        url, data, {"Content-Type": "application/json", **(headers or {})}, method=method
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        content = response.read()
        return json.loads(content) if content else None


@dataclass
class DirectorySide:
    """The administrator of the Workspace customer, acting through the Admin SDK, and the simulator's controls."""

    url: str

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the Admin SDK, as an administrator would."""
        return http(method, f"{self.url}/admin/directory/v1/{path}", body)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call the simulator's control API."""
        return control(method, f"{self.url}/_control/{path}", body)

    def user(self, key: str) -> dict[str, Any]:
        """Read a user."""
        found: dict[str, Any] = self.call("GET", f"users/{urllib.parse.quote(key, safe='')}?projection=full")
        return found

    def insert(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create a user."""
        created: dict[str, Any] = self.call("POST", "users", body)
        return created

    def patch(self, key: str, body: dict[str, Any]) -> None:
        """Change a user."""
        self.call("PATCH", f"users/{urllib.parse.quote(key, safe='')}", body)

    def delete(self, key: str) -> None:
        """Delete a user."""
        self.call("DELETE", f"users/{urllib.parse.quote(key, safe='')}")

    def join(self, group: str, user_id: str) -> None:
        """Put a user into a group."""
        self.call("POST", f"groups/{urllib.parse.quote(group, safe='')}/members", {"id": user_id})

    def leave(self, group: str, user_id: str) -> None:
        """Take a user out of a group."""
        self.call("DELETE", f"groups/{urllib.parse.quote(group, safe='')}/members/{user_id}")

    def change_unit(self, unit: str, **body: str) -> None:
        """Rename (`name`) or move (`parentOrgUnitPath`) an organizational unit."""
        self.call("PATCH", f"customer/my_customer/orgunits/{urllib.parse.quote(unit.lstrip('/'))}", body)

    def add_unit(self, unit: str) -> None:
        """Create an organizational unit."""
        parent, _, name = unit.rpartition("/")
        self.call("POST", "customer/my_customer/orgunits", {"name": name, "parentOrgUnitPath": parent or "/"})

    def delete_unit(self, unit: str) -> None:
        """Delete an empty organizational unit."""
        self.call("DELETE", f"customer/my_customer/orgunits/{urllib.parse.quote(unit.lstrip('/'))}")

    def weather(self, **settings: Any) -> None:
        """Set what happens to notifications."""
        self.control("POST", "notifications", settings)

    def entries(self, **settings: Any) -> None:
        """Set what happens to entries of the audit log; with `topic`, where they are published."""
        self.control("POST", "entries", settings)

    def fault(self, **fault: Any) -> str:
        """Inject a fault; returns its id."""
        return str(self.control("POST", "faults", fault)["id"])

    def matched(self, fault: str) -> int:
        """Return how often a fault acted."""
        return int(self.control("GET", f"faults/{fault}")["matched"])


@dataclass(kw_only=True)
class KeeperSide:
    """The Keeper node: its accounts, its settings, its faults."""

    endpoint: str
    token: str
    node: str = ""  # its name in the simulator's control API, if it was added beside another one

    @property
    def _root(self) -> str:
        return self.endpoint.partition("/api/")[0]

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call the simulator's control API."""
        node = f"nodes/{self.node}/" if self.node else ""
        return control(method, f"{self._root}/_control/{node}{path}", body)

    def beside(self, node: str) -> KeeperSide:
        """Add a node of the same Keeper: an e-mail address is taken on all of its nodes."""
        token = secrets.token_urlsafe(32)
        added = control("PUT", f"{self._root}/_control/nodes/{node}", {"token": token})
        return KeeperSide(endpoint=f"{self._root}{added['path']}", token=token, node=node)

    def alone(self) -> None:
        """Take the added nodes away."""
        control("DELETE", f"{self._root}/_control/nodes")

    def take(self, scim_id: str) -> None:
        """Move an account here from another node, as an administrator does in Keeper's Admin Console."""
        control("POST", f"{self._root}/_control/nodes/{self.node or 'first'}/take/{scim_id}")

    def accounts(self) -> list[dict[str, Any]]:
        """Return every account."""
        found: list[dict[str, Any]] = self.control("GET", "accounts")
        return found

    def of(self, user_id: str) -> dict[str, Any] | None:
        """Return the account that carries a directory id."""
        return next((account for account in self.accounts() if account.get("externalId") == user_id), None)

    def teams(self) -> list[dict[str, Any]]:
        """Return every team and role, with the ids of its members, and of those whose membership waits."""
        found: list[dict[str, Any]] = self.control("GET", "teams")
        return found

    def approve(self, *teams: str) -> None:
        """Approve the pending teams and memberships, or only those of some teams, as a Keeper administrator does."""
        self.control("POST", "approve", {"teams": teams})

    def accept(self, *accounts: str) -> None:
        """Accept invitations, as these users do, or all who were invited."""
        self.control("POST", "accept", {"accounts": accounts} if accounts else {})

    def settings(self, **settings: Any) -> None:
        """Change the simulator's settings."""
        self.control("PUT", "settings", settings)

    def fault(self, **fault: Any) -> str:
        """Inject a fault; returns its id."""
        return str(self.control("POST", "faults", fault)["id"])

    def matched(self, fault: str) -> int:
        """Return how often a fault acted."""
        return int(self.control("GET", f"faults/{fault}")["matched"])

    def requests(self) -> dict[str, Any]:
        """Return what the node was asked."""
        seen: dict[str, Any] = self.control("GET", "requests")
        return seen

    def rotate(self) -> str:
        """Make a new token, as Keeper's Admin Console does; the old one is dead at once."""
        self.token = secrets.token_urlsafe(32)
        self.settings(token=self.token)
        return self.token


@dataclass(kw_only=True)
class World:
    """Everything on loopback, wired together."""

    supervisor: Supervisor
    folder: Path
    cloud: LocalCloud = field(init=False)
    directory: DirectorySide = field(init=False)
    keeper: KeeperSide = field(init=False)
    console_url: str = ""  # the addresses of the administrators' functions, as a browser uses them
    reauthorize_url: str = ""
    administrator: str = ""

    def start(
        self,
        fixture: dict[str, Any],
        administrator: str,
        extra: dict[str, str] | None = None,
        scheduler: bool = True,
        backing: LocalCloud | None = None,
    ) -> None:
        """Start simulators, emulators (unless `backing` has them) and functions; returns once all of them answer."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.administrator = administrator
        self.cloud = backing or LocalCloud(supervisor=self.supervisor)
        simulators = self._start_simulators(fixture)
        if backing is None:
            self.cloud.start_backing()
        self.supervisor.wait_ready()
        self.directory = DirectorySide(simulators[0].address)
        self.keeper = KeeperSide(endpoint=simulators[1].address, token=(self.folder / "token").read_text())
        proxied = self._start_proxy()
        self.cloud.start_functions(self.directory.url, {"IAP_AUDIENCE": IAP_AUDIENCE, **proxied, **(extra or {})})
        if scheduler:
            self._start_scheduler()
        self.cloud.save()

    def _start_simulators(self, fixture: dict[str, Any]) -> list[Process]:
        path, token = self.folder / "fixture.json", self.folder / "token"
        path.write_text(json.dumps(fixture))
        token.touch(mode=0o600)
        token.write_text(secrets.token_urlsafe(32))
        start = self.supervisor.start
        return [
            start("directory", python("-m", "infra.local.directory", "--fixture", str(path)), cwd=ROOT),
            start("keeper", python("-m", "infra.local.keeper", "--token-file", str(token)), cwd=ROOT),
        ]

    def _start_proxy(self) -> dict[str, str]:
        """Start the proxy and return the functions' settings for it."""
        argv = ["-m", "infra.local.iap", "--audience", IAP_AUDIENCE, "--user", self.administrator]
        argv += ["--accounts", self.directory.url]
        addresses = []
        for name in ("console", "reauthorize"):
            self.cloud._port(name)  # noqa: SLF001 - the proxy must know them before the functions start
            port = free_port()
            argv += ["--target", str(port), self.cloud.url(name)]
            addresses.append(f"http://127.0.0.1:{port}")
        self.supervisor.start("iap", python(*argv), cwd=ROOT).wait_ready()
        self.console_url, self.reauthorize_url = addresses
        return {
            "IAP_CERTS_URL": f"{self.console_url}/_iap/public_key",
            "CONSOLE_URL": self.console_url,
            "REAUTHORIZE_URL": self.reauthorize_url,
        }

    def follow_audit_log(self, **lag: Any) -> None:
        """Let the organization's sink publish the audit log to our topic."""
        topic = f"http://127.0.0.1:{self.cloud.ports['pubsub']}/v1/projects/{self.cloud.project}/topics/{CHANGES}"
        self.directory.entries(topic=f"{topic}:publish", **lag)

    def _start_scheduler(self) -> None:
        reconcile, renew, follow = map(self.cloud.url, ("reconcile", "renew_watch", "workspace_events"))
        jobs: list[tuple[str, str, str]] = [
            (str(SWEEP_SECONDS), reconcile, '{"kind": "sweep"}'),
            ("900", reconcile, '{"kind": "full"}'),
            ("3600", reconcile, '{"kind": "drift"}'),
            ("300", renew, "{}"),
            ("60", follow, "{}"),
        ]
        argv = ["-m", "infra.local.scheduler"]
        for job in jobs:
            argv += ["--job", *job]
        self.supervisor.start("scheduler", python(*argv), cwd=ROOT)
        self.supervisor.wait_ready()

    def watch_directory(self) -> None:
        """Open the notification channel, as the scheduled renew_watch does, and wait for its sync message."""
        http("POST", self.cloud.url("renew_watch"), {})
        wait_for(lambda: self.directory.control("GET", "channels")["delivered"] >= 1, "the channel's sync message")

    def console(self, method: str, path: str, body: Any = None) -> Any:
        """Call the console's API through the proxy."""
        return http(method, f"{self.console_url}/api/v1/{path}", body)

    def reconcile(self, kind: str = "full") -> list[dict[str, Any]]:
        """Call `reconcile` as Cloud Scheduler would; returns the runs it started."""
        answer = http("POST", self.cloud.url("reconcile"), {"kind": kind})
        runs: list[dict[str, Any]] = answer.get("runs", [])
        return runs


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 30, every: float = 0.02) -> Any:
    """Poll until the condition holds and return its value; raises TimeoutError that names it.

    Every look costs some milliseconds of several processes, so the longer it takes, the less often it looks.
    """
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        value = condition()
        if value:
            return value
        time.sleep(max(every, min(waited / 20, 0.2)))
    raise TimeoutError(f"{what} did not happen within {seconds:.0f} s")


class WentWrong(Exception):
    """What a step promises did not hold."""


def check(holds: bool, otherwise: str) -> None:
    """Raise WentWrong unless it holds."""
    if not holds:
        raise WentWrong(otherwise)
