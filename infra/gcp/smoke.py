"""The smoke test: a new revision is asked at its own address, which its tag gives it, before traffic is moved to it.

Cloud Run has seen before that each started: functions-framework imports a function before it listens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from infra.gcp import release, services
from infra.gcp.description import DEPLOYMENT, Function
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.steps import AS_JSON, Command
from infra.gcp.target import Target

SECONDS, RUN_SECONDS = 30.0, 600.0  # for an answer, and for that of a run
PROBLEM = "application/problem+json"  # by which an answer of ours is told from one of Google's
IDENTITY: Command = ("gcloud", "auth", "print-identity-token", AS_JSON)
SIGN_IN = "https://accounts.google.com/"
PROBED, PROBE = "reconcile", '{"kind": "sweep"}'  # the run that the schedule makes every five minutes, in its own right

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request to a revision."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    seconds: float = SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back; status 0 if nothing did."""

    status: int
    kind: str = ""  # Content-Type
    location: str = ""

    @property
    def ours(self) -> bool:
        """Whether the function refused, and not Google in front of it."""
        return self.kind.startswith(PROBLEM)


Visit = Callable[[Question], Reply]


def visit(question: Question) -> Reply:
    """Ask over HTTPS, and follow no redirection."""
    try:
        answer = requests.request(
            question.method,
            question.url,
            headers=dict(question.headers),
            data=question.body,
            timeout=question.seconds,
            allow_redirects=False,
        )
    except requests.RequestException:
        return Reply(status=0)
    return Reply(
        status=answer.status_code,
        kind=answer.headers.get("Content-Type", ""),
        location=answer.headers.get("Location", ""),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A request, and what it must come to; `shy` where the account that deploys may be refused by Google."""

    title: str
    question: Question
    fits: Callable[[Reply], bool]
    shy: bool = False


def see(target: Target, cloud: Gcloud, say: Say, visit: Visit = visit, *, untested: bool = False) -> None:
    """Ask every revision that waits for traffic.

    Raises:
        SystemExit: one answers otherwise than it must, and traffic is not to be moved all the same.
    """
    found = candidates(target, cloud)
    if not found:
        return
    say("\nSmoke test, before traffic is moved")
    if untested:
        say("  left out   UNTESTED=yes")
        return
    if not identity_token(target, cloud, PROBED):
        say("  not asked  functions that take an identity token, which this account has none of")
    passed: set[str] = set()
    wrong = cloud.until(lambda: _wrong(target, cloud, found, say, visit, passed))
    if wrong:
        raise SystemExit(
            f"The smoke test failed: {wrong}.\nNo traffic was moved: what served before serves on. Its log: make logs "
            "SEVERITY=WARNING. Mend that and make deploy again, which repeats the test; UNTESTED=yes moves traffic "
            "without it."
        )


def candidates(target: Target, cloud: Gcloud) -> list[tuple[Function, str]]:
    """Return the functions of which a revision waits for traffic, with its address."""
    found = []
    for function in DEPLOYMENT.functions:
        service = cloud.look(services.look(target, function.name)) or {}
        shares = service.get("status", {}).get("traffic", ())
        found += [(function, share["url"]) for share in shares if share.get("tag") == services.CANDIDATE]
    return found


def _wrong(
    target: Target, cloud: Gcloud, found: list[tuple[Function, str]], say: Say, visit: Visit, passed: set[str]
) -> str:
    """Ask what has not passed yet; returns what is wrong with the first one that does not."""
    for function, url in found:
        for check in checks(target, cloud, function, url):
            if check.title in passed:
                continue
            reply = visit(check.question)
            if check.shy and reply.status in (401, 403) and not reply.ours:
                say(f"  not asked  {check.title}: this account may not call it")
            elif check.fits(reply):
                say(f"  passed     {check.title}")
            else:
                return f"not true that {check.title} ({check.question.method} {url}: {reply.status or 'no answer'})"
            passed.add(check.title)
    return ""


def checks(target: Target, cloud: Gcloud, function: Function, url: str) -> list[Check]:
    """Return what one revision is asked; more where the account that deploys can tell Cloud Run who it is."""
    name = function.name
    if function.public:
        return [
            Check(
                title=f"{name} refuses itself what no channel of ours sent",
                question=Question(method="POST", url=url),
                fits=lambda reply: reply.status == 403 and reply.ours,
            )
        ]
    if function.iap:
        return [
            Check(
                title=f"{name} sends whoever is not signed in to Google",
                question=Question(method="GET", url=url),
                fits=lambda reply: reply.status == 302 and reply.location.startswith(SIGN_IN),
            )
        ]
    found = [
        Check(
            title=f"{name} is closed to strangers",
            question=Question(method="GET", url=url),
            fits=lambda reply: reply.status in (401, 403) and not reply.ours,
        )
    ]
    token = identity_token(target, cloud, name)
    if token:
        signed = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        found.append(
            Check(
                title=f"{name} answers who may call it",
                question=Question(method="GET", url=url, headers=signed),
                fits=lambda reply: reply.status == 405 and reply.ours,
                shy=True,
            )
        )
        if name == PROBED:
            found.append(
                Check(
                    title=f"{name} makes a run: a sweep of scope groups",
                    question=Question(method="POST", url=url, headers=signed, body=PROBE, seconds=RUN_SECONDS),
                    fits=lambda reply: reply.status == 200,
                    shy=True,
                )
            )
    return found


def token_of(target: Target, cloud: Gcloud, name: str) -> Command:
    """Return the command that gives an identity token; that of a service account is for one service."""
    if release.account(cloud).endswith(".gserviceaccount.com"):
        return (*IDENTITY, f"--audiences={target.url(name)}")
    return IDENTITY


def identity_token(target: Target, cloud: Gcloud, name: str) -> str:
    """Return an identity token of the account that gcloud uses; empty where it has none, as in most workflows."""
    try:
        told: Any = cloud.look(token_of(target, cloud, name)) or {}
    except GcloudFailed:
        return ""
    return str(told.get("id_token") or told.get("token") or "")
