"""`make local`, `make connect` and `make sync` as a user runs them, against servers of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.local.cloud import FIXED_PORTS, ROOT
from infra.local.processes import Supervisor, port_is_free, python
from infra.local.simulation import DirectorySide, KeeperSide, http, wait_for
from tests.contract.scim_servers import keeper, scim2_server
from tests.support.system import GROUP, GROUP_ID, SHORT, customer, person
from tests.support.warm_python import WarmPython

KEYS = [
    "created", "updated", "suspended", "unsuspended", "deleted", "adopted", "failed", "held", "unchanged",
    "seconds", "scim_requests", "directory_requests", "firestore_reads", "firestore_writes",
]  # fmt: skip
DOCUMENTS = f"http://127.0.0.1:{FIXED_PORTS['firestore']}/v1/projects/demo-keeper/databases/(default)/documents"


class Machine:
    """A fresh machine: a folder of its own for state, a directory, a Keeper node, and the commands."""

    def __init__(self, folder: Path, directory: DirectorySide, node: KeeperSide, python: WarmPython) -> None:
        self.folder = folder
        self.directory = directory
        self.node = node
        self._python = python
        self.token_file = folder / "keeper-token"
        self.token_file.write_text(node.token + "\n")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": "functions",
            "LOCAL_STATE": str(folder / "state"),
            "DIRECTORY_API_ENDPOINT": directory.url,
            **SHORT,
        }

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command as the Makefile does."""
        return self._python.run(*arguments, environment={**self.environment, **environment}, folder=ROOT)

    def arguments(self, endpoint: str = "", token: Path | None = None, groups: str = GROUP) -> list[str]:
        """Return what the Makefile passes to connect."""
        files = ["--token-file", str(token or self.token_file)]
        return ["--endpoint", endpoint or self.node.endpoint, *files, "--scope-groups", groups]

    def connect(self, endpoint: str = "", token: Path | None = None, groups: str = GROUP):
        return self.run("infra.local.connect", *self.arguments(endpoint, token, groups))

    def connection(self) -> dict:
        """Return the stored connection, as Firestore shows it."""
        return http("GET", f"{DOCUMENTS}/connections/keeper")["fields"]

    def sync(self, *flags: str, status: int = 0) -> dict:
        """Run `make sync`'s command; its stdout is one JSON line with the documented keys, in their order."""
        done = self.run("infra.local.sync", *flags)
        assert done.returncode == status, done.stderr
        assert done.stdout.count("\n") == 1
        summary = json.loads(done.stdout)
        assert list(summary) == KEYS
        return summary

    def fresh(self) -> None:
        """Start over with a small customer and an empty node."""
        self.directory.control("DELETE", "faults")
        self.directory.control("PUT", "state", customer())
        self.node.control("DELETE", "faults")
        self.node.control("PUT", "accounts", [])
        self.node.settings(per_operation_ms=0)
        self.node.rotate()
        self.token_file.write_text(self.node.token + "\n")
        http("DELETE", DOCUMENTS.replace("/v1/", "/emulator/v1/"))


@pytest.fixture(scope="module")
def machine(tmp_path_factory, warm_python):
    """`make local` that is READY, beside a directory and a Keeper node."""
    taken = [port for port in FIXED_PORTS.values() if not port_is_free(port)]
    assert not taken, f"`make local` needs these ports: {taken}. Is a local cloud running?"
    folder = tmp_path_factory.mktemp("machine")
    (folder / "customer.json").write_text(json.dumps(customer()))
    with Supervisor(folder / "logs") as supervisor, keeper(folder) as node:
        argv = python("-m", "infra.local.directory", "--fixture", str(folder / "customer.json"))
        simulator = supervisor.start("directory", argv, cwd=ROOT).wait_ready()
        machine = Machine(folder, DirectorySide(simulator.address), node, warm_python)
        output = folder / "local.out"
        with output.open("w") as stdout:
            local = subprocess.Popen(
                python("-m", "infra.local.start"), cwd=ROOT, env=machine.environment, stdout=stdout
            )
        try:
            wait_for(lambda: "READY\n" in output.read_text() or local.poll() is not None, "READY", 60)
            assert local.poll() is None, output.read_text()
            yield machine
        finally:
            local.send_signal(signal.SIGINT)
            assert local.wait(20) == 0
    assert all(port_is_free(port) for port in FIXED_PORTS.values())
    assert not (folder / "state" / "cloud.json").exists()


@pytest.fixture
def fresh(machine):
    machine.fresh()
    return machine


