"""The token stays with us, even where the server repeats it."""

from __future__ import annotations

import logging
from urllib.parse import unquote

import pytest

from autoprovisioning.domain.accounts import Lookup
from autoprovisioning.domain.errors import ProvisioningError
from tests.contract.scim_servers import client, creates
from tests.contract.scim_writes import POST_BULK, kinds, seed, write
from tests.contract.shown import every_word


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 418, 428, 429, 500, 503])
@pytest.mark.parametrize("bulk", [False, True])
def test_the_token_is_nowhere_even_where_the_server_repeats_it(keeper, caplog, status, bulk):
    caplog.set_level(logging.DEBUG)
    token = keeper.token
    keeper.settings(bulk=bulk)
    accounts = client(keeper.endpoint, token)
    said = {"detail": f"no: Bearer {token} " * 20, "message": token, "error": token}
    keeper.fault(match={"path": "/(Users|Bulk)"}, status=status, body=said, retry_after=60, times=None)
    words: list[str] = []
    for call in (accounts.probe, lambda: accounts.get("1"), lambda: list(accounts.list())):
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever it is
            words.append(every_word(error))
    words += [every_word(item.error) for item in write(accounts, creates(3), 5).values() if item.error is not None]
    words += [
        every_word(item.error)
        for item in accounts.find([Lookup(key="k", external_id="d1", user_names=())])
        if item.error is not None
    ]
    assert len(words) >= 5
    assert token not in "".join(words) + caplog.text + repr(accounts) + repr(vars(accounts))
    assert not [item for item in keeper.requests()["log"] if token in item["path"]]


def test_an_operations_own_words_are_scrubbed_and_cut(keeper):
    token = keeper.token
    keeper.settings(bulk=True)
    accounts = client(keeper.endpoint, token)
    operation = {"method": "POST", "bulkId": "c0", "status": "400", "response": {"detail": f"{token} " + "x" * 900}}
    other = {"method": "POST", "bulkId": "c1", "status": {"code": 400}, "response": {"detail": "no"}}
    keeper.fault(match=POST_BULK, status=200, body={"Operations": [operation, other]})
    written = write(accounts, creates(2))
    assert kinds(written) == {"Rejected": 2}
    assert token not in every_word(written["c0"].error or Exception())
    assert len(str(written["c0"].error)) < 300


@pytest.mark.parametrize("echo", ["escaped", "percent", "split", "key"])
@pytest.mark.parametrize("bulk", [False, True])
def test_the_token_is_nowhere_however_the_server_writes_it(keeper, caplog, echo, bulk):
    caplog.set_level(logging.DEBUG)
    token = keeper.token
    keeper.settings(bulk=bulk)
    accounts = client(keeper.endpoint, token)
    keeper.fault(match={"path": "/(Users|Bulk)"}, status=400, echo=echo, times=None)
    errors: list[BaseException] = []
    for call in (accounts.probe, lambda: accounts.get("1"), lambda: list(accounts.list())):
        with pytest.raises(ProvisioningError) as raised:
            call()
        errors.append(raised.value)
    errors += [item.error for item in write(accounts, creates(3), 5).values() if item.error is not None]
    words = unquote("".join(every_word(error) for error in errors)) + caplog.text
    assert len(errors) == 6
    assert not [token[at : at + 15] for at in range(len(token) - 14) if token[at : at + 15] in words]
    assert "no" in words


def test_nor_is_it_in_an_account_whose_server_put_it_there(keeper, accounts):
    (scim_id,) = seed(keeper, 1)
    keeper.control("PATCH", f"accounts/{scim_id}", {"displayName": f"Bearer {keeper.token}", "title": keeper.token})
    account = accounts.get(scim_id)
    assert account is not None
    assert account.attributes["displayName"] == "Bearer [token]"
    assert keeper.token not in repr([*accounts.list(), account])
