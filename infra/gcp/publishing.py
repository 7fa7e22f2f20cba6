"""Whether the organization's log sink publishes, as Google tells it to who deploys."""

from __future__ import annotations

from dataclasses import replace

from infra.gcp import services, sink
from infra.gcp.description import WEBHOOK
from infra.gcp.gcloud import Gcloud, GcloudFailed
from infra.gcp.steps import Step
from infra.gcp.target import OFF, ORGANIZATION, WRITER, Target


def learn(target: Target, cloud: Gcloud, *, certain: bool = False) -> Target:
    """Return the target with the sink's identity, and whether entries are published.

    Unless only what is there counts (`certain`), what a deployment would make is taken for made. While nothing is
    published, a webhook that is there stays, but none is made where none is wanted.
    """
    target = _asked(target, cloud, certain=certain)
    if target.public_webhook != OFF or target.publishes:
        return replace(target, keeps_webhook=False)
    return replace(target, keeps_webhook=cloud.look(services.look(target, WEBHOOK)) is not None)


def _asked(target: Target, cloud: Gcloud, *, certain: bool) -> Target:
    if target.sink != ORGANIZATION:
        return replace(target, writer="", publishing=False)
    publishing = sink.publishers(cloud.look(sink.policy(target)))
    try:
        there = cloud.look(sink.look(target, target.organization))
    except GcloudFailed:
        publishes = any(not sink.of_another(member, target.organization) for member in publishing)
        return replace(target, writer="", publishing=publishes, organization_open=False)
    writer = str(there.get("writerIdentity", "")) if there else "" if certain else WRITER
    granted = writer in publishing if certain else True
    return replace(target, writer=writer, publishing=granted, organization_open=True)


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
