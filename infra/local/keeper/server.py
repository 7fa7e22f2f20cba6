"""The simulated endpoint: routing, paging, filters, Bulk, throttling, faults and the control API.

The control API of teams, beside that of accounts, settings, faults and requests:

GET  /_control/teams                        every team and role with its members, those who wait under `queued`
PUT  /_control/teams                        has these instead; one without externalId was made by people
PUT  /_control/teams/<team>/members/<id>    makes an account a member, as the Admin Console does; DELETE takes it out
POST /_control/approve                      approves what is pending, or only the teams of {"teams": [...]}
POST /_control/accept                       everybody who was invited accepts, or only those of {"accounts": [...]}
POST /_control/invite                       those of {"accounts": [...]} were invited and have not accepted
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, deque
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import parse_qs, quote, unquote, unquote_plus

import msgspec

from infra.local.asgi import ConnectionLost, Fault, Faults, Receive, Reply, Scope, Send, read_body, respond
from infra.local.keeper import discovery, oddities
from infra.local.keeper.accounts import Node, Normalization, Refused
from infra.local.keeper.teams import TeamRules, Teams

MEDIA_TYPE = "application/scim+json"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
LOG_KEPT = 5000
PAGE = b"<!DOCTYPE html><title>Request blocked</title><p>The firewall has blocked this request."
RESOURCES = frozenset({"Users", "Groups", "Bulk", "ServiceProviderConfig", "ResourceTypes", "Schemas"})
IN_BULK = frozenset({"POST", "PUT", "PATCH", "DELETE"})  # RFC 7644 section 3.7
_FILTER = re.compile(r'\s*(?P<name>[\w.]+)\s+eq\s+(?P<value>"(?:[^"\\]|\\.)*")\s*\Z', re.IGNORECASE)


@dataclass(slots=True, kw_only=True)
class Settings:
    """What the control API can set."""

    token: str = ""
    latency_ms: float = 0.0
    per_operation_ms: float = 1.0
    bulk: bool = True
    bulk_responses: bool = False  # successes in Bulk show the account too
    max_operations: int = 1000
    max_payload: int = 1_048_576
    page_cap: int = 1000
    ignore_filter: bool = False
    repeat_first_page: bool = False
    short_pages: bool = False
    string_active: bool = False
    listed_after: float = 0.0  # seconds: until then listings and filters do not show a new account
    tell_created: bool = True  # whether meta.created is shown; what Keeper does is not known
    lower_case_resources: bool = False
    no_items_per_page: bool = False
    filter_status: int | None = None  # with which every filter is refused
    rate: float | None = None  # requests a second
    burst: int = 20
    throttle_style: str = "429"  # or "403"
    retry_after: int = 1


@dataclass(slots=True, kw_only=True)
class Traffic:
    """What came in."""

    by_method: Counter[str] = field(default_factory=Counter)
    by_path: Counter[str] = field(default_factory=Counter)
    now: int = 0
    most_at_once: int = 0
    log: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=LOG_KEPT))


class KeeperServer:
    """An ASGI app."""

    def __init__(self, prefix: str, settings: Settings, beside: KeeperServer | None = None) -> None:
        """Be a node of its own, or one of the same Keeper as another one."""
        self.prefix = prefix
        self.settings = settings
        self.node: Node = Node() if beside is None else beside.node.beside()
        self.teams: Teams = Teams(node=self.node, prefix=prefix, nodes=[] if beside is None else beside.teams.nodes)
        self.faults = Faults()
        self.traffic = Traffic()
        self._bucket = (float(settings.burst), time.monotonic())
        self._made: dict[str, float] = {}  # when accounts were created, on the monotonic clock

    def leave(self) -> None:
        """Stop being a node of this Keeper."""
        self.node.leave()
        self.teams.nodes.remove(self.teams)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = await read_body(receive)
        path: str = scope["raw_path"].decode()  # an id may hold a slash
        if path.startswith("/_control/"):
            await respond(send, self._control(scope["method"], path[len("/_control") :], body), "application/json")
            return
        self.traffic.now += 1
        self.traffic.most_at_once = max(self.traffic.most_at_once, self.traffic.now)
        try:
            reply = await self._answer(scope, path, body)
        finally:
            self.traffic.now -= 1
        await respond(send, reply, MEDIA_TYPE)

    async def _answer(self, scope: Scope, path: str, body: bytes) -> Reply:
        method = scope["method"]
        headers = dict(scope["headers"])
        query = scope["query_string"].decode()
        self._note(method, path, body)
        if self.settings.latency_ms:
            await asyncio.sleep(self.settings.latency_ms / 1000)
        fault = self.faults.pick(lambda match: _fits(match, method, path, query, body, headers))
        early = await self._before(fault)
        if early is None:
            early = self._refuse_early(headers, path)
        if early is None:
            if fault is not None and "only" in fault.effect:
                body = _cut(body, int(fault.effect["only"]))
            reply = await self._act(method, path[len(self.prefix) :], scope, body)
            if fault is not None:
                await self._after(fault, reply)
        else:
            reply = early
        return reply if fault is None else oddities.applied(fault.effect, reply, self.settings.token)

    def _note(self, method: str, path: str, body: bytes) -> None:
        traffic = self.traffic
        traffic.by_method[method] += 1
        resource = "/" + path[len(self.prefix) :].strip("/").split("/")[0]
        traffic.by_path[f"{method} {resource}"] += 1
        traffic.log.append(
            {"method": method, "path": path, "at": time.time(), "body": body[:2000].decode(errors="replace")}
        )

    async def _before(self, fault: Fault | None) -> Reply | None:
        """Carry out what a fault does instead of the request, or before it."""
        if fault is None:
            return None
        effect = fault.effect
        if effect.get("delay"):
            await asyncio.sleep(effect["delay"])
        if effect.get("hang"):
            await fault.hold(None)
        if effect.get("drop_before"):
            raise ConnectionLost
        if "page" in effect:
            return Reply(status=effect["page"], body=PAGE, headers={"content-type": "text/html"})
        if "status" in effect:
            headers = {"Retry-After": str(effect["retry_after"])} if "retry_after" in effect else {}
            headers |= effect.get("headers", {})
            text = effect.get("body", _error(effect["status"], "Injected fault"))
            return Reply(status=effect["status"], body=text, headers=headers)
        return None

    async def _after(self, fault: Fault, reply: Reply) -> None:
        """Carry out what a fault does once the request took effect."""
        effect = fault.effect
        if effect.get("drop_after"):
            raise ConnectionLost
        if effect.get("hold_after"):
            seconds = effect["hold_after"]
            await fault.hold(None if seconds is True else float(seconds))
        if "show" in effect and isinstance(reply.body, dict):
            reply.body = _showing(reply.body, effect["show"])
        if isinstance(reply.body, dict) and "Operations" in reply.body:
            self._falsify(effect, reply.body["Operations"])
        if effect.get("truncate"):
            reply.body = reply.content()[: int(effect["truncate"])]
        if "status_after" in effect:
            error = _error(effect["status_after"], "Injected fault")
            reply.status, reply.body = effect["status_after"], effect.get("body_after", error)
        if "page_after" in effect:
            reply.status, reply.body = effect["page_after"], PAGE
            reply.headers["content-type"] = "text/html"

    def _falsify(self, effect: dict[str, Any], results: list[dict[str, Any]]) -> None:
        """Change the results of a Bulk request."""
        for result in results:
            if "results_after" in effect:
                result["status"] = str(effect["results_after"])
            if "result_shows" in effect and isinstance(result.get("response"), dict):
                result["response"] = _showing(result["response"], effect["result_shows"])
            result.update(effect.get("result", {}))
        if "lose_results" in effect:
            del results[max(0, len(results) - int(effect["lose_results"])) :]
        if "unnamed" in effect:
            for result in results:
                result.pop("bulkId", None)
        if effect.get("reverse"):
            results.reverse()
        results += [
            {**result, "status": str(effect["second_result"])} for result in results if "second_result" in effect
        ]

    def _refuse_early(self, headers: dict[bytes, bytes], path: str) -> Reply | None:
        if headers.get(b"authorization", b"").decode() != f"Bearer {self.settings.token}":
            return Reply(status=401, body=_error(401, "Authorization failure"))
        if not path.startswith(self.prefix):
            return Reply(status=404, body=_error(404, "No such node"))
        if self.settings.rate is not None and not self._has_room(self.settings.rate):
            if self.settings.throttle_style == "403":
                text = f"Too many requests. Try again in {self.settings.retry_after} seconds"
                return Reply(status=403, body={"error": "throttled", "message": text})
            return Reply(
                status=429,
                body=_error(429, "Too many requests"),
                headers={"Retry-After": str(self.settings.retry_after)},
            )
        return None

    def _has_room(self, rate: float) -> bool:
        tokens, since = self._bucket
        now = time.monotonic()
        tokens = min(float(self.settings.burst), tokens + (now - since) * rate)
        self._bucket = (tokens - 1 if tokens >= 1 else tokens, now)
        return tokens >= 1

    async def _act(self, method: str, path: str, scope: Scope, body: bytes) -> Reply:
        try:
            if path == "/Bulk":
                return await self._bulk(method, body)
            return self._route(method, path, scope["query_string"].decode(), body)
        except Refused as refused:
            return Reply(status=refused.status, body=_error(refused.status, str(refused), refused.scim_type))

    def _route(self, method: str, path: str, query: str, body: bytes) -> Reply:
        parts = path.strip("/").split("/")
        match method, parts:
            case "POST", [*_, ".search"]:
                raise Refused(501, "Searching with POST is not supported")
            case "GET", ["Users"]:
                return Reply(status=200, body=self._list(query))
            case "POST", ["Users"]:
                resource = _json(body)
                joins = self.teams.first_ones(resource)
                created = self.node.create(resource)
                self.teams.carry_out(created["id"], joins)
                self._made[created["id"]] = time.monotonic()
                return self._shown(201, created)
            case _, ["Users", scim_id]:
                return self._one(method, unquote(scim_id), body)
            case "GET", ["Groups"]:
                return Reply(status=200, body=self._list_groups(parse_qs(query)))
            case "POST", ["Groups"]:
                return self._shown_group(201, self.teams.create(_json(body)).id)
            case _, ["Groups", team_id]:
                return self._one_group(method, unquote(team_id), parse_qs(query), body)
            case "GET", ["ServiceProviderConfig"]:
                return Reply(status=200, body=discovery.provider_config(self.settings))
            case "GET", ["ResourceTypes" | "Schemas" as kind, *rest]:
                return Reply(status=200, body=discovery.describe(kind, rest, self.teams.rules))
        if parts[0] in RESOURCES and (len(parts) == 1 or (len(parts) == 2 and method != "GET")):
            raise Refused(405, "Method not allowed")
        raise Refused(404, "Not Found")

    def _one(self, method: str, scim_id: str, body: bytes) -> Reply:
        match method:
            case "GET":
                return self._shown(200, self.node.get(scim_id))
            case "PUT":
                return self._shown(200, self.node.replace(scim_id, _json(body)))
            case "PATCH":
                request = _json(body)
                account = self.node.get(scim_id)
                changes, others = self.teams.changes(request)
                if others:
                    account = self.node.patch(scim_id, {**request, "Operations": others})
                self.teams.carry_out(scim_id, changes)
                return self._shown(200, account)
            case "DELETE":
                self.node.lock(scim_id)
                return Reply(status=204)
        raise Refused(405, "Method not allowed")

    def _one_group(self, method: str, team_id: str, asked: dict[str, list[str]], body: bytes) -> Reply:
        match method:
            case "GET":
                return self._shown_group(200, team_id, members=_with_members(asked))
            case "PATCH":
                self.teams.patch(team_id, _json(body))
                return self._shown_group(200, team_id)
            case "DELETE":
                self.teams.delete(team_id)
                return Reply(status=204)
        raise Refused(405, "Method not allowed")

    def _shown_group(self, status: int, team_id: str, *, members: bool = True) -> Reply:
        location = f"{self.prefix}/Groups/{team_id}"
        shown = self.teams.show(self.teams.get(team_id), members=members)
        return Reply(status=status, body=shown, headers={"Location": location})

    def _shown(self, status: int, account: dict[str, Any]) -> Reply:
        location = f"{self.prefix}/Users/{quote(account['id'], safe='')}"
        return Reply(status=status, body=self._show(account), headers={"Location": location})

    def _show(self, account: dict[str, Any]) -> dict[str, Any]:
        shown = {**account, "groups": self.teams.groups_of(account["id"])}
        if not self.settings.tell_created:
            meta = {name: value for name, value in account["meta"].items() if name != "created"}
            shown = {**shown, "meta": meta}
        if self.settings.string_active:
            shown = {**shown, "active": str(account.get("active", "")).lower()}
        return shown

    def _list(self, query: str) -> dict[str, Any]:
        asked = parse_qs(query)
        found = self._filtered(asked.get("filter", [""])[0])
        if self.settings.listed_after:
            latest = time.monotonic() - self.settings.listed_after
            found = [account for account in found if self._made.get(account["id"], latest) <= latest]
        start, stop = self._page(asked)
        return self._listed([self._show(account) for account in found[start - 1 : stop]], len(found), start)

    def _list_groups(self, asked: dict[str, list[str]]) -> dict[str, Any]:
        if "filter" in asked and not self.settings.ignore_filter:
            raise Refused(400, "Groups cannot be filtered", "invalidFilter")  # no page of Keeper's shows such a filter
        found, members = self.teams.listed(), _with_members(asked)
        start, stop = self._page(asked)
        page = [self.teams.show(team, members=members) for team in found[start - 1 : stop]]
        return self._listed(page, len(found), start)

    def _page(self, asked: dict[str, list[str]]) -> tuple[int, int]:
        """Return the numbers, from 1 on, of the first one and of the last one that a page may have."""
        start = max(1, _number(asked, "startIndex", 1))
        if self.settings.repeat_first_page:
            start = 1
        count = min(max(0, _number(asked, "count", self.settings.page_cap)), self.settings.page_cap)
        if self.settings.short_pages and count > 1:
            count -= count // 3
        return start, start - 1 + count

    def _listed(self, page: list[dict[str, Any]], found: int, start: int) -> dict[str, Any]:
        listing = _listing(page, found, start)
        if self.settings.lower_case_resources:
            listing["resources"] = listing.pop("Resources")
        if self.settings.no_items_per_page:
            del listing["itemsPerPage"]
        return listing

    def _filtered(self, text: str) -> list[dict[str, Any]]:
        if not text or self.settings.ignore_filter:
            return list(self.node.accounts.values())
        if self.settings.filter_status is not None:
            raise Refused(self.settings.filter_status, "Filters are not supported")
        match = _FILTER.match(text)
        if match is None:
            raise Refused(400, "The filter is not supported", "invalidFilter")
        try:
            value = msgspec.json.decode(match["value"])
        except msgspec.DecodeError:
            raise Refused(400, "The filter's value is not a JSON string", "invalidFilter") from None
        name = match["name"].lower()
        if name == "username":
            return self.node.by_name(value)
        key = {"externalid": "externalId", "id": "id", "displayname": "displayName"}.get(name)
        if key is None:
            raise Refused(400, f"Filtering by {match['name']} is not supported", "invalidFilter")
        if key == "id":
            return [self.node.accounts[value]] if value in self.node.accounts else []
        return [account for account in self.node.accounts.values() if account.get(key) == value]

    async def _bulk(self, method: str, body: bytes) -> Reply:
        if not self.settings.bulk:
            raise Refused(501, "Bulk is not supported")
        if method != "POST":
            raise Refused(405, "Method not allowed")
        request = _json(body)
        operations = request.get("Operations")
        if not isinstance(operations, list) or not all(isinstance(item, dict) for item in operations):
            raise Refused(400, "Operations must be an array of objects", "invalidSyntax")
        if any(str(item.get("method", "")).upper() not in IN_BULK for item in operations):
            raise Refused(400, "An operation's method must be POST, PUT, PATCH or DELETE", "invalidSyntax")
        if len(operations) > self.settings.max_operations or len(body) > self.settings.max_payload:
            raise Refused(413, "The size of the bulk operation exceeds maxOperations or maxPayloadSize")
        if _refers_in_a_circle(operations):
            raise Refused(409, "Circular bulk references are not supported")
        if self.settings.per_operation_ms:
            await asyncio.sleep(len(operations) * self.settings.per_operation_ms / 1000)
        results: list[dict[str, Any]] = []
        errors = 0
        for operation in operations:
            result = self._operation(operation)
            results.append(result)
            errors += int(result["status"]) >= 400
            if errors and errors >= int(request.get("failOnErrors") or 10**9):
                break
        return Reply(status=200, body={"schemas": [BULK], "Operations": results})

    def _operation(self, operation: dict[str, Any]) -> dict[str, Any]:
        method = str(operation.get("method", "")).upper()
        result: dict[str, Any] = {"method": method}
        if "bulkId" in operation:
            result["bulkId"] = operation["bulkId"]
        try:
            data = msgspec.json.encode(operation.get("data", {}))
            reply = self._route(method, str(operation.get("path", "")), "", data)
        except Refused as refused:
            error = _error(refused.status, str(refused), refused.scim_type)
            return result | {"status": str(refused.status), "response": error}
        result["status"] = str(reply.status)
        if "Location" in reply.headers:
            result["location"] = reply.headers["Location"]
        if self.settings.bulk_responses and reply.body is not None:
            result["response"] = reply.body
        return result

    def _control(self, method: str, path: str, body: bytes) -> Reply:
        told = msgspec.json.decode(body) if body else {}
        resource, *rest = path.strip("/").split("/")
        match resource:
            case "accounts":
                return self._control_accounts(method, rest, told)
            case "faults":
                return self._control_faults(method, rest, told)
            case "recreate":
                return Reply(status=200, body={"id": self.node.recreate(rest[0])})
            case "settings":
                self._set(told)
                return Reply(status=204)
            case "teams":
                return self._control_teams(method, rest, told)
            case "approve":
                self.teams.approve((told or {}).get("teams", ()))
                return Reply(status=204)
            case "accept":
                self.node.invited -= set((told or {}).get("accounts", self.node.accounts))
                return Reply(status=204)
            case "invite":
                self.node.invited |= set(told["accounts"])
                return Reply(status=204)
            case "requests" if method == "DELETE":
                self.traffic = Traffic(now=self.traffic.now)
                return Reply(status=204)
            case "requests":
                return Reply(status=200, body=self._seen())
        return Reply(status=404, body={"error": f"no control {method} {path}"})

    def _control_accounts(self, method: str, rest: list[str], told: Any) -> Reply:
        if method == "GET":
            return Reply(status=200, body=list(self.node.accounts.values()))
        if method == "PUT":
            self._seed(told)
        elif method == "PATCH":
            account = self.node.get(rest[0]) | told
            self.node.remove(rest[0])
            self.node.store(rest[0], account)
        else:
            self.node.remove(rest[0])
        return Reply(status=204)

    def _control_teams(self, method: str, rest: list[str], told: Any) -> Reply:
        match method, rest:
            case "GET", []:
                return Reply(status=200, body=[team.record() for team in self.teams.teams.values()])
            case "PUT", []:
                self.teams.seed(told)
            case "PUT", [team_id, "members", scim_id]:
                self.teams.put_in(team_id, scim_id)
            case "DELETE", [team_id, "members", scim_id]:
                self.teams.take_out(team_id, scim_id)
        return Reply(status=204)

    def _control_faults(self, method: str, rest: list[str], told: Any) -> Reply:
        if method == "POST" and not rest:
            return Reply(status=200, body={"id": self.faults.add(told).id})
        fault = self.faults.get(rest[0]) if rest else None
        if method == "GET":
            return Reply(status=200, body={"matched": fault.matched if fault else 0})
        if method == "DELETE":
            self.faults.clear(rest[0] if rest else None)
        elif fault is not None:
            fault.released.set()
        return Reply(status=204)

    def _seed(self, accounts: list[dict[str, Any]]) -> None:
        node = self.node
        fresh = Node(
            seats=node.seats,
            reserved_domains=node.reserved_domains,
            taken_addresses=node.taken_addresses,
            normalization=node.normalization,
        )
        if len(node.nodes) > 1:
            fresh.ids = node.ids
        for account in accounts:
            scim_id = account.get("id")
            created = fresh.create({key: value for key, value in account.items() if key != "id"})
            created["meta"] |= account.get("meta", {})
            if scim_id:
                fresh.remove(created["id"])
                fresh.store(str(scim_id), created)
        self.node.refill(fresh)

    def _set(self, told: dict[str, Any]) -> None:
        known = {item.name for item in fields(Settings)}
        for name, value in told.items():
            if name == "seats":
                self.node.seats = value
            elif name == "reserved_domains":
                self.node.reserved_domains = value
            elif name == "taken_addresses":
                self.node.taken_addresses = {address.casefold() for address in value}
            elif name == "normalization":
                self.node.normalization = Normalization(**value)
            elif name == "teams":
                self.teams.rules = TeamRules(**value)
            elif name in known:
                setattr(self.settings, name, value)
        self._bucket = (float(self.settings.burst), time.monotonic())

    def _seen(self) -> dict[str, Any]:
        return {
            "methods": dict(self.traffic.by_method),
            "paths": dict(self.traffic.by_path),
            "total": sum(self.traffic.by_method.values()),
            "now": self.traffic.now,
            "most_at_once": self.traffic.most_at_once,
            "log": list(self.traffic.log),
        }


def _fits(match: dict[str, Any], method: str, path: str, query: str, body: bytes, headers: dict[bytes, bytes]) -> bool:
    if "method" in match and not re.fullmatch(match["method"], method):
        return False
    if "path" in match and not re.search(match["path"], path):
        return False
    if "query" in match and not re.search(match["query"], unquote_plus(query)):
        return False
    if "body" in match and match["body"].encode() not in body:
        return False
    token = match.get("token")
    return token is None or headers.get(b"authorization", b"") == f"Bearer {token}".encode()


def _refers_in_a_circle(operations: list[dict[str, Any]]) -> bool:
    """Two operations that each refer to the other's bulkId (RFC 7644 3.7.1)."""
    refers = {
        str(item.get("bulkId")): set(re.findall(r"bulkId:([\w-]+)", msgspec.json.encode(item.get("data", {})).decode()))
        for item in operations
        if item.get("bulkId")
    }
    return any(key in refers.get(other, ()) for key, others in refers.items() for other in others)


