from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprovisioning.domain.directory_fields import NAME_FIELDS, USER_FIELDS
from autoprovisioning.domain.errors import BadInput, MappingFailure
from autoprovisioning.domain.keeper import MANDATORY
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row, addresses
from autoprovisioning.domain.scim_user import ENTERPRISE
from tests.contract.directory_servers import DISCOVERY

PROFILE = {
    "primaryEmail": "ada@example.com",
    "name": {"givenName": "Ada", "familyName": "Lovelace", "fullName": "Ada Lovelace"},
    "emails": [{"address": "other@example.com", "type": "home"}, {"address": "ada@example.com", "primary": True}],
    "orgUnitPath": "/Engineering",
    "organizations": [
        {"title": "Countess", "type": "school"},
        {"title": "Programmer", "department": "Engines", "primary": True, "type": "work"},
    ],
    "phones": [{"type": "mobile", "value": "+44 1"}, {"type": "custom", "customType": "pager.v2", "value": "+44 2"}],
    "addresses": [{"type": "work", "locality": "London"}],
    "externalIds": [{"type": "organization", "value": "E-1"}],
    "suspended": False,
    "customSchemas": {
        "HR": {
            "costCenter": "42",
            "grade": 7,
            "tags": [{"value": "a"}, {"value": "b"}],
            "one": [{"value": "x"}],
            "none": [],
            "skills": [{"type": "work", "value": "Analysis"}, {"type": "home", "value": "Chess"}],
        }
    },
}

SOURCES = [
    ("primaryEmail", "ada@example.com"),
    ("orgUnitPath", "/Engineering"),
    ("name.givenName", "Ada"),
    ("organizations[primary].title", "Programmer"),
    ("organizations[type=school].title", "Countess"),
    ("organizations[primary].costCenter", None),
    ("phones[type=mobile].value", "+44 1"),
    ("phones[type=pager.v2].value", "+44 2"),
    ("phones[type=home].value", None),
    ("addresses[type=work].locality", "London"),
    ("externalIds[type=organization].value", "E-1"),
    ("customSchemas.HR.costCenter", "42"),
    ("customSchemas.HR.grade", "7"),
    ("customSchemas.HR.one", "x"),
    ("customSchemas.Other.field", None),
    ("customSchemas.HR.skills[type=work].value", "Analysis"),
    ("customSchemas.HR.skills[type=work]", "Analysis"),
    ("customSchemas.HR.skills[type=sports].value", None),
    ("customSchemas.HR.none", None),
    ("emails[type=home].address", "other@example.com"),
    ("organizations[type=work].department", "Engines"),
    ("suspended", "false"),
    ('"Contractor"', "Contractor"),
    ('"Zoë \\u0141"', "Zoë Ł"),
    ('""', None),
    ("true", "true"),
    ("name.fullName", "Ada Lovelace"),
    ("orgUnitPath.nothing", None),
    ("recoveryEmail", None),
]


def with_row(source: str, target: str = "title", *, mandatory: bool = False) -> AttributeMapping:
    return AttributeMapping((*DEFAULT_ROWS, Row(target=target, source=source, mandatory=mandatory)))


@pytest.mark.parametrize(("source", "expected"), SOURCES)
def test_source_grammar(source, expected):
    mapping = with_row(source)
    mapping.check()
    assert mapping.apply(PROFILE)["title"] == expected


def test_the_seven_default_rows():
    assert AttributeMapping().apply(PROFILE) == {
        "displayName": "Ada Lovelace",
        "emails.primary": True,
        "emails.type": "work",
        "emails.value": "ada@example.com",
        "name.familyName": "Lovelace",
        "name.givenName": "Ada",
        "userName": "ada@example.com",
    }


def test_defaults_are_derived_where_the_directory_omits_them():
    desired = AttributeMapping().apply({"primaryEmail": "a@x.org", "name": {"givenName": "A", "familyName": "B"}})
    assert desired["displayName"] == "A B"
    assert desired["emails.value"] == "a@x.org"


