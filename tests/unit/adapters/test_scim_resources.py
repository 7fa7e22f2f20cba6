"""What we send is valid SCIM by somebody else's models; what we read may be sloppy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprovisioning.adapters.scim.bulk import BulkRound, BulkSizes
from autoprovisioning.adapters.scim.resources import create_body, patch_body, read_account
from autoprovisioning.domain.accounts import Capabilities, Value, Write, WriteKind
from autoprovisioning.domain.keeper import PatchDialect
from autoprovisioning.domain.scim_user import ATTRIBUTES, ENTERPRISE, Kind, kind_of
from tests.support.lazily import Lazily

scim2_models = Lazily("scim2_models")
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
names = st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}\.com", fullmatch=True)
urls = st.from_regex(r"https://example\.com/[a-z]{1,8}", fullmatch=True)


def value_of(target: str) -> st.SearchStrategy[Value]:
    if kind_of(target) is Kind.BOOLEAN:
        return st.just(True)
    if target in ("userName", "emails.value"):
        return names
    if target == "profileUrl":
        return urls
    return texts


@st.composite
def attribute_sets(draw: st.DrawFn, removals: bool = False) -> dict[str, Value]:
    optional = sorted(ATTRIBUTES.keys() - {"userName", "emails.value"})
    chosen = draw(st.lists(st.sampled_from(optional), unique=True, max_size=12))
    attributes: dict[str, Value] = {"userName": draw(names), "emails.value": draw(names)}
    for target in chosen:
        missing = removals and draw(st.booleans())
        attributes[target] = None if missing else draw(value_of(target))
    return attributes


def full_user() -> Any:
    return scim2_models.User[scim2_models.EnterpriseUser]


def creation(attributes: dict[str, Value]) -> Write:
    return Write(key="k", kind=WriteKind.CREATE, external_id="d1", attributes=attributes)


def change(attributes: dict[str, Value], **more: Any) -> Write:
    return Write(key="k", kind=WriteKind.PATCH, scim_id="17", attributes=attributes, **more)


def operations(attributes: dict[str, Value], **more: Any) -> dict[str, Any]:
    """Return the operations of a standard PATCH by path: a value, or "removed"."""
    body = patch_body(change(attributes, **more), PatchDialect.STANDARD)
    return {item["path"]: item["value"] if item["op"] == "replace" else "removed" for item in body["Operations"]}


@given(attribute_sets())
@settings(max_examples=150, deadline=None)
def test_every_created_resource_validates_and_reads_back(attributes):
    body = json.loads(json.dumps(create_body(creation(attributes))))
    user = full_user().model_validate(body, scim_ctx=scim2_models.Context.RESOURCE_CREATION_REQUEST)
    assert user.active is True
    assert user.external_id == "d1"
    account = read_account({**body, "id": "17"})
    assert account is not None
    assert {target: account.attributes.get(target) for target in attributes} == attributes


@given(attribute_sets(removals=True), st.sampled_from([None, True, False]), st.sampled_from([None, "d1"]))
@settings(max_examples=150, deadline=None)
def test_every_standard_patch_validates(attributes, active, external_id):
    write = change(attributes, active=active, external_id=external_id)
    body = json.loads(json.dumps(patch_body(write, PatchDialect.STANDARD)))
    context = scim2_models.Context.RESOURCE_PATCH_REQUEST
    patch = scim2_models.PatchOp[full_user()].model_validate(body, scim_ctx=context)
    assert patch.operations
    paths = [item["path"] for item in body["Operations"]]
    assert len(paths) == len(set(paths)), "one operation for each attribute"


@given(attribute_sets(removals=True), st.sampled_from([None, True, False]))
@settings(max_examples=100, deadline=None)
def test_every_patch_in_keepers_dialect_is_one_object_without_a_path_and_active_as_a_text(attributes, active):
    body = json.loads(json.dumps(patch_body(change(attributes, active=active), PatchDialect.KEEPER)))
    assert scim2_models.PatchOp[full_user()].model_validate(body).operations
    operation, *locks = body["Operations"]
    assert operation["op"] == "replace"
    assert "path" not in operation
    assert None not in operation["value"].values()
    text = {True: "true", False: "false"}
    assert locks == ([] if active is None else [{"op": "Replace", "path": "active", "value": text[active]}])


@given(st.lists(attribute_sets(), min_size=2, max_size=5))
@settings(max_examples=40, deadline=None)
def test_every_bulk_request_validates(sets):
    writes = [
        Write(key=f"c{n}", kind=WriteKind.CREATE, external_id=f"d{n}", attributes=item) for n, item in enumerate(sets)
    ]
    writes += [change(sets[0]), Write(key="x", kind=WriteKind.DELETE, scim_id="18")]
    body = rendered(writes, Capabilities(bulk=True, max_operations=1000, max_payload=1_000_000))
    request = scim2_models.BulkRequest[full_user()].model_validate(
        json.loads(body), scim_ctx=scim2_models.Context.DEFAULT
    )
    method = scim2_models.BulkOperation.Method
    assert request.operations is not None
    assert [item.method for item in request.operations[-2:]] == [method.patch, method.delete]
    assert all(item.bulk_id for item in request.operations if item.method is method.post)


def rendered(writes: list[Write], offered: Capabilities) -> bytes:
    """Return the first Bulk request of a round."""
    from collections import deque

    class Spelling:
        dialect = PatchDialect.STANDARD

    sending = BulkRound(writing=Spelling(), offered=offered, call=None, sizes=BulkSizes(), pending=deque(writes))  # type: ignore[arg-type]
    return sending._chunk().body


def test_a_bulk_request_stays_within_both_limits():
    writes = [creation({"userName": f"p{n}@example.com", "emails.value": f"p{n}@example.com"}) for n in range(50)]
    seven = Capabilities(bulk=True, max_operations=7, max_payload=1_000_000)
    assert len(json.loads(rendered(writes, seven))["Operations"]) == 7
    body = rendered(writes, Capabilities(bulk=True, max_operations=1000, max_payload=2048))
    assert 1 < len(json.loads(body)["Operations"]) < 50
    assert len(body) <= 2048


def test_a_creation_has_one_email_entry_typed_phones_and_the_extension():
    body = create_body(
        creation(
            {
                "userName": "ada@example.com",
                "emails.value": "ada@example.com",
                "emails.type": "work",
                "emails.primary": True,
                'phoneNumbers[type eq "work"].value': "1",
                'phoneNumbers[type eq "mobile"].value': "2",
                f"{ENTERPRISE}:department": "Engines",
                f"{ENTERPRISE}:manager.value": "26",
                "title": None,
            }
        )
    )
    assert body["emails"] == [{"value": "ada@example.com", "type": "work", "primary": True}]
    assert body["phoneNumbers"] == [{"type": "work", "value": "1"}, {"type": "mobile", "value": "2"}]
    assert body[ENTERPRISE] == {"department": "Engines", "manager": {"value": "26", "$ref": "../Users/26"}}
    assert "title" not in body
    assert body["active"] is True
    assert ENTERPRISE in body["schemas"]


def test_a_creation_without_extension_does_not_name_its_schema():
    assert create_body(creation({"userName": "a@example.com"}))["schemas"] == [
        "urn:ietf:params:scim:schemas:core:2.0:User"
    ]


def test_a_patch_replaces_removes_and_switches():
    sent = operations({"title": "Countess", "nickName": None, "name.givenName": "Ada"}, active=False, external_id="d1")
    assert sent == {
        "externalId": "d1", "title": "Countess", "nickName": "removed", "name.givenName": "Ada", "active": False,
    }  # fmt: skip


def test_a_manager_is_replaced_and_removed_with_its_reference():
    manager = f"{ENTERPRISE}:manager"
    assert operations({f"{manager}.value": "26"}) == {manager: {"value": "26", "$ref": "../Users/26"}}
    assert operations({f"{manager}.value": None}) == {manager: "removed"}


def test_a_patch_replaces_multi_valued_attributes_whole():
    sent = operations(
        {
            "emails.value": "a@example.com",
            "emails.type": "work",
            "emails.primary": True,
            'phoneNumbers[type eq "work"].value': None,
            'phoneNumbers[type eq "mobile"].value': "2",
            'addresses[type eq "work"].locality': None,
        }
    )
    assert sent == {
        "emails": [{"value": "a@example.com", "type": "work", "primary": True}],
        "phoneNumbers": [{"type": "mobile", "value": "2"}],
        "addresses": "removed",
    }


@pytest.mark.parametrize("dialect", list(PatchDialect))
def test_a_patch_of_part_of_an_email_entry_is_refused(dialect):
    with pytest.raises(ValueError, match=r"emails\.type must hold emails\.value too"):
        patch_body(change({"emails.type": "home"}), dialect)


def test_keepers_dialect_has_dotted_keys_an_empty_string_for_nothing_and_no_email_beside_a_user_name():
    attributes: dict[str, Value] = {
        "name.givenName": "Ada", "title": None, "userName": "b@example.com", "emails.value": "b@example.com",
    }  # fmt: skip
    body = patch_body(change(attributes, active=True, external_id="d1"), PatchDialect.KEEPER)
    assert body["Operations"][0]["value"] == {
        "externalId": "d1", "name.givenName": "Ada", "title": "", "userName": "b@example.com",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "active"), [(True, True), (False, False), ("true", True), ("False", False), ("FALSE", False), (None, True)]
)
def test_active_is_read_in_any_spelling(sent, active):
    account = read_account({"id": "1", "userName": "a@example.com", "active": sent})
    assert account is not None
    assert account.active is active


def test_a_resource_is_read_leniently():
    account = read_account({"id": 970404910858250, "userName": None, "externalId": None, "emails": "none", "name": []})
    assert account is not None
    assert (account.scim_id, account.user_name, account.external_id) == ("970404910858250", "", "")
    assert read_account({"userName": "a@example.com"}) is None


def test_the_primary_email_is_the_one_read():
    emails = [{"value": "old@example.com", "type": "home"}, {"value": "a@example.com", "primary": "True"}]
    account = read_account({"id": "1", "emails": emails})
    assert account is not None
    assert account.attributes["emails.value"] == "a@example.com"
    assert account.attributes["emails.primary"] is True
