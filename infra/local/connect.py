"""`make connect`: create or update the connection of the running local cloud, and turn it on.

With ADOPT=all every adoption that is in doubt is confirmed first: a preview lists them, as in the console.
ARCHIVED=suspended treats archived users as suspended, ARCHIVED=kept leaves them alone; without it nothing changes.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.local.cloud import ROOT, load_state
from infra.local.simulation import wait_for

CONNECTION = "keeper"
ACTOR = "make connect"
PREVIEW_SECONDS = 700  # longer than a preview is retried


def connect(
    endpoint: str,
    token: str,
    groups: tuple[str, ...],
    settings: dict[str, object] | None = None,
    *,
    org_units: tuple[str, ...] | None = None,
    adopt_all: bool = False,
    preview: bool = False,
    creates: int | None = None,
) -> str:
    """Set up or edit the connection with the same use cases that the console calls; returns a line about it.

    With `adopt_all` what is in doubt is confirmed first, and another line says how many adoptions. With
    `preview` what turning on would do is reported and confirmed: a first run that would create more is held.
    `creates` is confirmed without a preview.
    """
    sys.path.insert(0, str(ROOT / "functions"))
    from autoprovisioning.app.administration.configure import edit, finish, set_up, turn_on
    from autoprovisioning.bootstrap import process_services
    from autoprovisioning.domain.events import Actor
    from autoprovisioning.domain.scope import Scope
    from autoprovisioning.domain.settings import Settings

    services, actor = process_services(), Actor(address=ACTOR)
    known = services.connections.get(CONNECTION)
    current = known.settings if known is not None else Settings()
    scope = replace(current.scope, groups=Scope.named(groups=groups).groups)
    if org_units is not None:
        scope = replace(scope, org_units=Scope.named(org_units=org_units).org_units)
    wanted = replace(current, **{"endpoint": endpoint, "scope": scope, **(settings or {})})  # type: ignore[arg-type]
    if known is None:
        connection = set_up(services, wanted, token, actor, CONNECTION)
    else:
        connection = edit(services, CONNECTION, known.edition, wanted, actor, token, run=False)
    confirmed = [f"adoptions confirmed: {confirm_all()}"] if adopt_all else []
    if preview and connection.state.value in ("off", "draft"):
        counts = previewed("The preview").result.counts
        creates = counts.get("create", 0)
        would = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count) or "nothing"
        confirmed.append(f"turning on would do: {would}; creating {creates} accounts is confirmed")
    finish(services, connection.id, actor)
    connection = turn_on(services, connection.id, actor, run=False, creates=creates)
    named = ", ".join(group.email for group in connection.settings.scope.groups) or "everybody"
    told = f"connection {connection.id} is {connection.state.value}: {connection.settings.endpoint}, scope: {named}"
    treated = (
        "treated as suspended"
        if connection.settings.archived_as_suspended
        else "kept, not operated on (ARCHIVED=suspended)"
    )
    return "\n".join([*confirmed, told, f"archived users: {treated}"])


def confirm_all() -> int:
    """Confirm what a preview lists as in doubt; returns how many."""
    from autoprovisioning.app.administration.confirm_adoptions import confirm_adoptions
    from autoprovisioning.bootstrap import process_services
    from autoprovisioning.domain.events import Actor

    done = previewed("ADOPT").id
    return confirm_adoptions(process_services(), CONNECTION, done, None, Actor(address=ACTOR)).count


def previewed(what: str) -> Any:
    """Have a preview of the current settings computed, and return it.

    Raises:
        WrongState: the preview failed; `what` begins its text.
    """
    from autoprovisioning.app.administration.preview import ask_preview
    from autoprovisioning.app.administration.requests import find
    from autoprovisioning.bootstrap import process_services
    from autoprovisioning.domain.connections import Connection
    from autoprovisioning.domain.errors import WrongState
    from autoprovisioning.domain.events import Actor
    from autoprovisioning.domain.requests import PREVIEW, RequestState

    services, actor = process_services(), Actor(address=ACTOR)
    connection = services.connections.get(CONNECTION)
    assert isinstance(connection, Connection)  # noqa: S101 - set up by the caller
    asked = ask_preview(services, CONNECTION, connection.edition, connection.settings, actor)

    def ended() -> Any:
        preview = find(services, PREVIEW, CONNECTION, asked.id)
        if preview is None or preview.state is RequestState.FAILED:
            problem = preview.problem if preview is not None else "it expired"
            raise WrongState(f"{what}: the preview failed, so nothing was confirmed: {problem}")
        return preview if preview.state is RequestState.DONE else None

    return wait_for(ended, "the preview", PREVIEW_SECONDS, every=0.2)


def main() -> None:
    """Connect; exits 1 with the reason where Keeper or the directory refuses."""
    parser = argparse.ArgumentParser(description="Connect the local cloud to a SCIM endpoint")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--scope-groups", default="")
    parser.add_argument("--adopt", default="", help="all: confirm every adoption that is in doubt")
    parser.add_argument("--archived", default="", help="suspended or kept")
    asked = parser.parse_args()
    if asked.adopt not in ("", "all"):
        sys.exit("ADOPT: only all is known. Leave it out, and confirm adoptions one by one in a preview.")
    if asked.archived not in ("", "suspended", "kept"):
        sys.exit("ARCHIVED: only suspended and kept are known. Use suspended to treat archived users as suspended.")
    settings: dict[str, object] = {"archived_as_suspended": asked.archived == "suspended"} if asked.archived else {}
    _, environment = load_state()
    os.environ.update(environment)
    sys.path.insert(0, str(ROOT / "functions"))
    from autoprovisioning.domain.errors import ProvisioningError

    groups = tuple(part for part in asked.scope_groups.replace(",", " ").split() if part)
    try:
        token = asked.token_file.expanduser().read_text().strip()
        if not token:
            sys.exit(f"TOKEN_FILE: {asked.token_file} is empty. Write Keeper's access token into it.")
        print(connect(asked.endpoint, token, groups, settings, adopt_all=asked.adopt == "all", preview=True))
    except OSError as error:
        sys.exit(f"TOKEN_FILE: {error.strerror}: {asked.token_file}. Write Keeper's access token into a file.")
    except UnicodeDecodeError:
        sys.exit(f"TOKEN_FILE: {asked.token_file} is not a text file. Write Keeper's access token into it.")
    except TimeoutError as error:
        sys.exit(f"Nothing was confirmed or turned on: {error}")
    except ProvisioningError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
