"""One Keeper with several nodes: e-mail addresses and ids are unique across them (docs.keeper.io, SCIM).

PUT    /_control/nodes/<node>                 {"token": ...}: adds a node, empty, at <host>/api/rest/scim/v2/<node>
*      /_control/nodes/<node>/<control>       the control API of that node, as the first one has it at /_control
POST   /_control/nodes/<node>/take/<id>       moves an account there, as the Admin Console does; "first" is a node too
DELETE /_control/nodes                        leaves the first node alone
"""

from __future__ import annotations

import msgspec

from infra.local.asgi import Receive, Reply, Scope, Send, read_body, respond
from infra.local.keeper.accounts import Refused
from infra.local.keeper.server import KeeperServer, Settings

CONTROL = "/_control/nodes"
FIRST = "first"


class KeeperSite:
    """An ASGI app: hands each request to its node."""

    def __init__(self, first: KeeperServer) -> None:
        self._nodes = {FIRST: first}
        self._parent = first.prefix.rpartition("/")[0]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path: str = scope["raw_path"].decode()
        if not path.startswith(CONTROL):
            await self._node_of(path)(scope, receive, send)
            return
        name, _, rest = path[len(CONTROL) :].strip("/").partition("/")
        if rest and name in self._nodes and not rest.startswith("take/"):
            control = f"/_control/{rest}"
            await self._nodes[name]({**scope, "path": control, "raw_path": control.encode()}, receive, send)
            return
        body = await read_body(receive)
        await respond(send, self._control(scope["method"], name, rest, body), "application/json")

    def _node_of(self, path: str) -> KeeperServer:
        return next((node for node in self._nodes.values() if path.startswith(f"{node.prefix}/")), self._nodes[FIRST])

    def _control(self, method: str, name: str, rest: str, body: bytes) -> Reply:
        match method, name, rest:
            case "DELETE", "", "":
                for added in [name for name in self._nodes if name != FIRST]:
                    self._nodes.pop(added).leave()
                return Reply(status=204)
            case "PUT", str(), "" if name not in ("", *self._nodes):
                token = msgspec.json.decode(body)["token"]
                node = KeeperServer(f"{self._parent}/{name}", Settings(token=token), beside=self._nodes[FIRST])
                self._nodes[name] = node
                return Reply(status=200, body={"path": node.prefix})
            case "POST", str(), _ if name in self._nodes and rest.startswith("take/"):
                try:
                    self._nodes[name].node.take(rest.partition("/")[2])
                except Refused as refused:
                    return Reply(status=refused.status, body={"error": str(refused)})
                return Reply(status=204)
        return Reply(status=404, body={"error": f"no control {method} {name}/{rest}"})
