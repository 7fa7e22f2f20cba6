"""What is deployed, as one value: DEPLOYMENT. It contains no commands and does nothing.

Texts in braces are filled in for a target (target.py::Target): {project}, {number}, {region}, {admin}, and {url[X]}
for the address of function X.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PYTHON = "3.11.x"  # the version that CI tests, with the patches that are there when the image is built
DATABASE = "(default)"
CHANNEL_KEY = "channel-key"
FORM_KEY = "form-key"
KEYS = (CHANNEL_KEY, FORM_KEY)  # made by the deployment: 32 random bytes each, which nobody has to know
TOKEN_SECRETS = "keeper-token-"  # noqa: S105 - how adapters/secrets.py names the secret of a connection
DEAD_LETTERS = "dead-letters"
WEBHOOK = "directory-webhook"  # the one public function, which a deployment with a log sink may do without
WORKSPACE_CHANGES = "workspace-changes"  # topic of the audit log's entries
DEAD_LETTERS_DEADLINE = 60  # seconds to acknowledge one
DEAD_LETTERS_RETENTION = 7 * 86400  # seconds
TIME_ZONE = "Etc/UTC"  # of schedules
BACKUP_DAYS = 14  # for which a backup of the database is kept
REPOSITORY = "keeper-functions"  # of images: one of our own, since a role on it must be granted before the first build
IMAGE = "functions"  # in it: one for all functions, told apart by FUNCTION_TARGET
SOURCES = "keeper-source"  # the bucket that a build reads from, with the project's number: names are Google-wide

PUBLISHER = "roles/pubsub.publisher"
SUBSCRIBER = "roles/pubsub.subscriber"
INVOKER = "roles/run.invoker"
ACCESSOR = "roles/secretmanager.secretAccessor"
FIRESTORE = "roles/datastore.user"
SIGNER = "roles/iam.serviceAccountTokenCreator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Only:
    """What an IAM condition restricts a role on the project to."""

    what: str  # as people read it
    title: str
    expression: str  # filled in for a target


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role on something: "project", or "kind:name" with one of the kinds of access.py::GROUPS."""

    role: str
    on: str
    why: str
    only: Only | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A service account of ours, keeper-<name>, and all that it may do."""

    name: str
    purpose: str
    grants: tuple[Grant, ...] = ()

    @property
    def id(self) -> str:
        """Return the part of its address before the @."""
        return f"keeper-{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An identity that Google runs in our project; the first grant listed is the first one made."""

    service: str
    address: str
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role of our own, where every predefined one allows more than is needed."""

    id: str
    title: str
    permissions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function, as a service of Cloud Run; its service account is keeper-<name>."""

    entry_point: str
    memory: str
    timeout: int  # seconds
    concurrency: int
    max_instances: int
    environment: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)  # variable -> secret, mounted by version number
    iap: bool = False
    public: bool = False  # Cloud Run does not check callers: the function does
    min_instances: int = 0
    cpu: str = "1"

    @property
    def name(self) -> str:
        """Return the deployed name: a Cloud Run service's name has no underscores."""
        return self.entry_point.replace("_", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A push subscription, named like its topic."""

    topic: str
    function: str
    ack_deadline: int  # seconds; longer than the function's timeout where Pub/Sub's limit of 600 allows
    min_retry: int = 10
    max_retry: int = 600
    attempts: int = 100  # the maximum: with these pauses a message is tried for more than 16 hours, a batch for 4
    retention: int = 2 * 86400  # seconds; longer than all attempts together, and no longer: personal data


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A scheduler job that posts a body to a function."""

    name: str
    function: str
    schedule: str  # unix-cron, UTC
    body: str
    every: int  # minutes, as the schedule says
    deadline: int  # seconds that the scheduler waits for the answer
    retries: int
    min_backoff: int = 10  # seconds
    max_backoff: int = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Everything."""

    services: tuple[str, ...]
    roles: tuple[Role, ...]
    accounts: tuple[Account, ...]
    agents: tuple[Agent, ...]
    topics: tuple[str, ...]
    functions: tuple[Function, ...]
    subscriptions: tuple[Subscription, ...]
    jobs: tuple[Job, ...]


def _on_topic(name: str, why: str) -> Grant:
    return Grant(role=PUBLISHER, on=f"topic:{name}", why=why)


TOKENS_ONLY = Only(
    what=f"secrets {TOKEN_SECRETS}*",
    title=f"{TOKEN_SECRETS}only",
    expression=f'resource.name.startsWith("projects/{{number}}/secrets/{TOKEN_SECRETS}")',
)
# cloud.google.com/firestore/docs/manage-databases: "Configure per-database access permissions"
DATABASE_ONLY = Only(
    what=f"database {DATABASE}",
    title="keeper-database-only",
    expression=f'resource.name == "projects/{{project}}/databases/{DATABASE}"',
)
# What earlier versions let keeper-build read: the bucket that Cloud Functions uploaded sources to.
FORMER_SOURCES = "projects/_/buckets/gcf-v2-sources-{number}-{region}"
FORMER_GRANT = Grant(
    role="roles/storage.objectViewer",
    on="project",
    why="reads the uploaded source",
    only=Only(
        what="bucket gcf-v2-sources-NUMBER-REGION",
        title="keeper-sources-only",
        expression=f'resource.name == "{FORMER_SOURCES}" || resource.name.startsWith("{FORMER_SOURCES}/")',
    ),
)
STATE = Grant(role=FIRESTORE, on="project", why="configuration, roster and audit", only=DATABASE_ONLY)
SIGNS = Grant(role=SIGNER, on="account:directory", why="signs as the delegated account: reads the directory, keyless")
READS_TOKENS = Grant(role=ACCESSOR, on="project", why="reads the access tokens of Keeper", only=TOKENS_ONLY)
DESTROYS_TOKENS = Grant(
    role="keeperTokenDestroyer", on="project", why="destroys access tokens that are not in use", only=TOKENS_ONLY
)
WRITES_TOKENS = Grant(
    role="keeperTokenWriter", on="project", why="adds an access token, disables the one before", only=TOKENS_ONLY
)
CHANNELS = Grant(role=ACCESSOR, on=f"secret:{CHANNEL_KEY}", why="makes or checks the tokens of channels")
FORMS = Grant(role=ACCESSOR, on=f"secret:{FORM_KEY}", why="makes and checks the tokens of forms")
LOOKS = _on_topic("directory-changes", 'publishes "look again"')
BATCHES = _on_topic("planned-changes", "publishes batches")
MAKES_SECRETS = "keeperTokenCreator"
RUNS = _on_topic("run-requests", 'publishes "run now"')


def _may_invoke(function: str, why: str) -> Grant:
    return Grant(role=INVOKER, on=f"service:{function}", why=why)


ACCOUNTS = (
    Account(name="directory", purpose="delegated to read the Workspace directory; may do nothing in this project"),
    Account(name="directory-webhook", purpose="runs directory_webhook", grants=(LOOKS, CHANNELS)),
    Account(name="provision-user", purpose="runs provision_user", grants=(STATE, SIGNS, READS_TOKENS)),
    Account(
        name="reconcile", purpose="runs reconcile", grants=(STATE, SIGNS, READS_TOKENS, DESTROYS_TOKENS, LOOKS, BATCHES)
    ),
    Account(name="apply-changes", purpose="runs apply_changes", grants=(STATE, SIGNS, READS_TOKENS, LOOKS, BATCHES)),
    Account(name="renew-watch", purpose="runs renew_watch", grants=(STATE, SIGNS, CHANNELS)),
    Account(name="workspace-events", purpose="runs workspace_events", grants=(STATE, SIGNS, LOOKS, RUNS)),
    Account(
        name="reauthorize",
        purpose="runs reauthorize",
        grants=(
            STATE,
            SIGNS,
            FORMS,
            WRITES_TOKENS,
            Grant(
                role=MAKES_SECRETS,
                on="project",
                why="makes a connection's secret again after a deletion; as for console",
            ),
            RUNS,
        ),
    ),
    Account(
        name="console",
        purpose="runs console",
        grants=(
            STATE,
            SIGNS,
            FORMS,
            WRITES_TOKENS,
            Grant(
                role=MAKES_SECRETS, on="project", why="makes the secret of a new connection; no condition can name it"
            ),
            LOOKS,
            RUNS,
        ),
    ),
    Account(
        name="push",
        purpose="the identity of the push subscriptions",
        grants=tuple(
            _may_invoke(name, "delivers messages to it")
            for name in ("provision-user", "apply-changes", "reconcile", "workspace-events")
        ),
    ),
    Account(
        name="scheduler",
        purpose="the identity of the scheduler's jobs",
        grants=tuple(
            _may_invoke(name, "calls it on schedule") for name in ("reconcile", "renew-watch", "workspace-events")
        ),
    ),
    Account(
        name="build",
        purpose="builds the functions' image from their source",
        grants=(
            Grant(role="roles/logging.logWriter", on="project", why="writes the build's log"),
            Grant(role="roles/artifactregistry.writer", on=f"repository:{REPOSITORY}", why="stores the built image"),
            Grant(role="roles/storage.objectViewer", on=f"bucket:{SOURCES}", why="reads the uploaded source"),
        ),
    ),
)

AGENTS = (
    Agent(
        service="pubsub.googleapis.com",
        address="service-{number}@gcp-sa-pubsub.iam.gserviceaccount.com",
        grants=(
            Grant(role=SIGNER, on="account:push", why="signs the push requests' identity"),
            Grant(role=PUBLISHER, on=f"topic:{DEAD_LETTERS}", why="moves what could not be delivered there"),
            *(
                Grant(role=SUBSCRIBER, on=f"subscription:{name}", why="takes what could not be delivered off it")
                for name in ("directory-changes", "planned-changes", "run-requests", WORKSPACE_CHANGES)
            ),
        ),
    ),
    Agent(
        service="iap.googleapis.com",
        address="service-{number}@gcp-sa-iap.iam.gserviceaccount.com",
        grants=(
            _may_invoke("reauthorize", "passes on the requests of who signed in"),
            _may_invoke("console", "passes on the requests of who signed in"),
        ),
    ),
)

ALL = {"GOOGLE_CLOUD_PROJECT": "{project}"}
DIRECTORY = {"DIRECTORY_ADMIN": "{admin}", "DIRECTORY_SERVICE_ACCOUNT": "{directory}"}
# The webhook is public: its key must not be valid for the administrators' forms.
CHANNEL_KEYED = {"CHANNEL_KEY": CHANNEL_KEY}
FORM_KEYED = {"FORM_KEY": FORM_KEY}


def _threads(concurrency: int) -> dict[str, str]:
    """Return the variable of functions-framework that lets one instance serve that many requests at once."""
    return {"THREADS": str(concurrency)}


def _audience(name: str) -> dict[str, str]:
    """Return what IAP signs for in front of a Cloud Run service."""
    return {"IAP_AUDIENCE": f"/projects/{{number}}/locations/{{region}}/services/{name}"}


FUNCTIONS = (
    Function(
        entry_point="directory_webhook",
        memory="256Mi",
        timeout=60,
        concurrency=40,
        max_instances=5,
        environment=ALL | _threads(40),
        secrets=CHANNEL_KEYED,
        public=True,
    ),
    Function(
        entry_point="provision_user",
        memory="512Mi",
        timeout=75,
        concurrency=8,
        max_instances=10,
        environment=ALL | DIRECTORY | _threads(8),
    ),
    # A run, a sweep or a preview holds the whole roster, so each has an instance's memory to itself. A fourth instance
    # answers what comes while a run is under way.
    Function(
        entry_point="reconcile",
        memory="1Gi",
        timeout=1800,
        concurrency=1,
        max_instances=4,
        environment=ALL | DIRECTORY | _threads(1),
    ),
    Function(
        entry_point="apply_changes",
        memory="512Mi",
        timeout=540,
        concurrency=1,
        max_instances=5,
        environment=ALL | DIRECTORY | _threads(1),
    ),
    Function(
        entry_point="renew_watch",
        memory="256Mi",
        timeout=180,
        concurrency=1,
        max_instances=1,
        environment=ALL | DIRECTORY | _threads(1) | {"WEBHOOK_URL": "{url[directory-webhook]}"},
        secrets=CHANNEL_KEYED,
    ),
    # One instance: what it remembers of a minute's changes limits how many looks and runs it asks for.
    Function(
        entry_point="workspace_events",
        memory="512Mi",
        timeout=75,
        concurrency=8,
        max_instances=1,
        environment=ALL | DIRECTORY | _threads(8),
    ),
    Function(
        entry_point="reauthorize",
        memory="512Mi",
        timeout=120,
        concurrency=8,
        max_instances=2,
        environment=ALL | DIRECTORY | _threads(8) | _audience("reauthorize") | {"CONSOLE_URL": "{url[console]}"},
        secrets=FORM_KEYED,
        iap=True,
    ),
    Function(
        entry_point="console",
        memory="512Mi",
        timeout=120,
        concurrency=16,
        max_instances=3,
        environment=ALL | DIRECTORY | _threads(16) | _audience("console") | {"REAUTHORIZE_URL": "{url[reauthorize]}"},
        secrets=FORM_KEYED,
        iap=True,
    ),
)

# Traffic moves in this order: first what receives messages, then what sends them, last what people see.
MOVED = (
    "provision-user",
    "apply-changes",
    "reconcile",
    "renew-watch",
    "workspace-events",
    "directory-webhook",
    "reauthorize",
    "console",
)

DEPLOYMENT = Deployment(
    services=tuple(
        f"{name}.googleapis.com"
        for name in (
            "admin artifactregistry cloudbuild cloudfunctions cloudresourcemanager cloudscheduler firestore iam "
            "iamcredentials iap logging monitoring pubsub run secretmanager serviceusage storage"
        ).split()
    ),
    roles=(
        Role(
            id=MAKES_SECRETS,
            title="Keeper: make the secret of a connection",
            permissions=("secretmanager.secrets.create",),
        ),
        Role(
            id="keeperTokenWriter",
            title="Keeper: add an access token and disable the one before",
            permissions=("secretmanager.versions.add", "secretmanager.versions.disable"),
        ),
        Role(
            id="keeperTokenDestroyer",
            title="Keeper: find and destroy access tokens that are not in use",
            permissions=("secretmanager.versions.destroy", "secretmanager.versions.list"),
        ),
    ),
    accounts=ACCOUNTS,
    agents=AGENTS,
    topics=("directory-changes", "planned-changes", "run-requests", WORKSPACE_CHANGES, DEAD_LETTERS),
    functions=FUNCTIONS,
    subscriptions=(
        Subscription(topic="directory-changes", function="provision-user", ack_deadline=90),
        # Whom a dead worker had marked wait for the next delivery: it comes soon after the marks have run out.
        Subscription(topic="planned-changes", function="apply-changes", ack_deadline=600, max_retry=180),
        # A run may take longer than any acknowledgement deadline: the redelivered request is answered "busy".
        Subscription(topic="run-requests", function="reconcile", ack_deadline=600),
        Subscription(topic=WORKSPACE_CHANGES, function="workspace-events", ack_deadline=90),
    ),
    jobs=(
        Job(
            name="keeper-full",
            function="reconcile",
            schedule="*/15 * * * *",
            body='{"kind": "full"}',
            every=15,
            deadline=1800,
            retries=0,
        ),
        Job(
            name="keeper-sweep",
            function="reconcile",
            schedule="3-59/5 * * * *",
            body='{"kind": "sweep"}',
            every=5,
            deadline=300,
            retries=0,
        ),
        Job(
            name="keeper-drift",
            function="reconcile",
            schedule="10 * * * *",
            body='{"kind": "drift"}',
            every=60,
            deadline=1800,
            retries=1,
        ),
        Job(
            name="keeper-renew-watch",
            function="renew-watch",
            schedule="*/10 * * * *",
            body="{}",
            every=10,
            deadline=180,
            retries=1,
        ),
        Job(
            name="keeper-due-runs",
            function="workspace-events",
            schedule="*/1 * * * *",
            body="{}",
            every=1,
            deadline=75,
            retries=0,
        ),
    ),
)
