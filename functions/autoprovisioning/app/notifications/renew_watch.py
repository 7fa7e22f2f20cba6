"""Keep a live notification channel: open the next one in time, and stop the old one once the new one is proven.

Google cannot renew a channel, and may grant less time than asked for, so everything is scheduled from the expiration it
returned. If the API insists on an event, one channel per event is kept. A channel of another address or key counts as
one that runs out. While no connection serves anybody there is none, nor in a deployment without a public webhook.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from autoprovisioning.app.notifications.channel_token import GRACE, channel_token, fingerprint
from autoprovisioning.app.notifications.receive import EVENTS
from autoprovisioning.app.ports.channels import Channel, Channels
from autoprovisioning.app.ports.connections import Connections
from autoprovisioning.app.ports.directory import DirectoryWatch
from autoprovisioning.app.ports.execution import Clock, NewId
from autoprovisioning.domain.connections import SERVING
from autoprovisioning.domain.errors import BadInput, Permanent, Transient

log = logging.getLogger(__name__)

ASKED_FOR = timedelta(hours=48)  # the longest documented
RENEW_BEFORE = timedelta(minutes=90)  # three times the schedule: two runs may fail
PROOF_WITHIN = timedelta(minutes=15)
ALL_EVENTS = ""


def renew_watch(
    directory: DirectoryWatch,
    channels: Channels,
    connections: Connections,
    key: bytes,
    address: str,
    clock: Clock,
    new_id: NewId,
) -> Sequence[Channel]:
    """Bring the channels into step and return the live ones: none if no connection is on or paused, or without address.

    Raises:
        Transient, Permanent: no channel could be opened; the ones there are kept.
    """
    now = clock()
    heard_of = [channel for channel in channels.all() if not _over(channels, channel, now)]
    known = [channel for channel in heard_of if channel.address]
    if not address or not any(connection.state in SERVING for connection in connections.all()):
        return [channel for channel in known if not stop(directory, channels, channel)]
    by_event = any(channel.event != ALL_EVENTS for channel in known)
    for event in EVENTS if by_event else (ALL_EVENTS,):
        try:
            known = _renew(directory, channels, key, address=address, now=now, new_id=new_id, event=event, known=known)
        except BadInput:
            if event != ALL_EVENTS:
                raise
            log.info("The Directory API requires an event: one channel per event is opened")
            for single in EVENTS:
                known = _renew(
                    directory, channels, key, address=address, now=now, new_id=new_id, event=single, known=known
                )
    return known


def _over(channels: Channels, channel: Channel, now: datetime) -> bool:
    """Forget a channel that has expired, or a proof of an unknown one."""
    if channel.expires is None or channel.expires > now:
        return False
    channels.remove(channel.id)
    return True


def _renew(
    directory: DirectoryWatch,
    channels: Channels,
    key: bytes,
    address: str,
    now: datetime,
    new_id: NewId,
    event: str,
    known: list[Channel],
) -> list[Channel]:
    mine = sorted((channel for channel in known if channel.event == event), key=_opened, reverse=True)
    # The webhook refuses what comes through a channel whose token was made with another key.
    wanted = (address, fingerprint(key))
    lasting = [channel for channel in mine if _lasts(channel, now) and (channel.address, channel.fingerprint) == wanted]
    if not lasting or _unproven(lasting[0], now):
        lasting = [_open(directory, channels, key, address=address, now=now, new_id=new_id, event=event), *lasting]
    newest = lasting[0]
    kept = [channel for channel in known if channel.event != event]
    if not newest.proven:
        return [*kept, newest, *(channel for channel in mine if channel.id != newest.id)]
    for old in mine:
        if old.id != newest.id:
            stop(directory, channels, old)
    return [*kept, newest]


def _opened(channel: Channel) -> float:
    return channel.opened.timestamp() if channel.opened is not None else 0.0


def _lasts(channel: Channel, now: datetime) -> bool:
    if channel.expires is None or channel.opened is None:
        return False
    # A grant shorter than expected is renewed after three quarters of it, not at once.
    margin = min(RENEW_BEFORE, (channel.expires - channel.opened) / 4)
    return channel.expires - now > margin


def _unproven(channel: Channel, now: datetime) -> bool:
    late = not channel.proven and channel.opened is not None and now - channel.opened > PROOF_WITHIN
    if late:
        log.error(
            "No sync message arrived through the notification channel; another one is opened",
            extra={"json_fields": {"alert": "no_live_channel", "channel": channel.id}},
        )
    return late


def _open(
    directory: DirectoryWatch, channels: Channels, key: bytes, address: str, now: datetime, new_id: NewId, event: str
) -> Channel:
    channel_id = new_id()
    until = now + ASKED_FOR
    asked = Channel(
        id=channel_id, address=address, token=channel_token(key, channel_id, until + GRACE), event=event, expires=until
    )
    granted = replace(directory.watch(asked, event), opened=now, fingerprint=fingerprint(key))
    channels.put(granted)
    return granted


def stop(directory: DirectoryWatch, channels: Channels, channel: Channel) -> bool:
    """Stop a channel; one that cannot be stopped now (False) is tried again at the next `renew_watch`."""
    try:
        directory.stop(channel)
    except (Transient, Permanent) as error:
        log.warning("A channel could not be stopped: %s", type(error).__name__)
        return False
    channels.remove(channel.id)
    return True
