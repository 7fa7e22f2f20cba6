"""What `make doctor` asks without gcloud: delegation, Firestore's documents, and whether Keeper answers.

All of it as the person who runs it, with gcloud's access token; no access token of Keeper is read.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import requests

from infra.gcp.description import DATABASE
from infra.gcp.target import Target

SECONDS = 20.0
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
COUNTED_WITHIN = timedelta(minutes=15)  # the metric is written every minute, and seen some minutes later
REFUSED = (400, 401, 403)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where Google's APIs are; tests have others."""

    iam: str = "https://iamcredentials.googleapis.com"
    token: str = "https://oauth2.googleapis.com/token"  # noqa: S105
    directory: str = "https://admin.googleapis.com"
    firestore: str = "https://firestore.googleapis.com"
    monitoring: str = "https://monitoring.googleapis.com"


def as_given(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Sign a request as it is: without this, requests replaces the header with what ~/.netrc has for any host."""
    return request


def reachable(address: str) -> bool:
    """Say whether a server answers at all, whatever it says."""
    try:
        requests.head(address, timeout=SECONDS, allow_redirects=False, auth=as_given)
    except requests.RequestException:
        return False
    return True


class NotAllowed(Exception):
    """The person who asks is not allowed to; the text is Google's."""


class Web:
    """Asks over HTTPS."""

    def __init__(self, target: Target, token: str, addresses: Addresses) -> None:
        self._target = target
        self._addresses = addresses
        self._session = requests.Session()
        self._session.auth = as_given
        self._own = {"Authorization": f"Bearer {token}"}

    def delegated(self, scope: str) -> str | None:
        """Return an access token of the administrator's for one scope, None if the customer does not delegate it.

        Raises:
            NotAllowed: the person who asks may not sign in the delegated account's name.
        """
        account, now = self._target.account("directory"), int(time.time())
        claims = {
            "iss": account,
            "sub": self._target.admin,
            "scope": scope,
            "aud": self._addresses.token,
            "iat": now,
            "exp": now + 600,
        }
        signed = self._session.post(
            f"{self._addresses.iam}/v1/projects/-/serviceAccounts/{account}:signJwt",
            json={"payload": json.dumps(claims)},
            headers=self._own,
            timeout=SECONDS,
        )
        if signed.status_code != 200:
            raise NotAllowed(_message(signed))
        form = {"grant_type": GRANT_TYPE, "assertion": signed.json()["signedJwt"]}
        answer = self._session.post(self._addresses.token, data=form, timeout=SECONDS)
        if answer.status_code in REFUSED:
            return None
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def users(self, token: str) -> int:
        """Return the status of a listing of one user."""
        where = {"customer": "my_customer", "maxResults": "1"}
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{self._addresses.directory}/admin/directory/v1/users"
        return self._session.get(url, params=where, headers=headers, timeout=SECONDS).status_code

    def documents(self, collection: str, **options: str) -> list[dict[str, Any]]:
        """Return documents of a collection: fields as text, numbers and booleans, and `id`.

        Raises:
            NotAllowed: the person who asks may not read Firestore.
        """
        home = f"{self._addresses.firestore}/v1/projects/{self._target.project}/databases/{DATABASE}/documents"
        answer = self._session.get(
            f"{home}/{collection}", params={"pageSize": "100", **options}, headers=self._own, timeout=SECONDS
        )
        if answer.status_code != 200:
            raise NotAllowed(_message(answer))
        return [_plain(document) for document in answer.json().get("documents", ())]

    def waiting(self, subscription: str, now: datetime) -> int | None:
        """Return how many messages a subscription holds, None where Cloud Monitoring has not counted them lately.

        Pulling them would also say, but it delivers them, and they hold personal data.

        Raises:
            NotAllowed: the person who asks may not read metrics.
        """
        metric = "pubsub.googleapis.com/subscription/num_undelivered_messages"
        query = {
            "filter": f'metric.type="{metric}" AND resource.labels.subscription_id="{subscription}"',
            "interval.startTime": (now - COUNTED_WITHIN).isoformat(),
            "interval.endTime": now.isoformat(),
        }
        url = f"{self._addresses.monitoring}/v3/projects/{self._target.project}/timeSeries"
        answer = self._session.get(url, params=query, headers=self._own, timeout=SECONDS)
        if answer.status_code != 200:
            raise NotAllowed(_message(answer))
        newest = [series["points"][0]["value"] for series in answer.json().get("timeSeries", ())]
        return int(newest[0].get("int64Value", 0)) if newest else None

    def keeper(self, endpoint: str) -> int:
        """Return the status of a request without a token; 401 says that Keeper is there."""
        url = f"{endpoint.rstrip('/')}/Users"
        return self._session.get(url, params={"count": "1"}, timeout=SECONDS, allow_redirects=False).status_code


def _message(answer: requests.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    fields = {name: next(iter(value.values()), None) for name, value in document.get("fields", {}).items()}
    return {"id": document["name"].rpartition("/")[2], **fields}
