"""What is deployed, as one value: DEPLOYMENT. No command is here, and nothing is done.

Texts in braces are filled in for a target (commands.py::Target): {project}, {number}, {region}, {admin}, and {url[X]}
for the address of function X.
"""

from __future__ import annotations

from dataclasses import dataclass, field

RUNTIME = "python311"  # the version that CI tests
DATABASE = "(default)"
CHANNEL_KEY = "channel-key"
FORM_KEY = "form-key"
KEYS = (CHANNEL_KEY, FORM_KEY)  # made by the deployment: 32 random bytes each, which nobody has to know
TOKEN_SECRETS = "keeper-token-"  # noqa: S105 - how adapters/secrets.py names the secret of a connection
DEAD_LETTERS = "dead-letters"

PUBLISHER = "roles/pubsub.publisher"
SUBSCRIBER = "roles/pubsub.subscriber"
INVOKER = "roles/run.invoker"
ACCESSOR = "roles/secretmanager.secretAccessor"
FIRESTORE = "roles/datastore.user"
SIGNER = "roles/iam.serviceAccountTokenCreator"


@dataclass(frozen=True, slots=True)
class Grant:
    """A role on something: "project", or "kind:name" where kind is account, topic, subscription, secret or service."""

    role: str
    on: str
    why: str
    secrets: str = ""  # only on secrets whose names begin so: an IAM condition


@dataclass(frozen=True, slots=True)
class Account:
    """A service account of ours, keeper-<name>, and all that it may do."""

    name: str
    purpose: str
    grants: tuple[Grant, ...] = ()

    @property
    def id(self) -> str:
        """Return the part of its address before the @."""
        return f"keeper-{self.name}"


@dataclass(frozen=True, slots=True)
class Agent:
    """An identity that Google runs in our project; the first grant listed is the first one made."""

    service: str
    address: str
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class Role:
    """A role of our own, where every predefined one allows more than is needed."""

    id: str
    title: str
    permissions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A second generation function; its service account is keeper-<name>, its trigger HTTPS."""

    entry_point: str
    memory: str
    timeout: int  # seconds
    concurrency: int
    max_instances: int
    environment: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)  # variable -> secret, mounted by version number
    iap: bool = False
    public: bool = False  # Cloud Run asks nobody who he is: the function checks its callers itself
    min_instances: int = 0
    cpu: str = "1"

    @property
    def name(self) -> str:
        """Return the deployed name: a Cloud Run service's name has no underscores."""
        return self.entry_point.replace("_", "-")


@dataclass(frozen=True, slots=True)
class Subscription:
    """A push subscription, named like its topic."""

    topic: str
    function: str
    ack_deadline: int  # seconds; longer than the function's timeout where Pub/Sub's limit of 600 allows
    min_retry: int = 10
    max_retry: int = 600
    attempts: int = 100  # the most there is: with these pauses a message is tried for 16 hours and more
    retention: int = 2 * 86400  # seconds; longer than all attempts together, and no longer: personal data


@dataclass(frozen=True, slots=True)
class Job:
    """A scheduler job that posts a body to a function."""

    name: str
    function: str
    schedule: str  # unix-cron, UTC
    body: str
    every: int  # minutes, as the schedule says
    deadline: int  # seconds that the scheduler waits for the answer
    retries: int


@dataclass(frozen=True, slots=True)
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
    return Grant(PUBLISHER, f"topic:{name}", why)


STATE = Grant(FIRESTORE, "project", "configuration, roster and audit")
SIGNS = Grant(SIGNER, "account:directory", "signs as the delegated account: reads the directory, keyless")
READS_TOKENS = Grant(ACCESSOR, "project", "reads the access tokens of Keeper", TOKEN_SECRETS)
DESTROYS_TOKENS = Grant("keeperTokenDestroyer", "project", "destroys replaced access tokens", TOKEN_SECRETS)
WRITES_TOKENS = Grant("keeperTokenWriter", "project", "adds an access token, disables the one before", TOKEN_SECRETS)
CHANNELS = Grant(ACCESSOR, f"secret:{CHANNEL_KEY}", "makes or checks the tokens of channels")
FORMS = Grant(ACCESSOR, f"secret:{FORM_KEY}", "makes and checks the tokens of forms")
LOOKS = _on_topic("directory-changes", 'publishes "look again"')
BATCHES = _on_topic("planned-changes", "publishes batches")
MAKES_SECRETS = "keeperTokenCreator"
RUNS = _on_topic("run-requests", 'publishes "run now"')


def _may_invoke(function: str, why: str) -> Grant:
    return Grant(INVOKER, f"service:{function}", why)


ACCOUNTS = (
    Account("directory", "delegated to read the Workspace directory; may do nothing in this project"),
    Account("directory-webhook", "runs directory_webhook", (LOOKS, CHANNELS)),
    Account("provision-user", "runs provision_user", (STATE, SIGNS, READS_TOKENS)),
    Account("reconcile", "runs reconcile", (STATE, SIGNS, READS_TOKENS, DESTROYS_TOKENS, LOOKS, BATCHES)),
    Account("apply-changes", "runs apply_changes", (STATE, SIGNS, READS_TOKENS, LOOKS, BATCHES)),
    Account("renew-watch", "runs renew_watch", (STATE, SIGNS, CHANNELS)),
    Account(
        "reauthorize",
        "runs reauthorize",
        (
            STATE,
            SIGNS,
            FORMS,
            WRITES_TOKENS,
            Grant(
                MAKES_SECRETS, "project", "makes a connection's secret anew where a deletion took it; as for console"
            ),
            RUNS,
        ),
    ),
    Account(
        "console",
        "runs console",
        (
            STATE,
            SIGNS,
            FORMS,
            WRITES_TOKENS,
            Grant(MAKES_SECRETS, "project", "makes the secret of a new connection; no condition can name it"),
            LOOKS,
            RUNS,
        ),
    ),
    Account(
        "push",
        "the identity of the push subscriptions",
        tuple(
            _may_invoke(name, "delivers messages to it") for name in ("provision-user", "apply-changes", "reconcile")
        ),
    ),
    Account(
        "scheduler",
        "the identity of the scheduler's jobs",
        tuple(_may_invoke(name, "calls it on schedule") for name in ("reconcile", "renew-watch")),
    ),
    Account(
        "build",
        "builds the functions from their source",
        (
            Grant("roles/logging.logWriter", "project", "writes the build's log"),
            Grant("roles/artifactregistry.writer", "project", "stores the built image"),
            Grant("roles/storage.objectViewer", "project", "reads the uploaded source"),
        ),
    ),
)

