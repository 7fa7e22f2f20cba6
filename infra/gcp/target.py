"""Where the description is deployed: a project, a region, and what is learned about them on the way."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.gcp.description import Deployment
from infra.gcp.tuning import Tuning, Unfit, read

NUMBER = "PROJECT_NUMBER"  # as `make plan` shows it
KEY_VERSION = "1"  # the first, which a first deployment makes
CHANNEL = "NOTIFICATION_CHANNEL"
ENTRANTS = "WHO_MAY_ENTER"
BILLING_ACCOUNT = "BILLING_ACCOUNT"
DEPLOYED, DEPLOYER, BEFORE = "DEPLOYMENT_TIME", "DEPLOYING_ACCOUNT", "RELEASE_BEFORE"
IMAGE, RELEASE = "IMAGE_DIGEST", "RELEASE_NAME"
WRITER, PLACE = "SINK_WRITER", "ORGANIZATION_NUMBER"
ORGANIZATION, NONE = "organization", "none"  # what SINK takes
ON, OFF = "on", "off"  # what PUBLIC_WEBHOOK takes
FULL_RUNS = {"15min": 15, "hourly": 60, "daily": 1440}  # what FULL_RUNS takes, in minutes

# cloud.google.com/functions/docs/locations, cloud.google.com/firestore/docs/locations
REGIONS = frozenset(
    "africa-south1 asia-east1 asia-east2 asia-northeast1 asia-northeast2 asia-northeast3 asia-south1 asia-south2 "
    "asia-southeast1 asia-southeast2 asia-southeast3 australia-southeast1 australia-southeast2 europe-central2 "
    "europe-north1 europe-north2 europe-southwest1 europe-west1 europe-west2 europe-west3 europe-west4 europe-west6 "
    "europe-west8 europe-west9 europe-west10 europe-west12 me-central1 me-central2 me-west1 northamerica-northeast1 "
    "northamerica-northeast2 northamerica-south1 southamerica-east1 southamerica-west1 us-central1 us-east1 us-east4 "
    "us-east5 us-south1 us-west1 us-west2 us-west3 us-west4".split()
)
MULTI_REGIONS = frozenset(("eur3", "nam5", "nam7"))

DOMAIN = r"[a-z0-9-]+(?:\.[a-z0-9-]+)+"
ADDRESS = rf"[a-z0-9._+'-]+@{DOMAIN}"


def _like(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.IGNORECASE | re.ASCII)  # else other alphabets have letters and digits, too
    return lambda value: compiled.fullmatch(value) is not None


def _notified(value: str) -> bool:
    """Say whether each is an address or a notification channel; whose project it must be is seen later."""
    return all(map(_like(rf"{ADDRESS}|projects/[a-z0-9-]+/notificationChannels/\d+"), _several(value)))


def _several(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in value.split(",")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting of a deployment: what fits, what is wrong with anything else, and what to give instead."""

    name: str
    fits: Callable[[str], bool]
    problem: str
    give: str
    optional: bool = False

    def refusal(self, value: str) -> str:
        """Return field, problem and fix in one line; empty for what fits."""
        if not value:
            return "" if self.optional else f"{self.name} is missing: give {self.give}."
        return "" if self.fits(value) else f"{self.name}={shlex.quote(value)} is {self.problem}: give {self.give}."


ENTRY = _like(rf"(?:user|group):{ADDRESS}|domain:{DOMAIN}")  # what ACCESS takes

