"""SCIM servers for the contract tests, as real processes: our Keeper simulator, and two that we did not write."""

from __future__ import annotations

import contextlib
import secrets
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from autoprovisioning.adapters.scim import ScimAccounts
from autoprovisioning.domain.accounts import Write, WriteKind
from autoprovisioning.domain.keeper import PatchDialect
from infra.local.processes import Supervisor, free_port, python
from infra.local.simulation import KeeperSide

ROOT = Path(__file__).parents[2]
EVERYDAY: dict[str, Any] = {
    "bulk": False, "bulk_responses": False, "normalization": {},
    "latency_ms": 0, "per_operation_ms": 0, "max_operations": 1000, "max_payload": 1_048_576,
    "page_cap": 1000, "ignore_filter": False, "repeat_first_page": False, "short_pages": False,
    "string_active": False, "tell_created": True, "listed_after": 0, "filter_status": None,
    "lower_case_resources": False, "no_items_per_page": False, "rate": None, "burst": 20,
    "throttle_style": "429", "retry_after": 1, "seats": None, "reserved_domains": [], "taken_addresses": [],
    "teams": {},
}  # fmt: skip


def now() -> datetime:
    return datetime.now(UTC)


def soon(seconds: float = 30) -> datetime:
    """Return a deadline."""
    return now() + timedelta(seconds=seconds)


class Counts(Counter[str]):
    """Counts requests by name."""

    def __call__(self, name: str, n: int = 1) -> None:
        self[name] += n


@contextlib.contextmanager
def keeper(folder: Path) -> Iterator[KeeperSide]:
    """Run the Keeper simulator."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_urlsafe(32))
    with Supervisor(folder) as supervisor:
        argv = python("-m", "infra.local.keeper", "--token-file", str(token))
        process = supervisor.start("keeper", argv, cwd=ROOT).wait_ready()
        yield KeeperSide(endpoint=process.address, token=token.read_text())


def as_new(side: KeeperSide) -> KeeperSide:
    """Empty the node, lift every fault, forget what was asked."""
    side.control("DELETE", "faults")
    side.settings(**EVERYDAY)
    side.control("PUT", "accounts", [])
    side.control("PUT", "teams", [])
    side.control("DELETE", "requests")
    return side


@contextlib.contextmanager
def scim2_server(folder: Path) -> Iterator[tuple[str, str]]:
    """Run scim2-server behind gunicorn (its own command drops connections under load); yields endpoint and token."""
    port, token = free_port(), secrets.token_urlsafe(32)
    (folder / "scim2").touch(mode=0o600)
    (folder / "scim2").write_text(token)
    argv = python("-m", "gunicorn", "--no-control-socket", "--workers", "1", "--threads", "32",
                  "--bind", f"127.0.0.1:{port}", "tests.contract.scim2_app:app")  # fmt: skip
    with Supervisor(folder) as supervisor:
        environment = {"SCIM2_TOKEN_FILE": str(folder / "scim2")}
        supervisor.start(
            "scim2", argv, env=environment, ready=f"http://127.0.0.1:{port}/v2/ServiceProviderConfig", cwd=ROOT
        ).wait_ready()
        yield f"http://127.0.0.1:{port}/v2", token


@contextlib.contextmanager
def django_node(folder: Path) -> Iterator[tuple[str, str]]:
    """Run django-scim2 behind gunicorn; yields endpoint and token. Its log has a line for each request."""
    port, token = free_port(), secrets.token_urlsafe(32)
    (folder / "token").touch(mode=0o600)
    (folder / "token").write_text(token)
    argv = python("-m", "gunicorn", "--no-control-socket", "--workers", "1", "--threads", "8", "--access-logfile", "-",
                  "--bind", f"127.0.0.1:{port}", "tests.contract.django_node.served:app")  # fmt: skip
    endpoint = f"http://127.0.0.1:{port}/scim/v2"
    with Supervisor(folder) as supervisor:
        environment = {"DJANGO_NODE_FOLDER": str(folder)}
        supervisor.start(
            "django", argv, env=environment, ready=f"{endpoint}/ServiceProviderConfig", cwd=ROOT
        ).wait_ready()
        yield endpoint, token


def client(endpoint: str, token: str, **more: Any) -> ScimAccounts:
    """Return a client with short timeouts, which hardly pauses before another attempt."""
    dialect = more.pop("dialect", PatchDialect.STANDARD)
    return ScimAccounts(
        endpoint, token, dialect, more.pop("count", Counts()), now, **{"timeout": 5.0, "first_pause": 0.02, **more}
    )


def person(number: int, **changes: Any) -> dict[str, Any]:
    """Return the mapped attributes of a person."""
    address = f"person{number}@example.com"
    return {
        "userName": address,
        "displayName": f"Given{number} Family{number}",
        "name.givenName": f"Given{number}",
        "name.familyName": f"Family{number}",
        "emails.value": address,
        "emails.type": "work",
        "emails.primary": True,
        **changes,
    }


def creates(count: int, first: int = 0) -> list[Write]:
    """Return creations of people, keys c<n>, externalIds d<n>."""
    return [
        Write(key=f"c{number}", kind=WriteKind.CREATE, external_id=f"d{number}", attributes=person(number))
        for number in range(first, first + count)
    ]


def patch(key: str, scim_id: str, **changes: Any) -> Write:
    """Return a PATCH; `active` and `external_id` as arguments, attributes as a mapping."""
    attributes = changes.pop("attributes", {})
    return Write(key=key, kind=WriteKind.PATCH, scim_id=scim_id, attributes=attributes, **changes)
