"""Run by gcloud's launcher in front of gcloud.py: `gcloud meta lint-gcloud-commands` for one file of commands a line.

As it is, it starts anew for each file, makes the whole tree of commands anew for each command, and tells all arguments
that the command has, which nobody reads.
"""

import os
import sys
from pathlib import Path

LINT = ["meta", "lint-gcloud-commands"]


def main() -> None:
    """Become gcloud, with one tree for all commands that are parsed."""
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    import gcloud  # its own, which finds its libraries
    from googlecloudsdk import gcloud_main
    from googlecloudsdk.command_lib.meta import generate_argument_spec

    own, shared = gcloud_main.CreateCLI([]), gcloud_main.CreateCLI([])

    class Repeated:
        """What gcloud executes: the command, as often as a file is named."""

        def Execute(self) -> None:  # noqa: N802 - gcloud's name
            command = own._TopElement().LoadSubElement(LINT[0]).LoadSubElement(LINT[1])
            for path in asked:
                command._common_type._VALIDATION_RESULTS.clear()
                own.Execute([*LINT, f"--commands-file={path.strip()}"])
                sys.stdout.flush()

    asked = os.fdopen(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # a command that is parsed may read it: `--data-file=-`
    clis = iter([Repeated()])
    gcloud_main.CreateCLI = lambda _surfaces: next(clis, shared)
    generate_argument_spec.GenerateArgumentSpecifications = lambda _command: {"arguments": []}
    gcloud.main()


main()
