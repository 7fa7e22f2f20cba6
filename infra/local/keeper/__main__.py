"""Run the Keeper simulator; the endpoint is printed as `READY <url>`."""

from __future__ import annotations

import argparse
from pathlib import Path

from infra.local.asgi import serve
from infra.local.keeper.server import KeeperServer, Settings
from infra.local.keeper.site import KeeperSite


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="Keeper simulator")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--node", default="4242")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--no-bulk", action="store_true")
    asked = parser.parse_args()
    prefix = f"/api/rest/scim/v2/{asked.node}"
    settings = Settings(token=asked.token_file.read_text().strip(), latency_ms=asked.latency_ms, bulk=not asked.no_bulk)
    serve(KeeperSite(KeeperServer(prefix, settings)), asked.port, prefix)


if __name__ == "__main__":
    main()
