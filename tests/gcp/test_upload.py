"""What is uploaded, and that a commit identifies it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from infra.gcp import __main__ as command_line
from infra.gcp import build, commands, upload
from infra.gcp.deploy import Gcloud, deploy
from tests.gcp.stand_in import StandIn
from tests.gcp.test_deploy import TARGET, nobody

SETTINGS = {"PROJECT": "keeper-prod", "REGION": "europe-west1", "ADMIN": "a@example.com", "ALERTS": "b@example.com"}


@pytest.fixture(scope="module", autouse=True)
def same_source() -> None:
    """Let git be asked each time: what it says is the subject here."""


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    functions = tmp_path / "functions"
    (functions / "package").mkdir(parents=True)
    (functions / "main.py").write_text("")
    (functions / "package" / "code.py").write_text("x = 1\n")
    (tmp_path / ".gitignore").write_text(".local/\n__pycache__/\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message=First")
    monkeypatch.setattr(command_line, "ROOT", tmp_path)
    return tmp_path


def uploaded(clone: Path) -> dict[str, str]:
    name = upload.digest(clone)
    upload.stage(clone, name)
    home = clone / upload.staged(name)
    return {str(path.relative_to(home)): path.read_text() for path in home.rglob("*") if path.is_file()}


def test_only_what_git_tracks_is_uploaded(clone):
    before = upload.digest(clone)
    for name in (".env", "token", ".DS_Store", "package/.env"):
        (clone / "functions" / name).write_text("secret")
    (clone / "functions" / "__pycache__").mkdir()
    (clone / "functions" / "__pycache__" / "code.pyc").write_text("")
    assert upload.digest(clone) == before
    assert uploaded(clone) == {"main.py": "", "package/code.py": "x = 1\n"}
    assert upload.left_out(clone) == [f"functions/{name}" for name in (".DS_Store", ".env", "package/.env", "token")]


@pytest.mark.parametrize("when", ["APIs", "Image of source"])
def test_what_is_built_is_one_copy_whatever_is_edited_meanwhile(clone, monkeypatch, when):
    cloud, digest, stage = StandIn(), upload.digest, upload.stage
    monkeypatch.setattr(upload, "digest", lambda _, recipe: digest(clone, recipe))
    monkeypatch.setattr(upload, "stage", lambda _, name: stage(clone, name))

    def edit(text: str) -> None:
        if when in text:
            (clone / "functions" / "main.py").write_text("edited = True\n")

    deploy(TARGET, Gcloud(cloud), edit, nobody, visit=cloud.visit)
    (source,) = [clone / command[3] for command in cloud.issued if command[1:3] == ("builds", "submit")]
    assert (source / "main.py").read_text() == ""
    assert (clone / "functions" / "main.py").read_text() != ""


def test_a_release_is_called_by_the_commit_that_was_uploaded_whatever_is_checked_out_meanwhile(monkeypatch):
    """A build takes minutes, and there is work to do."""
    cloud, checked_out = StandIn(), ["v1.2.0", "abc"]
    monkeypatch.setattr(upload, "version", lambda _: checked_out[0])
    monkeypatch.setattr(upload, "commit", lambda _: checked_out[1])

    def check_out(text: str) -> None:
        if "Image of source" in text:
            checked_out[:] = ["v1.3.0", "def"]

    deploy(TARGET, Gcloud(cloud), check_out, nobody, visit=cloud.visit)
    labels = [item["metadata"]["labels"] for item in cloud.things["service"].values()]
    assert {(each["version"], each["commit"]) for each in labels} == {("v1-2-0", "abc")}


def test_gcloud_has_nothing_in_what_is_uploaded_that_would_leave_out_more():
    assert [str(path) for path in upload.tracked(commands.ROOT) if path.name in (".gitignore", ".gcloudignore")] == []


def test_a_file_that_was_edited_is_another_source_and_one_that_is_deleted_is_left_out(clone):
    before = upload.digest(clone)
    (clone / "functions" / "main.py").unlink()
    assert uploaded(clone) == {"package/code.py": "x = 1\n"}
    (clone / "functions" / "package" / "code.py").write_text("x = 2\n")
    assert uploaded(clone) == {"package/code.py": "x = 2\n"}
    assert len({before, upload.digest(clone)}) == 2


def test_the_same_files_built_in_another_way_are_another_image(monkeypatch, tmp_path):
    before = commands.source_digest()
    recipe = tmp_path / "build.json"
    recipe.write_text(build.RECIPE.read_text().replace("google-22", "google-24"))
    for name, other in (("RECIPE", recipe), ("PYTHON", "3.12.x"), ("DEFAULT", "console")):
        with monkeypatch.context() as patch:
            patch.setattr(build, name, other)
            assert commands.source_digest() != before, name
    assert commands.source_digest() == before


def test_a_deployment_of_what_is_not_committed_is_refused_unless_that_is_wanted(clone, monkeypatch):
    (clone / "functions" / "main.py").write_text("edited = True\n")
    deployed: list[str] = []
    monkeypatch.setattr(command_line.deploy, "deploy", lambda *_, **__: deployed.append("it"))
    with pytest.raises(SystemExit, match=r"Not committed: functions/main.py\. .*DIRTY=yes"):
        command_line.main(["deploy"], SETTINGS)
    with pytest.raises(SystemExit, match=r"DIRTY=\.\.\. must be yes"):
        command_line.main(["deploy"], SETTINGS | {"DIRTY": "1"})
    assert deployed == []
    assert command_line.main(["deploy"], SETTINGS | {"DIRTY": "yes"}) == 0
    assert deployed == ["it"]


def test_what_is_not_tracked_is_named_and_hinders_nothing(clone, monkeypatch, capsys):
    (clone / "functions" / ".env").write_text("secret")
    monkeypatch.setattr(command_line.deploy, "deploy", lambda *_, **__: None)
    assert command_line.main(["deploy"], SETTINGS) == 0
    assert "does not track it: functions/.env" in capsys.readouterr().out


def test_a_folder_that_is_no_clone_is_told_as_that(clone, monkeypatch, capsys, tmp_path_factory):
    monkeypatch.setattr(command_line, "ROOT", tmp_path_factory.mktemp("elsewhere"))
    assert command_line.main(["deploy"], SETTINGS) == 1
    assert "deploy from a clone" in capsys.readouterr().err
    monkeypatch.setattr(command_line, "ROOT", clone)
    monkeypatch.setenv("PATH", "")
    assert command_line.main(["deploy"], SETTINGS) == 1
    assert "there is no git" in capsys.readouterr().err


def test_a_version_is_told_by_its_tag_and_by_what_is_beyond_it(clone):
    git(clone, "tag", "--annotate", "v1.2.0", "--message=1.2.0")
    assert upload.version(clone) == "v1.2.0"
    (clone / "functions" / "main.py").write_text("edited = True\n")
    assert upload.version(clone) == "v1.2.0-dirty"
    git(clone, "commit", "--quiet", "--all", "--message=Second")
    assert upload.version(clone) == f"v1.2.0-1-g{upload.commit(clone)}"
