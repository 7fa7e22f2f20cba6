"""What answers mean, which endpoints are accepted, and how Bulk results find their writes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from autoprovisioning.adapters.scim import check_endpoint
from autoprovisioning.adapters.scim.bulk import BulkSizes, Bursts, match_results
from autoprovisioning.adapters.scim.protocol import (
    Answer,
    equals,
    error_of,
    is_listing,
    maybe_done,
    passing,
    throttled,
    total,
    user_path,
    wait_told,
)
from autoprovisioning.domain.accounts import Write, WriteKind
from autoprovisioning.domain.errors import (
    AccountGone,
    AuthorizationRefused,
    BadInput,
    ConfigurationRefused,
    NotOffered,
    Permanent,
    Rejected,
    Throttled,
    Transient,
)

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, ConfigurationRefused),
        (400, Rejected),
        (401, AuthorizationRefused),
        (403, AuthorizationRefused),
        (404, AccountGone),
        (408, Transient),
        (409, Rejected),
        (418, Rejected),
        (428, Rejected),
        (429, Throttled),
        (500, Transient),
        (503, Transient),
    ],
)
def test_a_status_becomes_the_error_that_says_what_to_do_next(status, kind):
    assert type(error_of(Answer(status=status, body={}), NOW, known_account=True)) is kind


def test_a_404_without_a_known_account_is_no_vanished_account():
    assert type(error_of(Answer(status=404, body={}), NOW, known_account=False)) is Rejected


def test_the_servers_own_words_are_cut():
    error = error_of(Answer(status=400, body={"detail": "x" * 5000}), NOW, known_account=True)
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "7"}, {}, 7),
        ({"Retry-After": "Tue, 24 Nov 2026 09:00:30 GMT"}, {}, 30),
        ({"Retry-After": "Tue, 24 Nov 2026 08:00:00 GMT"}, {}, 0),
        ({}, {"error": "throttled", "message": "Too many. Try again in 1 minute"}, 60),
        ({}, {"message": "try again in 20 seconds."}, 20),
        ({"Retry-After": "²"}, {"message": "Try again in 3 minutes"}, 180),
        ({"Retry-After": "soon"}, {}, None),
        ({}, {}, None),
        ({"Retry-After": "1000000"}, {}, 3600),
        ({"Retry-After": "9" * 400}, {}, 3600),
        ({"Retry-After": "9" * 5000}, {}, 3600),
        ({"Retry-After": "1.5"}, {}, 1.5),
        ({"Retry-After": "1795510890"}, {}, 90),  # 24 November 2026, 9:01:30
        ({"Retry-After": "1795510000"}, {}, 0),
        ({"Retry-After": "1795510890000"}, {}, 3600),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, {}, 3600),
        ({"Retry-After": "Fri, 31 Dec 99999999 23:59:59 -9999"}, {}, None),
        ({"Retry-After": "Tue, 24 Nov 2026 09:00:30 -0000"}, {}, None),
        ({"Retry-After": "-5"}, {}, None),
        ({"Retry-After": "nan"}, {}, None),
        ({"Retry-After": "٣"}, {}, None),
        ({}, {"message": f"Try again in {'9' * 4400} hours"}, 3600),
        ({}, {"message": "Try again in 90 minutes"}, 3600),
        ({}, {"message": "Try again in ٣ minutes"}, None),
    ],
)
def test_the_wait_is_read_from_the_header_or_keepers_words(headers, body, seconds):
    assert wait_told(Answer(status=429, body=body, headers=headers), NOW) == seconds


def test_only_a_403_that_says_so_is_throttling():
    assert throttled(Answer(status=403, body={"error": "throttled", "message": "Try again in 1 minute"}))
    assert throttled(Answer(status=429, body=None))
    assert not throttled(Answer(status=403, body={"detail": "Forbidden"}))
    assert not throttled(Answer(status=503, body={"error": "throttled"}))


def test_filter_values_cannot_end_the_filter():
    assert equals("userName", 'a" or userName pr or "\\') == r'userName eq "a\" or userName pr or \"\\"'


def test_ids_cannot_leave_their_path():
    assert user_path("../Groups?x=1") == "/Users/..%2FGroups%3Fx%3D1"


@pytest.mark.parametrize("scim_id", ["", ".", "..", "x" * 257, "1\n2", "1\x00"])
def test_an_id_that_would_reach_something_else_reaches_nothing(scim_id):
    with pytest.raises(Permanent, match="id in Keeper cannot be used"):
        user_path(scim_id)


@pytest.mark.parametrize(("status", "passes", "done"), [
    (500, True, True), (501, False, False), (502, True, True), (503, True, False), (504, True, True),
    (505, False, False), (507, True, True), (520, True, True), (999, True, True), (101, True, True),
    (408, True, True), (425, True, False), (429, True, False), (403, False, False), (400, False, False),
])  # fmt: skip
def test_what_passes_and_what_may_have_been_done(status, passes, done):
    assert passing(Answer(status=status, body={})) is passes
    assert maybe_done(Answer(status=status, body={})) is done


@pytest.mark.parametrize("status", [501, 505])
def test_what_keeper_does_not_offer_is_no_failure_of_the_moment(status):
    assert type(error_of(Answer(status=status, body={}), NOW, known_account=True)) is NotOffered


def test_what_is_a_listing():
    assert is_listing({"Resources": []})
    assert is_listing({"resources": [{"id": "1"}]})
    assert is_listing({"totalResults": 0})
    assert not is_listing({})
    assert not is_listing(None)
    assert not is_listing({"detail": "maintenance"})


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (3, 3),
        ("3", 3),
        (True, None),
        ("²", None),
        (None, None),
        (-1, None),
        (10**30, None),
        (3.0, None),
        ("9" * 5000, None),
        ("٣", None),
        ([3], None),
    ],
)
def test_total_results_are_read_leniently(sent, read):
    assert total({"totalResults": sent}) == read


@pytest.mark.parametrize(
    "host",
    [
        "keepersecurity.com",
        "keepersecurity.eu",
        "keepersecurity.com.au",
        "keepersecurity.jp",
        "keepersecurity.ca",
        "govcloud.keepersecurity.us",
    ],
)
def test_keepers_regions_are_accepted(host):
    assert check_endpoint(f" https://{host}/api/rest/scim/v2/4242/ ") == f"https://{host}/api/rest/scim/v2/4242"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "keepersecurity.com/api/rest/scim/v2/1",
        "http://keepersecurity.com/api/rest/scim/v2/1",
        "ftp://keepersecurity.com/api/rest/scim/v2/1",
        "https://keepersecurity.com",
        "https://keepersecurity.com/api/rest/scim/v2/",
        "https://keepersecurity.com/api/rest/scim/v2/1/Users",
        "https://keepersecurity.com/api/rest/scim/v2/../../1",
        "https://keepersecurity.com:8443/api/rest/scim/v2/1",
        "https://keepersecurity.com:x/api/rest/scim/v2/1",
        "https://keepersecurity.com.evil.example/api/rest/scim/v2/1",
        "https://evil-keepersecurity.com/api/rest/scim/v2/1",
        "https://www.keepersecurity.com/api/rest/scim/v2/1",
        "https://keepersecurity.com@evil.example/api/rest/scim/v2/1",
        "https://@keepersecurity.com/api/rest/scim/v2/1",
        "https://user:pw@keepersecurity.com/api/rest/scim/v2/1",
        "https://keepersecurity.com/api/rest/scim/v2/1?x=1",
        "https://keepersecurity.com/api/rest/scim/v2/1?",
        "https://keepersecurity.com/api/rest/scim/v2/1#x",
        "https://keepersecurity.com/api/rest/scim/v2/1\n2",
        "https://keepersecurity.com\\.evil.example/api/rest/scim/v2/1",
        "https://[bad/api/rest/scim/v2/1",
        "http://127.0.0.1:8080/scim",
        "https://10.0.0.1/api/rest/scim/v2/1",
    ],
)
def test_other_endpoints_are_refused(url):
    with pytest.raises(BadInput) as refused:
        check_endpoint(url)
    assert refused.value.field == "endpoint"


def test_a_refusal_never_repeats_what_was_pasted():
    for url in ("https://u:s3cr3t@keepersecurity.com/", "https://[s3cr3t/", "s3cr3t", "s3cr3t:x", "https://x/?s3cr3t"):
        with pytest.raises(BadInput) as refused:
            check_endpoint(url)
        assert "s3cr3t" not in str(refused.value)


def test_extra_hosts_are_exact_https_and_free_in_their_path():
    assert check_endpoint("https://scim.example.com/v2", ["SCIM.example.com"]) == "https://scim.example.com/v2"
    for url in ("http://scim.example.com/v2", "https://a.scim.example.com/v2", "https://scim.example.com/v2?x"):
        with pytest.raises(BadInput):
            check_endpoint(url, ["scim.example.com"])


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:1", "[::1]:8080"])
def test_loopback_is_for_local_mode(host):
    assert check_endpoint(f"http://{host}/scim", local=True) == f"http://{host}/scim"
    with pytest.raises(BadInput):
        check_endpoint(f"http://{host}/scim")


@pytest.mark.parametrize("host", ["example.com", "10.0.0.1", "0.0.0.0", "127.0.0.1.example.com"])
def test_local_mode_does_not_open_http_to_others(host):
    with pytest.raises(BadInput):
        check_endpoint(f"http://{host}/api/rest/scim/v2/1", local=True)


PATCHES = [Write(key=f"k{n}", kind=WriteKind.PATCH, scim_id=f"{n}") for n in range(3)]


def test_bulk_results_are_matched_by_bulk_id_whatever_their_order():
    results = [{"bulkId": "k2", "status": "200"}, {"bulkId": "k0", "status": "404"}]
    assert {key: item["status"] for key, item in match_results(PATCHES, results).items()} == {"k2": "200", "k0": "404"}


def test_bulk_results_without_bulk_id_are_matched_by_location():
    results = [{"location": "https://x/Users/1", "status": "200"}]
    assert list(match_results(PATCHES, results)) == ["k1"]


def test_bulk_results_are_matched_by_position_only_in_a_full_answer():
    assert list(match_results(PATCHES, [{"status": "200"}] * 3)) == ["k0", "k1", "k2"]
    assert match_results(PATCHES, [{"status": "200"}] * 2) == {}
    assert match_results(PATCHES, None) == {}


def test_bulk_never_grows_back_to_what_was_too_large():
    sizes = BulkSizes()
    sizes.grow(sizes.size, 1000)
    sizes.shrink(200, too_large=True)
    sizes.grow(sizes.size, 1000)
    assert sizes.size == 100
    sizes.shrink(100)  # a timeout says nothing about the largest size
    assert sizes.size == 50
    sizes.grow(sizes.size, 1000)
    assert sizes.size == 100


def test_bulk_doubles_up_to_what_is_offered():
    sizes = BulkSizes()
    seen = []
    for _ in range(5):
        sizes.grow(sizes.size, 1000)
        seen.append(sizes.size)
    assert seen == [200, 400, 800, 1000, 1000]
    sizes.grow(500, 1000)
    assert sizes.size == 1000, "a chunk that was kept smaller says nothing about a larger one"


def test_bulk_requests_are_divided_until_none_takes_long():
    sizes = BulkSizes(size=1000)
    assert [sizes.of(writes) for writes in (10, 40, 9000)] == [10, 10, 10], "nobody knows how long one takes"
    sizes.operation = 0
    assert [sizes.of(writes) for writes in (10, 40, 200, 400, 500, 9000)] == [10, 20, 100, 100, 125, 1000]
    sizes.operation = 0.01
    assert [sizes.of(writes) for writes in (40, 200, 9000)] == [20, 25, 25]
    sizes.operation = 0.002
    assert [sizes.of(writes) for writes in (40, 200, 9000)] == [20, 100, 125]
    sizes.operation = 1.0
    assert sizes.of(9000) == 10


def test_what_goes_wrong_for_requests_under_way_together_counts_once():
    bursts = Bursts()
    for sent in (98.0, 99.0, 99.5):
        bursts.count(sent, now=100.0)
    assert bursts.number == 1
    bursts.count(100.5, now=101.0)
    assert bursts.number == 2
