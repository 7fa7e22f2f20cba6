"""The configuration: read once, every problem reported at once, each with its fix."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autoprovisioning.config import Misconfigured, load

LEAST = {
    "GOOGLE_CLOUD_PROJECT": "example",
    "DIRECTORY_ADMIN": "admin@example.com",
    "DIRECTORY_SERVICE_ACCOUNT": "sa@example.iam.gserviceaccount.com",
}


def test_three_settings_are_enough():
    config = load(LEAST)
    assert (config.project, config.local, config.database) == ("example", False, "(default)")
    assert (config.directory_endpoint, config.directory_customer) == ("https://admin.googleapis.com", "my_customer")
    assert (config.user_deadline, config.user_mark) == (timedelta(seconds=60), timedelta(seconds=90))
    assert (config.batch_deadline, config.batch_mark) == (timedelta(seconds=480), timedelta(seconds=660))
    assert (config.extra_scim_hosts, config.channel_key, config.log_level) == ((), b"", "INFO")


def test_a_directory_on_loopback_needs_no_administrator():
    local = load({"GOOGLE_CLOUD_PROJECT": "demo", "DIRECTORY_API_ENDPOINT": "http://127.0.0.1:8000/"})
    assert local.directory_endpoint == "http://127.0.0.1:8000"
    assert (local.directory_admin, local.directory_service_account) == ("", "")


def test_which_sources_of_changes_there_are_is_on_or_off():
    config = load(LEAST)
    assert (config.audit_log_sink, config.public_webhook, config.sweep_every) == (False, True, timedelta(minutes=5))
    config = load(LEAST | {"AUDIT_LOG_SINK": "On", "PUBLIC_WEBHOOK": "off", "SWEEP_MINUTES": "60"})
    assert (config.audit_log_sink, config.public_webhook, config.sweep_every) == (True, False, timedelta(hours=1))
    with pytest.raises(Misconfigured, match=r"PUBLIC_WEBHOOK is 'no'\. Use on or off\."):
        load(LEAST | {"PUBLIC_WEBHOOK": "no"})


def test_full_runs_come_every_quarter_of_an_hour_every_hour_or_every_day():
    assert load(LEAST).full_run_every == timedelta(minutes=15)
    assert load(LEAST | {"FULL_RUN_MINUTES": "1440"}).full_run_every == timedelta(days=1)
    with pytest.raises(Misconfigured, match=r"FULL_RUN_MINUTES is '30'\. Use one of: 15, 60, 1440\."):
        load(LEAST | {"FULL_RUN_MINUTES": "30"})


def test_settings_are_read_as_they_are_meant():
    config = load(
        LEAST
        | {
            "LOCAL_MODE": "TRUE",
            "SCIM_EXTRA_HOSTS": " a.example.com,b.example.com  c.example.com ",
            "SCIM_CONCURRENCY": "8",
            "SCIM_STOP_SECONDS": "7",
            "USER_DEADLINE_SECONDS": "0.5",
            "CHANNEL_KEY": "clé",
            "LOG_LEVEL": "debug",
            "FIRESTORE_EMULATOR_HOST": "127.0.0.1:1",
            "WEBHOOK_URL": "https://hook.example.com/",
            "DIRECTORY_CUSTOMER": "  ",
        }
    )
    assert config.local
    assert config.extra_scim_hosts == ("a.example.com", "b.example.com", "c.example.com")
    assert (config.scim_concurrency, config.scim_stop.total_seconds()) == (8, 7.0)
    assert config.user_deadline == timedelta(seconds=0.5)
    assert (config.channel_key, config.log_level) == ("clé".encode(), "DEBUG")
    assert (config.webhook_url, config.directory_customer) == ("https://hook.example.com", "my_customer")


BAD = [
    ("LOCAL_MODE", "yes", "Use true or false"),
    ("SCIM_CONCURRENCY", "many", "Use a number above 0"),
    ("SCIM_CONCURRENCY", "0", "Use a number above 0"),
    ("SCIM_CONCURRENCY", "1.5", "Use a number above 0"),
    ("SCIM_TIMEOUT_SECONDS", "-1", "Use a number above 0"),
    ("SCIM_TIMEOUT_SECONDS", "nan", "Use a number above 0"),
    ("SCIM_TIMEOUT_SECONDS", "inf", "Use a number above 0"),
    ("SCIM_TIMEOUT_SECONDS", "1e300", "Use a number above 0"),
    ("DIRECTORY_API_ENDPOINT", "http://directory.example.com", "Use an https address"),
    ("DIRECTORY_API_ENDPOINT", "admin.googleapis.com", "Use an https address"),
    ("DIRECTORY_API_ENDPOINT", "https://", "Use an https address"),
    ("WEBHOOK_URL", "http://[::1", "Use an https address"),
    ("WEBHOOK_URL", "https://hook.example.com:port", "Use an https address"),
    ("WEBHOOK_URL", "ftp://hook.example.com", "Use an https address"),
    ("IAP_CERTS_URL", "http://certs.example.com", "Use an https address"),
    ("LOG_LEVEL", "LOUD", "Use one of: DEBUG, INFO"),
    ("USER_MARK_SECONDS", "60", "a mark must outlive the work it covers"),
    ("BATCH_DEADLINE_SECONDS", "700", "a mark must outlive the work it covers"),
    ("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1", "set outside local mode"),
    ("PUBSUB_EMULATOR_HOST", "127.0.0.1:1", "set outside local mode"),
    ("SECRET_MANAGER_EMULATOR_HOST", "127.0.0.1:1", "set outside local mode"),
]


@pytest.mark.parametrize(("name", "value", "mend"), BAD)
def test_a_bad_setting_is_named_with_its_mend(name, value, mend):
    with pytest.raises(Misconfigured) as caught:
        load(LEAST | {name: value})
    (problem,) = str(caught.value).splitlines()[1:]
    assert name in problem
    assert mend in problem


def test_every_problem_is_told_at_once():
    with pytest.raises(Misconfigured) as caught:
        load({"LOCAL_MODE": "maybe", "WEBHOOK_URL": "nowhere", "SCIM_CONCURRENCY": "x", "BATCH_MARK_SECONDS": "1"})
    told = str(caught.value)
    for name in (
        "GOOGLE_CLOUD_PROJECT",
        "DIRECTORY_ADMIN",
        "DIRECTORY_SERVICE_ACCOUNT",
        "LOCAL_MODE",
        "WEBHOOK_URL",
        "SCIM_CONCURRENCY",
        "BATCH_MARK_SECONDS",
    ):
        assert name in told
    assert len(told.splitlines()) == 8


def test_the_channel_key_is_never_told():
    with pytest.raises(Misconfigured) as caught:
        load({"CHANNEL_KEY": "very-secret", "LOCAL_MODE": "maybe"})
    assert "very-secret" not in str(caught.value)


def test_a_function_that_never_reads_the_directory_need_not_know_in_whose_name():
    chosen = load({"GOOGLE_CLOUD_PROJECT": "demo"}, reads_directory=False)
    assert (chosen.directory_admin, chosen.directory_service_account) == ("", "")