AGENTS = (
    Agent(
        "pubsub.googleapis.com",
        "service-{number}@gcp-sa-pubsub.iam.gserviceaccount.com",
        (
            Grant(SIGNER, "account:push", "signs the push requests' identity"),
            Grant(PUBLISHER, f"topic:{DEAD_LETTERS}", "moves what could not be delivered there"),
            *(
                Grant(SUBSCRIBER, f"subscription:{name}", "takes what could not be delivered off it")
                for name in ("directory-changes", "planned-changes", "run-requests")
            ),
        ),
    ),
    Agent(
        "iap.googleapis.com",
        "service-{number}@gcp-sa-iap.iam.gserviceaccount.com",
        (
            _may_invoke("reauthorize", "passes on the requests of who signed in"),
            _may_invoke("console", "passes on the requests of who signed in"),
        ),
    ),
)

ALL = {"GOOGLE_CLOUD_PROJECT": "{project}"}
DIRECTORY = {"DIRECTORY_ADMIN": "{admin}", "DIRECTORY_SERVICE_ACCOUNT": "{directory}"}
# The webhook is public: what it holds must not be good for the administrators' forms.
CHANNEL_KEYED = {"CHANNEL_KEY": CHANNEL_KEY}
FORM_KEYED = {"FORM_KEY": FORM_KEY}


def _threads(concurrency: int) -> dict[str, str]:
    """Return the variable of functions-framework that lets one instance serve that many requests at once."""
    return {"THREADS": str(concurrency)}


def _audience(name: str) -> dict[str, str]:
    """Return what IAP signs for in front of a Cloud Run service."""
    return {"IAP_AUDIENCE": f"/projects/{{number}}/locations/{{region}}/services/{name}"}


FUNCTIONS = (
    Function("directory_webhook", "256Mi", 60, 40, 5, ALL | _threads(40), CHANNEL_KEYED, public=True),
    Function("provision_user", "512Mi", 75, 8, 10, ALL | DIRECTORY | _threads(8)),
    # A run takes one of the four places for up to 25 minutes; previews are computed in the others meanwhile.
    Function("reconcile", "1Gi", 1800, 4, 2, ALL | DIRECTORY | _threads(4)),
    Function("apply_changes", "512Mi", 540, 1, 5, ALL | DIRECTORY | _threads(1)),
    Function(
        "renew_watch",
        "256Mi",
        180,
        1,
        1,
        ALL | DIRECTORY | _threads(1) | {"WEBHOOK_URL": "{url[directory-webhook]}"},
        CHANNEL_KEYED,
    ),
    Function(
        "reauthorize",
        "512Mi",
        120,
        8,
        2,
        ALL | DIRECTORY | _threads(8) | _audience("reauthorize") | {"CONSOLE_URL": "{url[console]}"},
        FORM_KEYED,
        iap=True,
    ),
    Function(
        "console",
        "512Mi",
        120,
        16,
        3,
        ALL | DIRECTORY | _threads(16) | _audience("console") | {"REAUTHORIZE_URL": "{url[reauthorize]}"},
        FORM_KEYED,
        iap=True,
    ),
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
        Role(MAKES_SECRETS, "Keeper: make the secret of a connection", ("secretmanager.secrets.create",)),
        Role(
            "keeperTokenWriter",
            "Keeper: add an access token and retire the one before",
            (
                "secretmanager.versions.add",
                "secretmanager.versions.disable",
                "secretmanager.versions.destroy",
                "secretmanager.versions.list",
            ),
        ),
        Role(
            "keeperTokenDestroyer",
            "Keeper: find and destroy access tokens that are not in use",
            ("secretmanager.versions.destroy", "secretmanager.versions.list"),
        ),
    ),
    accounts=ACCOUNTS,
    agents=AGENTS,
    topics=("directory-changes", "planned-changes", "run-requests", DEAD_LETTERS),
    functions=FUNCTIONS,
    subscriptions=(
        Subscription("directory-changes", "provision-user", 90),
        Subscription("planned-changes", "apply-changes", 600),
        # A run may take longer than any acknowledgement deadline: the request that comes again is answered "busy".
        Subscription("run-requests", "reconcile", 600),
    ),
    jobs=(
        Job("keeper-full", "reconcile", "*/15 * * * *", '{"kind": "full"}', 15, 1800, 0),
        Job("keeper-sweep", "reconcile", "3-59/5 * * * *", '{"kind": "sweep"}', 5, 300, 0),
        Job("keeper-drift", "reconcile", "8 * * * *", '{"kind": "drift"}', 60, 1800, 1),
        Job("keeper-renew-watch", "renew-watch", "*/10 * * * *", "{}", 10, 180, 1),
    ),
)
