"""A Secret Manager emulator: a gRPC server over the real google.cloud.secretmanager_v1 messages, in memory.

No official one exists. It keeps versions by number with their states, checks crc32c both ways and never prints a
payload. Run `python -m infra.local.secrets_emulator --port 0`; it prints `READY 127.0.0.1:PORT`.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable
from concurrent import futures
from datetime import UTC, datetime
from typing import Any

import google_crc32c
import grpc
from google.cloud.secretmanager_v1 import types
from google.protobuf import empty_pb2

SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"
LARGEST_PAYLOAD = 64 * 1024  # cloud.google.com/secret-manager/quotas
State = types.SecretVersion.State


class Refused(Exception):
    """A gRPC status and its text."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class SecretManager:
    """Secrets and their versions; every method takes and returns the service's own messages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: dict[str, types.Secret] = {}
        self._versions: dict[str, list[types.SecretVersion]] = {}
        self._payloads: dict[str, bytes] = {}

    def create_secret(self, request: types.CreateSecretRequest) -> types.Secret:
        """Create an empty secret."""
        name = f"{request.parent}/secrets/{request.secret_id}"
        if name in self._secrets:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"Secret [{name}] already exists.")
        secret = types.Secret(request.secret, name=name)
        self._secrets[name], self._versions[name] = secret, []
        return secret

    def get_secret(self, request: types.GetSecretRequest) -> types.Secret:
        """Return a secret."""
        return self._secret(request.name)

    def list_secrets(self, request: types.ListSecretsRequest) -> types.ListSecretsResponse:
        """List the secrets of a project, a page at a time."""
        mine = [secret for name, secret in sorted(self._secrets.items()) if name.startswith(request.parent + "/")]
        page, token = _page(mine, request.page_size, request.page_token)
        return types.ListSecretsResponse(secrets=page, next_page_token=token, total_size=len(mine))

    def delete_secret(self, request: types.DeleteSecretRequest) -> Any:
        """Delete a secret with its versions."""
        self._secret(request.name)
        del self._secrets[request.name]
        for version in self._versions.pop(request.name):
            self._payloads.pop(version.name, None)
        return empty_pb2.Empty()

    def add_secret_version(self, request: types.AddSecretVersionRequest) -> types.SecretVersion:
        """Add a version; a data_crc32c that does not fit the data is refused."""
        self._secret(request.parent)
        data, told = request.payload.data, request.payload.data_crc32c
        if len(data) > LARGEST_PAYLOAD:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "The payload exceeds 64 KiB.")
        given = "data_crc32c" in request.payload
        if given and told != _crc32c(data):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "The payload does not match its data_crc32c.")
        versions = self._versions[request.parent]
        name = f"{request.parent}/versions/{len(versions) + 1}"
        version = types.SecretVersion(
            name=name,
            state=State.ENABLED,
            etag="1",
            client_specified_payload_checksum=given,
            create_time=datetime.now(UTC),
        )
        versions.append(version)
        self._payloads[name] = data
        return version

    def get_secret_version(self, request: types.GetSecretVersionRequest) -> types.SecretVersion:
        """Return a version's state, never its payload."""
        return self._version(request.name)

    def list_secret_versions(self, request: types.ListSecretVersionsRequest) -> types.ListSecretVersionsResponse:
        """List versions, newest first, a page at a time."""
        self._secret(request.parent)
        newest_first = self._versions[request.parent][::-1]
        page, token = _page(newest_first, request.page_size, request.page_token)
        return types.ListSecretVersionsResponse(versions=page, next_page_token=token, total_size=len(newest_first))

    def access_secret_version(self, request: types.AccessSecretVersionRequest) -> types.AccessSecretVersionResponse:
        """Return an enabled version's payload with its crc32c."""
        version = self._version(request.name)
        if version.state != State.ENABLED:
            text = f"Secret Version [{version.name}] is in {State(version.state).name} state."
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, text)
        data = self._payloads[version.name]
        return types.AccessSecretVersionResponse(
            name=version.name, payload=types.SecretPayload(data=data, data_crc32c=_crc32c(data))
        )

    def enable_secret_version(self, request: types.EnableSecretVersionRequest) -> types.SecretVersion:
        """Enable a disabled version."""
        return self._move(request.name, request.etag, State.ENABLED)

    def disable_secret_version(self, request: types.DisableSecretVersionRequest) -> types.SecretVersion:
        """Disable a version."""
        return self._move(request.name, request.etag, State.DISABLED)

    def destroy_secret_version(self, request: types.DestroySecretVersionRequest) -> types.SecretVersion:
        """Destroy a version's payload for good."""
        version = self._move(request.name, request.etag, State.DESTROYED)
        self._payloads.pop(version.name, None)
        return version

    def _secret(self, name: str) -> types.Secret:
        if name not in self._secrets:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Secret [{name}] not found.")
        return self._secrets[name]

    def _version(self, name: str) -> types.SecretVersion:
        secret, _, number = name.rpartition("/versions/")
        versions = self._versions.get(secret, [])
        if number == "latest":
            enabled = [version for version in versions if version.state == State.ENABLED]
            number = enabled[-1].name.rpartition("/")[2] if enabled else ""
        if not number.isdigit() or not 0 < int(number) <= len(versions):
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Secret Version [{name}] not found.")
        return versions[int(number) - 1]

    def _move(self, name: str, etag: str, state: int) -> types.SecretVersion:
        version = self._version(name)
        if etag and etag != version.etag:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "The etag does not match.")
        if version.state == State.DESTROYED:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f"Secret Version [{version.name}] is DESTROYED.")
        version.state = State(state)
        version.etag = str(int(version.etag) + 1)
        return version

    def handler(self, act: Callable[[Any], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
        """Serve one method: one at a time, refusals as gRPC status."""

        def serve(request: Any, context: grpc.ServicerContext) -> Any:
            with self._lock:
                try:
                    return act(request)
                except Refused as refused:
                    context.abort(refused.code, str(refused))

        return serve


def _crc32c(data: bytes) -> int:
    return int(google_crc32c.value(data))


def _page(items: list[Any], size: int, token: str) -> tuple[list[Any], str]:
    start = int(token or 0)
    end = start + (size or 25_000)
    return items[start:end], str(end) if end < len(items) else ""


def _codec(kind: Any) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    if kind is empty_pb2.Empty:
        return kind.SerializeToString, kind.FromString
    return kind.serialize, kind.deserialize


METHODS: tuple[tuple[str, Any, Any], ...] = (
    ("CreateSecret", types.CreateSecretRequest, types.Secret),
    ("GetSecret", types.GetSecretRequest, types.Secret),
    ("ListSecrets", types.ListSecretsRequest, types.ListSecretsResponse),
    ("DeleteSecret", types.DeleteSecretRequest, empty_pb2.Empty),
    ("AddSecretVersion", types.AddSecretVersionRequest, types.SecretVersion),
    ("GetSecretVersion", types.GetSecretVersionRequest, types.SecretVersion),
    ("ListSecretVersions", types.ListSecretVersionsRequest, types.ListSecretVersionsResponse),
    ("AccessSecretVersion", types.AccessSecretVersionRequest, types.AccessSecretVersionResponse),
    ("EnableSecretVersion", types.EnableSecretVersionRequest, types.SecretVersion),
    ("DisableSecretVersion", types.DisableSecretVersionRequest, types.SecretVersion),
    ("DestroySecretVersion", types.DestroySecretVersionRequest, types.SecretVersion),
)


def serve(port: int) -> tuple[grpc.Server, int]:
    """Start the server on loopback; returns it and its port."""
    manager = SecretManager()
    handlers = {}
    for name, request, response in METHODS:
        snake = "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")
        handlers[name] = grpc.unary_unary_rpc_method_handler(
            manager.handler(getattr(manager, snake)),
            request_deserializer=_codec(request)[1],
            response_serializer=_codec(response)[0],
        )
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, bound


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="Secret Manager emulator")
    parser.add_argument("--port", type=int, default=0)
    server, port = serve(parser.parse_args().port)
    print(f"READY 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