def test_local_prints_where_everything_is(machine):
    printed = (machine.folder / "local.out").read_text()
    for name, port in FIXED_PORTS.items():
        if name not in ("firestore", "pubsub", "secrets"):
            assert f"http://127.0.0.1:{port}" in printed
    assert machine.directory.url in printed
    assert printed.endswith("READY\n")
    assert (machine.folder / "state" / "cloud.json").stat().st_mode & 0o077 == 0, "it holds the channel key"


def test_connect_confirms_every_adoption_in_doubt_where_it_is_told_to(fresh):
    made = {"active": True, "meta": {"created": "2001-01-01T00:00:00Z"}}
    old = [{"userName": f"person{number}@example.com", **made} for number in (1, 2, 3)]
    fresh.node.control("PUT", "accounts", [*old, {"userName": "shared@example.com", "active": True}])
    fresh.directory.call("POST", "users/u4/aliases", {"alias": "shared@example.com"})
    connected = fresh.run("infra.local.connect", *fresh.arguments(), "--adopt", "all")
    assert connected.returncode == 0, connected.stderr
    assert connected.stdout.startswith("adoptions confirmed: 3\nturning on would do: adopt 3, create 9; creating 9 ")
    summary = fresh.sync()
    assert (summary["created"], summary["adopted"], summary["failed"]) == (9, 3, 0)


def test_connect_offers_to_treat_archived_users_as_suspended(fresh):
    refused = fresh.run("infra.local.connect", *fresh.arguments(), "--archived", "gone")
    assert (refused.returncode, refused.stderr.startswith("ARCHIVED: only suspended and kept are known")) == (1, True)
    fresh.connect()
    fresh.sync()
    fresh.directory.patch("u1", {"archived": True})
    assert fresh.sync()["suspended"] == 0
    connected = fresh.run("infra.local.connect", *fresh.arguments(), "--archived", "suspended")
    assert connected.stdout.endswith("archived users: treated as suspended\n"), connected.stderr
    assert fresh.sync()["suspended"] == 1


def test_connect_without_it_leaves_them_in_doubt_and_knows_nothing_else(fresh):
    made = {"created": "2001-01-01T00:00:00Z"}
    fresh.node.control("PUT", "accounts", [{"userName": "person1@example.com", "active": True, "meta": made}])
    refused = fresh.run("infra.local.connect", *fresh.arguments(), "--adopt", "some")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "ADOPT: only all is known. Leave it out, and confirm adoptions one by one in a preview.\n"
    fresh.connect()
    summary = fresh.sync(status=1)
    assert (summary["created"], summary["adopted"], summary["failed"]) == (11, 0, 1)


def test_connect_and_sync_through_a_day(fresh):
    """One connection, and a sync for each exit status there is."""
    fresh.node.control("PUT", "accounts", [{"userName": "person1@example.com", "active": True}])
    connected = fresh.connect()
    told = "turning on would do: adopt 1, create 11; creating 11 accounts is confirmed\nconnection keeper is on: "
    told += f"{fresh.node.endpoint}, scope: {GROUP}\narchived users: kept, not operated on (ARCHIVED=suspended)\n"
    assert connected.stdout == told, connected.stderr
    summary = fresh.sync()
    assert (summary["created"], summary["adopted"], summary["failed"], summary["held"]) == (11, 1, 0, 0)
    assert set(summary["scim_requests"]) <= {"GET", "POST", "PATCH", "PUT", "DELETE"}
    assert summary["scim_requests"]["POST"] >= 1
    assert summary["directory_requests"] >= 2
    assert min(summary["firestore_reads"], summary["firestore_writes"]) > 0
    assert 0 < summary["seconds"] < 60
    assert len(fresh.node.accounts()) == 12

    fresh.directory.patch("u1", {"name": {"familyName": "Updated"}})
    fresh.directory.patch("u2", {"suspended": True})
    fresh.directory.delete("u3")
    fresh.directory.insert(person(40))
    fresh.directory.join(GROUP_ID, "u40")
    vandalized = fresh.node.of("u4")["id"]
    fresh.node.control("PATCH", f"accounts/{vandalized}", {"displayName": "Vandal"})
    summary = fresh.sync()
    assert {key: summary[key] for key in KEYS[:9]} == {
        "created": 1, "updated": 1, "suspended": 2, "unsuspended": 0, "deleted": 0, "adopted": 0, "failed": 0,
        "held": 0, "unchanged": 9,
    }  # fmt: skip
    fresh.directory.patch("u2", {"suspended": False})
    summary = fresh.sync("--full")
    assert (summary["unsuspended"], summary["updated"]) == (1, 1)
    assert fresh.node.of("u4")["displayName"] == "Given4 Family4"

    fresh.directory.insert(person(41, primaryEmail="person3@example.com"))
    fresh.directory.join(GROUP_ID, "u41")
    assert fresh.sync(status=1)["failed"] == 1

    fresh.directory.delete("u41")
    for number in range(12):
        if number != 3:
            fresh.directory.leave(GROUP_ID, f"u{number}")
    assert fresh.sync(status=2)["held"] == 11
    assert sum(account["active"] for account in fresh.node.accounts()) == 12

    fresh.node.rotate()
    fresh.directory.patch("u40", {"name": {"familyName": "Patience"}})
    fresh.sync(status=3)
    fresh.token_file.write_text(fresh.node.token)
    again = fresh.connect(groups="")
    assert (again.returncode, "scope: everybody" in again.stdout) == (0, True)
    summary = fresh.sync()
    assert (summary["created"], summary["updated"], summary["held"]) == (0, 1, 0)

    fresh.directory.fault(match={"method": "users.list"}, status=503, times=None)
    done = fresh.run("infra.local.sync")
    assert (done.returncode, done.stdout) == (1, "")
    assert "The run could not be started: users.list" in done.stderr


