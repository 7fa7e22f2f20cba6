"""The whole local cloud under test: a small customer, a Keeper node, real functions, and ways to hurt them."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from infra.local.cloud import ROOT, LocalCloud, subscribe_anew
from infra.local.connect import CONNECTION, connect
from infra.local.processes import Process, Supervisor, free_port
from infra.local.simulation import World, http, wait_for
from infra.local.sync import synchronize
from tests.support.provisioned import Provisioned
from tests.support.wire import Answer, Tap, ask

GROUP = "keeper-users@example.com"
GROUP_ID = "g-keeper"
ADMIN = "admin@example.com"
PEOPLE = 12
SHORT = {
    "USER_DEADLINE_SECONDS": "6",
    "USER_MARK_SECONDS": "7",
    "BATCH_DEADLINE_SECONDS": "12",
    "BATCH_MARK_SECONDS": "14",
    "RECONCILE_LEASE_SECONDS": "3",
    "CONTRADICTION_SECONDS": "4",
    "SCIM_TIMEOUT_SECONDS": "2",
    "SCIM_STOP_SECONDS": "5",
    "OUTSIDE_TIMEOUT_SECONDS": "8",
    "DIRECTORY_FIRST_PAUSE_SECONDS": "0.02",
    "LOG_LEVEL": "INFO",
}


def person(number: int, **changes: Any) -> dict[str, Any]:
    """Return a directory user: id u<number>, person<number>@example.com."""
    return {
        "id": f"u{number}",
        "primaryEmail": f"person{number}@example.com",
        "name": {"givenName": f"Given{number}", "familyName": f"Family{number}"},
        "suspended": False,
        "archived": False,
        "orgUnitPath": "/",
        "creationTime": "2020-01-01T00:00:00.000Z",
        **changes,
    }


def customer(people: int = PEOPLE) -> dict[str, Any]:
    """Return a customer of an administrator and some people, everybody a member of the scope group."""
    users = [person(0, primaryEmail=ADMIN, isAdmin=True)] + [person(number) for number in range(1, people)]
    members = [{"id": user["id"], "email": user["primaryEmail"], "type": "USER", "role": "MEMBER"} for user in users]
    return {
        "customer": "C0test",
        "domains": [{"domainName": "example.com", "isPrimary": True}],
        "users": users,
        "deletedUsers": [],
        "orgUnits": [{"orgUnitId": "id:03sales", "orgUnitPath": "/Sales"}],
        "groups": [{"id": GROUP_ID, "email": GROUP, "name": "Keeper users"}],
        "members": {GROUP_ID: members},
    }


class System:
    """A World with the verbs that tests need; `reset` makes it as new."""

    def __init__(self, world: World, supervisor: Supervisor, logs: Collection[Path]) -> None:
        self.world = world
        self.supervisor = supervisor
        self._logs = logs  # folders of the logs of everything that runs
        self.directory = world.directory
        self.keeper = world.keeper
        self.settled: tuple[Any, ...] | None = None  # what tests share that change nothing, as `written` tells it
        self.kept: Provisioned | None = None  # what `restored` puts back
        self._people = 0

    @staticmethod
    def started(folder: Path, backing: LocalCloud, logs: Collection[Path]) -> System:
        """Start everything beside the emulators, whose supervisor stops it in the end."""
        world = World(supervisor=backing.supervisor, folder=folder)
        world.start(customer(), ADMIN, SHORT, scheduler=False, backing=backing)
        os.environ.update(world.cloud.environment)
        sys.path.insert(0, str(ROOT / "functions"))
        return System(world, backing.supervisor, logs)

    def calm(self) -> None:
        """Lift every fault and wake every function."""
        for worker in self.world.cloud.workers.values():
            worker.signal_group(signal.SIGCONT)
        self.keeper.control("DELETE", "faults")
        self.directory.control("DELETE", "faults")
        self.directory.weather(
            lose=False, duplicate=0, delay=0.0, reorder=False, hold=False, demand_event=False, retry_base=0.1
        )
        self.directory.entries(topic="", lose_every=0, duplicate=0, delay=0.0, reorder=False, hold=False)
        self.directory.control("POST", "stale", {"on": False})

    def reset(self, people: int = PEOPLE) -> None:
        """Forget everything: users, accounts, roster, channels.

        A run that an earlier test asked for is waited for. A worker that is still at an earlier test's message finds
        nobody in the directory and no token that Keeper takes, so nothing of it gets into the next test.
        """
        self.settled, self._people = None, people
        self.calm()
        subscribe_anew(self.world.cloud)
        self._let_runs_end()
        self.keeper.rotate()
        self.directory.control("PUT", "state", customer(0))
        for channel in self.directory.control("GET", "channels")["channels"]:
            self.directory.control("DELETE", f"channels/{channel['id']}")
        self.keeper.settings(
            bulk=True, latency_ms=0, per_operation_ms=0, rate=None, page_cap=1000, ignore_filter=False, seats=None,
            repeat_first_page=False, short_pages=False, string_active=False, tell_created=True,
            taken_addresses=[], reserved_domains=[],
            max_operations=1000, max_payload=1_048_576, throttle_style="429", retry_after=1, bulk_responses=False,
            normalization={}, teams={},
        )  # fmt: skip
        self.keeper.control("PUT", "accounts", [])
        self.keeper.control("PUT", "teams", [])
        self._empty_database()
        self.directory.control("PUT", "state", customer(people))
        self._renew_functions()
        self.keeper.control("DELETE", "requests")
        self.directory.control("DELETE", "requests")

    def _let_runs_end(self) -> None:
        """Take the lease of `reconcile`: a planner has it until it releases it or dies."""
        from autoprovisioning.app.runs.reconcile import LEASE

        services = self.services()
        length = timedelta(seconds=1)
        wait_for(lambda: services.leases.take(LEASE, "reset", services.clock(), length), "the end of the run")

    def _empty_database(self) -> None:
        port, project = self.world.cloud.ports["firestore"], self.world.cloud.project
        url = f"http://127.0.0.1:{port}/emulator/v1/projects/{project}/databases/(default)/documents"
        http("DELETE", url)

    def _renew_functions(self) -> None:
        """Restart functions that a test has killed."""
        for name, worker in list(self.world.cloud.workers.items()):
            if worker.exit_code() is not None:
                self.restart(name)

    def connect(
        self, groups: tuple[str, ...] = (GROUP,), *, org_units: tuple[str, ...] | None = None, **settings: Any
    ) -> None:
        """Set up the connection and turn it on, as if a preview had said that everybody gets an account."""
        connect(self.keeper.endpoint, self.keeper.token, groups, settings, org_units=org_units, creates=100_000)

    def sync(self, kind: str = "full") -> dict[str, Any]:
        """Run to the end and return the summary."""
        return synchronize(self.world.cloud.url("reconcile"), kind)

    def followed(self, ask_for_run: Callable[[], Any]) -> None:
        """Do what asks for a full run, and let that run end: after a `sync` instead it may come late, in mid-test."""
        runs = self.services().runs
        before = {run.id for run in runs.latest(CONNECTION, 100)}
        ask_for_run()
        wait_for(
            lambda: any(run.ended and run.id not in before for run in runs.latest(CONNECTION, 100)),
            "the run that was asked for",
        )

    def provisioned(self, groups: tuple[str, ...] = (GROUP,), **settings: Any) -> dict[str, Any]:
        """Connect, run, and open the notification channel."""
        summary = self._first_run(groups, **settings)
        self._watch()
        return summary

    def restored(self) -> None:
        """Make of a system as new what `provisioned` makes of it, in a third of the time: a first run is kept.

        The functions are as new ones, which remember nothing of it; neither Keeper nor the directory was asked.
        """
        assert self._people == PEOPLE, "put back is what a customer of the usual size had"
        if self.kept is None or time.monotonic() > self.kept.until:
            self._first_run()
            self.kept = Provisioned.taken(self)
        else:
            self.kept.put_back(self)
        self._watch()

    def _first_run(self, groups: tuple[str, ...] = (GROUP,), **settings: Any) -> dict[str, Any]:
        self.connect(groups, **settings)
        summary = self.sync()
        assert summary["failed"] == 0, summary
        return summary

    def _watch(self) -> None:
        self.world.watch_directory()
        wait_for(self._channel_proven, "the channel's proof")  # its message is no longer under way

    def _channel_proven(self) -> bool:
        from autoprovisioning.bootstrap import channels

        return any(channel.proven for channel in channels().all())

    def snapshot(self) -> tuple[Any, ...]:
        """Return all that a refused request must leave as it is."""
        services = self.services()
        connection = services.connections.get(CONNECTION)
        return (
            connection,
            services.roster.load(connection),
            self.events(),
            services.runs.open(CONNECTION),
            self.keeper.accounts(),
            self.directory.control("GET", "channels")["channels"],
        )

    def written(self) -> tuple[Any, ...]:
        """Return what tells that something was written: each document and when it was, the accounts and the channels.

        Not of what is written though nothing changes: what is counted, who has the turn, and what was asked.
        """
        names_alone = {"fields": [{"field_path": "__name__"}]}
        query = {"from_": [{"all_descendants": True}], "select": names_alone}
        found = self.firestore.run_query(request={"parent": f"{self.database}/documents", "structured_query": query})
        documents = {each.document.name: each.document.update_time for each in found if each.document.name}
        return (
            {name: at for name, at in documents.items() if not re.search(r"/(usage|leases|channels|requests)/", name)},
            self.keeper.accounts(),
            self.directory.control("GET", "channels")["channels"],
        )

    @property
    def database(self) -> str:
        """Return the database's name."""
        return f"projects/{self.world.cloud.project}/databases/(default)"

    @cached_property
    def firestore(self) -> Any:
        """Firestore's own interface: over REST the emulator takes twice as long to list all documents."""
        import grpc
        from google.cloud.firestore_v1.services.firestore import FirestoreClient
        from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport

        channel = grpc.insecure_channel(f"127.0.0.1:{self.world.cloud.ports['firestore']}")
        return FirestoreClient(transport=FirestoreGrpcTransport(channel=channel))

    def account(self, user_id: str) -> dict[str, Any] | None:
        """Return the account that carries a directory id."""
        return self.keeper.of(user_id)

    def active(self) -> set[str]:
        """Return the directory ids of the active accounts."""
        return {account.get("externalId", "") for account in self.keeper.accounts() if account["active"]}

    def await_account(
        self, user_id: str, test: Callable[[dict[str, Any]], bool], seconds: float = 20
    ) -> dict[str, Any]:
        """Wait until a user's account is as wanted."""

        def found() -> dict[str, Any] | None:
            account = self.account(user_id)
            return account if account is not None and test(account) else None

        result: dict[str, Any] = wait_for(found, f"the account of {user_id}", seconds)
        return result

    def services(self) -> Any:
        """Return the services, as a function has them, for looking at the state."""
        from autoprovisioning.bootstrap import process_services

        return process_services()

    def entry(self, user_id: str) -> Any:
        """Return a roster entry."""
        services = self.services()
        return services.roster.entry(services.connections.get(CONNECTION), user_id)

    def state(self) -> str:
        """Return the connection's state."""
        connection = self.services().connections.get(CONNECTION)
        return str(connection.state.value) if connection is not None else "gone"

    def events(self, user_id: str = "") -> list[dict[str, Any]]:
        """Return the audit, oldest first."""
        from google.cloud import firestore

        client = firestore.Client(project=self.world.cloud.project)
        found = [item.to_dict() or {} for item in client.collection(f"connections/{CONNECTION}/events").stream()]
        return sorted((event for event in found if user_id in ("", event["user_id"])), key=lambda event: event["at"])

    def push(
        self, function: str, payload: dict[str, Any], message_id: str = "", *, timeout: float = 30, port: int = 0
    ) -> int:
        """Deliver a message as Pub/Sub does; returns the status (599 when the function dies meanwhile)."""
        data = base64.b64encode(json.dumps(payload).encode()).decode()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        envelope = {"message": {"messageId": message_id or uuid.uuid4().hex, "data": data, "publishTime": stamp}}
        url = f"http://127.0.0.1:{port}" if port else self.world.cloud.url(function)
        request = urllib.request.Request(
            url, json.dumps(envelope).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except (OSError, TimeoutError):
            return 599

    def look(self, user_id: str, message_id: str = "", **more: Any) -> int:
        """Deliver "look again" to provision_user."""
        port = more.pop("port", 0)
        return self.push("provision_user", {"user_id": user_id, **more}, message_id, port=port)

    def kill(self, function: str) -> None:
        """Kill a function without warning: SIGKILL to its whole process group."""
        worker = self.world.cloud.workers[function]
        worker.signal_group(signal.SIGKILL)
        wait_for(lambda: worker.exit_code() is not None, f"the end of {function}")

    def restart(self, function: str) -> Process:
        """Start a function again on its port."""
        worker = self.world.cloud.start_function(function)
        return worker.wait_ready()

    def second(self, function: str, *, wait: bool = True, **environment: str) -> int:
        """Start another instance of a function, with changes to its environment; returns its port."""
        port = free_port()
        from infra.local.processes import python

        child = self.supervisor.start(
            f"{function}-{port}",
            python("-m", "functions_framework", "--target", function, "--host", "127.0.0.1", "--port", str(port)),
            env={**self.world.cloud.environment, "HOME": str(self.world.folder), **environment},
            ready=f"http://127.0.0.1:{port}/robots.txt",
            cwd=ROOT / "functions",
        )
        if wait:
            child.wait_ready()
        return port

    def freeze(self, function: str) -> None:
        """Stop a function's processes where they are."""
        self.world.cloud.workers[function].signal_group(signal.SIGSTOP)

    def thaw(self, function: str) -> None:
        """Let them go on."""
        self.world.cloud.workers[function].signal_group(signal.SIGCONT)

    def ask(
        self,
        function: str,
        method: str = "POST",
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
        *,
        path: str = "/",
        port: int = 0,
    ) -> Answer:
        """Send a function one request as it is."""
        base = f"http://127.0.0.1:{port}" if port else self.world.cloud.url(function)
        return ask(method, base + path, body, headers)

    @contextlib.contextmanager
    def tapped(self, topic: str) -> Iterator[Tap]:
        """See what is published to a topic from now on."""
        tap = Tap(self.world.cloud.ports["pubsub"], self.world.cloud.project, topic)
        try:
            yield tap
        finally:
            tap.close()

    def log(self, name: str) -> str:
        """Return all that a process has logged since it was last started."""
        child = next(child for child in reversed(self.supervisor.children()) if child.name == name)
        return child.log.read_text(errors="replace")

    def logs(self) -> dict[str, str]:
        """Return the logs of everything that runs, by file name."""
        return {path.name: path.read_text(errors="replace") for folder in self._logs for path in folder.glob("*.log")}

    def through_proxy(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        who: str = "",
        *,
        function: str = "console",
    ) -> Answer:
        """Send a request through Identity-Aware Proxy's stand-in, signed in as somebody (the administrator)."""
        address = {"console": self.world.console_url, "reauthorize": self.world.reauthorize_url}[function]
        sent = dict(headers or {})
        cookies = [f"local_iap_user={who}"] if who else []
        cookies += [sent["Cookie"]] if "Cookie" in sent else []
        return ask(method, address + path, body, {**sent, **({"Cookie": "; ".join(cookies)} if cookies else {})})

    def api(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, who: str = ""
    ) -> Answer:
        """Call the console's API, as an administrator of the fixture or as somebody else; writes send JSON."""
        if method == "GET":
            return self.through_proxy(method, f"/api/v1{path}", None, headers, who)
        sent = {"Content-Type": "application/json", **(headers or {})}
        return self.through_proxy(method, f"/api/v1{path}", json.dumps(body or {}).encode(), sent, who)

    def end(self, name: str) -> None:
        """Stop a process that a test has started."""
        next(child for child in reversed(self.supervisor.children()) if child.name == name).stop()

    def redirect(self, topic: str, address: str) -> None:
        """Let Pub/Sub push a topic's messages somewhere else."""
        import grpc
        from google.pubsub_v1 import SubscriberClient
        from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

        channel = grpc.insecure_channel(f"127.0.0.1:{self.world.cloud.ports['pubsub']}")
        subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        path = f"projects/{self.world.cloud.project}/subscriptions/{topic}"
        subscriber.modify_push_config(request={"subscription": path, "push_config": {"push_endpoint": address}})
        channel.close()
