"""Secret Manager: Keeper access tokens, one secret a connection, versions addressed by number only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, cast

import google_crc32c
from google.api_core import exceptions, retry
from google.cloud import secretmanager_v1 as secretmanager

from autoprovisioning.domain.errors import ConfigurationRefused, Transient


def build_client(emulator: str) -> secretmanager.SecretManagerServiceClient:
    """Build a client; the library knows no emulator, so its address is given (host:port, or empty)."""
    if not emulator:
        return secretmanager.SecretManagerServiceClient()
    import grpc

    transport = secretmanager.SecretManagerServiceClient.get_transport_class("grpc")
    return secretmanager.SecretManagerServiceClient(transport=transport(channel=grpc.insecure_channel(emulator)))


class SecretManagerTokens:
    """The Tokens port. Payloads appear in no log and no error."""

    def __init__(self, client: secretmanager.SecretManagerServiceClient, project: str, timeout: timedelta) -> None:
        self._client = client
        self._project = f"projects/{project}"
        self._seconds = timeout.total_seconds()
        self._retry = retry.Retry(
            predicate=retry.if_exception_type(exceptions.ServiceUnavailable, exceptions.ResourceExhausted),
            initial=0.2,
            maximum=2.0,
            timeout=self._seconds,
        )

    def read(self, connection_id: str, version: str) -> str:
        """Return a token; its crc32c is checked."""
        if not version.isdigit():
            raise ConfigurationRefused("No access token is stored for this connection. Reauthorize it.")
        with self._translated(f"Version {version} of the access token"):
            answer = self._client.access_secret_version(
                name=self._version(connection_id, version), retry=self._retry, timeout=self._seconds
            )
        data = answer.payload.data
        if answer.payload.data_crc32c != _crc32c(data):
            raise Transient("Secret Manager's answer was damaged on the way")
        try:
            return data.decode()
        except UnicodeDecodeError:  # its text would quote the payload
            raise ConfigurationRefused("The stored access token is not text. Reauthorize the connection.") from None

    def add(self, connection_id: str, token: str) -> str:
        """Store a token; Secret Manager's own answer proves it, since those who add tokens may not read them.

        Source: SecretVersion.client_specified_payload_checksum, true where the service received the payload's crc32c;
        it refuses a payload that does not fit its checksum.
        """
        data = token.encode()
        parent = self._secret(connection_id)
        request = {"parent": parent, "payload": {"data": data, "data_crc32c": _crc32c(data)}}
        with self._translated("The access token"):
            try:
                added = self._client.add_secret_version(request=request, retry=self._retry, timeout=self._seconds)
            except exceptions.NotFound:
                self._create(connection_id)
                added = self._client.add_secret_version(request=request, retry=self._retry, timeout=self._seconds)
        enabled = added.state is secretmanager.SecretVersion.State.ENABLED
        version = str(added.name.rpartition("/")[2])
        if not enabled or not added.client_specified_payload_checksum:
            self.disable(connection_id, version)
            raise Transient("Secret Manager did not confirm that the access token arrived intact")
        return version

    def disable(self, connection_id: str, version: str) -> None:
        """Disable a version; one destroyed or never stored counts as done."""
        with self._translated("The replaced access token"):
            try:
                self._client.disable_secret_version(
                    name=self._version(connection_id, version), retry=self._retry, timeout=self._seconds
                )
            except (exceptions.FailedPrecondition, exceptions.NotFound):
                return

    def destroy(self, connection_id: str, version: str) -> None:
        """Destroy a version; one destroyed or never stored counts as done."""
        with self._translated("The replaced access token"):
            try:
                self._client.destroy_secret_version(
                    name=self._version(connection_id, version), retry=self._retry, timeout=self._seconds
                )
            except (exceptions.FailedPrecondition, exceptions.NotFound):
                return

    def stored(self, connection_id: str) -> Mapping[str, datetime]:
        """List the versions that are not destroyed; none where there is no secret."""
        with self._translated("The list of access tokens"):
            try:
                listed = list(
                    self._client.list_secret_versions(
                        request={"parent": self._secret(connection_id), "filter": "NOT state:DESTROYED"},
                        retry=self._retry,
                        timeout=self._seconds,
                    )
                )
            except exceptions.NotFound:
                return {}
        left = (each for each in listed if each.state is not secretmanager.SecretVersion.State.DESTROYED)
        return {str(each.name.rpartition("/")[2]): _time(cast(Any, each.create_time)) for each in left}

    def _create(self, connection_id: str) -> None:
        request = {
            "parent": self._project,
            "secret_id": f"keeper-token-{connection_id}",
            "secret": {"replication": {"automatic": {}}},
        }
        try:
            self._client.create_secret(request=request, retry=self._retry, timeout=self._seconds)
        except exceptions.AlreadyExists:
            return  # another process was faster

    def _secret(self, connection_id: str) -> str:
        return f"{self._project}/secrets/keeper-token-{connection_id}"

    def _version(self, connection_id: str, version: str) -> str:
        return f"{self._secret(connection_id)}/versions/{version}"

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (exceptions.FailedPrecondition, exceptions.NotFound) as error:
            raise ConfigurationRefused(f"{what} is not available (disabled, destroyed or missing).") from error
        except (exceptions.PermissionDenied, exceptions.Unauthenticated) as error:
            mend = "Grant the function's service account access to the connection's secret."
            raise ConfigurationRefused(f"Secret Manager refuses this identity. {mend}") from error
        except (exceptions.GoogleAPICallError, exceptions.RetryError) as error:
            raise Transient(f"Secret Manager could not be reached ({type(error).__name__})", retry_after=5) from error


def _time(at: datetime) -> datetime:
    """Return a plain datetime for the client's own kind."""
    return datetime.combine(at.date(), at.timetz())


def _crc32c(data: bytes) -> int:
    return int(google_crc32c.value(data))
