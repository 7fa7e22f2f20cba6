"""The simulated API: routing, paging, masks, error bodies, faults, stale reads and the control API."""

from __future__ import annotations

import asyncio
import copy
import gzip
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import fields
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from infra.local.asgi import ConnectionLost, Fault, Faults, Receive, Reply, Scope, Send, read_body, respond
from infra.local.directory.audit_log import Lag, LogSink, admin_event, member_changed, user_changed, user_event
from infra.local.directory.customer import Customer, Refused, not_found
from infra.local.directory.effects import Endless, altered, reply_of
from infra.local.directory.masks import SHAPES, check, compiled, select
from infra.local.directory.notifications import Notifier, Weather

BASE = "/admin/directory/v1/"
STOP = "/admin/directory_v1/channels/stop"
MEDIA_TYPE = "application/json; charset=UTF-8"
GZIP_FROM = 1400  # bytes
LOG_KEPT = 2000
Params = dict[str, str]


class DirectoryServer:
    """An ASGI app."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.customer = Customer(state)
        self.notifier = Notifier()
        self.sink = LogSink()
        self.faults = Faults()
        self.tokens: list[str] = []
        self._stale: Customer | None = None
        self._counts: Counter[str] = Counter()
        self._log: deque[dict[str, Any]] = deque(maxlen=LOG_KEPT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = await read_body(receive)
        path: str = scope["path"]
        if path.startswith("/_control/"):
            reply = self._control(scope["method"], path[len("/_control/") :].strip("/").split("/"), body)
            await respond(send, reply, MEDIA_TYPE)
            return
        params = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        try:
            reply = await self._answer(scope["method"], path, params, headers, body)
        except Endless as endless:
            await endless.send(send, MEDIA_TYPE)
            return
        except Refused as refused:
            reply = Reply(status=refused.status, body=_error(refused))
        _compress(reply, headers)
        await respond(send, reply, MEDIA_TYPE)

    async def _answer(self, verb: str, path: str, params: Params, headers: Params, body: bytes) -> Reply:
        if self.tokens and headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            raise Refused(401, "authError", "Invalid Credentials")
        method, keys = _method(verb, path)
        self._counts[method] += 1
        self._log.append({"method": method, "path": path})
        page = _start(params)
        deleted = params.get("showDeleted") == "true"
        query = params.get("query", "")
        fault = self.faults.pick(lambda match: _fits(match, method, keys, page, deleted=deleted, query=query))
        if fault is not None:
            reply = await self._faulty(fault, method)
            if reply is not None:
                return reply
        mask = compiled(params["fields"]) if "fields" in params else {}
        check(mask, SHAPES.get(method))
        result = self._act(method, keys, params, _object(body))
        if fault is not None and fault.effect.get("drop_after"):
            raise ConnectionLost
        if fault is not None:
            result = altered(fault, result)
        if isinstance(result, dict):
            result = select(result, mask)
        return Reply(status=204) if result is None else Reply(status=200, body=result)

    async def _faulty(self, fault: Fault, method: str) -> Reply | None:
        effect = fault.effect
        if effect.get("delay"):
            await asyncio.sleep(effect["delay"])
        if effect.get("hang"):
            await fault.hold(None)
        if effect.get("drop"):
            raise ConnectionLost
        if effect.get("empty"):
            return Reply(
                status=200, body={"kind": f"admin#directory#{method.split('.', maxsplit=1)[0]}", "etag": '"empty"'}
            )
        reason = effect.get("reason", "backendError")
        status, message, domain = (
            effect.get("status", 200),
            effect.get("message", reason),
            effect.get("domain", "global"),
        )
        return reply_of(fault, _error(Refused(status, reason, message, domain)))

    def _reading(self) -> Customer:
        return self._stale or self.customer

    def _act(self, method: str, keys: list[str], params: Params, told: dict[str, Any]) -> Any:
        resource, _, verb = method.partition(".")
        return getattr(self, f"_{resource}")(verb, keys, params, told)

    def _users(self, verb: str, keys: list[str], params: Params, told: dict[str, Any]) -> Any:
        customer = self.customer
        match verb:
            case "list":
                return self._list_users(params)
            case "get":
                return _projection(params)(self._reading().shown(keys[0]))
            case "insert":
                user = customer.insert(told)
                self.sink.write(user_event("CREATE_USER", user["primaryEmail"]))
                return self._tell("add", user)
            case "patch" | "update":
                before = customer.user(keys[0])
                user = customer.update(keys[0], told)
                self.sink.write(*user_changed(before, user))
                was_admin = before.get("isAdmin", False)
                return self._tell("makeAdmin" if user.get("isAdmin", False) != was_admin else "update", user)
            case "delete":
                user = self._tell("delete", customer.delete(keys[0]))
                self.sink.write(user_event("DELETE_USER", user["primaryEmail"]))
                return None
            case "undelete":
                user = self._tell("undelete", customer.undelete(keys[0], told.get("orgUnitPath", "/")))
                self.sink.write(user_event("UNDELETE_USER", user["primaryEmail"]))
                return None
            case "watch":
                _customer_or_domain(params)
                return self.notifier.watch(params.get("event", ""), told)
        raise not_found("method")

    def _aliases(self, verb: str, keys: list[str], _params: Params, told: dict[str, Any]) -> Any:
        address = told.get("alias", "") if verb == "insert" else keys[1]
        self.customer.alias(keys[0], address, add=verb == "insert")
        self._tell("update", self.customer.user(keys[0]))
        return {"kind": "admin#directory#alias", "alias": address} if verb == "insert" else None

    def _groups(self, verb: str, keys: list[str], params: Params, told: dict[str, Any]) -> Any:
        match verb:
            case "get":
                return _as_group(self._reading(), self._reading().group(keys[0]))
            case "list":
                return self._list_groups(params)
            case "insert":
                return _as_group(self.customer, self.customer.add_group(told))
            case "patch" | "update":
                group = self.customer.group(keys[0])
                group |= {name: value for name, value in told.items() if name != "id"}
                return _as_group(self.customer, group)
            case "delete":
                group = self.customer.group(keys[0])
                self.customer.delete_group(keys[0])
                self.sink.write(admin_event("GROUP_SETTINGS", "DELETE_GROUP", GROUP_EMAIL=group["email"]))
                return None
        raise not_found("method")

    def _members(self, verb: str, keys: list[str], params: Params, told: dict[str, Any]) -> Any:
        match verb:
            case "list":
                derived = params.get("includeDerivedMembership") == "true"
                found = self._reading().members_of(keys[0], derived=derived)
                if "roles" in params:
                    found = [member for member in found if member.get("role") in params["roles"].split(",")]
                listing = _page(found, params, "members", most=200, default=200)
                if "members" in listing:
                    listing["members"] = [{"kind": "admin#directory#member", **each} for each in listing["members"]]
                return listing
            case "hasMember":
                return {"isMember": self._has_member(keys[0], keys[1])}
            case "insert":
                member = self.customer.add_member(keys[0], told)
                self.sink.write(*member_changed(self.customer.group(keys[0])["email"], member, removed=False))
                return {"kind": "admin#directory#member", **member}
            case "delete":
                member = self.customer.remove_member(keys[0], keys[1])
                self.sink.write(*member_changed(self.customer.group(keys[0])["email"], member, removed=True))
                return None
        raise not_found("method")

    def _orgunits(self, verb: str, keys: list[str], params: Params, told: dict[str, Any]) -> Any:
        match verb:
            case "list":
                if params.get("type") != "all":
                    raise Refused(400, "invalid", "This simulator lists all organizational units only: type=all")
                shown = self._reading().org_units()
                return {"kind": "admin#directory#orgUnits"} | ({"organizationUnits": shown} if shown else {})
            case "get":
                return self._reading().unit(keys[0])
            case "insert":
                return self.customer.add_unit(told)
            case "patch" | "update":
                return self.customer.change_unit(keys[0], told)  # nobody is notified: no user was changed
            case "delete":
                self.customer.delete_unit(keys[0])
                return None
        raise not_found("method")

    def _channels(self, _verb: str, _keys: list[str], _params: Params, told: dict[str, Any]) -> Any:
        self.notifier.stop(str(told.get("id", "")), str(told.get("resourceId", "")))

    def _has_member(self, group_key: str, member_key: str) -> bool:
        reading = self._reading()
        members = reading.members_of(group_key, derived=True)
        try:
            user_id = reading.user(member_key)["id"]
        except Refused:
            raise Refused(400, "invalid", "Invalid Input: memberKey") from None
        return any(member["id"] == user_id for member in members)

    def _list_users(self, params: Params) -> dict[str, Any]:
        _customer_or_domain(params)
        deleted = params.get("showDeleted") == "true"
        reading = self._reading()
        found = reading.listed(params.get("query", ""), deleted=deleted, domain=params.get("domain", ""))
        if "orderBy" in params:
            descending = params.get("sortOrder") == "DESCENDING"
            found = sorted(found, key=_order(params["orderBy"]), reverse=descending)
        listing = _page(found, params, "users", most=500, default=100)
        projected = _projection(params)
        if "users" in listing:
            listing["users"] = [projected(user) for user in listing["users"]]
        return listing

    def _list_groups(self, params: Params) -> dict[str, Any]:
        reading = self._reading()
        if "userKey" in params:
            found = reading.groups_of(params["userKey"])
        else:
            _customer_or_domain(params)
            found = list(reading.groups.values())
        field, _, value = params.get("query", "").partition("=")
        if value:
            wanted = value.strip("'\"").casefold()
            found = [group for group in found if str(group.get(field.strip(), "")).casefold() == wanted]
        elif ":" in field:
            name, _, prefix = field.partition(":")
            wanted = prefix.strip("'\"").rstrip("*").casefold()
            found = [group for group in found if str(group.get(name.strip(), "")).casefold().startswith(wanted)]
        shown = [_as_group(reading, group) for group in found]
        return _page(shown, params, "groups", most=200, default=200)

    def _tell(self, event: str, user: dict[str, Any]) -> dict[str, Any]:
        self.notifier.changed(event, user)
        return user

    def _control(self, verb: str, path: list[str], body: bytes) -> Reply:
        told = msgspec.json.decode(body) if body else {}
        match verb, path:
            case "GET", ["state"]:
                return Reply(status=200, body=self.customer.state())
            case "PUT", ["state"]:
                self.customer = Customer(told)
            case "GET", ["accounts", address]:
                return self._account(address)
            case "POST", ["faults"]:
                return Reply(status=200, body={"id": self.faults.add(told).id})
            case "GET", ["faults", number]:
                fault = self.faults.get(number)
                return Reply(status=200, body={"matched": fault.matched if fault else 0})
            case "DELETE", ["faults", *number]:
                self.faults.clear(number[0] if number else None)
            case "POST", ["notifications"]:
                self._set_weather(told)
            case "POST", ["stale"]:
                self._stale = copy.deepcopy(self.customer) if told.get("on", True) else None
            case "GET", ["requests"]:
                counts = dict(self._counts)
                return Reply(
                    status=200, body={"methods": counts, "total": sum(counts.values()), "log": list(self._log)}
                )
            case "DELETE", ["requests"]:
                self._counts.clear()
                self._log.clear()
            case _:
                return self._control_channels(verb, path, told)
        return Reply(status=204)

    def _account(self, address: str) -> Reply:
        """Return the id of the Google account with this address, for the sign-in; faults do not affect it."""
        try:
            return Reply(status=200, body={"id": self.customer.user(address)["id"]})
        except Refused:
            return Reply(status=404, body={"error": "there is no such account in this customer"})

    def _control_channels(self, verb: str, path: list[str], told: dict[str, Any]) -> Reply:
        match verb, path:
            case "GET", ["channels"]:
                channels = self.notifier.channels.values()
                shown = [{"id": item.id, "event": item.event, "expires": item.expires} for item in channels]
                counts = {"delivered": self.notifier.delivered, "dropped": self.notifier.dropped}
                return Reply(status=200, body={"channels": shown, **counts})
            case "DELETE", ["channels", channel_id]:
                self.notifier.channels.pop(channel_id, None)
            case "POST", ["entries"]:
                self._set_lag(told)
            case "GET", ["entries"]:
                return Reply(status=200, body={"published": self.sink.published, "lost": self.sink.lost})
            case "PUT", ["tokens"]:
                self.tokens = told.get("tokens", [])
            case _:
                return Reply(status=404, body={"error": f"no control {verb} {'/'.join(path)}"})
        return Reply(status=204)

    def _set_lag(self, told: dict[str, Any]) -> None:
        """Set what happens to entries of the audit log, and with `topic`, the address it is published at."""
        self.sink.url = told.get("topic", self.sink.url)
        for each in fields(Lag):
            setattr(self.sink.lag, each.name, told.get(each.name, getattr(self.sink.lag, each.name)))
        if told.get("release"):
            self.sink.release()

    def _set_weather(self, told: dict[str, Any]) -> None:
        known = {item.name for item in fields(Weather)}
        for name, value in told.items():
            if name in known:
                setattr(self.notifier.weather, name, value)
        if told.get("release"):
            self.notifier.release()


SINGLE = {"GET": "get", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}  # verbs on one resource


def _method(verb: str, path: str) -> tuple[str, list[str]]:
    """Name the API method of a request, and its keys."""
    if path == STOP and verb == "POST":
        return "channels.stop", []
    if not path.startswith(BASE):
        raise not_found("path")
    parts = [unquote(part) for part in path[len(BASE) :].split("/")]
    match parts:
        case ["customer", _, "orgunits"] if verb in ("GET", "POST"):
            return f"orgunits.{'list' if verb == 'GET' else 'insert'}", []
        case ["customer", _, "orgunits", *below] if verb in SINGLE:
            return f"orgunits.{SINGLE[verb]}", ["/".join(below)]
        case ["users", "watch"] if verb == "POST":
            return "users.watch", []
        case ["users" | "groups" as resource] if verb in ("GET", "POST"):
            return f"{resource}.{'list' if verb == 'GET' else 'insert'}", []
        case ["users" | "groups" as resource, key] if verb in SINGLE:
            return f"{resource}.{SINGLE[verb]}", [key]
        case ["users", key, *below]:
            return _below_user(verb, key, below)
        case ["groups", key, *below]:
            return _below_group(verb, key, below)
    raise not_found("path")


def _below_user(verb: str, key: str, below: list[str]) -> tuple[str, list[str]]:
    match below:
        case ["undelete"] if verb == "POST":
            return "users.undelete", [key]
        case ["aliases"] if verb == "POST":
            return "aliases.insert", [key]
        case ["aliases", alias] if verb == "DELETE":
            return "aliases.delete", [key, alias]
    raise not_found("path")


def _below_group(verb: str, key: str, below: list[str]) -> tuple[str, list[str]]:
    match below:
        case ["members"] if verb in ("GET", "POST"):
            return f"members.{'list' if verb == 'GET' else 'insert'}", [key]
        case ["members", member] if verb == "DELETE":
            return "members.delete", [key, member]
        case ["hasMember", member] if verb == "GET":
            return "members.hasMember", [key, member]
    raise not_found("path")


def _fits(match: dict[str, Any], method: str, keys: list[str], page: int, *, deleted: bool, query: str) -> bool:
    if "method" in match and match["method"] != method:
        return False
    if match.get("deleted", deleted) != deleted:  # the listing of deleted users, or any other request
        return False
    if match.get("query", query) != query:
        return False
    if "key" in match and match["key"] not in keys:
        return False
    return page >= int(match.get("from_page", 0))


def _customer_or_domain(params: Params) -> None:
    if not params.get("customer") and not params.get("domain"):
        raise Refused(400, "badRequest", "Bad Request")


def _page(found: list[Any], params: Params, key: str, *, most: int, default: int) -> dict[str, Any]:
    """Cut a page; a page token is `p` and the page's number of items before it."""
    start = _start(params)
    try:
        size = int(params.get("maxResults", default))
    except ValueError:
        raise Refused(400, "invalidParameter", "Invalid value for maxResults") from None
    if not 1 <= size <= most:
        raise Refused(400, "invalidParameter", f"Invalid value '{size}'. Values must be within the range: [1, {most}]")
    listing: dict[str, Any] = {"kind": f"admin#directory#{key}", "etag": f'"{key}-{start}"'}
    page = found[start : start + size]
    if page:
        listing[key] = page
    if start + size < len(found):
        listing["nextPageToken"] = f"p{start + size}"
    return listing


