"""`make local`: emulators and functions only, on fixed ports, for any Directory endpoint and any SCIM endpoint."""

from __future__ import annotations

import contextlib
import os
import sys

from infra.local.cloud import FIXED_PORTS, FUNCTIONS, STATE, LocalCloud
from infra.local.emulators import EmulatorMissing
from infra.local.processes import ProcessFailed, Supervisor, port_is_free

PASSED_ON = (
    "DIRECTORY_ADMIN",
    "DIRECTORY_CUSTOMER",
    "DIRECTORY_FIRST_PAUSE_SECONDS",
    "DIRECTORY_SERVICE_ACCOUNT",
    "IAP_AUDIENCE",
    "IAP_CERTS_URL",
    "LOG_LEVEL",
    "SCIM_EXTRA_HOSTS",
    "SCIM_TIMEOUT_SECONDS",
    "SCIM_CONCURRENCY",
    "SCIM_STOP_SECONDS",
    "USER_DEADLINE_SECONDS",
    "USER_MARK_SECONDS",
    "BATCH_DEADLINE_SECONDS",
    "BATCH_MARK_SECONDS",
    "CONTRADICTION_SECONDS",
    "OUTSIDE_TIMEOUT_SECONDS",
    "RECONCILE_DEADLINE_SECONDS",
    "RECONCILE_LEASE_SECONDS",
)


def _check_free(ports: dict[str, int]) -> None:
    """Refuse to start over something that holds one of the fixed ports."""
    taken = [f"{port} ({name})" for name, port in ports.items() if not port_is_free(port)]
    if taken:
        raise ProcessFailed(f"Ports in use: {', '.join(taken)}. Stop what listens there; is a local cloud running?")


def main() -> None:
    """Start, print READY, stay up until Ctrl-C; exits 1 with the reason where that is not possible."""
    directory = os.environ.get("DIRECTORY_API_ENDPOINT") or "http://127.0.0.1:8900"
    chosen = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    try:
        with contextlib.suppress(KeyboardInterrupt), Supervisor(STATE / "logs") as supervisor:
            stay_up(LocalCloud(supervisor=supervisor, ports=dict(FIXED_PORTS)), directory, chosen)
    except (ProcessFailed, EmulatorMissing) as error:
        sys.exit(str(error))


def stay_up(cloud: LocalCloud, directory: str, chosen: dict[str, str]) -> None:
    """Start the cloud and watch it."""
    _check_free(cloud.ports)
    cloud.configure(directory, chosen)
    try:
        cloud.start_backing()
        cloud.start_functions(directory, chosen)
        cloud.save()
        for name in FUNCTIONS:
            print(f"{name:18} {cloud.url(name)}")
        print(f"{'directory':18} {directory} (DIRECTORY_API_ENDPOINT)")
        print(f"{'logs':18} {STATE / 'logs'}")
        print("READY", flush=True)
        cloud.supervisor.watch()
    finally:
        cloud.forget()


if __name__ == "__main__":
    main()
