"""The configuration of a function, from its environment: the only reader of os.environ.

`load` reads everything a function needs and reports every problem at once, each with its fix.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

GOOGLE_DIRECTORY = "https://admin.googleapis.com"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FULL_RUN_MINUTES = (15, 60, 1440)  # each time that one is scheduled, hourly, daily
LARGEST_NUMBER = 86_400  # seconds in a day; also more connections than anybody opens at once
_HOST_NAME = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?")


class Misconfigured(Exception):
    """The environment lacks something or holds nonsense; the text lists every problem with its fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of one deployment; README's configuration table says what each is for."""

    project: str
    local: bool
    database: str
    topic_looks: str
    topic_batches: str
    topic_runs: str
    directory_endpoint: str
    directory_customer: str
    directory_admin: str
    directory_service_account: str
    directory_first_pause: timedelta
    directory_requests_a_minute: int
    directory_concurrency: int
    webhook_url: str
    channel_key: bytes
    form_key: bytes
    extra_scim_hosts: tuple[str, ...]
    scim_timeout: timedelta
    scim_concurrency: int
    scim_stop: timedelta
    user_deadline: timedelta
    user_mark: timedelta
    batch_deadline: timedelta
    batch_mark: timedelta
    reconcile_deadline: timedelta
    reconcile_lease: timedelta
    contradiction: timedelta
    audit_log_sink: bool
    public_webhook: bool
    sweep_every: timedelta
    full_run_every: timedelta
    outside_timeout: timedelta
    secret_manager_emulator: str
    firestore_emulator: str
    pubsub_emulator: str
    iap_audience: str
    iap_issuer: str
    iap_certs_url: str
    console_url: str
    reauthorize_url: str
    log_level: str


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        value = self._environment.get(name, "").strip()
        if value:
            return value
        if default is None:
            self.problems.append(f"{name} is not set. Set it to the value that README's configuration table names.")
            return ""
        return default

    def seconds(self, name: str, default: float) -> timedelta:
        return timedelta(seconds=self._number(name, default, float))

    def whole(self, name: str, default: int) -> int:
        return int(self._number(name, default, int))

    def one_of(self, name: str, values: Sequence[int]) -> int:
        value = self._environment.get(name, "").strip() or str(values[0])
        if value in map(str, values):
            return int(value)
        self.problems.append(f"{name} is {value!r}. Use one of: {', '.join(map(str, values))}.")
        return values[0]

    def flag(self, name: str) -> bool:
        value = self._environment.get(name, "").strip().lower()
        if value not in ("", "0", "1", "true", "false"):
            self.problems.append(f"{name} is {value!r}. Use true or false.")
        return value in ("1", "true")

    def switch(self, name: str, *, default: bool) -> bool:
        value = self._environment.get(name, "").strip().lower()
        if value not in ("", "on", "off"):
            self.problems.append(f"{name} is {value!r}. Use on or off.")
        return value == "on" if value else default

    def url(self, name: str, default: str) -> str:
        value = self.text(name, default).rstrip("/")
        if value and not _is_address(value):
            self.problems.append(f"{name} is {value!r}. Use an https address (http only on loopback).")
        return value

    def hosts(self, name: str) -> tuple[str, ...]:
        found = tuple(self.text(name, "").replace(",", " ").split())
        for host in found:
            if not _is_host(host):
                mend = "Name hosts alone, as in scim.example.com: without scheme, port, path or *."
                self.problems.append(f"{name} holds {host!r}, which cannot be an endpoint URL's host. {mend}")
        return found

    def _number(self, name: str, default: float, read: Callable[[str], float]) -> float:
        raw = self._environment.get(name, "").strip()
        if not raw:
            return default
        try:
            value = read(raw)
        except ValueError:
            value = 0
        if not 0 < value <= LARGEST_NUMBER:
            self.problems.append(f"{name} is {raw!r}. Use a number above 0 and up to {LARGEST_NUMBER}.")
            return default
        return value

    def level(self, name: str) -> str:
        value = self.text(name, "INFO").upper()
        if value not in LOG_LEVELS:
            self.problems.append(f"{name} is {value!r}. Use one of: {', '.join(LOG_LEVELS)}.")
        return value


def _is_address(value: str) -> bool:
    """Say whether this is an https address, or an http one on loopback."""
    try:
        parts = urlsplit(value)
        _ = parts.port  # checked on access
    except ValueError:
        return False
    if parts.scheme == "http":
        return parts.hostname in LOOPBACK
    return parts.scheme == "https" and bool(parts.hostname)


def _is_host(text: str) -> bool:
    """Say whether a URL's host can be this (RFC 3986 section 3.2.2): a name, or an address without brackets."""
    if _HOST_NAME.fullmatch(text):
        return True
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def load(environment: Mapping[str, str] | None = None, *, reads_directory: bool = True) -> Config:
    """Read the configuration; a function that never reads the directory need not be told in whose name.

    Raises:
        Misconfigured: listing every problem.
    """
    reader = _Reader(os.environ if environment is None else environment)
    config = _read(reader, reads_directory=reads_directory)
    _check_order(config, reader.problems)
    if reader.problems:
        raise Misconfigured("The configuration is not usable:\n- " + "\n- ".join(reader.problems))
    return config


