"""docs/install.md walked with make itself: a fresh clone of a tag, and a gcloud on PATH with the stand-in behind it."""

from __future__ import annotations

import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from infra.gcp import commands
from tests.gcp.gcloud_parser import TARGET
from tests.gcp.stand_in import StandIn
from tests.gcp.test_install import ROOT, SETTINGS, blocks

# Started for each of a thousand commands: Perl, which git needs, starts in a sixth of the time that Python takes.
SHIM = """#!/usr/bin/perl
socket(my $line, 1, 1, 0);  # AF_UNIX, SOCK_STREAM
connect($line, pack("Sa*", 1, '{address}')) or die $!;
undef $/;
my $there = -t STDIN ? "" : <STDIN>;
syswrite($line, join("\\0", "gcloud", @ARGV, $there // ""));
shutdown($line, 1);
my ($status, $out, $err) = split(/\\0/, <$line>, 3);
print STDOUT $out;
print STDERR $err;
exit $status;
"""
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module", autouse=True)
def same_source() -> None:
    """Let git be asked each time: the stand-in reads from another clone here."""


def git(home: Path, *arguments: str, given: bytes = b"") -> bytes:
    author = ("-c", "user.name=walker", "-c", "user.email=walker@example.com")
    command = ["git", "-c", "safe.directory=*", *author, *arguments]
    return subprocess.run(command, cwd=home, input=given, check=True, capture_output=True).stdout


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where the page is walked: a machine that has make, git, Python and a gcloud, and a clone on it."""

    home: Path
    clone: Path
    cloud: StandIn
    given: dict[str, str] = field(default_factory=lambda: {name: getattr(TARGET, name.lower()) for name in SETTINGS})

    def make(self, *what: str, typed: str = "") -> tuple[int, str]:
        """Return what make exits with, and all that is printed."""
        environment = {
            "PATH": f"{self.home / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.home),
            "HTTPS_PROXY": NOWHERE,
            **self.given,
        }
        done = subprocess.run(
            ["make", f"VENV={self.home / 'venv'}", *what],
            cwd=self.clone,
            env=environment,
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stdout, done.stdout
        return done.returncode, done.stdout


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    published, clone = tmp_path / "published", tmp_path / "keeper-autoprovisioning"
    git(tmp_path, "clone", "--quiet", str(ROOT), str(published))
    changed = git(ROOT, "diff", "--binary", "HEAD")
    if changed:
        git(published, "apply", "-", given=changed)
    git(published, "commit", "--quiet", "--allow-empty", "--all", "--message=What is being worked on")
    (tag,) = {line.split()[3] for text in blocks("sh") for line in text.splitlines() if line.startswith("git clone")}
    git(published, "tag", "--annotate", tag, f"--message={tag}")
    git(tmp_path, "clone", "--quiet", "--branch", tag, str(published), str(clone))
    for name in ("bin", "lib", "pyvenv.cfg"):
        (tmp_path / "venv").mkdir(exist_ok=True)
        (tmp_path / "venv" / name).symlink_to(Path(sys.prefix) / name)
    (tmp_path / "venv" / ".installed").touch()  # as after make setup
    cloud, one_by_one = StandIn(), threading.Lock()
    monkeypatch.setattr(commands, "ROOT", clone)  # where the stand-in reads the files that commands name

    class Answering(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            *command, stdin = self.rfile.read().decode().split("\0")
            with one_by_one:
                answer = cloud(tuple(command), stdin)
            self.wfile.write("\0".join((str(answer.status), answer.out, answer.err)).encode())

    address = str(tmp_path / "gcloud.socket")
    server = socketserver.ThreadingUnixStreamServer(address, Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "gcloud"
    shim.write_text(SHIM.format(address=address))
    shim.chmod(0o755)
    yield Machine(home=tmp_path, clone=clone, cloud=cloud)
    server.shutdown()
    server.server_close()


@pytest.mark.timeout(1800)  # a thousand processes, on a machine that may be busy
def test_the_page_is_walked_from_a_fresh_clone_to_the_deletion(machine):
    assert machine.make("setup")[0] == 0
    status, said = machine.make("plan")
    assert (status, "Deploying to project keeper-prod, region europe-west1" in said) == (0, True)
    for setting, told in (("ALERTS", "ALERTS is missing: give"), ("ACCESS", "ACCESS is missing: give group:ADDRESS")):
        value = machine.given.pop(setting)
        status, said = machine.make("deploy")
        assert (status, told in said) == (2, True)
        machine.given[setting] = value
    makefile = machine.clone / "Makefile"
    makefile.write_text(makefile.read_text() + "# mine\n")
    status, said = machine.make("deploy")
    assert (status, "Not committed: Makefile." in said) == (2, True)
    git(machine.clone, "checkout", "--quiet", "--", "Makefile")
    assert machine.cloud.changes() == []

    billing = (
        "FAILED_PRECONDITION: Billing account for project '1' is not found. Billing must be enabled for activation."
    )
    machine.cloud.failures = [("services enable", billing, 1)]
    status, said = machine.make("deploy")
    assert (status, billing in said) == (2, True)
    assert "Fix that and run the same command again: it goes on from there.\nmake: *** " in said
    status, said = machine.make("deploy", "UNTESTED=yes")  # the stand-in is nowhere on the network
    assert (status, said.splitlines()[-1]) == (0, "Console: https://console-123456789012.europe-west1.run.app")
    labels = machine.cloud.things["service"]["console"]["metadata"]["labels"]
    assert labels["version"] == "v1-0-0"
    status, said = machine.make("rollback")
    assert (status, "There is no release before the one that is deployed: nothing was changed." in said) == (0, True)
    status, said = machine.make("detach")
    assert (status, "There is nothing to do: Cloud Functions manages no function of" in said) == (0, True)

    assert machine.make("destroy", typed="no\n")[0] == 2
    assert machine.cloud.things["service"]
    status, said = machine.make("destroy", typed="keeper-prod\n")
    assert (status, "\nDone. " in said) == (0, True)
    assert not machine.cloud.things["service"]
    assert "There is nothing to remove." in machine.make("destroy")[1]
