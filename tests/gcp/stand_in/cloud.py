"""What a project holds, and how a command reaches it: parsed by gcloud's own parser, then handled by its service."""

from __future__ import annotations

import base64
import pickle
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Self

import msgspec

from infra.gcp.gcloud import Answer
from infra.gcp.steps import Command, shown
from tests.gcp.api_messages import problems
from tests.gcp.gcloud_parser import TARGET, complaints

PROJECT, REGION, NUMBER = TARGET.project, TARGET.region, TARGET.number
ORGANIZATION = "987654321098"
FORMER = "domain:former.example.com"  # somebody who was let in before
LABEL_KEY, LABEL_VALUE = re.compile(r"[a-z][a-z0-9_-]{0,62}"), re.compile(r"[a-z0-9_-]{0,63}")
TOKENS = ("print-access-token", "print-identity-token")
READING = (*TOKENS, "describe", "get-ancestors", "get", "list", "list-configs", "get-iam-policy", "read", "version")
APIS = {  # group of commands -> the API it uses
    "firestore": "firestore",
    "pubsub": "pubsub",
    "secrets": "secretmanager",
    "functions": "cloudfunctions",
    "artifacts": "artifactregistry",
    "builds": "cloudbuild",
    "storage": "storage",
    "run": "run",
    "scheduler": "cloudscheduler",
    "iap": "iap",
    "iam": "iam",
}
REPEATED = ("field-config", "threshold-rule")
Handler = Callable[["Cloud", list[str], dict[str, Any], str], Any]


MESSAGES = {
    "project": ("cloudresourcemanager.v1", "Project"),
    "account": ("iam.v1", "ServiceAccount"),
    "role": ("iam.v1", "Role"),
    "database": ("firestore.v1", "GoogleFirestoreAdminV1Database"),
    "field": ("firestore.v1", "GoogleFirestoreAdminV1Field"),
    "backups": ("firestore.v1", "GoogleFirestoreAdminV1BackupSchedule"),
    "backup": ("firestore.v1", "GoogleFirestoreAdminV1Backup"),
    "index": ("firestore.v1", "GoogleFirestoreAdminV1Index"),
    "repository": ("artifactregistry.v1", "Repository"),
    "topic": ("pubsub.v1", "Topic"),
    "subscription": ("pubsub.v1", "Subscription"),
    "secret": ("secretmanager.v1", "Secret"),
    "version": ("secretmanager.v1", "SecretVersion"),
    "bucket": ("storage.v1", "Bucket"),
    "function": ("cloudfunctions.v2", "Function"),
    "service": ("run.v1", "Service"),
    "revision": ("run.v1", "Revision"),
    "job": ("cloudscheduler.v1", "Job"),
    "metric": ("logging.v2", "LogMetric"),
    "sink": ("logging.v2", "LogSink"),
    "alert": ("monitoring.v3", "AlertPolicy"),
    "channel": ("monitoring.v3", "NotificationChannel"),
    "uptime": ("monitoring.v3", "UptimeCheckConfig"),
    "dashboard": ("monitoring.v1", "Dashboard"),
    "budget": ("billingbudgets.v1", "GoogleCloudBillingBudgetsV1Budget"),
}


class Refused(Exception):
    """What gcloud prints before it exits with 1."""