def test_primary_email_wins_over_a_list_that_lags_behind_a_rename():
    desired = AttributeMapping().apply({**PROFILE, "primaryEmail": "new@example.com"})
    assert desired["emails.value"] == "new@example.com"


@pytest.mark.parametrize(
    ("profile", "target"),
    [({"primaryEmail": "a@x.org"}, "displayName"), ({"name": {"fullName": "A"}}, "emails.primary")],
)
def test_mandatory_attribute_without_value_names_attribute_and_source(profile, target):
    with pytest.raises(MappingFailure, match=target):
        AttributeMapping().apply(profile)


FITS = [
    ("emails.primary", '"yes"', "emails.primary must be true or false"),
    ("emails.value", "name.givenName", "emails.value must be an e-mail address"),
    ("title", "name", "name is not a single value"),
    ("title", "customSchemas.HR.tags", r"has 2 values.*customSchemas.HR.tags\[type=work\]"),
]


@pytest.mark.parametrize(("target", "source", "problem"), FITS)
def test_a_value_that_does_not_fit_names_attribute_and_source(target, source, problem):
    rows = (*[row for row in DEFAULT_ROWS if row.target != target], Row(target=target, source=source))
    with pytest.raises(MappingFailure, match=problem):
        AttributeMapping(rows).apply(PROFILE)


@pytest.mark.parametrize("profile", [{}, {"name": None}, {"name": "Ada"}, {"emails": {}}, {"emails": ["x"]}])
def test_a_partial_or_odd_profile_fails_by_name_and_never_otherwise(profile):
    with pytest.raises(MappingFailure, match="The mandatory attribute"):
        AttributeMapping().apply(profile)


def test_the_rows_order_does_not_matter():
    assert AttributeMapping(DEFAULT_ROWS[::-1]).apply(PROFILE) == AttributeMapping().apply(PROFILE)


@pytest.mark.parametrize("target", MANDATORY)
def test_the_mandatory_four_stay_mandatory_whatever_the_row_says(target):
    rows = tuple(
        Row(target=row.target, source="recoveryEmail") if row.target == target else row for row in DEFAULT_ROWS
    )
    AttributeMapping(rows).check()
    with pytest.raises(MappingFailure, match=f"The mandatory attribute {target} has no value"):
        AttributeMapping(rows).apply(PROFILE)


def test_a_row_may_be_made_mandatory():
    with pytest.raises(MappingFailure, match="title"):
        with_row("phones[type=home].value", mandatory=True).apply(PROFILE)


def test_several_values_are_refused_with_the_mend():
    with pytest.raises(MappingFailure, match=r"has 2 values.*Map one entry"):
        with_row("customSchemas.HR.tags").apply(PROFILE)


def test_user_name_must_be_an_address():
    rows = (*[row for row in DEFAULT_ROWS if row.target != "userName"], Row(target="userName", source="name.givenName"))
    with pytest.raises(MappingFailure, match="userName must be an e-mail address"):
        AttributeMapping(rows).apply(PROFILE)


BAD_ROWS = [
    (Row(target="externalId", source="id"), "target"),
    (Row(target="active", source="suspended"), "target"),
    (Row(target="title", source="organizations.title"), "several entries"),
    (Row(target="title", source="organizations[primary]"), "whole entry"),
    (Row(target="title", source="customSchemas.HR"), "schema and a field"),
    (Row(target="title", source='"unclosed'), "constant"),
    (Row(target="title", source="name..given"), "not a field"),
    (Row(target="title", source=""), "not a field"),
    (Row(target="title", source="phones[type=].value"), "not a field"),
    (Row(target="title", source="phones[secondary].value"), "not a field"),
    (Row(target="title", source="phones[type=work.value"), "not a field"),
    (Row(target="title", source=" name.givenName"), "not a field"),
    (Row(target="title", source="customSchemas.HR.a.b"), "schema and a field"),
    (Row(target="title", source="phones[type=work]"), "whole entry"),
    (Row(target="title", source='"\\ud800"'), "constant"),
    (Row(target="title", source='"a" "b"'), "constant"),
    (Row(target="", source="name.givenName"), "target"),
    (Row(target="roles", source="name.givenName"), "target"),
    (Row(target="password", source='"x"'), "target"),
    (Row(target="userName", source="primaryEmail"), "mapped twice"),
    (Row(target="title", source="jobTitle"), "'jobTitle' is not a field of the directory user"),
    (Row(target="title", source="customFields.HR.title"), "'customFields' is not a field of the directory user"),
    (Row(target="title", source="name.middleName"), "'middleName' is not a field of the directory user's name"),
]


