"""Stands in for Identity-Aware Proxy on loopback: real ES256 keys, published; client headers stripped; assertion added.

One process with one listening port for each administrators' function, as each has an address of its own in the cloud.
The account of an address is the directory's user (`--accounts`), or one from elsewhere: its id is in `sub`, as Google
signs it. Choose who you are with /_iap/as/<address> (a cookie, good for every port), or start it with a default. The
functions behind verify the assertion as they do in the cloud.
"""

from __future__ import annotations

import argparse
import socket
import time
import uuid
import zlib
from http.cookies import CookieError, SimpleCookie
from typing import Any

import aiohttp
import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.auth import crypt, jwt
from yarl import URL

from infra.local.asgi import Receive, Reply, Scope, Send, read_body, respond

HEADER = "x-goog-iap-jwt-assertion"
ISSUER = "https://cloud.google.com/iap"
LIFETIME = 600
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"})  # RFC 9110 7.6.1
COOKIE = "local_iap_user"


class Proxy:
    """An ASGI app in front of the administrators' functions, chosen by the port that was asked."""

    def __init__(self, targets: dict[int, str], audience: str, user: str, accounts: str = "") -> None:
        self._targets = targets
        self._audience = audience
        self._user = user
        self._accounts = accounts  # the directory simulator's address; empty: `sub` is left out
        self._key_id = uuid.uuid4().hex[:8]
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._signer = crypt.EsSigner.from_string(private.decode(), self._key_id)
        self._public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = await read_body(receive)
        parts = scope["path"].strip("/").split("/")
        if parts == ["_iap", "public_key"]:
            await respond(send, Reply(status=200, body={self._key_id: self._public.decode()}), "application/json")
        elif parts[:2] == ["_iap", "as"] and len(parts) == 3:
            cookie = f"{COOKIE}={parts[2]}; Path=/; HttpOnly; SameSite=Strict"
            told = f"Signed in as {parts[2]}.".encode()
            await respond(send, Reply(status=200, body=told, headers={"Set-Cookie": cookie}), "text/plain")
        else:
            await self._forward(scope, body, send)

    async def _forward(self, scope: Scope, body: bytes, send: Send) -> None:
        """Pass the request on, and the answer back as it comes."""
        query = scope["query_string"].decode()
        target = self._targets[scope["server"][1]]
        url = target + scope["raw_path"].decode() + (f"?{query}" if query else "")
        try:
            response = await self._client().request(
                scope["method"],
                URL(url, encoded=True),
                data=body or None,
                headers=await self._headers(scope),
                allow_redirects=False,
            )
        except aiohttp.ClientError:
            await respond(
                send, Reply(status=502, body={"error": "the function behind it does not answer"}), "application/json"
            )
            return
        async with response:
            kept = [pair for pair in response.raw_headers if pair[0].decode().lower() not in HOP_BY_HOP]
            lowered = [(name.lower(), value) for name, value in kept]
            await send({"type": "http.response.start", "status": response.status, "headers": lowered})
            async for chunk in response.content.iter_any():  # an answer cut short raises, and cuts this one short too
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def _headers(self, scope: Scope) -> dict[str, str]:
        sent = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        left_out = HOP_BY_HOP | {"content-length"}
        kept = {key: value for key, value in sent.items() if key not in left_out and not key.startswith("x-goog-")}
        address = self._who(sent.get("cookie", ""))
        return {**kept, HEADER: self._assertion(address, await self._account(address))}

    def _who(self, cookies: str) -> str:
        try:
            jar = SimpleCookie(cookies)
        except CookieError:
            return self._user
        return jar[COOKIE].value if COOKIE in jar else self._user

    async def _account(self, address: str) -> str:
        """Return the id of the Google account: the directory's for its users, an invented one for anybody else."""
        if not self._accounts:
            return ""
        url = URL(f"{self._accounts}/_control/accounts/") / address
        async with self._client().get(url) as response:
            found = await response.json(content_type=None)
        return str(found["id"]) if response.status == 200 else f"1{zlib.crc32(address.encode()):020d}"

    def _assertion(self, address: str, account: str) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": self._audience,
            "email": address,
            "iat": now,
            "exp": now + LIFETIME,
        }
        if account:
            claims["sub"] = f"accounts.google.com:{account}"
        signed: bytes = jwt.encode(self._signer, claims)  # type: ignore[no-untyped-call]
        return signed.decode()


def serve(proxy: Proxy, ports: list[int]) -> None:
    """Serve on these ports until killed; prints `READY <address of the first>` once listening."""
    listeners = [socket.create_server(("127.0.0.1", port), backlog=1024) for port in ports]
    settings = uvicorn.Config(
        proxy,
        loop="uvloop",
        http="httptools",
        log_level="error",
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,
    )
    print(f"READY http://127.0.0.1:{ports[0]}", flush=True)
    uvicorn.Server(settings).run(sockets=listeners)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="Local stand-in for Identity-Aware Proxy")
    parser.add_argument("--target", nargs=2, action="append", metavar=("PORT", "URL"), required=True)
    parser.add_argument("--audience", required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--accounts", default="", help="address of the directory simulator")
    asked = parser.parse_args()
    targets = {int(port): url for port, url in asked.target}
    serve(Proxy(targets, asked.audience, asked.user, asked.accounts), list(targets))


if __name__ == "__main__":
    main()