SETTINGS = (
    Setting(
        name="PROJECT",
        fits=lambda value: re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", value) is not None,
        problem="not a project id",
        give="the id of the project, like keeper-prod",
    ),
    Setting(
        name="REGION",
        fits=REGIONS.__contains__,
        problem="not a region that infra/gcp/target.py knows",
        give="a region of Cloud Run functions, like europe-west1",
    ),
    Setting(
        name="ADMIN",
        fits=_like(ADDRESS),
        problem="not an e-mail address",
        give="the address of the Workspace account in whose name the directory is read, like keeper-sync@example.com",
    ),
    Setting(
        name="ALERTS",
        fits=_notified,
        problem="neither an address nor a notification channel",
        give="addresses that people read, or projects/PROJECT/notificationChannels/NUMBER, separated by commas",
    ),
    Setting(
        name="LOCATION",
        fits=(REGIONS | MULTI_REGIONS).__contains__,
        problem="not a location of Firestore that infra/gcp/target.py knows",
        give="a region like europe-west1, or eur3, nam5 or nam7",
        optional=True,
    ),
    Setting(
        name="ACCESS",
        fits=ENTRY,
        problem="nobody whom Identity-Aware Proxy could let in",
        give="group:ADDRESS, user:ADDRESS or domain:DOMAIN, one of them",
        optional=True,
    ),
    Setting(
        name="RUNBOOKS",
        fits=_like(r"https?://[^\s\"\\\x00-\x1f\x7f]+"),
        problem="not the address of a web page",
        give="where a browser finds docs/runbooks, like https://git.example.com/keeper/docs/runbooks",
        optional=True,
    ),
    Setting(
        name="TUNING",
        fits=lambda value: Path(value).is_file(),
        problem="not a file",
        give="the path of a TOML file with memory, timeout, concurrency or instances of functions",
        optional=True,
    ),
    Setting(
        name="BUDGET",  # SDK 528 reads what follows a point as billionths: 50.25 becomes 50.000000025
        fits=lambda value: re.fullmatch(r"[1-9][0-9]{0,8}([A-Z]{3})?", value) is not None,
        problem="not a whole amount a month",
        give="a whole number, with the currency of the billing account or without, like 50 or 50EUR",
        optional=True,
    ),
    Setting(
        name="SINK",
        fits=(ORGANIZATION, NONE).__contains__,
        problem="neither organization nor none",
        give="organization, whose log sink then publishes Workspace's audit log, or none",
        optional=True,
    ),
    Setting(
        name="ORGANIZATION",
        fits=lambda value: re.fullmatch(r"[1-9][0-9]{5,20}", value) is not None,
        problem="not the number of an organization",
        give="the number that gcloud organizations list shows, like 123456789012",
        optional=True,
    ),
    Setting(
        name="PUBLIC_WEBHOOK",
        fits=(ON, OFF).__contains__,
        problem="neither on nor off",
        give="on, or off with SINK=organization: then no function is public",
        optional=True,
    ),
    Setting(
        name="FULL_RUNS",
        fits=FULL_RUNS.__contains__,
        problem=f"none of {', '.join(FULL_RUNS)}",
        give="hourly or daily, with SINK=organization: then everybody is looked at less often; or 15min",
        optional=True,
    ),
)


# Without both, users who leave would be found by the next full run alone.
ALONE = (
    "PUBLIC_WEBHOOK=off leaves the log sink as the only source of changes: give SINK=organization with it, or "
    "PUBLIC_WEBHOOK=on."
)


