"""Becomes a command that the kernel kills when its parent dies: `tether.py PARENT_PID COMMAND...`.

A program of its own, because doing this between fork and exec forks the supervisor, whose gRPC threads do not survive
that: children then die at random before they begin. Run with `python -I -S`, so that it costs some 20 ms.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Arm the kernel, then become the command."""
    parent, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("The parent died before its child began.")
    try:
        os.execvp(command[0], command)  # noqa: S606 - that is what this is for
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


main()