@pytest.mark.parametrize(("row", "problem"), BAD_ROWS)
def test_bad_rows_are_refused_by_name(row, problem):
    with pytest.raises(BadInput, match=problem) as caught:
        AttributeMapping((*DEFAULT_ROWS, row)).check()
    assert caught.value.field in ("mapping[7].target", "mapping[7].source")
    assert caught.value.mend.endswith(".")


@pytest.mark.parametrize(
    ("source", "closest"),
    [
        ("primaryemail", "primaryEmail"),
        ("organization[primary].title", "organizations"),
        ("customSchema.HR.grade", "customSchemas"),
        ("name.givenname", "givenName"),
    ],
)
def test_the_closest_field_is_suggested(source, closest):
    with pytest.raises(BadInput) as caught:
        with_row(source).check()
    assert caught.value.field == "mapping[7].source"
    assert caught.value.mend.startswith(f"Did you mean {closest}? ")


@pytest.mark.parametrize("source", ["jobTitle", "name.firstName", "name.middleName"])
def test_nothing_is_suggested_where_nothing_is_close(source):
    with pytest.raises(BadInput) as caught:
        with_row(source).check()
    assert caught.value.mend.startswith("Choose a field")


@pytest.mark.parametrize(("fields", "schema"), [(USER_FIELDS, "User"), (NAME_FIELDS, "UserName")])
def test_the_fields_are_those_of_the_discovery_document(fields, schema):
    assert fields == set(DISCOVERY["schemas"][schema]["properties"])


def test_mandatory_rows_cannot_be_left_out():
    with pytest.raises(BadInput, match="userName"):
        AttributeMapping(tuple(row for row in DEFAULT_ROWS if row.target != "userName")).check()


def test_enterprise_attributes_can_be_mapped():
    mapping = with_row("organizations[primary].department", f"{ENTERPRISE}:department")
    mapping.check()
    assert mapping.apply(PROFILE)[f"{ENTERPRISE}:department"] == "Engines"


def test_source_fields_for_the_mask():
    mapping = with_row("customSchemas.HR.costCenter")
    assert mapping.source_fields() == {"primaryEmail", "name", "emails", "customSchemas"}


def test_addresses_are_folded_and_unique():
    assert addresses(("Old@x.org", "ada@example.com"), "ADA@example.com", {"userName": "Ada@Example.com"}) == (
        "ada@example.com",
        "old@x.org",
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["givenName", "familyName", "fullName", "address", "primary", "type", "customType", "value"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
EVERY_KIND = AttributeMapping(
    (
        *DEFAULT_ROWS,
        Row(target="title", source="organizations[type=work].title"),
        Row(target='phoneNumbers[type eq "work"].value', source="phones[type=work].value"),
        Row(target="nickName", source="customSchemas.value.type"),
        Row(target="locale", source="emails[primary].address"),
        Row(target="profileUrl", source="customSchemas.value.type[primary]"),
    )
)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(sorted({*PROFILE, "customSchemas"})), JSON, max_size=5))
def test_whatever_the_directory_says_of_one_user_is_a_value_or_that_users_failure(profile):
    with contextlib.suppress(MappingFailure):
        EVERY_KIND.apply(profile)


def test_a_mapping_stays_what_it_is_once_it_was_applied():
    """Previews name what they were computed from by its encoding."""
    applied, fresh = AttributeMapping(), AttributeMapping()
    applied.apply({"primaryEmail": "ada@example.com", "name": {"givenName": "Ada", "familyName": "Byron"}})
    assert (applied, hash(applied), repr(applied)) == (fresh, hash(fresh), repr(fresh))
    assert msgspec.json.encode(applied) == msgspec.json.encode(fresh)
