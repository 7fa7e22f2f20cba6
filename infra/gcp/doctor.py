"""`make doctor`: every precondition and every live dependency, each with its fix. It changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from autoprovisioning.domain.sources import SILENT, STALE, Feed
from infra.gcp import commands, firestore, publishing, services
from infra.gcp.delegation import BROADER, SCOPES
from infra.gcp.deploy import Done, learn_billing, learn_channels, learn_image, learn_number, newest_keys, state_of
from infra.gcp.description import DATABASE, DEAD_LETTERS, DEPLOYMENT, Job
from infra.gcp.gcloud import TRIED, Gcloud, GcloudFailed, NotInstalled, NotSignedIn, Unready
from infra.gcp.live import Addresses, NotAllowed, Web, reachable
from infra.gcp.preflight import advice, as_it_is, misplaced, reminder, same_region, unnamed
from infra.gcp.release import Served, added_since, revisions_of, served
from infra.gcp.steps import AS_JSON, Command, Step, differences, gcloud
from infra.gcp.target import FULL_RUNS, ORGANIZATION, Target
from infra.gcp.variants import chosen

RUN_WITHIN = timedelta(hours=1)
FULL_RUN = "keeper-full"  # the job
PAST_ITS_PROBE = ("planned", "done", "unsettled")  # states of a run that was planned, and so had its token accepted
THERE = (401, 403)  # what Keeper says to a request without a token
VERSION: Command = ("gcloud", "version", AS_JSON)
ACCESS_TOKEN: Command = ("gcloud", "auth", "print-access-token", AS_JSON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was examined; `mend` is empty where it is well, and may then be left with a `note` on it."""

    title: str
    mend: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What the checks look at."""

    target: Target
    cloud: Gcloud
    web: Web
    now: datetime

    @property
    def deploy(self) -> str:
        """Return the command that fixes most findings."""
        return f"make deploy {self.target.settings}"

    @property
    def run_now(self) -> str:
        """Return the command that reconciles at once."""
        where = f"--location={self.target.region} --project={self.target.project}"
        return f"gcloud scheduler jobs run {FULL_RUN} {where}"


def examine(
    target: Target,
    cloud: Gcloud,
    say: Callable[[str], None],
    addresses: Addresses | None = None,
    now: datetime | None = None,
) -> int:
    """Run every check and say what it found; returns 1 if anything must be fixed, else 0.

    Raises:
        GcloudFailed: the project cannot be reached.
        SystemExit: there is no such project, or its deployment is in another region.
    """
    addresses = addresses or Addresses()
    bad = _tell("This machine", _machine(target, cloud, addresses), say)
    try:
        target = learn_number(target, cloud)
        token = str(cloud.look(ACCESS_TOKEN)["token"])
    except Unready:
        say(f"\nNot checked, since that needs a sign-in: {', '.join(title for title, _ in CHECKS)}.")
    else:
        with suppress(GcloudFailed):  # what may not be looked at is reported below, with the rest
            same_region(target, cloud)
        patient = Patient(target=target, cloud=cloud, web=Web(target, token, addresses), now=now or datetime.now(UTC))
        bad += sum(_tell(title, _examined(check, patient), say) for title, check in CHECKS)
    say(f"\n{bad} things to fix." if bad else "\nAll is well.")
    return 1 if bad else 0


def _tell(title: str, findings: Iterator[Finding], say: Callable[[str], None]) -> int:
    """Say what was found; returns how much of it must be fixed."""
    bad = 0
    say(f"\n{title}")
    for finding in findings:
        say(f"  {'FIX ' if finding.mend else 'note' if finding.note else 'ok  '}  {finding.title}")
        if finding.mend or finding.note:
            say(f"        {finding.mend or finding.note}")
        bad += bool(finding.mend)
    return bad


def _machine(target: Target, cloud: Gcloud, addresses: Addresses) -> Iterator[Finding]:
    """See what needs no sign-in: gcloud, its tracks, and whether Google's servers answer."""
    try:
        yield from _gcloud(cloud.look(VERSION))
        learn_number(target, cloud)
        yield Finding(title="gcloud is signed in")
    except NotInstalled as error:
        yield Finding(title="gcloud is installed", mend=str(error))
    except NotSignedIn as error:
        yield Finding(title="gcloud is signed in", mend=str(error))
    for address in dict.fromkeys(astuple(addresses)):
        away = "No answer. Check this machine's network, and whether a proxy must be set (HTTPS_PROXY)."
        yield Finding(title=f"{address} answers", mend="" if reachable(address) else away)


