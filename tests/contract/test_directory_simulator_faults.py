"""The Directory simulator's faults, and what it refuses."""

from __future__ import annotations

import gzip
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra.local.simulation import DirectorySide
from tests.contract.directory_servers import PEOPLE, asked, error, everybody


def test_reads_are_stale_on_demand(workspace: DirectorySide, api: Any, customer: dict[str, Any]) -> None:
    user_id = customer["users"][4]["id"]
    workspace.control("POST", "stale", {"on": True})
    workspace.patch(user_id, {"suspended": True})
    assert asked(api.users().get(userKey=user_id))["suspended"] is False
    assert user_id not in {user["id"] for user in everybody(api, query="isSuspended=true")}
    workspace.control("POST", "stale", {"on": False})
    assert asked(api.users().get(userKey=user_id))["suspended"] is True


def test_a_method_fails_as_often_as_asked(workspace: DirectorySide, api: Any, customer: dict[str, Any]) -> None:
    key = customer["users"][4]["id"]
    fault = workspace.fault(
        match={"method": "users.get"}, status=403, reason="quotaExceeded", domain="usageLimits", times=2
    )
    assert error(api.users().get(userKey=key))[:2] == (403, "quotaExceeded")
    assert asked(api.users().list(customer="my_customer"))
    assert error(api.users().get(userKey=key))[:2] == (403, "quotaExceeded")
    assert asked(api.users().get(userKey=key))["id"] == key
    assert workspace.control("GET", f"faults/{fault}")["matched"] == 2


def test_a_fault_meets_one_user_or_one_group_for_ever(
    workspace: DirectorySide, api: Any, customer: dict[str, Any]
) -> None:
    workspace.fault(match={"key": customer["groups"][1]["id"]}, status=500, times=None)
    for _ in range(3):
        assert error(api.members().list(groupKey=customer["groups"][1]["id"]))[0] == 500
    assert asked(api.members().list(groupKey=customer["groups"][0]["id"]))


def test_a_listing_fails_in_its_middle(workspace: DirectorySide, api: Any) -> None:
    workspace.fault(match={"method": "users.list", "from_page": 1}, status=503, times=1)
    request = api.users().list(customer="my_customer", maxResults=500)
    first = asked(request)
    second = api.users().list_next(request, first)
    assert error(second)[0] == 503
    assert len(asked(second)["users"]) == PEOPLE - 500


def test_a_listing_is_empty_on_demand(workspace: DirectorySide, api: Any) -> None:
    workspace.fault(match={"method": "users.list"}, empty=True, times=1)
    assert set(asked(api.users().list(customer="my_customer"))) == {"kind", "etag"}


def test_a_listing_is_short_without_a_sign_on_demand(
    workspace: DirectorySide, api: Any, customer: dict[str, Any]
) -> None:
    left_out = [user["id"] for user in customer["users"][:3]]
    workspace.fault(match={"method": "users.list", "deleted": False}, leave_out=left_out, times=None)
    assert len(everybody(api)) == PEOPLE - 3
    assert len(everybody(api, showDeleted="true")) == len(customer["deletedUsers"])


def test_only_the_listing_of_deleted_users_fails_on_demand(workspace: DirectorySide, api: Any) -> None:
    workspace.fault(match={"method": "users.list", "deleted": True}, status=400, reason="invalid", times=None)
    assert error(api.users().list(customer="my_customer", showDeleted="true"))[0] == 400
    assert len(everybody(api)) == PEOPLE


def test_a_user_is_told_oddly_on_demand(workspace: DirectorySide, customer: dict[str, Any]) -> None:
    user_id = customer["users"][4]["id"]
    workspace.fault(match={"key": user_id}, set={"suspended": "false"}, unset=["orgUnitPath"])
    told = workspace.user(user_id)
    assert (told["suspended"], "orgUnitPath" in told) == ("false", False)
    assert workspace.user(user_id)["suspended"] is False


def test_a_body_is_whatever_is_asked_for(workspace: DirectorySide) -> None:
    url = f"{workspace.url}/admin/directory/v1/users?customer=my_customer"
    workspace.fault(status=503, body_base64="4Q==", retry_after="whenever")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(url)
    assert (raised.value.code, raised.value.read(), raised.value.headers["Retry-After"]) == (503, b"\xe1", "whenever")
    workspace.fault(bomb_mib=20)
    with urllib.request.urlopen(url) as response:
        packed = response.read()
    assert (len(packed) < 100_000, len(gzip.decompress(packed))) == (True, 20 << 20)
    workspace.fault(endless=True)
    with urllib.request.urlopen(url) as response:
        assert len(response.read(40 << 20)) == 40 << 20


def test_an_answer_is_delayed_or_dropped_on_demand(workspace: DirectorySide, api: Any) -> None:
    workspace.fault(match={"method": "users.list"}, delay=0.2)
    started = time.monotonic()
    asked(api.users().list(customer="my_customer"))
    assert time.monotonic() - started >= 0.2
    workspace.fault(match={"method": "users.list"}, drop=True, times=None)
    with pytest.raises(ConnectionError):
        api.users().list(customer="my_customer").execute()


def test_an_answer_is_withheld_until_the_fault_is_lifted(workspace: DirectorySide, customer: dict[str, Any]) -> None:
    user_id = customer["users"][4]["id"]
    workspace.fault(match={"method": "users.get"}, hang=True)
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(workspace.user, user_id)
        try:
            with pytest.raises(TimeoutError):
                asking.result(0.3)
        finally:
            workspace.control("DELETE", "faults")
        assert asking.result(10)["id"] == user_id


def test_credentials_are_demanded_on_demand(workspace: DirectorySide, api: Any) -> None:
    workspace.control("PUT", "tokens", {"tokens": ["good"]})
    assert error(api.users().list(customer="my_customer"))[:2] == (401, "authError")
    request = api.users().list(customer="my_customer")
    request.headers["Authorization"] = "Bearer wrong"
    assert error(request)[:2] == (401, "authError")
    request.headers["Authorization"] = "Bearer good"
    assert asked(request)["users"]


@pytest.mark.parametrize(("path", "status"), [("users/watch/more", 404), ("people", 404)])
def test_a_path_that_the_api_does_not_have(workspace: DirectorySide, path: str, status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        workspace.call("GET", path)
    assert raised.value.code == status


def test_a_body_that_is_no_json_object_is_refused(workspace: DirectorySide) -> None:
    for body in (b"{", b"[]"):
        request = urllib.request.Request(f"{workspace.url}/admin/directory/v1/users", body, method="POST")
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request)
        assert raised.value.code == 400


def test_large_answers_are_compressed_for_agents_that_say_so(workspace: DirectorySide) -> None:
    url = f"{workspace.url}/admin/directory/v1/users?customer=my_customer"
    for agent, encoding in (("program (gzip)", "gzip"), ("program", None)):
        request = urllib.request.Request(url, headers={"User-Agent": agent, "Accept-Encoding": "gzip"})
        with urllib.request.urlopen(request) as response:
            assert response.headers["Content-Encoding"] == encoding
