"""The whole cloud on loopback: emulators, secrets, topics with push subscriptions, and a process for each function.

Once everything answers, cloud.json in `.local` (or LOCAL_STATE) holds addresses and environment for other commands.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from infra.local.emulators import firestore_command, pubsub_command, sdk_root
from infra.local.processes import Process, ProcessFailed, Supervisor, free_port, python

ROOT = Path(__file__).resolve().parents[2]
STATE = Path(os.environ.get("LOCAL_STATE") or ROOT / ".local")
ADDRESSES = STATE / "cloud.json"
PROJECT = "demo-keeper"
FUNCTIONS = (
    "directory_webhook",
    "provision_user",
    "reconcile",
    "apply_changes",
    "renew_watch",
    "workspace_events",
    "reauthorize",
    "console",
)
CHANGES = "workspace-changes"  # topic of the audit log's entries
FIXED_PORTS = {
    "firestore": 8801,
    "pubsub": 8802,
    "secrets": 8803,
    **{name: 8811 + position for position, name in enumerate(FUNCTIONS)},
}
# topic -> function it is pushed to, ack deadline in seconds (longer than the function's timeout)
SUBSCRIPTIONS = {
    "directory-changes": ("provision_user", 90),
    "planned-changes": ("apply_changes", 600),
    "run-requests": ("reconcile", 600),
    CHANGES: ("workspace_events", 90),
}
DEAD_LETTERS = "dead-letters"
# Each function has a HOME of its own, for gunicorn's control socket; gcloud's credentials stay where they are.
GCLOUD = {"CLOUDSDK_CONFIG": os.environ.get("CLOUDSDK_CONFIG", str(Path.home() / ".config" / "gcloud"))}
DELIVERY_ATTEMPTS = 100  # with at most 10 s between them: longer than a batch's mark, or a wait that Keeper asks for
FIRST_RETRY, LAST_RETRY = timedelta(seconds=1), timedelta(seconds=10)


@dataclass(kw_only=True)
class LocalCloud:
    """What is running, and where."""

    supervisor: Supervisor
    project: str = PROJECT
    ports: dict[str, int] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    workers: dict[str, Process] = field(default_factory=dict)

    def url(self, function: str) -> str:
        """Return a function's address."""
        return f"http://127.0.0.1:{self.ports[function]}"

    def start_backing(self) -> None:
        """Start all emulators; returns once they answer."""
        self.start_emulators()
        self.start_secrets()
        self.supervisor.wait_ready()

    def start_emulators(self) -> None:
        """Start Google's emulators, of Firestore and Pub/Sub, without waiting for them."""
        root = sdk_root(os.environ.get("GOOGLE_CLOUD_SDK_ROOT", ""))
        firestore, pubsub = self._port("firestore"), self._port("pubsub")
        commands = firestore_command(firestore, root), pubsub_command(pubsub, root)  # what is missing shows first
        self.supervisor.start("firestore", commands[0], ready=f"http://127.0.0.1:{firestore}/")
        self.supervisor.start("pubsub", commands[1], ready=f"http://127.0.0.1:{pubsub}/")

    def start_secrets(self) -> None:
        """Start the emulator of Secret Manager without waiting for it."""
        argv = python("-m", "infra.local.secrets_emulator", "--port", str(self._port("secrets")))
        self.supervisor.start("secrets", argv, cwd=ROOT)

    def start_functions(self, directory: str, extra: dict[str, str] | None = None) -> None:
        """Start every function, and subscribe them; `directory` is the Directory API's address."""
        self.configure(directory, extra)
        for name in FUNCTIONS:
            self.start_function(name)
        self.supervisor.wait_ready()
        make_topics(self)

    def configure(self, directory: str, extra: dict[str, str] | None = None) -> None:
        """Make the functions' environment and check it as they do.

        Raises:
            ProcessFailed: naming every problem; nothing was started.
        """
        sys.path.insert(0, str(ROOT / "functions"))
        from autoprovisioning.config import Misconfigured, load

        for name in ("firestore", "pubsub", "secrets", *FUNCTIONS):
            self._port(name)
        self.environment = self._environment(directory) | (extra or {})
        try:
            load({**os.environ, **self.environment})
        except Misconfigured as error:
            raise ProcessFailed(str(error)) from None

    def start_function(self, name: str, extra: dict[str, str] | None = None) -> Process:
        """Start one function as Cloud Run would: functions-framework, one target a process."""
        home = STATE / "home" / name
        home.mkdir(parents=True, exist_ok=True)
        port = self.ports[name]
        self.workers[name] = self.supervisor.start(
            name,
            python("-m", "functions_framework", "--target", name, "--host", "127.0.0.1", "--port", str(port)),
            env={**self.environment, "HOME": str(home), **GCLOUD, "PYTHONUNBUFFERED": "1", **(extra or {})},
            ready=f"http://127.0.0.1:{port}/robots.txt",
            cwd=ROOT / "functions",
        )
        return self.workers[name]

    def _environment(self, directory: str) -> dict[str, str]:
        return {
            "GOOGLE_CLOUD_PROJECT": self.project,
            "LOCAL_MODE": "true",
            "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{self.ports['firestore']}",
            "PUBSUB_EMULATOR_HOST": f"127.0.0.1:{self.ports['pubsub']}",
            "SECRET_MANAGER_EMULATOR_HOST": f"127.0.0.1:{self.ports['secrets']}",
            "DIRECTORY_API_ENDPOINT": directory,
            "WEBHOOK_URL": self.url("directory_webhook"),
            "CHANNEL_KEY": secrets.token_hex(32),
            "FORM_KEY": secrets.token_hex(32),
            # functions-framework reads these two: what the shell, or make, has by these names is not meant for it.
            "WORKERS": "1",
            "DEBUG": "",
        }

    def _port(self, name: str) -> int:
        self.ports.setdefault(name, free_port())
        return self.ports[name]

    def save(self) -> None:
        """Write addresses and environment where the other commands find them."""
        STATE.mkdir(parents=True, exist_ok=True)
        state = {"pid": os.getpid(), "project": self.project, "ports": self.ports, "environment": self.environment}
        fresh = ADDRESSES.with_suffix(f".{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(state, indent=1))
        fresh.replace(ADDRESSES)

    def forget(self) -> None:
        """Remove what `save` wrote, unless another cloud has saved its own since."""
        if _saved().get("pid") == os.getpid():
            ADDRESSES.unlink(missing_ok=True)


def make_topics(cloud: LocalCloud) -> None:
    """Create topics, dead letters and push subscriptions in the Pub/Sub emulator."""
    from google.cloud import pubsub_v1  # type: ignore[attr-defined]
    from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

    with _channel(cloud) as channel:
        publisher = pubsub_v1.PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        home = f"projects/{cloud.project}"
        for topic in (*SUBSCRIPTIONS, DEAD_LETTERS):
            publisher.create_topic(request={"name": f"{home}/topics/{topic}"})
        _subscriber(channel).create_subscription(
            request={"name": f"{home}/subscriptions/{DEAD_LETTERS}", "topic": f"{home}/topics/{DEAD_LETTERS}"}
        )
        for topic in SUBSCRIPTIONS:
            _subscribe(cloud, _subscriber(channel), topic)


def subscribe_anew(cloud: LocalCloud) -> None:
    """Forget every message that is queued, under way or to be tried again."""
    with _channel(cloud) as channel:
        subscriber = _subscriber(channel)
        for topic in SUBSCRIPTIONS:
            path = f"projects/{cloud.project}/subscriptions/{topic}"
            subscriber.delete_subscription(request={"subscription": path})
            _subscribe(cloud, subscriber, topic)


def _channel(cloud: LocalCloud) -> Any:
    import grpc

    return grpc.insecure_channel(f"127.0.0.1:{cloud.ports['pubsub']}")


def _subscriber(channel: Any) -> Any:
    from google.pubsub_v1 import SubscriberClient
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    return SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))


def _subscribe(cloud: LocalCloud, subscriber: Any, topic: str) -> None:
    home = f"projects/{cloud.project}"
    function, deadline = SUBSCRIPTIONS[topic]
    subscriber.create_subscription(
        request={
            "name": f"{home}/subscriptions/{topic}",
            "topic": f"{home}/topics/{topic}",
            "push_config": {"push_endpoint": cloud.url(function)},
            "ack_deadline_seconds": deadline,
            "retry_policy": {"minimum_backoff": FIRST_RETRY, "maximum_backoff": LAST_RETRY},
            "dead_letter_policy": {
                "dead_letter_topic": f"{home}/topics/{DEAD_LETTERS}",
                "max_delivery_attempts": DELIVERY_ATTEMPTS,
            },
        }
    )


def load_state() -> tuple[dict[str, int], dict[str, str]]:
    """Return the ports and environment of the cloud that is running.

    Raises:
        SystemExit: none is.
    """
    state = _saved()
    if not state or not Path(f"/proc/{state['pid']}").exists():
        raise SystemExit("No local cloud is running here. Start one with `make local` (or `make run`).")
    return state["ports"], state["environment"]


def _saved() -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads(ADDRESSES.read_text())
    except (OSError, ValueError):
        return {}
    return state