def test_another_scim_server_than_the_simulator(fresh, tmp_path):
    with scim2_server(tmp_path) as (endpoint, token):
        token_file = tmp_path / "token"
        token_file.write_text(token)
        connected = fresh.connect(endpoint, token_file)
        assert connected.returncode == 0, connected.stderr
        assert fresh.sync()["created"] == 12
        fresh.directory.patch("u1", {"name": {"familyName": "Elsewhere"}, "primaryEmail": "elsewhere@example.com"})
        fresh.directory.patch("u2", {"suspended": True})
        summary = fresh.sync("--full")
        assert (summary["updated"], summary["suspended"], summary["failed"], summary["unchanged"]) == (1, 1, 0, 10)


def test_nothing_connected_is_said_and_not_an_error(fresh):
    done = fresh.run("infra.local.sync")
    assert done.returncode == 0
    assert "No connection is on (there is none)" in done.stderr
    assert json.loads(done.stdout)["created"] == 0


BAD_CONNECTS = {
    "no token file": (lambda m: {"token": m.folder / "nowhere"}, "TOKEN_FILE: No such file"),
    "a folder as token file": (lambda m: {"token": m.folder}, "TOKEN_FILE: Is a directory"),
    "a token file of bytes": (lambda m: {"token": Path(sys.executable)}, "is not a text file"),
    "an empty token file": (lambda m: {"token": Path(os.devnull)}, "is empty"),
    "a wrong token": (lambda m: {"token": m.folder / "customer.json"}, "token: "),
    "http elsewhere": (lambda m: {"endpoint": "http://keepersecurity.com/api/rest/scim/v2/1"}, "must begin with https"),
    "a host that is none of Keeper's": (lambda m: {"endpoint": "https://example.com/v2"}, "SCIM_EXTRA_HOSTS"),
    "no URL": (lambda m: {"endpoint": "keeper"}, "endpoint: it must begin with https"),
    "a query in the URL": (lambda m: {"endpoint": m.node.endpoint + "?token=abc"}, "endpoint: it has credentials"),
    "a closed port": (lambda m: {"endpoint": "http://127.0.0.1:1/api/rest/scim/v2/1"}, "Keeper"),
    "another node's path": (lambda m: {"endpoint": m.node.endpoint + "9"}, "endpoint: "),
    "an unknown group": (lambda m: {"groups": f"{GROUP},nobody@example.com"}, "no group 'nobody@example.com'"),
}


@pytest.fixture(scope="module")
def refusals(machine):
    """What every bad `make connect` answers on a machine that is connected, and the connection before and after."""
    machine.fresh()
    assert machine.connect().returncode == 0
    before = machine.connection()
    refused = {what: machine.connect(**told(machine)) for what, (told, _) in BAD_CONNECTS.items()}
    return refused, before, machine.connection()


@pytest.mark.parametrize("what", BAD_CONNECTS)
def test_connect_refuses_what_cannot_work(machine, refusals, what):
    refused = refusals[0][what]
    assert (refused.returncode, refused.stdout) == (1, "")
    assert BAD_CONNECTS[what][1] in refused.stderr
    assert machine.node.token not in refused.stderr


def test_a_refused_connect_leaves_the_connection_as_it_was(refusals):
    assert refusals[1] == refusals[2]


def test_a_second_local_is_refused_and_leaves_the_first_alone(machine):
    second = machine.run("infra.local.start")
    assert second.returncode == 1
    assert second.stderr.startswith("Ports in use: 8801 (firestore)")
    assert (machine.folder / "state" / "cloud.json").exists()


