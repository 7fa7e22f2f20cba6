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
from tests.gcp.gcloud_parser import complaints
from tests.support.system import GROUP, GROUP_ID, Town, person

PAGE = Path(__file__).parents[2] / "docs" / "restore.md"
UNDONE = ("created", "updated", "suspended", "unsuspended", "deleted", "adopted", "failed", "held")


class Vault:
    """Exports of the town's database, made and read by the emulator."""

    def __init__(self, town: Town, folder: Path) -> None:
        cloud = town.world.cloud
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
def vault(town: Town, tmp_path: Path) -> Vault:
    town.provisioned()
    return Vault(town, tmp_path)


def differences(town: Town) -> list[tuple[str, str]]:
    keeper = town.keeper
    found = compare(town.directory.url, keeper.endpoint, keeper.token, GROUP, set())
    return [(difference.who, difference.what) for difference in found]


@pytest.mark.emulator
def test_what_comes_back_is_what_was_there(town, vault):
    before = town.snapshot()
    vault.export()
    vault.lose()
    assert town.state() == "gone"
    vault.restore()
    assert town.snapshot() == before
    summary = town.sync()
    assert [summary[name] for name in UNDONE] == [0] * len(UNDONE)
    assert town.snapshot()[4] == before[4]


@pytest.mark.emulator
@pytest.mark.parametrize("lost", [True, False], ids=["lost", "written over"])
def test_what_happened_since_the_export_is_caught_up_without_a_second_account(town, vault, lost):
    vault.export()
    town.directory.insert(person(40))
    town.directory.join(GROUP_ID, "u40")
    town.directory.patch("u1", {"name": {"familyName": "Ångström"}})
    town.directory.patch("u2", {"suspended": True})
    town.directory.leave(GROUP_ID, "u3")
    town.sync()
    accounts = {account["id"] for account in town.keeper.accounts()}
    if lost:
        vault.lose()
    vault.restore()
    assert (town.entry("u40") is None) is lost
    summary = town.sync()
    assert (summary["failed"], summary["created"], summary["adopted"]) == (0, 0, int(lost))
    assert {account["id"] for account in town.keeper.accounts()} == accounts
    assert differences(town) == []
    assert town.entry("u40").scim_id == town.account("u40")["id"]


@pytest.mark.emulator
def test_with_no_export_at_all_every_account_is_adopted_and_nobody_loses_access(town, vault):
    active, accounts = town.active(), {account["id"] for account in town.keeper.accounts()}
    vault.lose()
    town.connect()
    summary = town.sync()
    assert (summary["adopted"], summary["created"], summary["suspended"]) == (len(active), 0, 0)
    assert (town.active(), {account["id"] for account in town.keeper.accounts()}) == (active, accounts)


@pytest.mark.emulator
def test_a_token_older_than_the_one_in_force_pauses_the_connection_until_it_is_reauthorized(town, vault):
    from autoprovisioning.app.administration.tokens import reauthorize

    vault.export()
    reauthorize(town.desk(), CONNECTION, town.keeper.rotate(), Actor(address="boss@example.com", directory_id="u0"))
    vault.lose()
    vault.restore()
    active = town.active()
    town.sync()
    assert town.state() == "paused"
    assert town.active() == active
    reauthorize(town.desk(), CONNECTION, town.keeper.token, Actor(address="boss@example.com", directory_id="u0"))
    assert town.sync()["failed"] == 0
    assert (town.state(), differences(town)) == ("on", [])


def test_gcloud_understands_the_commands_of_the_page():
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    commands = [tuple(shlex.split(line)) for line in "".join(blocks).splitlines()]
    assert len(commands) > 8
    assert {command[0] for command in commands} == {"gcloud"}
    assert complaints(commands) == {}
