"""The entry points of the deployed functions, and nothing else; importing this does no I/O.

An entry point is imported when it is accessed (PEP 562), and functions-framework accesses one of them: each function
pays only for its own imports, and the webhook's cold start consists of little else.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = [  # noqa: F822 - see __getattr__
    "apply_changes",
    "console",
    "directory_webhook",
    "provision_user",
    "reauthorize",
    "reconcile",
    "renew_watch",
    "workspace_events",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"autoprovisioning.entrypoints.{name}"), name)