class Cloud:
    """Runs commands as gcloud would, by the handlers of each service."""

    handlers: Mapping[str, Handler] = {}

    def __init__(self) -> None:
        self.issued: list[Command] = []
        self.things: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.enabled: set[str] = {"serviceusage.googleapis.com", "cloudresourcemanager.googleapis.com"}
        self.agents: set[str] = set()
        self.inputs: list[str] = []
        self.failures: list[tuple[str, str, int]] = []  # (part of the command, what gcloud says, how often)
        self.interrupt_after: int | None = None
        self.acted = 0  # commands that change something
        self.lost: set[int] = set()  # which of them, counted from 0, are carried out or refused; no answer comes
        self.sdk = {"Google Cloud SDK": "528.0.0", "alpha": "2025.06.20", "beta": "2025.06.20"}
        self.account = "Owner@Example.com"  # that gcloud acts as
        self.sees_billing = self.may_budget = True  # what it may do with the billing account
        self.organizations = [ORGANIZATION]  # that the project is in
        self.others: list[str] = []  # other organizations that the account knows
        self.writer = ""  # the account that a new sink writes as; empty: the organization's
        self.sees_sinks = self.may_sink = True  # what it may do with the log sinks of organizations
        self.may_invoke, self.machine_has_identity = True, False  # whether that account may call functions
        self.broken: set[str] = set()  # services whose new revisions do not start
        self.sick: set[str] = set()  # functions that answer 500
        self.nowhere: set[str] = set()  # services whose tags have no address
        self.unrouted: set[str] = set()  # services whose traffic stays, though gcloud says that it was moved
        # Whether the latest ready revision of a service stays the one that serves, while another waits for traffic, as
        # seen of Cloud Run in 2026 (BasedHardware/omi#10254, mishrasanjeev/agentic-org#606).
        self.retires = False
        self.latest_stays = False  # whether traffic that is sent to the latest goes there, too
        self.status_lag = 0  # seconds for which a service tells its former status to who did not wait for the answer
        self.stale: dict[str, tuple[int, Any]] = {}  # until when, and which
        self.unreachable: set[str] = set()  # regions that a list leaves out
        self.restricted = False  # whether Cloud Build refuses the project in its region
        self.clock = 0  # seconds
        self.lag = 0  # seconds after which the services know a grant or a metric, as IAM and Cloud Monitoring take them
        self.listing_lag = 0  # seconds after which an image that was pushed is listed
        self.pushed: Counter[str] = Counter()  # when each image was
        self.since: dict[tuple[str, ...], int] = {}  # when something was granted or made that is known with a lag
        self.given: Counter[str] = Counter()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy, as tests make hundreds: by pickle, in a fraction of the time that copy takes."""
        twin = object.__new__(type(self))
        twin.__dict__ = pickle.loads(pickle.dumps(self.__dict__))
        return twin

    def __call__(self, command: Command, stdin: str) -> Answer:
        wrong = complaints([command])
        assert not wrong, wrong
        said, changing = "", not reads(command)
        if changing and self.interrupt_after is not None and self.acted >= self.interrupt_after:
            raise KeyboardInterrupt
        self.acted += changing
        self.issued.append(command)
        self.clock += 1
        words = [part for part in command[1:] if not part.startswith("--")]
        try:
            self._fail(command)
            answer = self._handle(words, _flags(command), stdin)
        except Refused as refused:
            answer, said = None, str(refused)
        if changing and self.losing:
            said = "UNAVAILABLE: The service is currently unavailable."
        if said:
            return Answer(status=1, out="", err=f"ERROR: (gcloud.{self._known_as(words)}) {said}")
        told = msgspec.json.encode(answer).decode()  # a text, which shares nothing with the state
        return Answer(status=0, out=told, err="")

    @property
    def losing(self) -> bool:
        """Say whether the answer to the command that is carried out will be lost."""
        return self.acted - 1 in self.lost

    def changes(self) -> list[Command]:
        """Return the commands that change something, in order."""
        return [command for command in self.issued if not reads(command)]

    def thing(self, kind: str, name: str) -> Any:
        """Return what there is of a name."""
        if name not in self.things.get(kind, {}):
            raise Refused(f"NOT_FOUND: {kind} {name} could not be found.")
        return self.things[kind][name]

    def put(self, kind: str, name: str, value: dict[str, Any], *, new: bool = False) -> dict[str, Any]:
        """Store an API message."""
        document, message = MESSAGES[kind]
        assert problems(value, document, message) == []
        if new and name in self.things.get(kind, {}):
            raise Refused(f"ALREADY_EXISTS: {kind} {name}")
        self.things.setdefault(kind, {})[name] = value
        return value

    def numbered(self, home: str) -> str:
        """Return a name that Google makes: a number that was not given before."""
        self.given[home] += 1
        return f"{home}/{self.given[home]}"

    def delete(self, kind: str, name: str) -> dict[str, Any]:
        """Remove a thing."""
        self.thing(kind, name)
        del self.things[kind][name]
        return {}

    def time(self) -> str:
        """Return a time that grows with every command."""
        return f"2026-11-25T{self.clock // 3600:02}:{self.clock // 60 % 60:02}:{self.clock % 60:02}.000000Z"

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self.clock += int(seconds)

    def known(self, *what: str) -> bool:
        """Say whether the services know already what was granted or made."""
        return self.since.get(what, -self.lag) + self.lag <= self.clock

    def may(self, member: str, role: str, on: str) -> bool:
        """Say whether a service finds a role granted, which it does a while after it was."""
        bound = any(item["role"] == role and member in item["members"] for item in self.policy(on)["bindings"])
        return bound and self.known(on, role, member)

    def policy(self, key: str) -> dict[str, Any]:
        """Return the IAM policy of a resource."""
        return self.policies.setdefault(key, {"version": 1, "etag": self.etag(), "bindings": []})

    def etag(self) -> str:
        """Return an etag that nothing had before."""
        self.given["etag"] += 1
        return base64.b64encode(str(self.given["etag"]).encode()).decode()

    def _fail(self, command: Command) -> None:
        for place, (part, text, times) in enumerate(self.failures):
            if times > 0 and part in shown(command):
                self.failures[place] = (part, text, times - 1)
                raise Refused(text)

    def _handle(self, words: list[str], flags: dict[str, Any], stdin: str) -> Any:
        if words[0] in ("alpha", "beta"):
            words = words[1:]
        api = f"{APIS.get(words[0], '')}.googleapis.com"
        if words[0] in APIS and api not in self.enabled:
            raise Refused(f"SERVICE_DISABLED: {api} has not been used in project {NUMBER} before or it is disabled.")
        name = self._known_as(words)
        return self.handlers[name.replace(".", " ")](self, words[name.count(".") + 1 :], flags, stdin)

    def _known_as(self, words: list[str]) -> str:
        """Return the name of a command, as gcloud tells it in what it says."""
        words = words[1:] if words[0] in ("alpha", "beta") else words
        for length in range(len(words), 0, -1):
            if " ".join(words[:length]) in self.handlers:
                return ".".join(words[:length])
        raise AssertionError(f"the stand-in does not know: {' '.join(words)}")


def reads(command: Command) -> bool:
    return "update" not in command and bool(set(READING) & set(command))  # a field that is updated is called "list"


def _flags(command: Command) -> dict[str, Any]:
    flags: dict[str, Any] = {}
    for part in command:
        if part.startswith("--"):
            name, _, value = part[2:].partition("=")
            flags[name] = [*flags.get(name, []), value] if name in REPEATED else value
    return flags


def labels(flags: Mapping[str, Any], there: Mapping[str, Any] | None = None) -> dict[str, dict[str, str]]:
    """Return the labels of a thing as a field of its message: those that it has, and those that the flags give it.

    Google's services take lower case letters, digits, - and _, up to 63 of them.
    """
    given = flags.get("labels") or flags.get("update-labels") or ""
    found = dict((there or {}).get("labels", {}))
    for pair in filter(None, given.split(",")):
        key, _, value = pair.partition("=")
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
            raise Refused(f"INVALID_ARGUMENT: Label {key}={value} is not valid.")
        found[key] = value
    return {"labels": found} if found else {}


def describe(kind: str) -> Handler:
    return lambda cloud, names, flags, stdin: cloud.thing(kind, flags["database"] if kind == "database" else names[0])


def listed(kind: str) -> Handler:
    return lambda cloud, names, flags, stdin: list(cloud.things.get(kind, {}).values())


def delete(kind: str) -> Handler:
    return lambda cloud, names, flags, stdin: cloud.delete(kind, names[0])
