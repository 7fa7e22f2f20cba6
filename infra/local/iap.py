"""Stands in for Identity-Aware Proxy on loopback: real ES256 keys, published; client headers stripped; assertion added.

Choose who you are with /_iap/as/<address> (a cookie), or start it with a default. The functions behind verify the
assertion as they do in the cloud.
"""

from __future__ import annotations

import argparse
import time
import uuid
from http.cookies import SimpleCookie
from typing import Any

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.auth import crypt, jwt
from yarl import URL

from infra.local.asgi import Receive, Reply, Scope, Send, read_body, respond, serve

HEADER = "x-goog-iap-jwt-assertion"
ISSUER = "https://cloud.google.com/iap"
LIFETIME = 600
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host", "content-encoding"})
COOKIE = "local_iap_user"


class Proxy:
    """An ASGI app in front of the administrators' functions, chosen by the first path segment."""

    def __init__(self, targets: dict[str, str], audience: str, user: str) -> None:
        self._targets = targets
        self._audience = audience
        self._user = user
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
        if parts[:2] == ["_iap", "public_key"]:
            reply = Reply(200, {self._key_id: self._public.decode()})
        elif parts[:2] == ["_iap", "as"] and len(parts) == 3:
            cookie = f"{COOKIE}={parts[2]}; Path=/; HttpOnly; SameSite=Strict"
            reply = Reply(
                200, f"Signed in as {parts[2]}.".encode(), {"Set-Cookie": cookie, "content-type": "text/plain"}
            )
        else:
            reply = await self._forward(scope, parts[0], body)
        await respond(send, reply, "application/json")

    async def _forward(self, scope: Scope, name: str, body: bytes) -> Reply:
        if name not in self._targets:
            return Reply(404, {"error": f"choose one of {sorted(self._targets)}"})
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False)
        sent = {key.decode(): value.decode() for key, value in scope["headers"]}
        headers = {key: value for key, value in sent.items() if key not in HOP_BY_HOP and not key.startswith("x-goog-")}
        headers[HEADER] = self._assertion(self._who(sent.get("cookie", "")))
        headers["host"] = sent.get("host", "")
        _, _, path = scope["raw_path"].decode().lstrip("/").partition("/")
        query = scope["query_string"].decode()
        url = f"{self._targets[name]}/{path}" + (f"?{query}" if query else "")
        try:
            async with self._session.request(
                scope["method"], URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await response.read()
                kept = {key: value for key, value in response.headers.items() if key.lower() not in HOP_BY_HOP}
        except aiohttp.ClientError:
            return Reply(502, {"error": f"{name} does not answer"})
        kept["content-type"] = kept.pop("Content-Type", "application/octet-stream")
        return Reply(response.status, content, kept)

    def _who(self, cookies: str) -> str:
        jar = SimpleCookie(cookies)
        return jar[COOKIE].value if COOKIE in jar else self._user

    def _assertion(self, address: str) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": self._audience,
            "email": address,
            "sub": f"accounts.google.com:{address}",
            "iat": now,
            "exp": now + LIFETIME,
        }
        signed: bytes = jwt.encode(self._signer, claims)  # type: ignore[no-untyped-call]
        return signed.decode()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="Local stand-in for Identity-Aware Proxy")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--target", nargs=2, action="append", metavar=("NAME", "URL"), required=True)
    parser.add_argument("--audience", required=True)
    parser.add_argument("--user", required=True)
    asked = parser.parse_args()
    serve(Proxy(dict(asked.target), asked.audience, asked.user), asked.port)


if __name__ == "__main__":
    main()
