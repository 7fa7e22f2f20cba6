"""Entries of the audit log, as public samples show them, with ours for the names that they hold."""

from __future__ import annotations

import json
from typing import Any

AT = "2026-11-24T09:00:00.916Z"
ADMIN = "admin.googleapis.com"
GROUPS = "cloudidentity.googleapis.com"
UPDATE = "google.apps.cloudidentity.groups.v1.MembershipsService.UpdateMembership"


def admin_entry(event: str, method: str = "", *, at: str = AT, **parameters: Any) -> dict[str, Any]:
    """Return an entry of the Admin log, after panther-labs' sample of addGroupMember (its event may be unnamed)."""
    told = [
        {"label": "LABEL_OPTIONAL", "value": value, "type": "TYPE_STRING", "name": name}
        for name, value in parameters.items()
    ]
    named = {"eventName": event} if event else {}
    return entry(
        ADMIN,
        method or "google.admin.AdminService.anything",
        {
            "@type": "type.googleapis.com/ccc_hosted_reporting.ActivityProto",
            "activityId": {"timeUsec": "1647987178916000", "uniqQualifier": "-8614641986436885296"},
            "event": [{**named, "eventType": "GROUP_SETTINGS", "parameter": told}],
        },
        at,
    )


def groups_entry(group: str, member: str, action: str = "ADD", role: str = "MEMBER", at: str = AT) -> dict[str, Any]:
    """Return an entry of Groups Enterprise, after salrashid123's sample of a time-limited membership."""
    return entry(
        GROUPS,
        UPDATE,
        {
            "@type": "type.googleapis.com/google.apps.cloudidentity.groups.v1.GroupAuditMetadata",
            "group": f"group:{group}",
            "membershipDelta": {"member": member, "roleDeltas": [{"action": action, "role": role}]},
        },
        at,
    )


def entry(service: str, method: str, metadata: Any, at: str = AT) -> dict[str, Any]:
    return {
        "logName": "organizations/123/logs/cloudaudit.googleapis.com%2Factivity",
        "severity": "NOTICE",
        "insertId": "285djodxlmu",
        "resource": {"type": "audited_resource", "labels": {"method": method, "service": service}},
        "timestamp": at,
        "receiveTimestamp": "2026-11-24T09:00:01.439766009Z",
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "serviceName": service,
            "methodName": method,
            "resourceName": "organizations/123/groupSettings",
            "authenticationInfo": {"principalEmail": "boss@example.com"},
            "requestMetadata": {"callerIp": "11.22.33.44", "requestAttributes": {}, "destinationAttributes": {}},
            "metadata": metadata,
        },
    }


def encoded(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry).encode()
