"""The composition root: the only module that knows ports and adapters.

Builders are lazy and cached, and import the adapters inside, so that a function pays only for what it uses. Nothing
is built when this is imported.
"""

from __future__ import annotations

import gc
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from autoprovisioning import config, telemetry
from autoprovisioning.app.ports.execution import Clock, NewId
from autoprovisioning.app.ports.queue import LookQueue
from autoprovisioning.domain.errors import ConfigurationRefused
from autoprovisioning.once import Once

if TYPE_CHECKING:
    from autoprovisioning.adapters.directory import GoogleDirectory, Quota
    from autoprovisioning.adapters.firestore import Database
    from autoprovisioning.app.administration.roles import Identity, Roles
    from autoprovisioning.app.notifications.follow_changes import Follower
    from autoprovisioning.app.notifications.hearing import Ear
    from autoprovisioning.app.ports.accounts import Accounts
    from autoprovisioning.app.ports.channels import Channels
    from autoprovisioning.app.ports.connections import Connections
    from autoprovisioning.app.ports.directory import Directory
    from autoprovisioning.app.ports.queue import Queue
    from autoprovisioning.app.ports.reports import Reports
    from autoprovisioning.app.services import ChangeSources, Services, Timings
    from autoprovisioning.domain.connections import Connection
    from autoprovisioning.domain.sources import Feed

GARBAGE_FROM = 20_000  # objects made since garbage was last looked for; with Python's 700 a run needs a tenth more CPU
CLIENTS_KEPT = 32  # SCIM clients that a process keeps: connections times valid tokens
# Somebody who waits for a page must learn soon that the database, the directory or Keeper does not answer; a worker
# waits for minutes. Keeper is asked four times, the directory twice, the database for the connection first.
SOON = timedelta(seconds=5)
ATTEMPTS_SOON = 2
KEEPER_SOON = timedelta(seconds=10)


def now() -> datetime:
    """Return the time: the only clock in the system."""
    return datetime.now(UTC)


def new_id() -> str:
    """Return a fresh id."""
    return uuid.uuid4().hex


class RequestMeter:
    """The Meter port: counts by name, thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def __call__(self, name: str, n: int = 1) -> None:
        """Add n."""
        with self._lock:
            self._counts[name] += n

    def take(self) -> dict[str, int]:
        """Return the counts since the last call, and start over."""
        with self._lock:
            counts, self._counts = dict(self._counts), Counter()
        return counts


@Once
def settings(*, reads_directory: bool = True) -> config.Config:
    """Read the configuration once."""
    return config.load(reads_directory=reads_directory)


@Once
def meter() -> RequestMeter:
    """Return the process's meter."""
    return RequestMeter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """What the webhook needs: no Firestore, no SCIM, no gRPC."""

    queue: LookQueue
    key: bytes
    clock: Clock


