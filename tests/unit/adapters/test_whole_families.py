"""No PATCH drops a value: of a multi-valued attribute all mapped values are written, whichever rows the table has."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprovisioning.adapters.scim.resources import create_body, patch_body, read_account
from autoprovisioning.domain import scim_user
from autoprovisioning.domain.accounts import Value, Write, WriteKind, fingerprint
from autoprovisioning.domain.changes import Change, sent_attributes
from autoprovisioning.domain.entry import Action, Entry, Status
from autoprovisioning.domain.keeper import PatchDialect
from autoprovisioning.domain.scim_user import ATTRIBUTES, Attribute
from infra.local.keeper.accounts import Node

words = st.from_regex(r"[A-Z][a-z]{1,8}", fullmatch=True)
names = st.from_regex(r"[a-z]{1,8}@example\.com", fullmatch=True)


@st.composite
def siblings(draw: st.DrawFn) -> Attribute:
    """A row that the table lacks: another type of a multi-valued attribute that is there, or of one that is not."""
    family = draw(st.sampled_from(["phoneNumbers", "addresses", "emails", "ims", "photos"]))
    kind, part = draw(st.sampled_from(["car", "vacation", "assistant"])), draw(st.sampled_from(["value", "locality"]))
    target = f'{family}[type eq "{kind}"].{part}'
    return Attribute(target=target, group="Added", family=family, type=kind, part=part)


@contextmanager
def added(rows: list[Attribute]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        for row in rows:
            patch.setitem(ATTRIBUTES, row.target, row)
        scim_user.typed_families.cache_clear()
        yield
    scim_user.typed_families.cache_clear()


def values(data: st.DataObject, targets: list[str]) -> dict[str, Value]:
    drawn: dict[str, Value] = {"userName": data.draw(names)}
    drawn |= {
        "emails.value": drawn["userName"],
        "emails.primary": True,
        "emails.type": "work",
    }  # the one mirrors the other
    return drawn | {target: data.draw(words) for target in targets if target not in drawn}


@pytest.mark.parametrize("dialect", list(PatchDialect))
@given(data=st.data())
def test_no_patch_drops_a_sibling_of_what_changed(dialect, data):
    rows = data.draw(st.lists(siblings(), min_size=1, max_size=4, unique_by=lambda row: row.target), label="rows")
    with added(rows):
        others = st.sampled_from(sorted(target for target in ATTRIBUTES if target != "profileUrl"))
        targets = [*(row.target for row in rows), *data.draw(st.lists(others, unique=True, max_size=8))]
        before = values(data, targets)
        node = Node()
        scim_id = node.create(create_body(Write(key="k", kind=WriteKind.CREATE, external_id="u1", attributes=before)))[
            "id"
        ]
        changed = data.draw(st.sets(st.sampled_from(targets), min_size=1), label="changed")
        after = {
            name: f"{value}x" if name in changed and isinstance(value, str) else value for name, value in before.items()
        }
        after |= {"emails.value": after["userName"], "emails.primary": True}
        entry = Entry(user_id="u1", scim_id=scim_id, status=Status.ACTIVE, fingerprint=fingerprint(before))
        change = Change(id="x", entry=entry, action=Action.UPDATE, email="", attributes=after, scim_id=scim_id)
        sent = sent_attributes(change)
        if not sent:
            return
        write = Write(key="k", kind=WriteKind.PATCH, scim_id=scim_id, attributes=sent)
        node.patch(scim_id, patch_body(write, dialect))
        account = read_account(node.get(scim_id))
        assert account is not None
        # The main entry is Keeper's to mirror userName into; what it keeps of the rest of it depends on the dialect.
        compared = {target: value for target, value in after.items() if not target.startswith("emails.")}
        assert {target: account.attributes.get(target) for target in compared} == compared
        assert account.attributes["emails.value"] == after["userName"]
