"""Run the Directory simulator; the address is printed as `READY <url>`."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from infra.local.asgi import serve
from infra.local.directory.server import DirectoryServer


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="Directory simulator")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fixture", type=Path)
    asked = parser.parse_args()
    state = msgspec.json.decode(asked.fixture.read_bytes()) if asked.fixture else {}
    serve(DirectoryServer(state), asked.port)


if __name__ == "__main__":
    main()
