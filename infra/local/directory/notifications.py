"""Channels and the notifications they really POST (Admin SDK, push notifications guide).

Success is 200, 201, 202, 204 or 102; 500, 502, 503 and 504 are tried again with growing pauses; anything else drops the
message. On demand messages are lost, doubled, delayed, reordered or held.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from infra.local.directory.customer import Refused, User

EVENTS = ("add", "delete", "makeAdmin", "undelete", "update")
SUCCESS = frozenset({102, 200, 201, 202, 204})
RETRIED = frozenset({500, 502, 503, 504})
ATTEMPTS = 6
DEFAULT_TTL = 2 * 3600
LONGEST_TTL = 6 * 3600


@dataclass(slots=True, kw_only=True)
class Channel:
    """One channel."""

    id: str
    address: str
    token: str
    event: str
    expires: float
    resource_id: str
    number: int = 0

    def next_number(self) -> int:
        """Number a message: 1 for sync, then increasing, not sequential."""
        self.number += random.randint(1, 9) if self.number else 1
        return self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One notification of one channel."""

    channel: Channel
    state: str
    body: bytes
    number: int


@dataclass(slots=True, kw_only=True)
class Weather:
    """What happens to messages on their way."""

    lose: bool = False
    duplicate: int = 0
    delay: float = 0.0
    reorder: bool = False
    hold: bool = False
    retry_base: float = 0.5
    demand_event: bool = False
    longest_ttl: float = LONGEST_TTL


@dataclass(slots=True, kw_only=True)
class Notifier:
    """Keeps channels and delivers."""

    weather: Weather = field(default_factory=Weather)
    channels: dict[str, Channel] = field(default_factory=dict)
    delivered: int = 0
    dropped: int = 0
    _held: list[Message] = field(default_factory=list)
    _session: aiohttp.ClientSession | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def watch(self, event: str, body: dict[str, Any]) -> dict[str, Any]:
        """Open a channel and send its sync message, which may arrive before the answer."""
        if self.weather.demand_event and not event:
            raise Refused(400, "required", "Required parameter: event")
        if event and event not in EVENTS:
            raise Refused(400, "invalidParameter", f"Invalid value '{event}' for event")
        address, channel_id = str(body.get("address", "")), str(body.get("id", ""))
        if body.get("type") != "web_hook":
            raise Refused(400, "invalid", "Unknown channel type")
        if not channel_id or len(channel_id) > 64 or len(str(body.get("token", ""))) > 256:
            raise Refused(400, "invalid", "Invalid channel id or token")
        if channel_id in self.channels:
            raise Refused(400, "channelIdNotUnique", f"Channel id {channel_id} not unique")
        if not address.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise Refused(400, "push.webhookUrlNotHttps", "WebHook callback must be HTTPS")
        now = time.time()
        asked = _lifetime(body, now)
        channel = Channel(
            id=channel_id,
            address=address,
            token=str(body.get("token", "")),
            event=event,
            expires=now + min(asked, self.weather.longest_ttl),
            resource_id=uuid.uuid4().hex,
        )
        self.channels[channel_id] = channel
        self._send([Message(channel=channel, state="sync", body=b"", number=channel.next_number())])
        return {
            "kind": "api#channel",
            "id": channel_id,
            "resourceId": channel.resource_id,
            "resourceUri": "https://admin.googleapis.com/admin/directory/v1/users",
            "token": channel.token,
            "expiration": str(int(channel.expires * 1000)),
        }

    def stop(self, channel_id: str, resource_id: str) -> None:
        """Close a channel; an unknown one is a 404."""
        channel = self.channels.get(channel_id)
        if channel is None or channel.resource_id != resource_id:
            raise Refused(404, "notFound", f"Channel '{channel_id}' not found")
        del self.channels[channel_id]

    def changed(self, event: str, user: User) -> None:
        """Tell every live channel about a change."""
        body = msgspec.json.encode(
            {
                "kind": "admin#directory#user",
                "id": user["id"],
                "etag": f'"{uuid.uuid4().hex[:12]}"',
                "primaryEmail": user["primaryEmail"],
            }
        )
        for channel in list(self.channels.values()):
            if channel.event in ("", event) and channel.expires > time.time():
                self._forecast(Message(channel=channel, state=event, body=body, number=channel.next_number()))

    def release(self) -> None:
        """Send what was held, newest first if reordering."""
        held, self._held = self._held, []
        self._send(held[::-1] if self.weather.reorder else held)

    def _forecast(self, message: Message) -> None:
        if self.weather.lose:
            self.dropped += 1
        elif self.weather.hold or self.weather.reorder:
            self._held.append(message)
            if not self.weather.hold and len(self._held) >= 3:
                self.release()
        else:
            for _ in range(1 + self.weather.duplicate):
                self._send([message])

    def _send(self, messages: list[Message]) -> None:
        """Deliver these one after the other; other messages are sent in parallel."""
        task = asyncio.get_running_loop().create_task(self._deliver_all(messages))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver_all(self, messages: list[Message]) -> None:
        for message in messages:
            await self._deliver(message)

    async def _deliver(self, message: Message) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        channel, sync = message.channel, message.state == "sync"
        if self.weather.delay and not sync:
            await asyncio.sleep(self.weather.delay)
        headers = _headers(message)
        for attempt in range(ATTEMPTS):
            if not sync and channel.id not in self.channels:
                return
            try:
                async with self._session.post(
                    channel.address, data=message.body, headers=headers, allow_redirects=False
                ) as response:
                    if response.status in SUCCESS:
                        self.delivered += 1
                        return
                    if response.status not in RETRIED:
                        break
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass  # as a 5xx
            await asyncio.sleep(self.weather.retry_base * 2**attempt)
        self.dropped += 1


def _lifetime(body: dict[str, Any], now: float) -> float:
    """Return the seconds that a request asks for: expiration in Unix milliseconds, or params.ttl."""
    params = body.get("params") or {}
    try:
        if "expiration" in body:
            return int(body["expiration"]) / 1000 - now
        return float(params.get("ttl", DEFAULT_TTL))
    except (TypeError, ValueError):
        raise Refused(400, "invalid", "Invalid expiration or ttl") from None


def _headers(message: Message) -> dict[str, str]:
    channel = message.channel
    expires = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(channel.expires))
    headers = {
        "User-Agent": "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)",
        "Content-Type": "application/json; charset=UTF-8",
        "X-Goog-Channel-ID": channel.id,
        "X-Goog-Channel-Expiration": expires,
        "X-Goog-Message-Number": str(message.number),
        "X-Goog-Resource-ID": channel.resource_id,
        "X-Goog-Resource-State": message.state,
        "X-Goog-Resource-URI": "https://admin.googleapis.com/admin/directory/v1/users",
    }
    return headers | ({"X-Goog-Channel-Token": channel.token} if channel.token else {})
