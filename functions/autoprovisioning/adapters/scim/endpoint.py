"""Which endpoint URLs are accepted: https on Keeper's region hosts, others by an explicit allow-list."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from autoprovisioning.domain.errors import BadInput

# docs.keeper.io, "Using SCIM API Provisioning".
KEEPER_HOSTS = frozenset(
    {
        "keepersecurity.com",
        "keepersecurity.eu",
        "keepersecurity.com.au",
        "keepersecurity.jp",
        "keepersecurity.ca",
        "govcloud.keepersecurity.us",
    }
)
KEEPER_PATH = "/api/rest/scim/v2/"
COPY_IT = "Copy the URL from Keeper's Admin Console, as https://keepersecurity.com/api/rest/scim/v2/<node id>."


def check_endpoint(url: str, extra_hosts: Collection[str] = (), *, local: bool = False) -> str:
    """Return the endpoint without a trailing slash; http only on loopback, and only in local mode.

    Raises:
        BadInput: naming what is wrong with it.
    """
    try:
        parts = urlsplit(url.strip())
        host, _ = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise BadInput("endpoint", f"{url!r} is not a URL", COPY_IT) from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadInput("endpoint", "it has credentials, a query or a fragment", COPY_IT)
    if local and _is_loopback(host) and parts.scheme in ("http", "https"):
        return url.strip().rstrip("/")
    if parts.scheme != "https":
        raise BadInput("endpoint", f"it must be https, not {parts.scheme or 'a bare name'!r}", COPY_IT)
    if host in {extra.lower() for extra in extra_hosts}:
        return url.strip().rstrip("/")
    if host not in KEEPER_HOSTS:
        problem = f"{host!r} is not one of Keeper's hosts"
        raise BadInput("endpoint", problem, f"{COPY_IT} Other hosts must be listed in SCIM_EXTRA_HOSTS.")
    node = parts.path.rstrip("/").removeprefix(KEEPER_PATH)
    if parts.port not in (None, 443) or not parts.path.startswith(KEEPER_PATH) or not node.isalnum():
        raise BadInput("endpoint", "its path is not that of a Keeper node", COPY_IT)
    return url.strip().rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
