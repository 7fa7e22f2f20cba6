"""Steps for the functions: services of Cloud Run, all started from one image, each by its own FUNCTION_TARGET.

A new revision gets no traffic, only the tag `candidate`, and with it an address of its own. It is tested there
(smoke.py); only then is traffic moved, for all functions within seconds, and the tag removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infra.gcp import access, build, marks
from infra.gcp.description import MOVED, Deployment, Function
from infra.gcp.steps import AS_JSON, FOUND, Command, Exactly, OneOf, Step, gcloud
from infra.gcp.target import Target

CANDIDATE = "candidate"


def former(target: Target, name: str) -> Command:
    """Return the command that describes a function that Cloud Functions manages."""
    return (*gcloud("functions", "describe", name, region=target.region, project=target.project), AS_JSON)


def is_labelled_former(service: Any) -> bool:
    """Say whether a service has the label of those that Cloud Functions manages."""
    labels = ((service or {}).get("metadata") or {}).get("labels") or {}
    return bool(labels.get("goog-managed-by") == "cloudfunctions")


def detach(target: Target, name: str) -> Command:
    """Return the command that takes a function out of Cloud Functions: address, revisions and traffic stay."""
    return _on(target, "functions", "detach", name, quiet=True)


def look(target: Target, name: str) -> Command:
    """Return the command that describes a service."""
    return (*gcloud("run", "services", "describe", name, region=target.region, project=target.project), AS_JSON)


def deployed_title(function: Function) -> str:
    """Return the title of the step that deploys a function."""
    settings = f"{function.memory}, {function.timeout} s, {function.concurrency} requests in each of up to"
    return f"Function {function.name}: {settings} {function.max_instances} instances, as keeper-{function.name}"


def moved_title(name: str) -> str:
    """Return the title of the step that lets a function serve what was deployed last."""
    return f"All traffic of {name} on its latest revision"


def settled(target: Target, deployment: Deployment, labels: Mapping[str, str], function: Function) -> Iterator[Step]:
    """Yield the steps for one function except its traffic: a new revision, who may call it, and how."""
    name = function.name
    yield _deployed(target, deployment, labels, function)
    yield from access.grants_on(f"service:{name}", target, deployment)
    yield access.invoked_by_no_other(name, target, deployment)
    if function.public:
        # Not a role of allUsers: an organization that restricts sharing to its domain refuses that.
        yield Step(
            title=f"{name} is public: Cloud Run does not check its callers, it checks a token itself",
            look=look(target, name),
            make=(_on(target, "run", "services", "update", name, invoker_iam_check=False),),
            wanted={"metadata": {"annotations": {"run.googleapis.com/invoker-iam-disabled": "true"}}},
            find=_lower_case_annotations,
        )
    else:
        yield Step(
            title=f"{name} is not public: Cloud Run asks who calls it",
            look=look(target, name),
            make=(),
            wanted={"open": False},
            change=(_on(target, "run", "services", "update", name, invoker_iam_check=True),),
            find=lambda service: {"open": _is_open(service)},
        )
    if function.iap:
        yield Step(
            title=f"Identity-Aware Proxy in front of {name}",
            look=look(target, name),
            make=(_on(target, "beta", "run", "services", "update", name, iap=True),),
            wanted={"metadata": {"annotations": {"run.googleapis.com/iap-enabled": "true"}}},
            find=_lower_case_annotations,
        )
        yield from access.let_in(name, target)


def without(target: Target, name: str) -> Step:
    """Return the step that removes a function that is not wanted: its address, and with it who could call it."""
    whose = marks.of_service(target.account(name))

    def there(listed: Any) -> list[str]:
        ours = (each for each in listed or () if each["metadata"]["name"] == name)
        return [name for each in ours if whose(each) is marks.Whose.OURS]

    return Step(
        title=f"There is no function {name}",
        look=(*_on(target, "run", "services", "list"), AS_JSON),
        make=(),
        wanted={"unwanted": Exactly([])},
        change=(_on(target, "run", "services", "delete", name, quiet=True),),
        find=lambda listed: {"unwanted": there(listed)},
    )


def tried_title(name: str) -> str:
    """Return the title of the step that gives an address to what traffic would be moved to."""
    return f"What {name} will serve serves already, or has an address for its test"


def tried(target: Target, deployment: Deployment) -> Iterator[Step]:
    """Yield the steps that tag what gets traffic without having been deployed just now: after a rollback."""
    for function in deployment.functions:
        yield Step(
            title=tried_title(function.name),
            look=look(target, function.name),
            make=(),
            wanted={"untried": Exactly([])},
            change=(
                _on(target, "run", "services", "update-traffic", function.name, update_tags=f"{CANDIDATE}={FOUND}"),
            ),
            find=lambda service: {"untried": _untried(service)},
            names=lambda found: list(found["untried"]),
            among="functions whose latest revision serves already, or has an address for its test",
        )


def moved(target: Target, deployment: Deployment) -> Iterator[Step]:
    """Yield the steps that move traffic to what was tried, in order.

    To the latest, whichever that is; where that was asked for and Cloud Run did not follow, to that revision by name.
    """
    for function in sorted(deployment.functions, key=lambda item: MOVED.index(item.name)):
        command = ("run", "services", "update-traffic", function.name)
        yield Step(
            title=moved_title(function.name),
            look=look(target, function.name),
            make=(_on(target, *command, remove_tags=CANDIDATE, to_latest=True),),
            change=(_on(target, *command, remove_tags=CANDIDATE, to_revisions=f"{FOUND}=100"),),
            unmade=lambda found: found["latest serves"] or not found["sent to latest"],
            wanted={"sent to latest": True, "latest serves": True, "candidate": False},
            find=_traffic,
            names=lambda found: [found["latest"]],
        )


def latest(service: Any) -> str:
    """Return the revision that was made last, which gets the traffic that is sent to the latest."""
    return str((service.get("status") or {}).get("latestCreatedRevisionName") or "")


def candidate(service: Any) -> str:
    """Return the revision that has the tag, as it was asked for: the status may be one of before, or never follow."""
    shares = (service.get("spec") or {}).get("traffic") or ()
    tagged = [share for share in shares if share.get("tag") == CANDIDATE]
    return str(tagged[0].get("revisionName") or latest(service)) if tagged else ""


def address(service: Any) -> str:
    """Return where the candidate can be asked; empty while Cloud Run does not tell, or tells it of another revision."""
    shares = (service.get("status") or {}).get("traffic") or ()
    found = [share for share in shares if share.get("tag") == CANDIDATE]
    return next((str(share.get("url", "")) for share in found if share["revisionName"] == candidate(service)), "")


def served_by(service: Any) -> str:
    """Return the revision that has all traffic, as Cloud Run tells and not as it was asked; empty for several."""
    shares = (service.get("status") or {}).get("traffic") or ()
    return next((str(share.get("revisionName", "")) for share in shares if share.get("percent") == 100), "")


def sent_to(service: Any) -> str:
    """Return the revision that all traffic was asked to go to, whether it does or not; empty for several."""
    shares = (service.get("spec") or {}).get("traffic") or ()
    found = {str(share.get("revisionName") or latest(service)) for share in shares if share.get("percent")}
    return found.pop() if len(found) == 1 else ""


def serves_latest(service: Any) -> bool:
    """Say whether all traffic was asked to go to the revision that was made last, and goes there."""
    return latest(service) != "" and sent_to(service) == served_by(service) == latest(service)


def is_pinned(service: Any) -> bool:
    """Say whether traffic was sent to revisions by name, as a rollback does, and not to whatever is the latest."""
    shares = (service.get("spec") or {}).get("traffic") or ()
    return not any(share.get("latestRevision") and share.get("percent") for share in shares)


def _on(target: Target, *parts: str, **flags: Any) -> Command:
    return gcloud(*parts, **flags, region=target.region, project=target.project)


def _untried(service: Any) -> list[str]:
    """Return the revision that all traffic would be moved to, if it has neither that nor the tag."""
    wanted = latest(service)
    return [] if wanted in ("", served_by(service), candidate(service)) else [wanted]


def _traffic(service: Any) -> Any:
    """Return where traffic was sent, whether it goes there, and whether a revision waits for it.

    Tags of other people are left out. What was asked for may have been refused, and stays in the specification.
    """
    return {
        "sent to latest": sent_to(service) == latest(service),
        "latest serves": served_by(service) == latest(service),
        "candidate": bool(candidate(service)),
        "latest": latest(service),
    }


def _deployed(target: Target, deployment: Deployment, labels: Mapping[str, str], function: Function) -> Step:
    environment = {key: target.filled(text, deployment) for key, text in function.environment.items()}
    environment = {"FUNCTION_TARGET": function.entry_point} | environment
    mounted = {key: f"{name}:{target.mounted(name)}" for key, name in function.secrets.items()}
    name, account = function.name, target.account(function.name)
    command = _on(
        target,
        *("run", "deploy", name),
        image=build.image_of(target),
        tag=CANDIDATE,
        memory=function.memory,
        cpu=function.cpu,
        timeout=f"{function.timeout}s",
        concurrency=str(function.concurrency),
        min_instances=str(function.min_instances),
        max_instances=str(function.max_instances),
        service_account=account,
        ingress="all",
        set_env_vars=_listed(environment),
        **({"set_secrets": ",".join(f"{key}={place}" for key, place in mounted.items())} if mounted else {}),
        **({} if mounted else {"clear_secrets": True}),
        update_labels=",".join(f"{key}={value}" for key, value in labels.items()),
        clear_base_image=True,  # Cloud Functions put one below each function; the image brings its own
    )
    return Step(
        title=deployed_title(function),
        look=look(target, name),
        make=(_with(command, "--no-allow-unauthenticated"),),  # the first revision of a service gets all traffic
        change=(_with(command, "--no-traffic"),),
        unmade=lambda found: not found["began"],  # for --no-traffic, gcloud needs one that serves
        wanted={
            "ready": True,
            "image": build.image_of(target),
            "baseImage": None,
            "memory": function.memory,
            "cpu": function.cpu,
            "timeout": function.timeout,
            "concurrency": function.concurrency,
            "minInstances": str(function.min_instances) if function.min_instances else OneOf(("0", None)),
            "maxInstances": str(function.max_instances),
            "ingress": OneOf(("all", None)),
            "serviceAccount": account,
            "environment": Exactly(environment),
            "secrets": Exactly(mounted),
            "release": labels["release"],
        },
        find=comparable,
        owned=marks.Owned(what=f"Cloud Run service {name} in {target.region}", whose=_whose(account)),
    )


def _with(command: Command, flag: str) -> Command:
    """Return a command with one more flag, before those that say where."""
    place = next(number for number, part in enumerate(command) if part.startswith("--region="))
    return (*command[:place], flag, *command[place:])


def _whose(account: str) -> Any:
    """Return what judges a service, from what is compared."""
    return marks.acting_as(account, "serviceAccount")


def _listed(values: Mapping[str, str]) -> str:
    """Return a map as a flag's value; a separator of its own, since values may hold commas.

    Source: gcloud topic escaping.
    """
    return "^;^" + ";".join(f"{key}={value}" for key, value in values.items())


def comparable(service: Any) -> Any:
    """Return what was deployed last as it was asked for, out of knative's message."""
    metadata, template = service.get("metadata", {}), service.get("spec", {}).get("template", {})
    annotations, spec = template.get("metadata", {}).get("annotations", {}), template.get("spec", {})
    (container, *_) = spec.get("containers") or [{}]
    limits, variables = container.get("resources", {}).get("limits", {}), container.get("env", [])
    references = {
        item["name"]: item["valueFrom"]["secretKeyRef"]
        for item in variables
        if "secretKeyRef" in item.get("valueFrom", {})
    }
    return {
        "began": bool(service.get("status", {}).get("latestReadyRevisionName")),  # whether any revision ever started
        "ready": _is_ready(service),
        "image": container.get("image"),
        "baseImage": annotations.get("run.googleapis.com/base-images"),
        "memory": limits.get("memory"),
        "cpu": _processors(limits.get("cpu", "")),
        "timeout": spec.get("timeoutSeconds"),
        "concurrency": spec.get("containerConcurrency"),
        "minInstances": annotations.get("autoscaling.knative.dev/minScale"),
        "maxInstances": annotations.get("autoscaling.knative.dev/maxScale"),
        "ingress": metadata.get("annotations", {}).get("run.googleapis.com/ingress"),
        "serviceAccount": spec.get("serviceAccountName"),
        "environment": {item["name"]: item.get("value", "") for item in variables if "valueFrom" not in item},
        "secrets": {name: f"{place['name']}:{place['key']}" for name, place in references.items()},
        "release": metadata.get("labels", {}).get("release"),
        "labels": metadata.get("labels"),
    }