def _read(reader: _Reader, *, reads_directory: bool) -> Config:
    local = reader.flag("LOCAL_MODE")
    directory = reader.url("DIRECTORY_API_ENDPOINT", GOOGLE_DIRECTORY)
    admin = None if reads_directory and not directory.startswith("http://") else ""
    return Config(
        project=reader.text("GOOGLE_CLOUD_PROJECT"),
        local=local,
        database=reader.text("FIRESTORE_DATABASE", "(default)"),
        topic_looks=reader.text("TOPIC_DIRECTORY_CHANGES", "directory-changes"),
        topic_batches=reader.text("TOPIC_PLANNED_CHANGES", "planned-changes"),
        topic_runs=reader.text("TOPIC_RUN_REQUESTS", "run-requests"),
        directory_endpoint=directory,
        directory_customer=reader.text("DIRECTORY_CUSTOMER", "my_customer"),
        directory_admin=reader.text("DIRECTORY_ADMIN", admin),
        directory_service_account=reader.text("DIRECTORY_SERVICE_ACCOUNT", admin),
        directory_first_pause=reader.seconds("DIRECTORY_FIRST_PAUSE_SECONDS", 0.5),
        directory_requests_a_minute=reader.whole("DIRECTORY_REQUESTS_A_MINUTE", 1800),
        directory_concurrency=reader.whole("DIRECTORY_CONCURRENCY", 8),
        webhook_url=reader.url("WEBHOOK_URL", ""),
        channel_key=reader.text("CHANNEL_KEY", "").encode(),
        form_key=reader.text("FORM_KEY", "").encode(),
        extra_scim_hosts=reader.hosts("SCIM_EXTRA_HOSTS"),
        scim_timeout=reader.seconds("SCIM_TIMEOUT_SECONDS", 30),
        scim_concurrency=reader.whole("SCIM_CONCURRENCY", 32),
        scim_stop=reader.seconds("SCIM_STOP_SECONDS", 30),
        user_deadline=reader.seconds("USER_DEADLINE_SECONDS", 60),
        user_mark=reader.seconds("USER_MARK_SECONDS", 90),
        batch_deadline=reader.seconds("BATCH_DEADLINE_SECONDS", 480),
        batch_mark=reader.seconds("BATCH_MARK_SECONDS", 660),
        reconcile_deadline=reader.seconds("RECONCILE_DEADLINE_SECONDS", 1500),
        reconcile_lease=reader.seconds("RECONCILE_LEASE_SECONDS", 120),
        contradiction=reader.seconds("CONTRADICTION_SECONDS", 60),
        audit_log_sink=reader.switch("AUDIT_LOG_SINK", default=False),
        public_webhook=reader.switch("PUBLIC_WEBHOOK", default=True),
        sweep_every=timedelta(minutes=reader.whole("SWEEP_MINUTES", 5)),
        full_run_every=timedelta(minutes=reader.one_of("FULL_RUN_MINUTES", FULL_RUN_MINUTES)),
        outside_timeout=reader.seconds("OUTSIDE_TIMEOUT_SECONDS", 20),
        secret_manager_emulator=reader.text("SECRET_MANAGER_EMULATOR_HOST", ""),
        firestore_emulator=reader.text("FIRESTORE_EMULATOR_HOST", ""),
        pubsub_emulator=reader.text("PUBSUB_EMULATOR_HOST", ""),
        iap_audience=reader.text("IAP_AUDIENCE", ""),
        iap_issuer=reader.text("IAP_ISSUER", "https://cloud.google.com/iap"),
        iap_certs_url=reader.url("IAP_CERTS_URL", "https://www.gstatic.com/iap/verify/public_key"),
        console_url=reader.url("CONSOLE_URL", ""),
        reauthorize_url=reader.url("REAUTHORIZE_URL", ""),
        log_level=reader.level("LOG_LEVEL"),
    )


def _check_order(config: Config, problems: list[str]) -> None:
    if config.form_key and config.form_key == config.channel_key:
        problems.append("FORM_KEY is the same as CHANNEL_KEY. Make a separate key for the forms.")
    for shorter, longer, names in (
        (config.user_deadline, config.user_mark, "USER_DEADLINE_SECONDS and USER_MARK_SECONDS"),
        (config.batch_deadline, config.batch_mark, "BATCH_DEADLINE_SECONDS and BATCH_MARK_SECONDS"),
    ):
        if shorter >= longer:
            problems.append(f"{names} must grow in this order: a mark must outlive the work it covers.")
    if not config.local:
        for name, value in (
            ("SECRET_MANAGER_EMULATOR_HOST", config.secret_manager_emulator),
            ("FIRESTORE_EMULATOR_HOST", config.firestore_emulator),
            ("PUBSUB_EMULATOR_HOST", config.pubsub_emulator),
        ):
            if value:
                problems.append(f"{name} is set outside local mode. Unset it, or set LOCAL_MODE=true.")
