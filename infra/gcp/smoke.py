"""The smoke test: a new revision is tested at an address of its own, given by its tag, before it gets traffic.

Cloud Run has checked by then that each started: functions-framework imports a function before it listens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from infra.gcp import release, services
from infra.gcp.description import DEPLOYMENT, Function
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.live import as_given
from infra.gcp.steps import AS_JSON, Command, gcloud
from infra.gcp.target import Target

SECONDS = 30.0  # for an answer
PROBLEM = "application/problem+json"  # which distinguishes an answer of ours from one of Google's
IDENTITY: Command = ("gcloud", "auth", "print-identity-token", AS_JSON)
NO_IDENTITY = ("No identity token can be obtained", "Invalid account type")  # what gcloud says where there is none
SIGN_IN = "https://accounts.google.com/"
(SWEEP,) = [job for job in DEPLOYMENT.jobs if job.name == "keeper-sweep"]  # the run that is made, as it is scheduled
PROBED = SWEEP.function
RUNS = 2  # at most: the cause may have been a passing one, but what made it hang would make it hang again

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
    """Ask over HTTPS, follow no redirection, and wait for no body; signed as the question is, and not from ~/.netrc."""
    try:
        with requests.request(
            question.method,
            question.url,
            headers=dict(question.headers),
            data=question.body,
            timeout=question.seconds,
            allow_redirects=False,
            auth=as_given,
            stream=True,
        ) as answer:
            return Reply(
                status=answer.status_code,
                kind=answer.headers.get("Content-Type", ""),
                location=answer.headers.get("Location", ""),
            )
    except requests.RequestException:
        return Reply(status=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A request, and how it must be answered; `shy` if Google may refuse the account that deploys."""

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
        say("  skipped    UNTESTED=yes")
        return
    release.forget(target, cloud)
    cloud.forget(_schedule(target))
    if not identity_token(target, cloud, PROBED):
        say("  not asked  functions that need an identity token, which this account does not have")
    test = _Test(target=target, cloud=cloud, say=say, visit=visit)
    wrong = cloud.until(test.wrong) or cloud.until(test.wrong_with_a_run, tries=RUNS)
    if wrong:
        raise SystemExit(
            f"The smoke test failed: {wrong}.\n{_standing(target, cloud)} Its log: make logs SEVERITY=WARNING. "
            "Fix that and run make deploy again, which repeats the test; UNTESTED=yes moves traffic "
            "without it."
        )


def _standing(target: Target, cloud: Gcloud) -> str:
    """Say what serves after a test that failed."""
    release.forget(target, cloud)
    serving = release.served(target, cloud)
    first = ", ".join(item.name for item in serving if item.candidate == item.revision)
    moved = ", ".join(item.name for item in serving if not item.candidate and item.release.id == item.deployed.id)
    waits = any(item.waiting for item in serving)
    told = [
        f"These serve already, since they are first revisions: {first}." if first else "",
        f"All traffic of {moved} was moved to this release before." if moved else "",
        "make rollback undoes that." if moved and waits else "",
    ]
    if waits:
        none = "No traffic was moved: what served before goes on serving."
        told.append("Of the others, what served before goes on serving." if first or moved else none)
    return " ".join(filter(None, told))


