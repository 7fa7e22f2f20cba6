"""Run by gcloud's launcher in front of gcloud.py: `gcloud meta lint-gcloud-commands` without what nobody reads.

As it is, it makes the whole tree of commands anew for each command, and tells all arguments that the command has.
"""

import sys
from pathlib import Path


def main() -> None:
    """Become gcloud, with one tree for all commands that are parsed."""
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    import gcloud  # its own, which finds its libraries
    from googlecloudsdk import gcloud_main
    from googlecloudsdk.command_lib.meta import generate_argument_spec

    own, shared = gcloud_main.CreateCLI([]), gcloud_main.CreateCLI([])
    trees = iter([own])
    gcloud_main.CreateCLI = lambda _surfaces: next(trees, shared)
    generate_argument_spec.GenerateArgumentSpecifications = lambda _command: {"arguments": []}
    gcloud.main()


main()
