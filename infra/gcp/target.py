"""Where the description is deployed: a project, a region, and what is learned of them on the way."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from infra.gcp.description import Deployment

NUMBER = "PROJECT_NUMBER"  # as `make plan` shows it
KEY_VERSION = "1"  # the first, which a first deployment makes
CHANNEL = "NOTIFICATION_CHANNEL"
OPTIONAL = ("location", "access", "alerts", "runbooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to deploy. Project number, versions of the keys and notification channel are learned on the way."""

    project: str
    region: str
    admin: str  # the administrator in whose name the directory is read
    number: str = NUMBER
    key_versions: Mapping[str, str] = field(default_factory=dict, hash=False)  # by the name of the secret
    channel: str = CHANNEL
    location: str = ""  # of Firestore; the region if empty
    access: str = ""  # who IAP lets in; the administrator's domain if empty
    alerts: str = ""  # the address that alerts go to; the administrator's if empty
    runbooks: str = ""  # where docs/runbooks of this repository can be read with a browser

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
        """Return what make is given, so that a printed command deploys to this target and no other."""
        given = {name: getattr(self, name) for name in ("project", "region", "admin", *OPTIONAL)}
        return " ".join(f"{name.upper()}={shlex.quote(value)}" for name, value in given.items() if value)

    @property
    def alerts_to(self) -> str:
        """Return the address that alerts go to."""
        return self.alerts or self.admin

    @property
    def may_enter(self) -> str:
        """Return whom IAP lets in."""
        return self.access or f"domain:{self.admin.rpartition('@')[2]}"
