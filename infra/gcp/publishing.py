"""Whether the organization's log sink publishes, as Google tells it to who deploys."""

from __future__ import annotations

from dataclasses import replace

from infra.gcp import sink
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.steps import Step
from infra.gcp.target import ORGANIZATION, WRITER, Target


def learn(target: Target, cloud: Gcloud, *, certain: bool = False) -> Target:
    """Return the target with the sink's identity, and whether entries are published.

    Unless only what is there counts (`certain`), what a deployment would make is taken for made.
    """
    if target.sink != ORGANIZATION:
        return replace(target, writer="", publishes=False)
    publishing = sink.publishers(cloud.look(sink.policy(target)))
    try:
        there = cloud.look(sink.look(target, target.organization))
    except GcloudFailed:
        return replace(target, writer="", publishes=bool(publishing), organization_open=False)
    writer = str(there["writerIdentity"]) if there else "" if certain else WRITER
    publishes = writer in publishing if certain else True
    return replace(target, writer=writer, publishes=publishes, organization_open=True)


def unseen(target: Target) -> str:
    """Say that the sink, which publishes, may not be looked at by who deploys."""
    return f"The log sink of organization {target.organization} publishes, but is not compared: you may not look at it."


def settled(target: Target, cloud: Gcloud) -> list[Step]:
    """Return the step that records which organizations may still have a sink of ours."""
    if not target.sink:
        return []
    left = [each for each in target.sinks_in if each not in sink.made_in(target) and _may_be_there(target, each, cloud)]
    return [sink.record(target, (*sink.made_in(target), *left), "once others are removed")]


def _may_be_there(target: Target, organization: str, cloud: Gcloud) -> bool:
    try:
        return bool(sink.ours(target)(cloud.look(sink.every(organization))))
    except GcloudFailed:
        return True