def test_through_make(fresh):
    """Make prints nothing of its own on stdout; a failure reaches the shell as make's own status, 2."""
    make = ["make", "--no-print-directory", f"PYTHON={sys.executable}"]
    argv = [
        *make,
        "connect",
        f"ENDPOINT={fresh.node.endpoint}",
        f"TOKEN_FILE={fresh.token_file}",
        f"SCOPE_GROUPS={GROUP}",
    ]
    connected = subprocess.run(argv, cwd=ROOT, env=fresh.environment, capture_output=True, text=True)
    assert connected.returncode == 0, connected.stderr
    done = subprocess.run([*make, "sync"], cwd=ROOT, env=fresh.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)) == KEYS
    usage = subprocess.run([*make, "connect"], cwd=ROOT, env=fresh.environment, capture_output=True, text=True)
    assert (usage.returncode, usage.stdout) == (2, "")
    assert "Usage: make connect ENDPOINT=" in usage.stderr


@pytest.mark.parametrize("command", ["connect", "sync"])
def test_without_a_local_cloud_the_command_says_how_to_start_one(machine, command, tmp_path):
    arguments = ["--endpoint", "x", "--token-file", "y"] if command == "connect" else []
    done = machine.run(f"infra.local.{command}", *arguments, LOCAL_STATE=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "make local" in done.stderr


def test_addresses_that_a_killed_cloud_left_are_not_believed(machine, tmp_path):
    state = json.loads((machine.folder / "state" / "cloud.json").read_text())
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / "cloud.json").write_text(json.dumps({**state, "pid": ended.pid}))
    done = machine.run("infra.local.sync", LOCAL_STATE=str(tmp_path))
    assert (done.returncode, "make local" in done.stderr) == (1, True)


@pytest.fixture
def bare(tmp_path):
    """An environment to start `make local` in that cannot work; nothing is listening."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LOCAL_STATE": str(tmp_path), "PYTHONPATH": "functions"}


def start(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    begun = time.monotonic()
    done = subprocess.run(
        python("-c", BESIDE, "infra.local.start"), cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert time.monotonic() - begun < 30
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done


# `make local` on other ports, so that it can be started beside the one that runs.
BESIDE = """
import runpy, socket, sys
from infra.local import cloud
holders = [socket.create_server(("127.0.0.1", 0)) for _ in cloud.FIXED_PORTS]
for name, holder in zip(list(cloud.FIXED_PORTS), holders, strict=True):
    cloud.FIXED_PORTS[name] = holder.getsockname()[1]
for holder in holders:
    holder.close()
runpy.run_module(sys.argv[1], run_name="__main__")
"""


def test_without_java_the_exact_command_is_told(bare, tmp_path):
    done = start({**bare, "PATH": str(tmp_path)})
    assert "Run: sudo apt-get install default-jre-headless" in done.stderr


def test_without_the_sdk_the_exact_command_is_told(bare, tmp_path):
    done = start({**bare, "GOOGLE_CLOUD_SDK_ROOT": str(tmp_path)})
    assert "Run: sudo apt-get install google-cloud-cli google-cloud-cli-firestore-emulator" in done.stderr
    assert str(tmp_path) in done.stderr


def test_without_a_component_the_exact_command_is_told(bare, tmp_path):
    (tmp_path / "platform").mkdir()
    done = start({**bare, "GOOGLE_CLOUD_SDK_ROOT": str(tmp_path)})
    assert "cloud-firestore-emulator is missing. Run: sudo apt-get install" in done.stderr


def test_settings_that_make_no_sense_are_all_told_before_anything_starts(bare):
    done = start(
        {**bare, "USER_DEADLINE_SECONDS": "soon", "SCIM_CONCURRENCY": "-1", "DIRECTORY_API_ENDPOINT": "ftp://x"}
    )
    for name in ("USER_DEADLINE_SECONDS", "SCIM_CONCURRENCY", "DIRECTORY_API_ENDPOINT"):
        assert name in done.stderr
    assert not list(Path(bare["LOCAL_STATE"]).glob("logs/*.log"))


def test_the_real_directory_needs_an_administrator_and_says_so(bare):
    done = start({**bare, "DIRECTORY_API_ENDPOINT": "https://admin.googleapis.com"})
    assert "DIRECTORY_ADMIN is not set" in done.stderr
    assert "DIRECTORY_SERVICE_ACCOUNT is not set" in done.stderr


def test_a_port_that_something_else_holds_is_named(bare):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        before, run, after = BESIDE.partition("runpy.run_module")
        code = f"{before}cloud.FIXED_PORTS['pubsub'] = {port}\n{run}{after}"
        done = subprocess.run(
            python("-c", code, "infra.local.start"), cwd=ROOT, env=bare, capture_output=True, text=True
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Ports in use: {port} (pubsub)" in done.stderr