class Refused(Exception):
    """The settings name no place to deploy to; the text has a line for each that is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to deploy. What Google knows, like the project's number and the keys' versions, is learned on the way."""

    project: str
    region: str
    admin: str  # the administrator in whose name the directory is read
    alerts: str  # addresses and notification channels that alerts go to, separated by commas
    number: str = NUMBER
    key_versions: Mapping[str, str] = field(default_factory=dict, hash=False)  # by the name of the secret
    channels: Mapping[str, str] = field(default_factory=dict, hash=False)  # the channels' names, by address
    source: str = ""  # the digest of what is uploaded; empty until that is settled
    version: str = ""  # and what it is called, as git told when that was settled
    commit: str = ""
    image: str = IMAGE  # the digest of the image that was built from it
    built_in: str = ""  # where Cloud Build builds it; in the region if empty
    deployed: str = DEPLOYED  # as labels: when, by whom, and which release served before
    deployer: str = DEPLOYER
    before: str = BEFORE
    location: str = ""  # of Firestore; the region if empty
    access: str = (
        ""  # who IAP lets in; empty: who is let in now (preflight.py::as_it_is), and a first deployment refuses
    )
    runbooks: str = ""  # where docs/runbooks of this repository can be read with a browser
    tuning: str = ""  # the path of a file, and what it says of each function
    tuned: Tuning = field(default_factory=dict, hash=False)
    budget: str = ""  # an amount a month; none is made if empty
    billing_account: str = BILLING_ACCOUNT  # learned if there is a budget; empty if it may not be seen
    budgets_open: bool = True  # whether its budgets may be seen
    sink: str = ""  # organization or none; empty: as it was deployed last (preflight.py::as_it_is)
    organization: str = ""  # whose log sink; learned if it is not given
    sinks_in: tuple[str, ...] = ()  # which organizations are recorded to have a sink of ours
    writer: str = WRITER  # the sink's identity, learned; empty if there is none, or nobody may see it
    publishing: bool = True  # whether that may publish: else everything goes on as without a sink
    public_webhook: str = ""  # on or off; empty: as it was deployed last
    full_runs: str = ""  # a key of FULL_RUNS; empty: as it was deployed last
    keeps_webhook: bool = False  # whether one is there that must stay although none is wanted
    organization_open: bool = True  # whether the organization's sinks may be seen

    def __post_init__(self) -> None:
        """Fold addresses: Google keeps them in lower case, and what is compared with what it keeps must be so too."""
        object.__setattr__(self, "admin", self.admin.lower())
        object.__setattr__(self, "access", self.access.lower())
        object.__setattr__(self, "alerts", ",".join(_folded(each) for each in _several(self.alerts)))

    @classmethod
    def given(cls, settings: Mapping[str, str]) -> Target:
        """Return the target that the settings name, PROJECT and so on; what is empty counts as not given.

        Raises:
            Refused: naming everything that is missing or fits nothing, with what to give instead.
        """
        values = {setting.name: settings.get(setting.name, "").strip() for setting in SETTINGS}
        refusals = [setting.refusal(values[setting.name]) for setting in SETTINGS]
        refusals += _elsewhere(values["PROJECT"], values["ALERTS"]) if not any(refusals) else []
        refusals += [ALONE] if (values["SINK"], values["PUBLIC_WEBHOOK"]) == (NONE, OFF) else []
        if any(refusals):
            raise Refused("\n".join(filter(None, refusals)))
        try:
            tuned = read(values["TUNING"]) if values["TUNING"] else {}
        except Unfit as unfit:
            raise Refused(str(unfit)) from None
        return cls(
            project=values["PROJECT"],
            region=values["REGION"],
            admin=values["ADMIN"],
            alerts=values["ALERTS"],
            location=values["LOCATION"],
            access=values["ACCESS"],
            runbooks=values["RUNBOOKS"],
            tuning=values["TUNING"],
            tuned=tuned,
            budget=values["BUDGET"],
            sink=values["SINK"],
            organization=values["ORGANIZATION"],
            public_webhook=values["PUBLIC_WEBHOOK"],
            full_runs=values["FULL_RUNS"],
        )

    def account(self, name: str) -> str:
        """Return the address of a service account of ours."""
        return f"keeper-{name}@{self.project}.iam.gserviceaccount.com"

    def url(self, name: str) -> str:
        """Return a function's address: the one that Cloud Run makes from name, project number and region."""
        return f"https://{name}-{self.number}.{self.region}.run.app"

    def mounted(self, secret: str) -> str:
        """Return the version of a key that functions are given."""
        return self.key_versions.get(secret, KEY_VERSION)

    def filled(self, text: str, deployment: Deployment) -> str:
        """Fill in a text of the description."""
        urls = {function.name: self.url(function.name) for function in deployment.functions}
        return text.format(
            project=self.project,
            number=self.number,
            region=self.region,
            admin=self.admin,
            directory=self.account("directory"),
            url=urls,
        )

    @property
    def settings(self) -> str:
        """Return make's arguments, so that a printed command deploys to this target and no other."""
        given = {setting.name: str(getattr(self, setting.name.lower())) for setting in SETTINGS}
        return " ".join(f"{name}={shlex.quote(value)}" for name, value in given.items() if value)

    @property
    def publishes(self) -> bool:
        """Return whether the organization's log sink is wanted, and publishes."""
        return self.sink == ORGANIZATION and self.publishing

    @property
    def webhook(self) -> bool:
        """Return whether there is a public webhook."""
        return self.public_webhook != OFF or self.keeps_webhook

    @property
    def alerts_to(self) -> tuple[str, ...]:
        """Return the addresses and notification channels that alerts go to."""
        return _several(self.alerts)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return the addresses that a notification channel is made for."""
        return tuple(each for each in self.alerts_to if "@" in each)

    @property
    def notified(self) -> tuple[str, ...]:
        """Return the names of all notification channels."""
        return tuple(self.channels.get(each, CHANNEL) if "@" in each else each for each in self.alerts_to)

    @property
    def may_enter(self) -> str:
        """Return whom IAP lets in."""
        return self.access or ENTRANTS


def _folded(notified: str) -> str:
    return notified.lower() if "@" in notified else notified


def _elsewhere(project: str, alerts: str) -> list[str]:
    """Name notification channels of another project: an alert policy takes only those of its own project."""
    home = f"projects/{project}/"
    return [
        f"ALERTS={shlex.quote(each)} is of another project: give a channel of {project}."
        for each in _several(alerts)
        if "@" not in each and not each.startswith(home)
    ]