@Once
def webhook() -> Webhook:
    """Build the webhook's parts."""
    chosen = settings(reads_directory=False)
    telemetry.set_up(chosen.project, chosen.log_level, light=True)
    from autoprovisioning.adapters.pubsub_rest import RestLookQueue, metadata_token

    token = None if chosen.pubsub_emulator else metadata_token()
    seconds = chosen.outside_timeout.total_seconds()
    queue = RestLookQueue(chosen.project, chosen.topic_looks, chosen.pubsub_emulator, token, seconds)
    return Webhook(queue=queue, key=_key(chosen.channel_key, "CHANNEL_KEY"), clock=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What keeping a notification channel needs; without an address none is kept."""

    directory: Directory
    channels: Channels
    connections: Connections
    key: bytes
    address: str
    clock: Clock
    new_id: NewId


@Once
def watch() -> Watch:
    """Build what `renew_watch` needs."""
    chosen = settings()
    _logs()
    if not chosen.webhook_url and chosen.public_webhook:
        raise ConfigurationRefused("WEBHOOK_URL is not set. Set it to the address of directory_webhook.")
    from autoprovisioning.adapters.firestore import FirestoreConnections

    connections = FirestoreConnections(_database())
    key = _key(chosen.channel_key, "CHANNEL_KEY")
    return Watch(
        directory=directory(),
        channels=channels(),
        connections=connections,
        key=key,
        address=chosen.webhook_url if chosen.public_webhook else "",
        clock=now,
        new_id=new_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Administration:
    """What the administrators' functions need."""

    services: Services
    identity: Identity
    roles: Roles
    reports: Reports
    channels: Channels
    form_key: bytes
    console_url: str  # where the pages are, and
    reauthorize_url: str  # the form for a new access token; empty if this deployment does not say


@Once
def administration() -> Administration:
    """Build what `console` and `reauthorize` need."""
    from autoprovisioning.adapters.firestore import FirestoreConnections
    from autoprovisioning.adapters.identity import IapIdentity
    from autoprovisioning.app.administration.roles import Roles

    chosen = settings()
    identity = IapIdentity(chosen.iap_audience, chosen.iap_issuer, chosen.iap_certs_url)
    asked = directory(waited_for=True)
    return Administration(
        services=replace(
            process_services(),
            directory=asked,
            connections=FirestoreConnections(_database(waited_for=True)),
            accounts_for=accounts_builder(KEEPER_SOON),
        ),
        identity=identity,
        roles=Roles(asked),
        reports=reports(),
        channels=channels(),
        form_key=_key(chosen.form_key, "FORM_KEY"),
        console_url=chosen.console_url,
        reauthorize_url=chosen.reauthorize_url,
    )


@Once
def reports() -> Reports:
    """Build what reads the audit, usage, failures and runs."""
    from autoprovisioning.adapters.firestore import FirestoreReports

    return FirestoreReports(_database())


@Once
def channels() -> Channels:
    """Build the store of channels."""
    from autoprovisioning.adapters.firestore import FirestoreChannels

    return FirestoreChannels(_database())


@Once
def directory(*, waited_for: bool = False) -> GoogleDirectory:
    """Build the directory: keyless delegation, or a simulator on loopback; it gives up soon if somebody is waiting."""
    from autoprovisioning.adapters.directory import ATTEMPTS, DirectoryTransport, GoogleDirectory, anonymous, delegated

    chosen = settings()
    if chosen.directory_endpoint.startswith("http://"):
        sessions = anonymous(chosen.directory_endpoint)
    else:
        sessions = delegated(chosen.directory_admin, chosen.directory_service_account)
    transport = DirectoryTransport(
        chosen.directory_endpoint,
        sessions,
        meter(),
        timeout=min(chosen.outside_timeout, SOON) if waited_for else chosen.outside_timeout,
        first_pause=chosen.directory_first_pause.total_seconds(),
        attempts=ATTEMPTS_SOON if waited_for else ATTEMPTS,
        quota=_quota(),
    )
    return GoogleDirectory(transport, chosen.directory_customer, chosen.directory_concurrency)


@Once
def _quota() -> Quota:
    """Build what all of this process's requests to the directory share."""
    from autoprovisioning.adapters.directory import Quota

    return Quota(settings().directory_requests_a_minute)


@Once
def follower() -> Follower:
    """Build what `workspace_events` needs."""
    _logs()
    from autoprovisioning.adapters.firestore import (
        FirestoreConnections,
        FirestoreDueRuns,
        FirestoreRoster,
        FirestoreTeams,
    )
    from autoprovisioning.app.notifications.follow_changes import Follower

    database = _database()
    return Follower(
        directory=directory(),
        connections=FirestoreConnections(database),
        roster=FirestoreRoster(database),
        teams=FirestoreTeams(database),
        queue=_queue(),
        due_runs=FirestoreDueRuns(database),
        clock=now,
        lag=settings().contradiction,
    )


@Once
def process_services() -> Services:
    """Build what the workers and `reconcile` need."""
    _logs()
    from autoprovisioning.adapters.firestore import (
        FirestoreAdoptions,
        FirestoreAudit,
        FirestoreClaims,
        FirestoreConnections,
        FirestoreDueRuns,
        FirestoreGuard,
        FirestoreHolds,
        FirestoreKeeperChanges,
        FirestoreLeases,
        FirestoreListings,
        FirestorePeople,
        FirestorePreviewLines,
        FirestoreRequests,
        FirestoreRoster,
        FirestoreRuns,
        FirestoreSetUps,
        FirestoreSources,
        FirestoreSweeps,
        FirestoreTeams,
        FirestoreUnprovisioned,
    )
    from autoprovisioning.adapters.secrets import SecretManagerTokens, build_client
    from autoprovisioning.adapters.threads import Threads
    from autoprovisioning.app.services import Services

    gc.freeze()  # what the libraries made stays: a run makes so much that it would be looked through again and again
    gc.set_threshold(GARBAGE_FROM)  # ... and so would what the run makes, which has no cycles
    chosen = settings()
    database = _database()
    secrets = build_client(chosen.secret_manager_emulator)
    return Services(
        clock=now,
        new_id=new_id,
        directory=directory(),
        connections=FirestoreConnections(database),
        set_ups=FirestoreSetUps(database),
        roster=FirestoreRoster(database),
        runs=FirestoreRuns(database),
        requests=FirestoreRequests(database),
        preview_lines=FirestorePreviewLines(database),
        holds=FirestoreHolds(database),
        guard=FirestoreGuard(database),
        claims=FirestoreClaims(database),
        sweeps=FirestoreSweeps(database),
        audit=FirestoreAudit(database),
        leases=FirestoreLeases(database),
        sources=FirestoreSources(database),
        due_runs=FirestoreDueRuns(database),
        listings=FirestoreListings(database),
        adoptions=FirestoreAdoptions(database),
        unprovisioned=FirestoreUnprovisioned(database),
        keeper_changes=FirestoreKeeperChanges(database),
        teams=FirestoreTeams(database),
        people=FirestorePeople(database),
        tokens=SecretManagerTokens(secrets, chosen.project, chosen.outside_timeout),
        queue=_queue(),
        accounts_for=accounts_builder(),
        meter=meter(),
        executor=Threads(),
        reads_at_once=chosen.directory_concurrency,
        timings=_timings(chosen),
        through=_through(chosen),
    )


def accounts_builder(longest: timedelta = timedelta.max) -> Callable[[Connection, str], Accounts]:
    """Return how a connection's accounts are reached, no answer being waited for longer than `longest`.

    Clients are kept, with what they learnt about the server.
    """
    from autoprovisioning.adapters.scim import ScimAccounts, check_endpoint

    chosen = settings()
    timeout = min(chosen.scim_timeout, longest).total_seconds()

    def client(endpoint: str, token: str, dialect: str) -> ScimAccounts:
        from autoprovisioning.domain.keeper import PatchDialect

        checked = check_endpoint(endpoint, chosen.extra_scim_hosts, local=chosen.local)
        return ScimAccounts(
            checked,
            token,
            PatchDialect(dialect),
            meter(),
            now,
            timeout=timeout,
            concurrency=chosen.scim_concurrency,
            stop_for=chosen.scim_stop.total_seconds(),
        )

    clients = Once(client, kept=CLIENTS_KEPT)
    return lambda connection, token: clients(connection.settings.endpoint, token, connection.settings.patch_dialect)


@Once
def _queue() -> Queue:
    from autoprovisioning.adapters.pubsub import PubSubQueue

    chosen = settings()
    return PubSubQueue(
        chosen.project, chosen.topic_looks, chosen.topic_batches, chosen.topic_runs, chosen.outside_timeout
    )


@Once
def _database(*, waited_for: bool = False) -> Database:
    from autoprovisioning.adapters.firestore import Database, build_client

    chosen = settings()
    if waited_for:
        return Database(_database().client, meter(), min(chosen.outside_timeout, SOON))
    return Database(build_client(chosen.project, chosen.database), meter(), chosen.outside_timeout)


def _logs() -> None:
    chosen = settings()
    telemetry.set_up(chosen.project, chosen.log_level)


def _key(key: bytes, name: str) -> bytes:
    if not key:
        raise ConfigurationRefused(f"{name} is not set. Mount the secret version of that key under this name.")
    return key


def _through(chosen: config.Config) -> ChangeSources:
    from autoprovisioning.app.services import ChangeSources

    return ChangeSources(
        audit_log=chosen.audit_log_sink,
        notifications=chosen.public_webhook,
        sweep_every=chosen.sweep_every,
        full_run_every=chosen.full_run_every,
    )


@Once
def ear(source: Feed) -> Ear:
    """Return what notes that a source of changes was heard."""
    from autoprovisioning.adapters.firestore import FirestoreSources
    from autoprovisioning.app.notifications.hearing import Ear

    return Ear(FirestoreSources(_database()), source)


def _timings(chosen: config.Config) -> Timings:
    from autoprovisioning.app.services import Timings

    return Timings(
        user_deadline=chosen.user_deadline,
        user_mark=chosen.user_mark,
        batch_deadline=chosen.batch_deadline,
        batch_mark=chosen.batch_mark,
        reconcile_deadline=chosen.reconcile_deadline,
        reconcile_limit=chosen.reconcile_deadline * 1.2,
        reconcile_lease=chosen.reconcile_lease,
        contradiction=chosen.contradiction,
    )
