"""Topics and subscriptions."""

from __future__ import annotations

from typing import Any

from tests.gcp.stand_in.cloud import PROJECT, Cloud, Handler, delete, describe, labels, listed
from tests.gcp.stand_in.policies import bind, known_member, policy, unbind


def _make_topic(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    return cloud.put("topic", names[0], {"name": f"projects/{PROJECT}/topics/{names[0]}", **labels(flags)}, new=True)


def _update_topic(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    there = cloud.thing("topic", names[0])
    kept = labels(flags, there).get("labels", {})
    for name in filter(None, flags.get("remove-labels", "").split(",")):
        kept.pop(name, None)
    return cloud.put("topic", names[0], there | {"labels": kept})


def _put_subscription(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    name = names[0]
    topic = (
        cloud.thing("topic", flags["topic"])
        if "topic" in flags
        else {"name": cloud.thing("subscription", name)["topic"]}
    )
    subscription = {
        "name": f"projects/{PROJECT}/subscriptions/{name}",
        "topic": topic["name"],
        "ackDeadlineSeconds": int(flags["ack-deadline"]),
        "messageRetentionDuration": flags["message-retention-duration"],
        "expirationPolicy": {} if flags["expiration-period"] == "never" else {"ttl": flags["expiration-period"]},
        "state": "ACTIVE",
        **labels(flags, cloud.things.get("subscription", {}).get(name)),
    }
    if "push-endpoint" in flags:
        identity = flags["push-auth-service-account"]
        known_member(cloud, f"serviceAccount:{identity}")
        dead = cloud.thing("topic", flags["dead-letter-topic"])["name"]
        subscription |= {
            "pushConfig": {
                "attributes": {"x-goog-version": "v1"},
                "pushEndpoint": flags["push-endpoint"],
                "oidcToken": {"serviceAccountEmail": identity, "audience": flags["push-auth-token-audience"]},
            },
            "retryPolicy": {"minimumBackoff": flags["min-retry-delay"], "maximumBackoff": flags["max-retry-delay"]},
            "deadLetterPolicy": {"deadLetterTopic": dead, "maxDeliveryAttempts": int(flags["max-delivery-attempts"])},
        }
    return cloud.put("subscription", name, subscription, new="topic" in flags)


HANDLERS: dict[str, Handler] = {
    "pubsub topics create": _make_topic,
    "pubsub topics update": _update_topic,
    "pubsub topics list": listed("topic"),
    "pubsub topics describe": describe("topic"),
    "pubsub topics delete": delete("topic"),
    "pubsub topics get-iam-policy": policy("topic"),
    "pubsub topics add-iam-policy-binding": bind("topic"),
    "pubsub topics remove-iam-policy-binding": unbind("topic", several=False),
    "pubsub subscriptions create": _put_subscription,
    "pubsub subscriptions update": _put_subscription,
    "pubsub subscriptions describe": describe("subscription"),
    "pubsub subscriptions delete": delete("subscription"),
    "pubsub subscriptions get-iam-policy": policy("subscription"),
    "pubsub subscriptions add-iam-policy-binding": bind("subscription"),
}