def _is_ready(service: Any) -> bool:
    """Say whether the revision that was made last has started.

    The one that waits for traffic may not be told as the latest that is ready: then the service's own condition tells,
    which gcloud waits for, too. A status of a former generation tells nothing (Cloud Run's API: ServiceStatus).
    """
    status, created = service.get("status") or {}, latest(service)
    if not created or status.get("observedGeneration") not in (None, (service.get("metadata") or {}).get("generation")):
        return False
    told = [item.get("status") for item in status.get("conditions", ()) if item.get("type") == "Ready"]
    return created == status.get("latestReadyRevisionName") or told == ["True"]


def _processors(limit: str) -> str:
    """Return a limit in whole processors: Cloud Run returns thousandths for one that was not given."""
    return str(int(limit[:-1]) // 1000) if limit.endswith("000m") else limit


def _is_open(service: Any) -> bool:
    annotations = _lower_case_annotations(service)["metadata"]["annotations"]
    return bool(annotations.get("run.googleapis.com/invoker-iam-disabled") == "true")


def _lower_case_annotations(service: Any) -> Any:
    """Return a service with its annotations in lower case: gcloud writes True where the API's pages say true."""
    annotations = service["metadata"].get("annotations", {})
    lower = {key: str(value).lower() for key, value in annotations.items()}
    return service | {"metadata": service["metadata"] | {"annotations": lower}}
