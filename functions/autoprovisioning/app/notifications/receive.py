"""Take in one directory notification: authenticate the channel, then read it, and publish "look again".

Nothing is looked up and nothing decided here; the answer is a success only once the message is published: otherwise
Google retries.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from autoprovisioning.app.notifications.channel_token import believes
from autoprovisioning.app.ports.queue import LookQueue
from autoprovisioning.domain.errors import BadInput, Forbidden
from autoprovisioning.domain.runs import Look
from autoprovisioning.domain.texts import USER_ID

EVENTS = ("add", "update", "delete", "undelete", "makeAdmin")
LARGEST_BODY = 16 * 1024  # a notification is some 200 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What the Directory API POSTs to a channel (Admin SDK, push notifications guide).

    `body` reads the body: a stranger could send one for ever, so only that of a live channel is read.
    """

    channel_id: str
    token: str
    state: str  # "sync" or an event
    body: Callable[[], bytes]


def from_headers(header: Callable[[str, str], str], body: Callable[[], bytes]) -> Notification:
    """Pick the notification's parts from its headers; `header` returns one by name, or its second argument."""
    return Notification(
        channel_id=header("X-Goog-Channel-ID", ""),
        token=header("X-Goog-Channel-Token", ""),
        state=header("X-Goog-Resource-State", ""),
        body=body,
    )


def take_in(queue: LookQueue, key: bytes, notification: Notification, now: datetime) -> None:
    """Publish what the notification asks for.

    Raises:
        Forbidden: not one of our channels, or an expired one; nothing is published.
        BadInput: ours by its token, but malformed, or raised by `body`; nothing is published.
        Transient: it could not be published.
    """
    if not believes(key, notification.channel_id, notification.token, now):
        raise Forbidden("This is not a notification of a live channel.")
    if notification.state == "sync":
        queue.look_again([Look(user_id="", event="sync", asked_at=now, channel=notification.channel_id)])
        return
    if notification.state not in EVENTS:
        problem = f"{notification.state[:40]!r} is not an event of users.watch"
        raise BadInput("X-Goog-Resource-State", problem, f"Expected one of: {', '.join(EVENTS)}.")
    user_id = _user_id(notification.body())
    queue.look_again([Look(user_id=user_id, event=notification.state, asked_at=now, channel=notification.channel_id)])


def _user_id(body: bytes) -> str:
    try:
        user = json.loads(body)
    except (ValueError, RecursionError):
        raise BadInput("body", "it is not JSON", "Send the user resource as the Directory API does.") from None
    user_id = user.get("id") if isinstance(user, dict) else None
    if isinstance(user_id, int) and not isinstance(user_id, bool):
        user_id = str(user_id)
    if not isinstance(user_id, str) or not USER_ID.fullmatch(user_id):
        raise BadInput("body.id", "it is missing or not a directory id", "Send the id of the user that changed.")
    return user_id
