"""The Keeper simulator's answers as no client should have to read them."""

from __future__ import annotations

import gzip
import time
from typing import Any

import httpx2
import pytest

from tests.contract.keeper_endpoint import Endpoint


def raw(node: Endpoint, path: str = "/Users", **effect: Any) -> httpx2.Response:
    node.side.fault(match={"method": "GET"}, **effect)
    return node.http.get(node.side.endpoint + path)


@pytest.mark.parametrize("total", [0, 10**30, -1, "many", None])
def test_totals_are_what_was_told(node: Endpoint, total: Any) -> None:
    assert raw(node, total=total).json()["totalResults"] == total
    assert "totalResults" not in raw(node, total="missing").json()


def test_ids_and_spellings_are_what_was_told(node: Endpoint) -> None:
    scim_id = node.created(1)["id"]
    assert raw(node, f"/Users/{scim_id}", id="..").json()["id"] == ".."
    assert [item["id"] for item in raw(node, id="..").json()["Resources"]] == [".."]
    shown = raw(node, names="upper").json()
    assert shown["TOTALRESULTS"] == 1
    assert shown["RESOURCES"][0]["EMAILS"][0]["VALUE"] == "person1@example.com"


def test_what_cannot_be_decoded(node: Endpoint) -> None:
    with pytest.raises(UnicodeDecodeError):
        raw(node, not_utf8=True).content.decode()
    assert raw(node, nested=1000).text.count("[") >= 1000
    assert "9" * 5000 in raw(node, digits=5000).text


def test_a_bomb_is_small_on_the_wire_and_large_behind_it(node: Endpoint) -> None:
    node.side.fault(match={"method": "GET"}, gzip_bomb=20)
    with node.http.stream("GET", f"{node.side.endpoint}/Users") as response:
        packed = b"".join(response.iter_raw())
    assert len(packed) < 200_000
    assert len(gzip.decompress(packed)) > 20 * 1024 * 1024


def test_an_answer_without_end_goes_on_until_the_client_leaves(node: Endpoint) -> None:
    node.side.fault(match={"method": "GET"}, endless=True)
    read = 0
    with node.http.stream("GET", f"{node.side.endpoint}/Users") as response:
        for piece in response.iter_raw():
            read += len(piece)
            if read > 50_000_000:
                break
    began = time.monotonic()
    assert node.ask("GET", "/Users").status == 200
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("status", [400, 403, 501, 500])
def test_filters_are_refused_with_any_status(node: Endpoint, status: int) -> None:
    node.side.settings(filter_status=status)
    asked = node.http.get(f"{node.side.endpoint}/Users", params={"filter": 'userName eq "a@example.com"'})
    assert asked.status_code == status
    assert node.ask("GET", "/Users").status == 200


def test_a_fault_may_meet_filters_alone(node: Endpoint) -> None:
    node.side.fault(match={"query": 'filter=userName eq "a'}, status=500)
    assert node.ask("GET", "/Users").status == 200
    asked = node.http.get(f"{node.side.endpoint}/Users", params={"filter": 'userName eq "a@example.com"'})
    assert asked.status_code == 500


@pytest.mark.parametrize("echo", ["escaped", "percent", "split", "key"])
def test_the_token_comes_back(node: Endpoint, echo: str) -> None:
    told = raw(node, status=400, echo=echo)
    token = node.side.token
    shown = {
        "escaped": lambda: told.json()["detail"].endswith(token) and token not in told.text,
        "percent": lambda: "".join(f"%{ord(character):02x}" for character in token) in told.text,
        "split": lambda: (told.json()["detail"] + told.json()["message"]).endswith(token),
        "key": lambda: token in told.json(),
    }
    assert shown[echo]()


def test_when_an_account_was_created_is_told_on_demand(node: Endpoint) -> None:
    node.side.settings(tell_created=False)
    scim_id = node.created(1)["id"]
    assert "created" not in node.ask("GET", f"/Users/{scim_id}").body["meta"]
    node.side.settings(tell_created=True)
    assert node.ask("GET", f"/Users/{scim_id}").body["meta"]["created"].startswith("20")
    node.side.control("PATCH", f"accounts/{scim_id}", {"meta": {"created": "1999-12-31T00:00:00Z"}})
    assert node.ask("GET", f"/Users/{scim_id}").body["meta"]["created"] == "1999-12-31T00:00:00Z"
