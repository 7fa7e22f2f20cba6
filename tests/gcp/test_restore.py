"""The restore drill: the database is lost and comes back from an export, older than what happened since."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from autoprovisioning.domain.events import Actor
from infra.local.compare import compare
from infra.local.connect import CONNECTION
from infra.local.simulation import http
from tests.gcp.gcloud_parser import TARGET, complaints
from tests.support.system import GROUP, GROUP_ID, System, person

PAGE = Path(__file__).parents[2] / "docs" / "restore.md"
UNDONE = ("created", "updated", "suspended", "unsuspended", "deleted", "adopted", "failed", "held")


class Vault:
    """Exports of the system's database, made and read by the emulator."""

    def __init__(self, system: System, folder: Path) -> None:
        cloud = system.world.cloud
        self._url = f"http://127.0.0.1:{cloud.ports['firestore']}/emulator/v1/projects/{cloud.project}"
        self._database = f"projects/{cloud.project}/databases/(default)"
        self._folder = folder

    def export(self) -> None:
        body = {"database": self._database, "export_directory": str(self._folder), "export_name": "backup"}
        http("POST", f"{self._url}:export", body)

    def lose(self) -> None:
        http("DELETE", f"{self._url}/databases/(default)/documents")

    def restore(self) -> None:
        metadata = self._folder / "backup" / "backup.overall_export_metadata"
        http("POST", f"{self._url}:import", {"database": self._database, "export_directory": str(metadata)})


@pytest.fixture
def vault(system: System, tmp_path: Path) -> Vault:
    system.restored()
    return Vault(system, tmp_path)


def differences(system: System) -> list[tuple[str, str]]:
    keeper = system.keeper
    found = compare(system.directory.url, keeper.endpoint, keeper.token, GROUP, set())
    return [(difference.who, difference.what) for difference in found]


@pytest.mark.emulator
def test_what_comes_back_is_what_was_there(system, vault):
    before = system.snapshot()
    vault.export()
    vault.lose()
    assert system.state() == "gone"
    vault.restore()
    assert system.snapshot() == before
    summary = system.sync()
    assert [summary[name] for name in UNDONE] == [0] * len(UNDONE)
    assert system.snapshot()[4] == before[4]


@pytest.mark.emulator
@pytest.mark.parametrize("lost", [True, False], ids=["lost", "written over"])
def test_what_happened_since_the_export_is_caught_up_without_a_second_account(system, vault, lost):
    vault.export()
    system.directory.weather(lose=True)  # the page stops the writers: nothing but the runs is at work
    system.directory.insert(person(40))
    system.directory.join(GROUP_ID, "u40")
    system.directory.patch("u1", {"name": {"familyName": "Ångström"}})
    system.directory.patch("u2", {"suspended": True})
    system.directory.leave(GROUP_ID, "u3")
    system.sync()
    accounts = {account["id"] for account in system.keeper.accounts()}
    if lost:
        vault.lose()
    vault.restore()
    assert (system.entry("u40") is None) is lost
    summary = system.sync()
    assert (summary["failed"], summary["created"], summary["adopted"]) == (0, 0, int(lost))
    assert {account["id"] for account in system.keeper.accounts()} == accounts
    assert differences(system) == []
    assert system.entry("u40").scim_id == system.account("u40")["id"]


@pytest.mark.emulator
def test_with_no_export_at_all_every_account_is_adopted_and_nobody_loses_access(system, vault):
    active, accounts = system.active(), {account["id"] for account in system.keeper.accounts()}
    vault.lose()
    system.connect()
    summary = system.sync()
    assert (summary["adopted"], summary["created"], summary["suspended"]) == (len(active), 0, 0)
    assert (system.active(), {account["id"] for account in system.keeper.accounts()}) == (active, accounts)


@pytest.mark.emulator
def test_a_token_older_than_the_one_in_force_pauses_the_connection_until_it_is_reauthorized(system, vault):
    from autoprovisioning.app.administration.tokens import reauthorize

    vault.export()
    reauthorize(
        system.services(), CONNECTION, system.keeper.rotate(), Actor(address="boss@example.com", directory_id="u0")
    )
    vault.lose()
    vault.restore()
    active = system.active()
    system.sync()
    assert system.state() == "paused"
    assert system.active() == active
    reauthorize(
        system.services(), CONNECTION, system.keeper.token, Actor(address="boss@example.com", directory_id="u0")
    )
    assert system.sync()["failed"] == 0
    assert (system.state(), differences(system)) == ("on", [])


def test_gcloud_understands_the_commands_of_the_page():
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    text = "".join(blocks).replace("PROJECT", TARGET.project)
    commands = [tuple(shlex.split(line)) for line in text.splitlines()]
    assert len(commands) > 8
    assert {command[0] for command in commands} == {"gcloud"}
    assert complaints(commands) == {}