def _listing(page: list[dict[str, Any]], found: int, start: int) -> dict[str, Any]:
    return {
        "schemas": [LIST],
        "totalResults": found,
        "startIndex": start,
        "itemsPerPage": len(page),
        "Resources": page,
    }


def _cut(body: bytes, operations: int) -> bytes:
    """Return a Bulk request with so many of its operations: the others are never carried out."""
    request = _json(body)
    return msgspec.json.encode({**request, "Operations": request["Operations"][:operations]})


def _showing(account: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """Return an account with other attributes than it has; without those that are None."""
    return {name: value for name, value in {**account, **told}.items() if value is not None}


def _error(status: int, detail: str, scim_type: str = "") -> dict[str, Any]:
    error: dict[str, Any] = {"schemas": [ERROR], "status": str(status), "detail": detail}
    return error | ({"scimType": scim_type} if scim_type else {})


def _json(body: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise Refused(400, "The body is not JSON", "invalidSyntax") from None
    if not isinstance(decoded, dict):
        raise Refused(400, "The body must be an object", "invalidSyntax")
    return decoded


def _with_members(asked: dict[str, list[str]]) -> bool:
    """Say whether the members of groups are asked for: excludedAttributes knows `members` only (docs.keeper.io)."""
    return "members" not in asked.get("excludedAttributes", [""])[0].split(",")


def _number(asked: dict[str, list[str]], name: str, default: int) -> int:
    try:
        return int(asked.get(name, [str(default)])[0])
    except ValueError:
        raise Refused(400, f"{name} must be a number", "invalidValue") from None
