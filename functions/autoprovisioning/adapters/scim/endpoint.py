"""Which endpoint URLs are accepted: https on Keeper's region hosts, others by an explicit allow-list."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.keeper import COPY_THE_URL, HOSTS, NODE_PATH

# Parsers disagree about these (and urlsplit silently drops some): a URL that holds one is not looked into any further.
_AMBIGUOUS = re.compile(r"[\s\\\x00-\x1f\x7f]")
_FORBIDDEN = re.compile(r"[@?#]")


def check_endpoint(url: str, extra_hosts: Collection[str] = (), *, local: bool = False) -> str:
    """Return the endpoint without a trailing slash; http only on loopback, and only in local mode.

    The texts never repeat the URL: a token may have been pasted into its field.

    Raises:
        BadInput: naming what is wrong with it.
    """
    text = url.strip()
    parts, host = _parsed(text)
    if _FORBIDDEN.search(text):
        raise BadInput("endpoint", "it has credentials, a query or a fragment", COPY_THE_URL)
    if local and parts.scheme in ("http", "https") and _is_loopback(host):
        return text.rstrip("/")
    if parts.scheme != "https":
        raise BadInput("endpoint", "it must begin with https://", COPY_THE_URL)
    if host in {extra.lower() for extra in extra_hosts}:
        return text.rstrip("/")
    if host not in HOSTS:
        problem = f"{host!r} is not one of Keeper's hosts"
        raise BadInput("endpoint", problem, f"{COPY_THE_URL} Other hosts must be listed in SCIM_EXTRA_HOSTS.")
    if parts.port not in (None, 443) or not NODE_PATH.match(parts.path):
        raise BadInput("endpoint", "its path is not that of a Keeper node", COPY_THE_URL)
    return text.rstrip("/")


def _parsed(text: str) -> tuple[SplitResult, str]:
    try:
        parts = urlsplit(text)
        host, _ = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise BadInput("endpoint", "it is not a URL", COPY_THE_URL) from None
    if _AMBIGUOUS.search(text):
        raise BadInput("endpoint", "it has blanks, backslashes or control characters", COPY_THE_URL)
    return parts, host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
