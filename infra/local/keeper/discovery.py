"""What the simulated endpoint says about itself: ServiceProviderConfig, ResourceTypes, Schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.local.keeper.accounts import CORE, ENTERPRISE, Refused
from infra.local.keeper.teams import GROUP

if TYPE_CHECKING:
    from infra.local.keeper.server import Settings
    from infra.local.keeper.teams import TeamRules

LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"


def provider_config(settings: Settings) -> dict[str, Any]:
    """Return ServiceProviderConfig (RFC 7643 section 5), with the current limits."""
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": True},
        "bulk": {
            "supported": settings.bulk,
            "maxOperations": settings.max_operations if settings.bulk else 0,
            "maxPayloadSize": settings.max_payload if settings.bulk else 0,
        },
        "filter": {"supported": True, "maxResults": settings.page_cap},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": False},
        "authenticationSchemes": [
            {"type": "oauthbearertoken", "name": "Bearer token", "description": "The node's provisioning token"}
        ],
    }


def describe(kind: str, rest: list[str], rules: TeamRules) -> dict[str, Any]:
    """Return ResourceTypes or Schemas, all or one."""
    items = _resource_types() if kind == "ResourceTypes" else _schemas(rules)
    if not rest:
        page = list(items.values())
        return {
            "schemas": [LIST],
            "totalResults": len(page),
            "startIndex": 1,
            "itemsPerPage": len(page),
            "Resources": page,
        }
    if rest[0] not in items:
        raise Refused(404, "Not Found")
    return items[rest[0]]


def _resource_types() -> dict[str, dict[str, Any]]:
    user = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": "User",
        "name": "User",
        "endpoint": "/Users",
        "description": "Keeper account",
        "schema": CORE,
        "schemaExtensions": [{"schema": ENTERPRISE, "required": False}],
        "meta": {"resourceType": "ResourceType", "location": "/ResourceTypes/User"},
    }
    group = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": "Group",
        "name": "Group",
        "endpoint": "/Groups",
        "description": "Keeper team, or role",
        "schema": GROUP,
        "meta": {"resourceType": "ResourceType", "location": "/ResourceTypes/Group"},
    }
    return {"User": user, "Group": group}


def _attribute(name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    base = {
        "name": name,
        "type": kind,
        "multiValued": False,
        "description": name,
        "required": False,
        "mutability": "readWrite",
        "returned": "default",
    }
    if kind == "string":
        base |= {"caseExact": False, "uniqueness": "none"}
    return base | more


def _schemas(rules: TeamRules) -> dict[str, dict[str, Any]]:
    name = [_attribute(part) for part in ("formatted", "familyName", "givenName", "middleName")]
    entry = [_attribute("value"), _attribute("type"), _attribute("primary", "boolean")]
    reference = [_attribute("value"), _attribute("display")]
    address = [_attribute(part) for part in ("formatted", "locality", "region", "country", "type")]
    user = [
        _attribute("userName", required=True, uniqueness="server"),
        _attribute("name", "complex", subAttributes=name),
        *[_attribute(plain) for plain in ("displayName", "nickName", "title", "userType", "locale", "timezone")],
        _attribute("active", "boolean"),
        _attribute("emails", "complex", multiValued=True, subAttributes=entry),
        _attribute("phoneNumbers", "complex", multiValued=True, subAttributes=entry),
        _attribute("addresses", "complex", multiValued=True, subAttributes=address),
        _attribute("groups", "complex", multiValued=True, mutability="readOnly", subAttributes=reference),  # RFC 7643
    ]
    enterprise = [
        _attribute(part) for part in ("employeeNumber", "costCenter", "organization", "division", "department")
    ]
    members = "readWrite" if rules.members_in_groups else "readOnly"
    group = [
        _attribute("displayName", required=True),
        _attribute("members", "complex", multiValued=True, mutability=members, subAttributes=reference),
    ]
    return {
        CORE: _schema(CORE, "User", user),
        ENTERPRISE: _schema(ENTERPRISE, "Enterprise User", enterprise),
        GROUP: _schema(GROUP, "Group", group),
    }


def _schema(urn: str, name: str, attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": urn,
        "name": name,
        "description": name,
        "attributes": attributes,
        "meta": {"resourceType": "Schema", "location": f"/Schemas/{urn}"},
    }