def _gcloud(versions: dict[str, str]) -> Iterator[Finding]:
    told = versions.get("Google Cloud SDK", "")
    yours, tried = _numbers(told), _numbers(TRIED)
    update = f"Older than {TRIED}, the tested version: run gcloud components update, or use your package manager."
    newer = f", newer than {TRIED}, the tested version" if yours > tried else ""
    yield Finding(title=f"gcloud {told} is installed{newer}", mend="" if yours >= tried else update)
    for track in ("alpha", "beta"):
        yield Finding(
            title=f"gcloud has {track}", mend="" if track in versions else f"gcloud components install {track}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def _examined(check: Callable[[Patient], Iterator[Finding]], patient: Patient) -> Iterator[Finding]:
    """Yield a check's findings; a check that cannot be made is a finding too, and stops no other."""
    try:
        yield from check(patient)
    except GcloudFailed as error:
        yield Finding(title="This could not be checked", mend=str(error).replace("\n", " "))
    except SystemExit as error:  # what was deployed last cannot be told
        yield Finding(title="This could not be checked", mend=str(error))
    except NotAllowed as error:
        yield Finding(title="This could not be checked", mend=f"{error} Run doctor as an owner of the project.")
    except requests.RequestException as error:
        yield Finding(title="This could not be reached", mend=f"{type(error).__name__}. Check this machine's network.")


def _as_described(patient: Patient) -> Iterator[Finding]:
    """Compare everything with the description: APIs, identities, grants, functions, queues, schedule, alerts."""
    target, cloud = patient.target, patient.cloud
    well = 0
    enabled = commands.apis(target)
    if state_of(enabled, cloud)[0] is not Done.UNCHANGED:
        yield Finding(title=enabled.title, mend=patient.deploy)
        return
    asked, target = target, as_it_is(target, cloud)
    if not asked.access:
        who = f"Identity-Aware Proxy lets in {target.access}" if target.access else "Identity-Aware Proxy"
        yield Finding(title=f"{who}: not compared, since ACCESS is not given", mend=unnamed(target, cloud))
    elsewhere = misplaced(target, cloud)
    if elsewhere:
        yield Finding(title="Firestore is where the settings say", mend=elsewhere)
    target = replace(target, key_versions=newest_keys(target, cloud))
    target = publishing.learn(learn_image(learn_billing(learn_channels(target, cloud), cloud), cloud), cloud)
    if target.sink == ORGANIZATION and not target.organization_open and target.publishes:
        yield Finding(title=publishing.unseen(target))
    left_out = _titles_of_what_was_rolled_back(target, served(target, cloud))
    # What was not tested has no traffic, which the step that would move it reports.
    left_out |= {services.tried_title(function.name) for function in DEPLOYMENT.functions}
    for step in commands.all_steps(target):
        if step.title in left_out:
            continue
        try:
            state, found = state_of(step, cloud)
        except GcloudFailed as error:
            if not step.by_hand:
                raise
            yield Finding(title=f"{step.title}: could not be checked", mend=f"{error.said} {step.by_hand}")
            continue
        if state is Done.UNCHANGED:
            well += 1
        else:
            yield Finding(title=f"{step.title}: {_difference(step, state, found)}", mend=patient.deploy)
    yield Finding(title=f"{well} things are as described, APIs included")


def _titles_of_what_was_rolled_back(target: Target, serving: Sequence[Served]) -> set[str]:
    """Return the steps that differ on purpose if this checkout is the release rolled back from, or the one before."""
    known = {each.id for item in serving for each in (item.release, item.deployed)}
    if not any(item.rolled_back for item in serving) or commands.release(target) not in known:
        return set()
    there = {item.name for item in serving}
    functions = [item for item in chosen(target).functions if item.name in there]
    return {title for item in functions for title in (services.deployed_title(item), services.moved_title(item.name))}


def _release(patient: Patient) -> Iterator[Finding]:
    """See which release serves, who deployed it and when, and that all functions are of the same."""
    serving = served(patient.target, patient.cloud)
    back = next((item for item in serving if item.rolled_back), None)
    looks = {item.name: revisions_of(patient.target, item.name) for item in serving}
    revisions = {name: patient.cloud.look(look) or [] for name, look in looks.items()}
    added = added_since(back.release.id, revisions) if back else set()
    releases = {item.release.id: item.release for item in serving if item.name not in added}
    newest_first = sorted(releases.values(), key=lambda release: release.deployed, reverse=True)
    if len(releases) > 1:
        told = [f"{release.shown} ({_names(serving, release.id)})" for release in newest_first]
        if back:
            mend = f"make rollback RELEASE={back.release.id} {patient.target.settings} ends the rollback."
        else:
            mend = f"A deployment was interrupted. {patient.deploy} completes it, make rollback undoes it."
        yield Finding(title=f"Functions serve several releases: {'; '.join(told)}", mend=mend)
    elif back:
        yield Finding(title=f"rolled back to {back.release.shown}")
        yield Finding(title=f"from {back.deployed.shown}")
        if added:
            yield Finding(title=f"left as it is, since that release did not have it yet: {', '.join(sorted(added))}")
    else:
        for release in newest_first:
            yield Finding(title=f"Release {release.shown}")
    waiting = {item.deployed.id: item.deployed for item in serving if item.waiting}
    for release in waiting.values():
        mend = f"Its smoke test failed or was interrupted. {patient.deploy} repeats it; any other release replaces it."
        there = _names(serving, release.id)
        mend += f" Some functions serve it already, which make rollback undoes: {there}." if there else ""
        yield Finding(title=f"Release {release.shown} waits for its traffic", mend=mend)
    untested = [item for item in serving if item.candidate == item.revision]
    if untested:
        first = ", ".join(item.name for item in untested)
        mend = f"The smoke test of their first revisions failed or was interrupted: {first}. {patient.deploy}"
        yield Finding(
            title=f"Release {untested[0].release.shown} serves, though its smoke test has not passed", mend=mend
        )
    still = reminder(patient.target, patient.cloud)
    if still:
        yield Finding(title=still, note=advice(patient.target))


def _names(serving: Sequence[Served], release: str) -> str:
    return ", ".join(item.name for item in serving if item.release.id == release)


def _difference(step: Step, state: Done, found: Any) -> str:
    if state is Done.MADE:
        return "is not there"
    if "unwanted" in found:
        return f"except {', '.join(found['unwanted'])}"
    return f"differs in {', '.join(each.field for each in differences(found, step.wanted))}"


def _addresses(patient: Patient) -> Iterator[Finding]:
    """See that each function has the address that the others were told."""
    target = publishing.learn(as_it_is(patient.target, patient.cloud), patient.cloud)
    for function in chosen(target).functions:
        wanted = target.url(function.name)
        service = patient.cloud.look(services.look(patient.target, function.name)) or {}
        told = service.get("metadata", {}).get("annotations", {}).get("run.googleapis.com/urls", "[]")
        known = {*json.loads(told), service.get("status", {}).get("url")}
        mend = f"Cloud Run knows it as {', '.join(sorted(filter(None, known))) or 'nothing'}. {patient.deploy}"
        yield Finding(title=f"{function.name} is at {wanted}", mend="" if wanted in known else mend)


def _indexes(patient: Patient) -> Iterator[Finding]:
    where = {"database": DATABASE, "project": patient.target.project}
    wait = "Firestore is still building it: wait some minutes and look again."
    for index in patient.cloud.look((*gcloud("firestore", "indexes", "composite", "list", **where), AS_JSON)) or ():
        fields = ", ".join(field["fieldPath"] for field in index["fields"])
        yield Finding(title=f"Index on {fields}", mend="" if index["state"] == "READY" else wait)
    for field in patient.cloud.look((*gcloud("firestore", "fields", "ttls", "list", **where), AS_JSON)) or ():
        group = field["name"].split("/collectionGroups/")[1].partition("/")[0]
        yield Finding(title=f"Lifetime of {group}", mend="" if field["ttlConfig"]["state"] == "ACTIVE" else wait)
    if not firestore.described()["indexes"]:
        yield Finding(title="No index is needed")


def _dead_letters(patient: Patient) -> Iterator[Finding]:
    """See whether messages were given up; only Cloud Monitoring knows how many."""
    waiting = patient.web.waiting(DEAD_LETTERS, patient.now)
    mend = f"{waiting} lie in {DEAD_LETTERS}: docs/runbooks/dead-letters.md"
    yield Finding(title="No message was given up", mend=mend if waiting else "")


def _schedule(patient: Patient) -> Iterator[Finding]:
    for job in DEPLOYMENT.jobs:
        where = {"location": patient.target.region, "project": patient.target.project}
        there = patient.cloud.look((*gcloud("scheduler", "jobs", "describe", job.name, **where), AS_JSON))
        yield Finding(
            title=f"Job {job.name}", mend=patient.deploy if there is None else _job_trouble(patient, job, there)
        )


def _job_trouble(patient: Patient, job: Job, there: dict[str, Any]) -> str:
    resume = f"gcloud scheduler jobs resume {job.name} --location={patient.target.region}"
    last = there.get("lastAttemptTime", "")
    if there.get("state") != "ENABLED":
        return f"It is {there.get('state')}: {resume} --project={patient.target.project}"
    if not last:
        return f"It has not run yet: it will within {job.every} minutes."
    late = patient.now - _time(last)
    if late > timedelta(minutes=2 * job.every + 5):
        return f"Its last run was {late.total_seconds() / 60:.0f} minutes ago: {patient.deploy}"
    code = there.get("status", {}).get("code", 0)
    return f"Its last call failed (code {code}): make logs FUNCTION={job.function} SEVERITY=WARNING" if code else ""


def _delegation(patient: Patient) -> Iterator[Finding]:
    """See that each scope is delegated, that reading works, and that one that writes is refused."""
    mend = (
        "In the Admin console, API controls > Domain-wide delegation, let the client id that make deploy printed have "
        "exactly the scopes it printed; it takes effect within a day, mostly within minutes."
    )
    tokens = {}
    try:
        for scope in SCOPES:
            tokens[scope] = patient.web.delegated(scope)
            yield Finding(title=scope, mend="" if tokens[scope] else mend)
        broader = patient.web.delegated(BROADER)
    except NotAllowed as error:
        account, project = patient.target.account("directory"), patient.target.project
        yield Finding(
            title="You are not allowed to try this",
            mend=f"{error} For this check: "
            f"gcloud iam service-accounts add-iam-policy-binding {account} --project={project} --member=user:YOU "
            "--role=roles/iam.serviceAccountTokenCreator; afterwards remove-iam-policy-binding.",
        )
        return
    yield Finding(
        title="A scope that writes is refused", mend="" if broader is None else f"{BROADER} is delegated too. {mend}"
    )
    reading = tokens[SCOPES[0]]
    if reading:
        status = patient.web.users(reading)
        trouble = f"HTTP {status}: {patient.target.admin} must be an administrator who may read users."
        yield Finding(title="The directory is read", mend="" if status == 200 else trouble)


def _entries(patient: Patient) -> Iterator[Finding]:
    """See that Workspace's audit log is shared: by the age of its newest entry, which only a change brings."""
    target = publishing.learn(as_it_is(patient.target, patient.cloud), patient.cloud, certain=True)
    if target.sink != ORGANIZATION:
        yield Finding(title="No log sink is wanted: changes of groups are found by the sweep, every five minutes")
        return
    if not target.publishes:
        yield Finding(title="The log sink publishes", mend=f"It may not: {patient.deploy}")
    notes = {item["id"]: item for item in patient.web.documents("sources")}
    latest = str((notes.get(Feed.AUDIT_LOG) or {}).get("latest") or "")
    age = patient.now - _time(latest) if latest else None
    told = f"since {_time(latest):%Y-%m-%d %H:%M} UTC" if latest else "yet"
    if age is None or age > SILENT:
        mend = (
            f"None has arrived {told}. Share the log with Google Cloud: a super administrator, in the Admin console > "
            "Account > Account settings > Legal and compliance > Sharing options. Then change the last name of a test "
            "user, and look again in two minutes. docs/changes-of-groups.md"
        )
        yield Finding(title="Entries of the audit log arrive", mend=mend)
    elif age > STALE:
        note = "Nobody may have changed anything since: change the last name of a test user, and look again."
        yield Finding(title=f"No entry of the audit log has arrived {told}", note=note)
    else:
        yield Finding(title=f"Entries of the audit log arrive: the last one at {_time(latest):%Y-%m-%d %H:%M} UTC")
    if FULL_RUNS.get(target.full_runs, 0) > min(FULL_RUNS.values()):
        yield _full_runs(target, told="" if age is not None and age <= STALE else f"no entry has arrived {told}")


def _full_runs(target: Target, told: str) -> Finding:
    """Say how often everybody is looked at; what of one connection calls for more runs is shown where it is known."""
    wanted = f"FULL_RUNS={target.full_runs}"
    if told:
        return Finding(title=f"Full runs are made every 15 minutes in spite of {wanted}: {told}")
    note = "Where a connection needs them every 15 minutes for a while, its page Health in the console says why."
    return Finding(title=f"Full runs are made as seldom as is set: {wanted}", note=note)


def _channel(patient: Patient) -> Iterator[Finding]:
    if not publishing.learn(as_it_is(patient.target, patient.cloud), patient.cloud, certain=True).webhook:
        yield Finding(title="No notification channel is needed: PUBLIC_WEBHOOK=off")
        return
    serving = [item for item in patient.web.documents("connections") if _state(item) in ("on", "paused")]
    if not serving:
        yield Finding(title="No connection is on, so no notification channel is needed")
        return
    channels = patient.web.documents("channels")
    live = [item for item in channels if item.get("proven") and _time(item["expires"]) > patient.now]
    mend = "Runs go on without it. docs/runbooks/no-live-channel.md; make logs FUNCTION=renew-watch"
    yield Finding(title="A notification channel is live", mend="" if live else mend)


def _keeper(patient: Patient) -> Iterator[Finding]:
    """See each connection: Keeper answers, it accepts the token, runs end."""
    connections = [item for item in patient.web.documents("connections") if item.get("state") != "deleted"]
    if not connections:
        yield Finding(title="No connection yet", mend=f"Set one up in the console: {patient.target.url('console')}")
    for item in connections:
        name, state = item["name"], _state(item)
        if item.get("pilot") is not None:
            note = "Nobody else is created, changed or suspended. In the console, Turn on for everybody ends that."
            yield Finding(title=f"{name}: a pilot, on for {len(item['pilot']['fields'])} chosen people only", note=note)
        status = patient.web.keeper(item["endpoint"])
        away = f"HTTP {status} from {item['endpoint']}: check the endpoint URL, and Keeper's status page."
        yield Finding(title=f"{name}: Keeper answers", mend="" if status in THERE else away)
        again = f"Enter a new access token: {patient.target.url('reauthorize')} (docs/runbooks/connection-paused.md)"
        if state == "paused":
            yield Finding(title=f"{name}: Keeper accepts the access token", mend=again)
        if state == "on":
            runs = patient.web.documents(f"connections/{item['id']}/runs", orderBy="started desc", pageSize="8")
            yield _authorized(patient, name, runs)
            yield _last_run(patient, name, runs)


def _state(item: dict[str, Any]) -> str:
    """Return the state of a connection, which is stored after "pilot: " if it is for chosen people only."""
    return str(item.get("state", "")).removeprefix("pilot: ")


def _authorized(patient: Patient, name: str, runs: Sequence[dict[str, Any]]) -> Finding:
    """Say when Keeper last accepted the access token: each run begins by trying it, and nobody here may read it."""
    tried = next((run for run in runs if run["state"] in PAST_ITS_PROBE), None)
    if runs and runs[0]["state"] == "refused":
        mend = "The last run was refused before it planned anything: Health in the console shows its note."
    elif tried is None or patient.now - _time(tried["started"]) >= RUN_WITHIN:
        mend = f"No run has tried it within the last hour: {patient.run_now}, and look again in a minute."
    else:
        return Finding(title=f"{name}: Keeper accepts the access token (tried at {_time(tried['started']):%H:%M} UTC)")
    return Finding(title=f"{name}: Keeper accepts the access token", mend=mend)


def _last_run(patient: Patient, name: str, runs: Sequence[dict[str, Any]]) -> Finding:
    ended = [run for run in runs if run["state"] == "done" and patient.now - _time(run["started"]) < RUN_WITHIN]
    mend = "docs/runbooks/no-successful-run.md; make logs FUNCTION=reconcile SEVERITY=WARNING"
    return Finding(title=f"{name}: a run of the last hour is done", mend="" if ended else mend)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.partition(".")[0].removesuffix("Z") + "+00:00")


CHECKS: tuple[tuple[str, Callable[[Patient], Iterator[Finding]]], ...] = (
    ("What is deployed", _as_described),
    ("Release", _release),
    ("Addresses", _addresses),
    ("Firestore's indexes", _indexes),
    ("Schedule", _schedule),
    ("Messages given up", _dead_letters),
    ("Delegation", _delegation),
    ("Audit log", _entries),
    ("Notifications", _channel),
    ("Keeper", _keeper),
)