def candidates(target: Target, cloud: Gcloud) -> list[tuple[Function, str]]:
    """Return the functions that have a revision waiting for traffic, with its address; empty where it has none yet."""
    found = []
    for function in DEPLOYMENT.functions:
        service = cloud.look(services.look(target, function.name)) or {}
        if services.candidate(service):
            found.append((function, services.address(service)))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Test:
    """One smoke test: what has passed, and which functions took an identity token, so that none can refuse it later."""

    target: Target
    cloud: Gcloud
    say: Say
    visit: Visit
    passed: set[str] = field(default_factory=set)
    took: set[str] = field(default_factory=set)

    def wrong(self) -> str:
        """Ask what has not passed yet; returns what is wrong with the first one that does not."""
        for function, url in candidates(self.target, self.cloud):
            if not url:
                self.cloud.forget(services.look(self.target, function.name))
                return (
                    f"not true that {function.name} has an address for its tag {services.CANDIDATE} (Cloud Run does "
                    "not show it yet, or default URLs are disabled, by run.googleapis.com/default-url-disabled on the "
                    "service or a policy of the organization)"
                )
            self._renew_token(function)
            for check in checks(self.target, self.cloud, function, url):
                said = self._ask(function, check)
                if said:
                    return said
        return ""

    def wrong_with_a_run(self) -> str:
        """Start a run, unless none may be started; returns what is wrong with it."""
        for function, url in candidates(self.target, self.cloud):
            if function.name == PROBED and identity_token(self.target, self.cloud, PROBED):
                self._renew_token(function)
                check = run(self.target, self.cloud, url)
                why = self._why_no_run()
                if not why:
                    return self._ask(function, check)
                self.say(f"  not asked  {check.title}: {why}")
        return ""

    def _why_no_run(self) -> str:
        """Say why no run is started with the new release; empty if one may be."""
        if PROBED not in self.took:
            return "this account is not allowed to call it"
        state = (self.cloud.look(_schedule(self.target)) or {}).get("state", "ENABLED")  # none in a first deployment
        if state != "ENABLED":
            return f"its job {SWEEP.name} is {state}, so no run is wanted now"
        serving = release.served(self.target, self.cloud)
        unread = sorted({text for item in serving for text in item.release.cannot_read(item.deployed)})
        return f"the release that serves could not read what it writes ({'; '.join(unread)})" if unread else ""

    def _renew_token(self, function: Function) -> None:
        """Get a token that is valid for an hour from now, since the test may take part of one."""
        self.cloud.forget(token_of(self.target, self.cloud, function.name))

    def _ask(self, function: Function, check: Check) -> str:
        if check.title in self.passed:
            return ""
        reply = self.visit(check.question)
        if check.shy and reply.ours:
            self.took.add(function.name)
        if check.shy and function.name not in self.took and reply.status in (401, 403):
            self.say(f"  not asked  {check.title}: this account is not allowed to call it")
        elif check.fits(reply):
            self.say(f"  passed     {check.title}")
        else:
            asked = f"{check.question.method} {check.question.url}"
            return f"not true that {check.title} ({asked}: {reply.status or 'no answer'})"
        self.passed.add(check.title)
        return ""


def checks(target: Target, cloud: Gcloud, function: Function, url: str) -> list[Check]:
    """Return what one revision is asked; more if the account that deploys can prove to Cloud Run who it is."""
    name = function.name
    if function.public:
        return [
            Check(
                title=f"{name} itself refuses what none of our channels sent",
                question=Question(method="POST", url=url),
                fits=lambda reply: reply.status == 403 and reply.ours,
            )
        ]
    if function.iap:
        return [
            Check(
                title=f"{name} asks strangers to sign in with Google",
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
        found.append(
            Check(
                title=f"{name} answers those who may call it",
                question=Question(method="GET", url=url, headers=_signed(token)),
                fits=lambda reply: reply.status == 405 and reply.ours,
                shy=True,
            )
        )
    return found


def run(target: Target, cloud: Gcloud, url: str) -> Check:
    """Return the request for a run, which must not be refused: whoever may call a function may do all it does."""
    signed = _signed(identity_token(target, cloud, PROBED))
    return Check(
        title=f"{PROBED} makes a run: a sweep of scope groups",
        question=Question(method="POST", url=url, headers=signed, body=SWEEP.body, seconds=SWEEP.deadline),
        fits=lambda reply: reply.status == 200,
    )


def _schedule(target: Target) -> Command:
    look = gcloud("scheduler", "jobs", "describe", SWEEP.name, location=target.region, project=target.project)
    return (*look, AS_JSON)


def _signed(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


def token_of(target: Target, cloud: Gcloud, name: str) -> Command:
    """Return the command that gives an identity token; that of a service account is for one service."""
    if release.account(cloud).endswith(".gserviceaccount.com"):
        return (*IDENTITY, f"--audiences={target.url(name)}")
    return IDENTITY


def identity_token(target: Target, cloud: Gcloud, name: str) -> str:
    """Return an identity token of the account that gcloud uses; empty where it has none, as in most workflows.

    Raises:
        GcloudFailed: it has one, and could not give it: nothing is left out of the test for that.
    """
    try:
        told: Any = cloud.look(token_of(target, cloud, name)) or {}
    except GcloudFailed as error:
        if not any(text in error.answer.err for text in NO_IDENTITY):
            raise
        return ""
    return str(told.get("id_token") or told.get("token") or "")
