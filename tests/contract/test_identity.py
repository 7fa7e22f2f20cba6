"""IapIdentity against the keys of the loopback proxy, and the proxy itself, which both stand in for the cloud's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.auth import crypt, jwt

from autoprovisioning.adapters.identity import HEADER, IapIdentity
from autoprovisioning.app.administration.roles import Caller
from autoprovisioning.domain.errors import ConfigurationRefused, Forbidden, Transient
from infra.local import iap
from infra.local.processes import Supervisor, free_port, python
from infra.local.simulation import IAP_AUDIENCE
from tests.contract.listener import Listener, Response, listening

ROOT = Path(__file__).parents[2]
DEFAULT = "admin@example.com"
ISSUER = "https://cloud.google.com/iap"
SUBJECT = "accounts.google.com:u0"  # the administrator of tests/support/system.py


@pytest.fixture(scope="module")
def behind() -> Iterator[Listener]:
    """The function behind the proxy."""
    with listening() as listener:
        yield listener


@pytest.fixture(scope="module")
def proxies(behind: Listener, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """One proxy with two addresses: of the function behind, and of one that does not answer."""
    ports = free_port(), free_port()
    argv = ["-m", "infra.local.iap", "--audience", IAP_AUDIENCE, "--user", DEFAULT]
    for port, url in zip(ports, (behind.url, f"http://127.0.0.1:{free_port()}"), strict=True):
        argv += ["--target", str(port), url]
    with Supervisor(tmp_path_factory.mktemp("iap")) as supervisor:
        supervisor.start("iap", python(*argv), cwd=ROOT).wait_ready()
        yield f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"


@pytest.fixture
def proxy(proxies: tuple[str, str]) -> str:
    return proxies[0]


@pytest.fixture
def identity(proxy: str) -> IapIdentity:
    return IapIdentity(IAP_AUDIENCE, ISSUER, f"{proxy}/_iap/public_key")


def through(proxy: str, behind: Listener, path: str = "/", **headers: str) -> dict[str, str]:
    """Send a request through the proxy; returns the headers that arrived behind it."""
    behind.reset()
    behind.answer = lambda _: Response(200, b"{}", {"Content-Type": "application/json"})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(proxy + path, headers=named)
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 200
    (arrived,) = behind.requests
    return arrived.headers


# ---- accepted


def test_the_proxys_assertion_names_its_default_user(proxy: str, behind: Listener, identity: IapIdentity) -> None:
    assert identity.caller(through(proxy, behind)[HEADER]).address == DEFAULT


def test_the_proxys_assertion_names_whom_one_signed_in_as(proxy: str, behind: Listener, identity: IapIdentity) -> None:
    with urllib.request.urlopen(f"{proxy}/_iap/as/someone@example.com") as response:
        cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    headers = through(proxy, behind, Cookie=cookie.partition(";")[0])
    assert identity.caller(headers[HEADER]).address == "someone@example.com"


# ---- the proxy


def test_what_a_client_claims_to_be_is_stripped(proxy: str, behind: Listener, identity: IapIdentity) -> None:
    forged = {
        "X_Goog_IAP_JWT_Assertion": "forged",
        "X_Goog_Authenticated_User_Email": "accounts.google.com:evil@example.com",
        "x_goog_authenticated_user_id": "evil",
        "X_Goog_Anything": "evil",
    }
    headers = through(proxy, behind, X_Custom="kept", **forged)
    assert {name for name in headers if name.startswith("x-goog-")} == {HEADER}
    assert identity.caller(headers[HEADER]).address == DEFAULT
    assert headers["x-custom"] == "kept"


def test_the_request_and_the_answer_pass_through(proxy: str, behind: Listener) -> None:
    behind.reset()
    behind.answer = lambda _: Response(303, b"there", {"Location": "/elsewhere", "Content-Type": "text/x-test"})
    request = urllib.request.Request(f"{proxy}/api/a%20b?x=1&y=%2F", b"body", method="POST")
    opener = urllib.request.build_opener(_NoRedirect())
    with pytest.raises(urllib.error.HTTPError) as raised:
        opener.open(request, timeout=10)
    assert raised.value.code == 303
    assert raised.value.headers["Location"] == "/elsewhere"
    assert raised.value.headers["Content-Type"] == "text/x-test"
    assert raised.value.read() == b"there"
    (arrived,) = behind.requests
    assert (arrived.method, arrived.path, arrived.body) == ("POST", "/api/a%20b?x=1&y=%2F", b"body")


def test_the_headers_of_an_answer_pass_through_each_of_them(proxy: str, behind: Listener) -> None:
    behind.reset()
    told = {"ETag": '"3.abc"', "Content-Disposition": 'attachment; filename="a.csv"', "Set-Cookie": "a=1; HttpOnly"}
    behind.answer = lambda _: Response(200, b"x", {**told, "set-cookie": "b=2; Secure"})
    with urllib.request.urlopen(f"{proxy}/", timeout=10) as response:
        found = response.headers
    assert {name: found[name] for name in ("ETag", "Content-Disposition")} == {
        name: told[name] for name in ("ETag", "Content-Disposition")
    }
    assert found.get_all("Set-Cookie") == ["a=1; HttpOnly", "b=2; Secure"]
    assert len(found.get_all("Date")) == len(found.get_all("Server")) == 1


def test_a_long_answer_is_passed_on_while_it_is_made(tmp_path: Path) -> None:
    """The function behind sends the rest only when the client has the beginning."""
    arrived = threading.Event()

    class Slow(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Be quiet."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"first,")
            self.wfile.write(b"second" if arrived.wait(10) else b"never asked for")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server, Supervisor(tmp_path) as supervisor:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        port = free_port()
        target = ["--target", str(port), f"http://127.0.0.1:{server.server_address[1]}"]
        argv = ["-m", "infra.local.iap", "--audience", IAP_AUDIENCE, "--user", DEFAULT, *target]
        supervisor.start("iap", python(*argv), cwd=ROOT).wait_ready()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as response:
            assert response.read1(100) == b"first,"
            arrived.set()
            assert response.read() == b"second"
        server.shutdown()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def test_every_address_of_the_proxy_shares_its_keys_and_a_silent_function_is_told(proxies: tuple[str, str]) -> None:
    keys = [urllib.request.urlopen(f"{address}/_iap/public_key").read() for address in proxies]
    assert keys[0] == keys[1]
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(proxies[1] + "/")
    assert raised.value.code == 502


# ---- refused


class Keys:
    """A key pair, and the key set that publishes it as IAP does."""

    def __init__(self, key_id: str = "k1") -> None:
        self.key_id = key_id
        self._key = ec.generate_private_key(ec.SECP256R1())
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.signer = crypt.EsSigner.from_string(pem.decode(), key_id)
        self.public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def published(self) -> Response:
        return Response(200, json.dumps({self.key_id: self.public.decode()}).encode())

    def signed(self, **changes: Any) -> str:
        return str(jwt.encode(self.signer, claims(**changes)).decode())


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    told = {
        "iss": ISSUER,
        "aud": IAP_AUDIENCE,
        "email": DEFAULT,
        "sub": SUBJECT,
        "iat": now,
        "exp": now + 600,
        **changes,
    }
    return {name: value for name, value in told.items() if value is not None}


def encoded(data: bytes | dict[str, Any]) -> str:
    content = json.dumps(data).encode() if isinstance(data, dict) else data
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


@pytest.fixture(scope="module")
def key_server() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


@pytest.fixture
def published(key_server: Listener, keys: Keys) -> Listener:
    key_server.reset()
    key_server.answer = lambda _: keys.published()
    return key_server


@pytest.fixture
def mine(published: Listener) -> IapIdentity:
    return IapIdentity(IAP_AUDIENCE, ISSUER, published.url)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "/projects/1/locations/local/services/other"},
        {"aud": ""},
        {"aud": None},
        {"iss": "https://accounts.google.com"},
        {"iss": None},
        {"exp": int(time.time()) - 60},
        {"exp": None},
        # of tomorrow: these times are told when the tests are collected, and the last ones run half an hour later
        {"iat": int(time.time()) + 86_400, "exp": int(time.time()) + 87_000},
        {"email": None},
        {"email": ""},
        {"email": "nobody"},
        {"email": ["admin@example.com"]},
        {"email": {"@": 1}},
        {"sub": 7},
        {"sub": ["accounts.google.com:u0"]},
        {"sub": "u0"},
        {"sub": "accounts.google.com:"},
        {"sub": "accounts.google.com:u0 u1"},
        {"sub": "securetoken.google.com/project:u0"},
        {"iat": int(time.time()) + 86_400, "exp": int(time.time()) + 86_500},
        {"iat": "now"},
        {"exp": [9e9]},
    ],
)
def test_an_assertion_that_says_the_wrong_thing_is_refused(
    mine: IapIdentity, keys: Keys, changes: dict[str, Any]
) -> None:
    assert mine.caller(keys.signed()).address == DEFAULT
    with pytest.raises(Forbidden):
        mine.caller(keys.signed(**changes))


def test_an_unsigned_assertion_is_refused(mine: IapIdentity, keys: Keys) -> None:
    for algorithm in ("none", "None", "ES256"):
        head = encoded({"alg": algorithm, "typ": "JWT", "kid": keys.key_id})
        for signature in ("", encoded(b"signature")):
            with pytest.raises(Forbidden):
                mine.caller(f"{head}.{encoded(claims())}.{signature}")


def test_an_assertion_signed_with_the_public_key_as_a_secret_is_refused(mine: IapIdentity, keys: Keys) -> None:
    signed = f"{encoded({'alg': 'HS256', 'typ': 'JWT', 'kid': keys.key_id})}.{encoded(claims())}"
    for secret in (keys.public, keys.public.strip()):
        signature = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        with pytest.raises(Forbidden):
            mine.caller(f"{signed}.{encoded(signature)}")


def test_an_assertion_of_another_key_is_refused(mine: IapIdentity, keys: Keys) -> None:
    for other in (Keys(keys.key_id), Keys("k2")):
        with pytest.raises(Forbidden):
            mine.caller(other.signed())


def test_an_assertion_that_was_tampered_with_is_refused(mine: IapIdentity, keys: Keys) -> None:
    head, _, signature = keys.signed().split(".")
    with pytest.raises(Forbidden):
        mine.caller(f"{head}.{encoded(claims(email='evil@example.com'))}.{signature}")


@pytest.mark.parametrize("assertion", ["", "nonsense", "a.b", "a.b.c", "....", "é.é.é", "e30.e30.e30"])
def test_no_assertion_or_none_at_all_is_refused(mine: IapIdentity, assertion: str) -> None:
    with pytest.raises(Forbidden):
        mine.caller(assertion)


def test_without_an_audience_nobody_is_let_in(published: Listener, keys: Keys) -> None:
    with pytest.raises(ConfigurationRefused, match="IAP_AUDIENCE"):
        IapIdentity("", ISSUER, published.url).caller(keys.signed(aud=""))
    assert published.requests == []


# ---- the key set


def test_the_key_set_is_fetched_once(mine: IapIdentity, keys: Keys, published: Listener) -> None:
    for _ in range(5):
        assert mine.caller(keys.signed()).address == DEFAULT
    with pytest.raises(Forbidden):
        mine.caller(Keys().signed())
    assert len(published.requests) == 1


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_key_set_that_cannot_be_fetched_is_transient_and_not_kept(
    mine: IapIdentity, keys: Keys, published: Listener, status: int
) -> None:
    published.answer = lambda _: Response(status)
    with pytest.raises(Transient):
        mine.caller(keys.signed())
    published.answer = lambda _: keys.published()
    assert mine.caller(keys.signed()).address == DEFAULT


def test_a_key_set_that_is_nonsense_is_transient_and_not_kept(
    mine: IapIdentity, keys: Keys, published: Listener
) -> None:
    for content in (b"<html>", b"[]", b"{}", b"\xff"):
        published.answer = lambda _, content=content: Response(200, content)
        with pytest.raises(Transient):
            mine.caller(keys.signed())
    published.answer = lambda _: keys.published()
    assert mine.caller(keys.signed()).address == DEFAULT


def test_a_silent_key_server_is_transient_within_the_time_limit(keys: Keys, published: Listener) -> None:
    released = threading.Event()
    published.answer = lambda _: Response(204 if released.wait(10) else 500)
    started = time.monotonic()
    with pytest.raises(Transient):
        IapIdentity(IAP_AUDIENCE, ISSUER, published.url, seconds=0.3).caller(keys.signed())
    assert time.monotonic() - started < 3
    released.set()


def test_a_key_server_that_is_not_there_is_transient(keys: Keys) -> None:
    with pytest.raises(Transient):
        IapIdentity(IAP_AUDIENCE, ISSUER, f"http://127.0.0.1:{free_port()}").caller(keys.signed())


def test_a_clock_that_is_half_a_minute_off_refuses_nobody(mine: IapIdentity, keys: Keys) -> None:
    now = int(time.time())
    assert mine.caller(keys.signed(iat=now + 25)).address == DEFAULT
    assert mine.caller(keys.signed(iat=now - 600, exp=now - 20)).address == DEFAULT


def test_the_account_is_told_where_the_proxy_tells_it(mine: IapIdentity, keys: Keys) -> None:
    assert mine.caller(keys.signed()) == Caller(address=DEFAULT, account_id="u0")
    assert mine.caller(keys.signed(sub=None)) == Caller(address=DEFAULT, account_id="")


@pytest.mark.parametrize("depth", [900, 5000])
def test_an_assertion_nested_without_end_is_refused(mine: IapIdentity, depth: int) -> None:
    for segments in ((b"[" * depth, b"{}"), (b"{}", b'{"a":' * depth), (b'{"kid":' * depth, b"{}")):
        with pytest.raises(Forbidden):
            mine.caller(f"{encoded(segments[0])}.{encoded(segments[1])}.{encoded(b'x')}")


class Watch:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_key_that_is_new_is_fetched_at_once_and_an_invented_one_seldom(published: Listener, keys: Keys) -> None:
    watch, new = Watch(), Keys("k2")
    mine = IapIdentity(IAP_AUDIENCE, ISSUER, published.url, clock=watch)
    assert mine.caller(keys.signed()).address == DEFAULT
    watch.now += 30
    published.answer = lambda _: new.published()
    assert mine.caller(new.signed()).address == DEFAULT
    assert len(published.requests) == 2
    for _ in range(100):
        with pytest.raises(Forbidden):
            mine.caller(Keys("invented").signed())
        watch.now += 0.29
    assert len(published.requests) == 2
    watch.now += 2
    with pytest.raises(Forbidden):
        mine.caller(Keys("invented").signed())
    assert len(published.requests) == 3
    watch.now += 600
    assert mine.caller(new.signed()).address == DEFAULT
    assert len(published.requests) == 4, "kept for ten minutes at most"


def test_keys_that_cannot_be_fetched_for_an_invented_id_leave_the_known_ones(published: Listener, keys: Keys) -> None:
    watch = Watch()
    mine = IapIdentity(IAP_AUDIENCE, ISSUER, published.url, clock=watch)
    mine.caller(keys.signed())
    watch.now += 31
    published.answer = lambda _: Response(500)
    with pytest.raises(Transient):
        mine.caller(Keys("k2").signed())
    with pytest.raises(Forbidden):
        mine.caller(Keys("k2").signed())
    assert mine.caller(keys.signed()).address == DEFAULT


def test_the_proxy_signs_what_the_functions_are_told_to_expect() -> None:
    assert (iap.HEADER, iap.ISSUER) == (HEADER, ISSUER)
