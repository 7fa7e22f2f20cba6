"""Logs: one JSON line each, and no secret in any of them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest

from autoprovisioning import telemetry
from tests.support.builders import NOW

TOKEN = "s3cr3t-T0ken_value.with~all+kinds/of=chars"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJlbWFpbCI6ImFAeC5vcmcifQ.c2lnbmF0dXJl"


@pytest.fixture(params=[True, False], ids=["webhook", "others"])
def light(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Either way of logging, set up on a root logger that is put back in the end."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield request.param
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def log(light: bool) -> logging.Logger:
    telemetry.set_up("demo", "info", light=light)
    (handler,) = logging.getLogger().handlers
    handler.setStream(io.StringIO())
    return logging.getLogger("autoprovisioning.test")


def lines() -> list[dict]:
    """Return what was logged by us; google-cloud-logging introduces itself with a line of its own."""
    handler = logging.getLogger().handlers[0]
    return _ours(handler.stream.getvalue())


def _ours(text: str) -> list[dict]:
    found = [json.loads(line) for line in text.splitlines()]
    return [line for line in found if "logging.googleapis.com/diagnostic" not in json.dumps(line)]


def test_a_record_is_one_json_line(log):
    log.warning("Füße: %s\nand %d", "ädd", 2, extra={"json_fields": {"connection": "c1", "held": 3}})
    log.debug("too quiet")
    (line,) = lines()
    assert (line["severity"], line["message"]) == ("WARNING", "Füße: ädd\nand 2")
    assert (line["connection"], line["held"]) == ("c1", 3)


SECRETS = [
    f"Authorization: Bearer {TOKEN}",
    f"authorization: Basic {TOKEN}",
    f"Authorization={TOKEN}",
    f"headers={{'Authorization': 'Bearer {TOKEN}'}}",
    f"bearer   {TOKEN}",
    f"token={TOKEN}",
    f"GET /path?access_token={TOKEN}&x=1",
    f'{{"token": "{TOKEN}"}}',
    json.dumps(json.dumps({"token": TOKEN})),
    f"X-Goog-Channel-Token: {TOKEN}",
    f"password: {TOKEN}",
    f"client_secret={TOKEN}",
    f"API-Key: {TOKEN}",
    f"assertion {JWT} was refused",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_in_a_message_is_redacted(log, text):
    log.info(text)
    log.info("it said %s", text)
    for line in lines():
        assert "[redacted]" in json.dumps(line)
        assert not leaks(line)


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_in_an_exception_is_redacted(log, text):
    try:
        raise RuntimeError(text)
    except RuntimeError:
        log.exception("It failed")
    (line,) = lines()
    assert "Traceback" in line["message"]
    assert "RuntimeError" in line["message"]
    assert not leaks(line)


FIELDS = [
    {"reason": f"Bearer {TOKEN}"},
    {"token": TOKEN},
    {"access_token": TOKEN},
    {"Authorization": TOKEN},
    {"password": "short"},
    {"request": {"headers": {"authorization": TOKEN}}},
    {"tried": [f"token={TOKEN}", {"secret": TOKEN}]},
    {"error": RuntimeError(f"token={TOKEN}")},
]


@pytest.mark.parametrize("fields", FIELDS)
def test_a_secret_in_a_field_is_redacted_however_deep(log, fields):
    log.info("told", extra={"json_fields": fields})
    (line,) = lines()
    assert "[redacted]" in json.dumps(line)
    assert not leaks(line)


def leaks(line: dict) -> bool:
    """Say whether a line holds a secret, or a telling part of one."""
    text = json.dumps(line)
    return any(part in text for part in (TOKEN, TOKEN[:12], JWT, JWT.split(".")[1], "short"))


HARMLESS = [
    "token: it is empty, too long, or has blanks or control characters. Paste the access token that Keeper shows once.",
    "Keeper refuses the access token of connection Keeper. A super administrator must reauthorize it.",
    "token_version 12 of connection c1",
    "the bearer of bad news",
    "held plan 0123456789abcdef0123456789abcdef",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_plain_words_stay_readable(text):
    assert telemetry.redact(text) == text


def test_fields_keep_their_types(log):
    log.info("told", extra={"json_fields": {"n": 1, "x": 1.5, "yes": True, "none": None, "token_version": "12"}})
    (line,) = lines()
    assert (line["n"], line["x"], line["yes"], line["none"], line["token_version"]) == (1, 1.5, True, None, "12")


def test_arguments_that_do_not_fit_do_not_fail_the_work(log):
    log.info("%d users, token=%s", "many", TOKEN)
    (line,) = lines()
    assert "%d users" in line["message"]
    assert not leaks(line)


def test_setting_up_twice_logs_once(light, capsys):
    for _ in range(2):
        telemetry.set_up("demo", "INFO", light=light)
    logging.getLogger("autoprovisioning.test").info("once")
    assert len(_ours(capsys.readouterr().out)) == 1


def test_libraries_are_quiet(log):
    logging.getLogger("google.auth").info("chatter")
    logging.getLogger("urllib3.connectionpool").info("chatter")
    assert lines() == []


def test_a_line_that_anybody_can_cause_is_logged_once_a_minute_with_how_often():
    refusals, minute = telemetry.Sampled(timedelta(minutes=1)), timedelta(minutes=1)
    assert [refusals.due(NOW + timedelta(seconds=number)) for number in range(60)] == [1] + [0] * 59
    assert refusals.due(NOW + minute) == 60
    assert refusals.due(NOW + minute) == 0
    assert refusals.due(NOW + 3 * minute) == 2
