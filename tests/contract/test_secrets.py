"""The Secret Manager emulator driven by Google's own client, and SecretManagerTokens over it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import google_crc32c
import grpc
import pytest
from google.api_core import exceptions
from google.cloud import secretmanager_v1 as secretmanager

from autoprovisioning.adapters.secrets import SecretManagerTokens, build_client
from autoprovisioning.domain.errors import ConfigurationRefused, Transient
from infra.local import secrets_emulator
from infra.local.processes import free_port

State = secretmanager.SecretVersion.State
PAYLOAD = "payload-" + "0123456789abcdef" * 2
Client = secretmanager.SecretManagerServiceClient


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server, port = secrets_emulator.serve(0)
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return build_client(address)


@pytest.fixture
def secret(client: Client) -> str:
    """An empty secret in a project of its own."""
    request = {
        "parent": f"projects/p-{uuid.uuid4().hex[:8]}",
        "secret_id": "s",
        "secret": {"replication": {"automatic": {}}},
    }
    return str(client.create_secret(request=request).name)


@pytest.fixture
def tokens(client: Client) -> SecretManagerTokens:
    return SecretManagerTokens(client, f"p-{uuid.uuid4().hex[:8]}", timedelta(seconds=5))


def crc32c(data: bytes) -> int:
    return int(google_crc32c.value(data))


def add(client: Client, secret: str, data: bytes = b"one", **more: Any) -> str:
    payload = {"data": data, "data_crc32c": crc32c(data), **more}
    return str(client.add_secret_version(parent=secret, payload=payload).name)


# ---- the emulator


def test_versions_are_numbered_and_read_back_by_number_with_their_checksum(client: Client, secret: str) -> None:
    names = [add(client, secret, data) for data in (b"one", b"two", b"\x00\xff")]
    assert names == [f"{secret}/versions/{number}" for number in (1, 2, 3)]
    for name, data in zip(names, (b"one", b"two", b"\x00\xff"), strict=True):
        answer = client.access_secret_version(name=name)
        assert (answer.name, answer.payload.data, answer.payload.data_crc32c) == (name, data, crc32c(data))
    assert client.access_secret_version(name=f"{secret}/versions/latest").name == names[2]


def test_a_payload_that_does_not_fit_its_checksum_is_refused(client: Client, secret: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        add(client, secret, b"one", data_crc32c=crc32c(b"another"))
    with pytest.raises(exceptions.InvalidArgument):
        add(client, secret, b"one", data_crc32c=0)
    assert list(client.list_secret_versions(parent=secret)) == []
    plain = client.add_secret_version(parent=secret, payload={"data": b"one"})
    checked = client.get_secret_version(name=add(client, secret))
    assert (plain.client_specified_payload_checksum, checked.client_specified_payload_checksum) == (False, True)


def test_a_payload_has_at_most_64_kib(client: Client, secret: str) -> None:
    assert add(client, secret, b"x" * 65536)
    with pytest.raises(exceptions.InvalidArgument):
        add(client, secret, b"x" * 65537)


def test_a_version_is_disabled_enabled_and_destroyed_for_good(client: Client, secret: str) -> None:
    name = add(client, secret)
    assert client.disable_secret_version(name=name).state is State.DISABLED
    assert client.get_secret_version(name=name).state is State.DISABLED
    with pytest.raises(exceptions.FailedPrecondition):
        client.access_secret_version(name=name)
    assert client.enable_secret_version(name=name).state is State.ENABLED
    assert client.access_secret_version(name=name).payload.data == b"one"
    assert client.destroy_secret_version(name=name).state is State.DESTROYED
    for refused in (
        client.access_secret_version,
        client.enable_secret_version,
        client.disable_secret_version,
        client.destroy_secret_version,
    ):
        with pytest.raises(exceptions.FailedPrecondition):
            refused(name=name)
    assert client.get_secret_version(name=name).state is State.DESTROYED


def test_an_etag_of_an_older_state_is_refused(client: Client, secret: str) -> None:
    name = add(client, secret)
    old = client.get_secret_version(name=name).etag
    client.disable_secret_version(request={"name": name, "etag": old})
    with pytest.raises(exceptions.FailedPrecondition):
        client.destroy_secret_version(request={"name": name, "etag": old})
    assert client.get_secret_version(name=name).state is State.DISABLED


def test_versions_are_listed_newest_first_a_page_at_a_time(client: Client, secret: str) -> None:
    names = [add(client, secret) for _ in range(7)]
    listed = client.list_secret_versions(request={"parent": secret, "page_size": 3})
    pages = [[version.name for version in page.versions] for page in listed.pages]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [name for page in pages for name in page] == names[::-1]


def test_secrets_are_listed_by_project(client: Client, secret: str) -> None:
    parent = secret.partition("/secrets/")[0]
    for number in range(4):
        request = {"parent": parent, "secret_id": f"t{number}", "secret": {"replication": {"automatic": {}}}}
        client.create_secret(request=request)
    listed = client.list_secrets(request={"parent": parent, "page_size": 2})
    assert [item.name.rpartition("/")[2] for item in listed] == ["s", "t0", "t1", "t2", "t3"]
    assert client.get_secret(name=secret).name == secret
    client.delete_secret(name=secret)
    with pytest.raises(exceptions.NotFound):
        client.get_secret(name=secret)


def test_what_is_not_there_and_what_is_there_already(client: Client, secret: str) -> None:
    add(client, secret)
    for name in (f"{secret}/versions/2", f"{secret}/versions/0", f"{secret}/versions/-1", f"{secret}/versions/alias"):
        with pytest.raises(exceptions.NotFound):
            client.access_secret_version(name=name)
    with pytest.raises(exceptions.NotFound):
        add(client, secret + "x")
    with pytest.raises(exceptions.NotFound):
        client.list_secret_versions(parent=secret + "x")
    with pytest.raises(exceptions.AlreadyExists):
        client.create_secret(request={"parent": secret.partition("/secrets/")[0], "secret_id": "s", "secret": {}})


def test_no_error_of_the_emulator_carries_the_payload(client: Client, secret: str) -> None:
    name = add(client, secret, PAYLOAD.encode())
    client.disable_secret_version(name=name)
    with pytest.raises(exceptions.FailedPrecondition) as refused:
        client.access_secret_version(name=name)
    with pytest.raises(exceptions.InvalidArgument) as damaged:
        add(client, secret, PAYLOAD.encode(), data_crc32c=1)
    assert PAYLOAD not in repr(refused.value) + repr(damaged.value)


# ---- the port


def test_a_token_is_stored_and_can_be_read_by_number(tokens: SecretManagerTokens) -> None:
    versions = [tokens.add("c1", token) for token in (PAYLOAD, "second")]
    assert versions == ["1", "2"]
    assert [tokens.read("c1", version) for version in versions] == [PAYLOAD, "second"]


def test_each_connection_has_a_secret_of_its_own(tokens: SecretManagerTokens) -> None:
    assert tokens.add("c1", "one") == tokens.add("c2", "two") == "1"
    assert (tokens.read("c1", "1"), tokens.read("c2", "1")) == ("one", "two")


@pytest.mark.parametrize("version", ["", "latest", "current", "2", "0", "1/../2"])
def test_a_version_that_is_no_stored_number_is_a_refused_set_up(tokens: SecretManagerTokens, version: str) -> None:
    tokens.add("c1", PAYLOAD)
    with pytest.raises(ConfigurationRefused):
        tokens.read("c1", version)


def test_a_payload_that_is_no_text_is_a_refused_set_up(client: Client, tokens: SecretManagerTokens) -> None:
    tokens.add("c1", PAYLOAD)
    add(client, f"{tokens._project}/secrets/keeper-token-c1", PAYLOAD.encode() + b"\xff")
    with pytest.raises(ConfigurationRefused) as raised:
        tokens.read("c1", "2")
    assert PAYLOAD not in repr(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("method", ["disable", "destroy"])
def test_a_replaced_token_is_read_no_more(tokens: SecretManagerTokens, method: str) -> None:
    version = tokens.add("c1", PAYLOAD)
    getattr(tokens, method)("c1", version)
    with pytest.raises(ConfigurationRefused) as raised:
        tokens.read("c1", version)
    assert PAYLOAD not in repr(raised.value) + repr(raised.value.__cause__)


def test_disabling_and_destroying_twice_or_what_never_was_is_done(tokens: SecretManagerTokens) -> None:
    version = tokens.add("c1", PAYLOAD)
    for _ in range(2):
        tokens.disable("c1", version)
    for _ in range(2):
        tokens.destroy("c1", version)
    tokens.disable("c1", version)
    for connection, number in (("c1", "9"), ("never", "1")):
        tokens.disable(connection, number)
        tokens.destroy(connection, number)
    with pytest.raises(ConfigurationRefused):
        tokens.read("c1", version)


def test_an_unreachable_service_is_transient_within_the_time_limit() -> None:
    client = build_client(f"127.0.0.1:{free_port()}")
    tokens = SecretManagerTokens(client, "p", timedelta(seconds=1))
    calls = (lambda: tokens.read("c1", "1"), lambda: tokens.add("c1", PAYLOAD), lambda: tokens.disable("c1", "1"))
    for call in calls:
        started = time.monotonic()
        with pytest.raises(Transient) as raised:
            call()
        assert time.monotonic() - started < 4
        assert PAYLOAD not in str(raised.value) + repr(raised.value.__cause__)


class Faulty(secrets_emulator.SecretManager):
    """A Secret Manager on a bad day."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[grpc.StatusCode] = []
        self.damage = b""
        self.answer: dict[str, Any] = {}  # what the answer to an added version says instead
        self.readings_refused = False

    def add_secret_version(self, request: Any) -> Any:
        version = secretmanager.SecretVersion(super().add_secret_version(request))
        for name, value in self.answer.items():
            setattr(version, name, value)
        return version

    def access_secret_version(self, request: Any) -> Any:
        if self.readings_refused:
            raise secrets_emulator.Refused(grpc.StatusCode.PERMISSION_DENIED, "injected")
        if self.failures:
            raise secrets_emulator.Refused(self.failures.pop(), "injected")
        answer = super().access_secret_version(request)
        answer.payload.data += self.damage
        return answer


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Faulty, SecretManagerTokens]]:
    manager = Faulty()
    monkeypatch.setattr(secrets_emulator, "SecretManager", lambda: manager)
    server, port = secrets_emulator.serve(0)
    yield manager, SecretManagerTokens(build_client(f"127.0.0.1:{port}"), "p", timedelta(seconds=3))
    server.stop(None)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_what_passes_is_tried_again(faulty: tuple[Faulty, SecretManagerTokens], code: grpc.StatusCode) -> None:
    manager, tokens = faulty
    tokens.add("c1", PAYLOAD)
    manager.failures = [code]
    assert tokens.read("c1", "1") == PAYLOAD


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, ConfigurationRefused),
        (grpc.StatusCode.UNAUTHENTICATED, ConfigurationRefused),
        (grpc.StatusCode.INTERNAL, Transient),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Transient),
    ],
)
def test_a_failure_is_named_by_what_to_do(
    faulty: tuple[Faulty, SecretManagerTokens], code: grpc.StatusCode, wanted: type[Exception]
) -> None:
    manager, tokens = faulty
    tokens.add("c1", PAYLOAD)
    manager.failures = [code]
    with pytest.raises(wanted):
        tokens.read("c1", "1")


