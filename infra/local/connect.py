"""`make connect`: create or update the connection of the running local cloud, and turn it on."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from infra.local.cloud import ROOT, load_state

CONNECTION = "keeper"
ACTOR = "make connect"


def connect(endpoint: str, token: str, groups: tuple[str, ...], settings: dict[str, object] | None = None) -> str:
    """Set up or edit the connection with the same use cases that the console calls; returns a line about it."""
    sys.path.insert(0, str(ROOT / "functions"))
    from autoprovisioning.app.configure import Settings, edit, set_up, settings_of, turn_on
    from autoprovisioning.bootstrap import services
    from autoprovisioning.domain.events import Actor

    desk, actor = services(), Actor(ACTOR)
    known = desk.connections.get(CONNECTION)
    if known is None:
        wanted = replace(Settings(endpoint=endpoint, scope_groups=groups), **(settings or {}))  # type: ignore[arg-type]
        connection = set_up(desk, wanted, token, actor, CONNECTION)
    else:
        wanted = replace(settings_of(known), endpoint=endpoint, scope_groups=groups, **(settings or {}))  # type: ignore[arg-type]
        connection = edit(desk, CONNECTION, known.edition, wanted, actor, token, run=False)
    connection = turn_on(desk, connection.id, actor, run=False)
    named = ", ".join(group.email for group in connection.scope.groups) or "everybody"
    return f"connection {connection.id} is {connection.state.value}: {connection.endpoint}, scope: {named}"


def main() -> None:
    """Connect; exits 1 with the reason where Keeper or the directory refuses."""
    parser = argparse.ArgumentParser(description="Connect the local cloud to a SCIM endpoint")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--scope-groups", default="")
    asked = parser.parse_args()
    _, environment = load_state()
    os.environ.update(environment)
    sys.path.insert(0, str(ROOT / "functions"))
    from autoprovisioning.domain.errors import ProvisioningError

    groups = tuple(part for part in asked.scope_groups.replace(",", " ").split() if part)
    try:
        token = asked.token_file.expanduser().read_text().strip()
        if not token:
            sys.exit(f"TOKEN_FILE: {asked.token_file} is empty. Write Keeper's access token into it.")
        print(connect(asked.endpoint, token, groups))
    except OSError as error:
        sys.exit(f"TOKEN_FILE: {error.strerror}: {asked.token_file}. Write Keeper's access token into a file of yours.")
    except UnicodeDecodeError:
        sys.exit(f"TOKEN_FILE: {asked.token_file} is not a text file. Write Keeper's access token into it.")
    except ProvisioningError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