def _start(params: Params) -> int:
    """Return how many items come before the page that is asked for."""
    try:
        return int(params.get("pageToken", "p0").removeprefix("p"))
    except ValueError:
        raise Refused(400, "invalid", "Invalid Input: pageToken") from None


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any]) if body else {}
    except msgspec.MsgspecError:
        raise Refused(400, "parseError", "Parse Error") from None


def _order(field: str) -> Callable[[dict[str, Any]], str]:
    """Return the sort key of `orderBy`."""
    if field == "email":
        return lambda user: str(user["primaryEmail"]).casefold()
    if field in ("familyName", "givenName"):
        return lambda user: str(user.get("name", {}).get(field, "")).casefold()
    raise Refused(400, "invalidParameter", f"Invalid value '{field}' for orderBy")


def _projection(params: Params) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what `projection` leaves of a user: custom schemas none, all, or those of customFieldMask."""
    projection = params.get("projection", "basic")
    if projection == "full":
        return lambda user: user
    if projection not in ("basic", "custom"):
        raise Refused(400, "invalidParameter", f"Invalid value '{projection}' for projection")
    if projection == "custom" and not params.get("customFieldMask"):
        raise Refused(400, "required", "Required parameter: customFieldMask")
    wanted = set(params["customFieldMask"].split(",")) if projection == "custom" else set()

    def projected(user: dict[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in user.items() if name != "customSchemas"}
        schemas = {name: value for name, value in user.get("customSchemas", {}).items() if name in wanted}
        return kept | ({"customSchemas": schemas} if schemas else {})

    return projected


def _as_group(customer: Customer, group: dict[str, Any]) -> dict[str, Any]:
    count = str(len(customer.members.get(group["id"], {})))
    return {"kind": "admin#directory#group", "directMembersCount": count, "adminCreated": True, **group}


def _error(refused: Refused) -> dict[str, Any]:
    entry = {"message": str(refused), "domain": refused.domain, "reason": refused.reason}
    return {"error": {"code": refused.status, "message": str(refused), "errors": [entry]}}


def _compress(reply: Reply, headers: Params) -> None:
    """Compress for clients that accept it and say "gzip" in their User-Agent too."""
    if "content-encoding" in reply.headers:
        return
    if "gzip" not in headers.get("accept-encoding", "") or "gzip" not in headers.get("user-agent", ""):
        return
    content = reply.content()
    if len(content) >= GZIP_FROM:
        reply.body = gzip.compress(content, 1)
        reply.headers |= {"content-encoding": "gzip"}