def test_a_payload_damaged_on_the_way_is_never_used(faulty: tuple[Faulty, SecretManagerTokens]) -> None:
    manager, tokens = faulty
    tokens.add("c1", PAYLOAD)
    manager.damage = b"x"
    with pytest.raises(Transient, match="damaged") as raised:
        tokens.read("c1", "1")
    assert PAYLOAD not in repr(raised.value)


def test_a_token_is_stored_by_who_may_not_read_it(faulty: tuple[Faulty, SecretManagerTokens]) -> None:
    manager, tokens = faulty
    manager.readings_refused = True
    assert [tokens.add("c1", PAYLOAD), tokens.add("c1", "second")] == ["1", "2"]
    manager.readings_refused = False
    assert tokens.read("c1", "1") == PAYLOAD


@pytest.mark.parametrize(
    "answer", [{"client_specified_payload_checksum": False}, {"state": State.DISABLED}], ids=["checksum", "state"]
)
def test_a_token_that_is_not_confirmed_counts_as_not_stored(
    faulty: tuple[Faulty, SecretManagerTokens], answer: dict[str, Any]
) -> None:
    manager, tokens = faulty
    manager.answer = answer
    with pytest.raises(Transient, match="did not confirm") as raised:
        tokens.add("c1", PAYLOAD)
    assert PAYLOAD not in repr(raised.value)
    [left] = tokens.stored("c1")
    with pytest.raises(ConfigurationRefused, match="disabled"):
        tokens.read("c1", left)


def test_what_is_stored_is_listed_with_its_time_until_it_is_destroyed(tokens: SecretManagerTokens) -> None:
    assert tokens.stored("never") == {}
    before = datetime.now(UTC)
    versions = [tokens.add("c1", PAYLOAD) for _ in range(3)]
    tokens.disable("c1", versions[0])
    tokens.destroy("c1", versions[1])
    found = tokens.stored("c1")
    assert sorted(found) == [versions[0], versions[2]]
    assert all(before <= at <= datetime.now(UTC) for at in found.values())
