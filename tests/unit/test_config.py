"""Settings: what is accepted, what is refused and in which words, and that no secret ever shows."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest
import trustme

from mailculator.config import EVERYTHING, Need, Settings, load, redacted, unknown_variables
from mailculator.config_checks import warnings
from mailculator.errors import ConfigError

GOOD = {
    "SQLITE_PIPELINES_ENABLED": "true",
    "SMTP_HOST": "relay.example.com",
    "SMTP_FROM": "bounces@example.com",
    "PIPELINE_CALLBACK_URL": "http://producer.example.com/callbacks",
}
SAFE = {**GOOD, "PIPELINE_CALLBACK_URL": "https://producer.example.com/callbacks"}
DYNAMODB = {"DYNAMODB_PIPELINES_ENABLED": "true", "EMAIL_OUTBOX_TABLE": "Outbox", "AWS_REGION": "eu-west-1"}
MYSQL = {"MYSQL_PIPELINES_ENABLED": "true", "MYSQL_HOST": "db", "MYSQL_USER": "mail", "MYSQL_DATABASE": "queue"}


def problems(needs: frozenset[Need] = EVERYTHING, /, **environ: str) -> dict[str, str]:
    """Variable → message of everything that is wrong with these on top of a good environment."""
    with pytest.raises(ConfigError) as caught:
        load({**GOOD, **environ}, needs=needs)
    found = {problem.variable: problem.message for problem in caught.value.problems}
    assert len(found) == len(caught.value.problems), "a variable is told twice"
    return found


def test_a_good_environment_gives_typed_values_and_defaults() -> None:
    settings = load({**GOOD, **MYSQL, "MYSQL_PORT": "3307", "PIPELINE_INTERVAL": "0.25", "MYSQL_TLS": "True"})
    assert settings.mysql_port == 3307
    assert settings.pipeline_interval == 0.25
    assert settings.mysql_tls == "true"
    assert settings.sqlite_pipelines_enabled
    assert settings.smtp_port == 587
    assert settings.callback_headers == {"X-MTRAX-SOURCE": "MULTIDIALOGO"}
    assert settings.message_id_domain == "example.com"
    assert settings.replica.endswith(f"-{os.getpid()}")


def test_settings_made_directly_take_nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_HOST", "configured.example.com")
    monkeypatch.setenv("smtp_host", "configured.example.com")
    assert Settings().smtp_host == ""
    assert load(needs=()).smtp_host == "configured.example.com"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(GOOD).smtp_host = "other"  # type: ignore[misc]


def test_an_empty_value_counts_as_unset() -> None:
    blank = dict.fromkeys(("SMTP_PORT", "MYSQL_PORT", "MAILCULATOR_LOG_LEVEL", "MAILCULATOR_CALLBACK_HEADERS"), "")
    settings = load({**GOOD, **blank, "MAILCULATOR_MESSAGE_ID_DOMAIN": "", "ATTACHMENTS_BASE_PATH": " "})
    assert (settings.smtp_port, settings.mysql_port, settings.log_level) == (587, 3306, "info")
    assert settings.message_id_domain == "example.com"
    assert settings.attachments_base_path is None


@pytest.mark.parametrize("word", ["true", "TRUE", "1", "yes", "On"])
def test_words_for_true(word: str) -> None:
    assert load({**GOOD, "MAILCULATOR_INVALID_CALLBACK": word}).invalid_callback is True


@pytest.mark.parametrize("word", ["false", "0", "NO", "off", ""])
def test_words_for_false(word: str) -> None:
    assert load({**GOOD, "MAILCULATOR_INVALID_CALLBACK": word}).invalid_callback is False


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        # bad input 42
        ("SMTP_PORT", "abc", "must be 1..65535 (got 'abc')"),
        ("SMTP_PORT", "0", "must be 1..65535 (got '0')"),
        ("MYSQL_PORT", "70000", "must be 1..65535 (got '70000')"),
        ("MAILCULATOR_HTTP_PORT", "abc", "must be 0..65535 (got 'abc')"),
        ("MAILCULATOR_HTTP_PORT", "-1", "must be 0..65535 (got '-1')"),
        ("PIPELINE_INTERVAL", "0", "must be above 0 and at most 3600 (got '0')"),
        ("PIPELINE_INTERVAL", "-1", "must be above 0 and at most 3600 (got '-1')"),
        ("PIPELINE_INTERVAL", "1e9", "must be above 0 and at most 3600 (got '1e9')"),
        ("PIPELINE_INTERVAL", "nan", "must be above 0 and at most 3600 (got 'nan')"),
        ("PIPELINE_INTERVAL", "inf", "must be above 0 and at most 3600 (got 'inf')"),
        ("MAILCULATOR_SMTP_CONNECTIONS", "0", "must be 1..1000 (got '0')"),
        ("MAILCULATOR_BATCH_SIZE", "100000", "must be 1..5000 (got '100000')"),
        ("MYSQL_PIPELINES_ENABLED", "yes please", "must be true or false (got 'yes please')"),
        ("SMTP_ALLOW_INSECURE_TLS", "2", "must be true or false (got '2')"),
        ("MYSQL_TLS", "maybe", "must be false, true or skip-verify (got 'maybe')"),
        ("MAILCULATOR_SMTP_TLS", "ssl", "must be starttls, implicit or none (got 'ssl')"),
        ("MAILCULATOR_LOG_LEVEL", "loud", "must be debug, info, warning or error (got 'loud')"),
        # bad input 45; the heartbeat is a third of the lease by construction
        ("MAILCULATOR_LEASE", "5", "must be 15..3600 (got '5')"),
        ("SMTP_FROM", "Name <a@example.com>", "must be one bare address, like bounces@example.com (got "),
        ("SMTP_FROM", "a@example.com, b@example.com", "must be one bare address, like bounces@example.com (got "),
        ("SMTP_FROM", "nobody", "must be one bare address, like bounces@example.com (got 'nobody')"),
        ("SMTP_HOST", "smtp://relay", "must be a host name or an address, without scheme or port (got 'smtp://relay')"),
        ("SMTP_HOST", "relay:25", "must be a host name or an address, without scheme or port (got 'relay:25')"),
        ("MAILCULATOR_MESSAGE_ID_DOMAIN", "a b.com", "must be a full domain name (got 'a b.com')"),
        ("MAILCULATOR_ALLOWED_SENDER_DOMAINS", "a.com;b.com", "must be full domain names separated by commas (got "),
        ("MAILCULATOR_SMTP_HELO", "[300.1.1.1]", "must be a host name, or an address in square brackets (got "),
        ("MAILCULATOR_REPLICA", "x" * 101, "must be 1 to 100 printable characters (got "),
        ("MAILCULATOR_CALLBACK_SENT_REASON", "x" * 1001, "must be at most 1000 characters (got "),
        ("MYSQL_PORT", "tcp://10.0.0.1:3306", "enableServiceLinks"),
        ("SMTP_PORT", "\udcff", "must be UTF-8 text"),
        # bad input 44
        ("PIPELINE_CALLBACK_URL", "ftp://host/x", "must begin with http:// or https://"),
        ("PIPELINE_CALLBACK_URL", "file:///etc/passwd", "must begin with http:// or https://"),
        ("PIPELINE_CALLBACK_URL", "http://user:pw@host/", "must not contain a user or password"),
        ("PIPELINE_CALLBACK_URL", "http:///x", "must name a host, and no port 0"),
        ("PIPELINE_CALLBACK_URL", "http://169.254.169.254/", "must not point to a link-local or metadata address"),
        ("MAILCULATOR_CALLBACK_REQUIRE_HTTPS", "true", "PIPELINE_CALLBACK_URL: must begin with https://"),
        ("MAILCULATOR_CALLBACK_SECRET", "whsec_???", "cannot be used: what follows whsec_ must be base64"),
        ("MAILCULATOR_CALLBACK_SECRET", "  ", "must not be blank"),
        # bad input 46
        ("ATTACHMENTS_BASE_PATH", "/", "must not be the root of the file system (got '/')"),
        ("ATTACHMENTS_BASE_PATH", "/tmp/..", "must not be the root of the file system (got '/tmp/..')"),
        ("ATTACHMENTS_BASE_PATH", "data", "must be an absolute path (got 'data')"),
        ("EML_STORAGE_PATH", "/nonexistent/dir", "must be a directory that is there (got '/nonexistent/dir')"),
        ("EML_STORAGE_PATH", "/etc/hostname", "must be a directory that is there (got '/etc/hostname')"),
        ("SQLITE_PATH", "/tmp", "must name a file, not a directory (got '/tmp')"),
        ("MAILCULATOR_SMTP_CA_FILE", "/nonexistent.pem", "cannot be read: No such file or directory (got "),
        ("MAILCULATOR_CALLBACK_CA_FILE", "/etc/passwd", "must be a file of PEM certificates (got '/etc/passwd')"),
        (
            "MAILCULATOR_MEMORY_LIMIT",
            "1048576",
            "must be at least MAILCULATOR_MAX_MESSAGE_SIZE, 36700160 (got 1048576)",
        ),
        ("SMTP_USER", "mail", "SMTP_PASS: is required when SMTP_USER is set"),
        ("SMTP_PASS", "secret", "SMTP_USER: is required when SMTP_PASS is set"),
        ("EMAIL_OUTBOX_TABLE", "ab", "must be 3 to 255 characters of A-Z, a-z, 0-9, _, - and . (got 'ab')"),
        ("EMAIL_OUTBOX_TABLE", "out/box", "must be 3 to 255 characters of A-Z, a-z, 0-9, _, - and . (got 'out/box')"),
        ("EMAIL_OUTBOX_TABLE", "x" * 256, "must be 3 to 255 characters of A-Z, a-z, 0-9, _, - and . (got "),
        ("MAILCULATOR_DYNAMODB_PEER_CONSUMER", "maybe", "must be true or false (got 'maybe')"),
        ("MAILCULATOR_DYNAMODB_KEEP_ACCEPTED", "maybe", "must be true or false (got 'maybe')"),
        ("MAILCULATOR_DYNAMODB_INTERVAL", "0", "must be above 0 and at most 3600 (got '0')"),
        ("MAILCULATOR_DYNAMODB_SWEEP_EVERY", "0", "must be 1..604800 (got '0')"),
        ("MAILCULATOR_DYNAMODB_WRITE_RATE", "nan", "must be 1..100000 (got 'nan')"),
        ("MAILCULATOR_DUPLICATE_GUARD", "perhaps", "must be true or false (got 'perhaps')"),
        ("MAILCULATOR_CUTOVER_QUIET", "-1", "must be 0..31536000 (got '-1')"),
    ],
)
def test_a_bad_value_is_told_by_name_with_what_would_be_right(variable: str, value: str, message: str) -> None:
    found = problems(**{variable: value})
    assert len(found) == 1
    [(name, text)] = found.items()
    assert message in (text if name == variable else f"{name}: {text}")
    assert "pw" not in text


def test_all_problems_come_at_once_in_the_order_of_the_documentation() -> None:
    with pytest.raises(ConfigError) as caught:
        load({"MYSQL_PIPELINES_ENABLED": "1", "MYSQL_PORT": "x", "SMTP_PORT": "0", "SMTP_PASS_FILE": "/nonexistent"})
    assert str(caught.value).splitlines() == [
        "MYSQL_HOST: is required",
        "MYSQL_PORT: must be 1..65535 (got 'x')",
        "MYSQL_USER: is required",
        "MYSQL_DATABASE: is required",
        "SMTP_HOST: is required",
        "SMTP_PORT: must be 1..65535 (got '0')",
        "SMTP_PASS_FILE: must name a readable file of UTF-8 text (No such file or directory)",
        "SMTP_FROM: is required",
        "PIPELINE_CALLBACK_URL: is required",
    ]


def test_some_queue_must_be_switched_on() -> None:
    assert "no queue is switched on" in problems(SQLITE_PIPELINES_ENABLED="false")["MYSQL_PIPELINES_ENABLED"]


@pytest.mark.parametrize("flag", ["MYSQL_PIPELINES_ENABLED", "SQLITE_PIPELINES_ENABLED", "DYNAMODB_PIPELINES_ENABLED"])
def test_a_misspelt_switch_is_not_told_as_no_queue_at_all(flag: str) -> None:
    assert set(problems(**{"SQLITE_PIPELINES_ENABLED": "", flag: "ture"})) == {flag}


@pytest.mark.parametrize("variable", ["SMTP_HOST", "SMTP_FROM", "PIPELINE_CALLBACK_URL"])
def test_what_every_service_needs_is_required(variable: str) -> None:
    assert problems(**{variable: ""}) == {variable: "is required"}


@pytest.mark.parametrize("variable", ["MYSQL_HOST", "MYSQL_USER", "MYSQL_DATABASE"])
def test_an_enabled_store_needs_its_own(variable: str) -> None:
    assert problems(**{**MYSQL, variable: ""}) == {variable: "is required"}


@pytest.mark.parametrize("variable", ["EMAIL_OUTBOX_TABLE", "AWS_REGION"])
def test_dynamodb_needs_its_own(variable: str) -> None:
    assert problems(**{**DYNAMODB, variable: ""}) == {variable: "is required"}
    assert load({**GOOD, variable: ""}).dynamodb_pipelines_enabled is False


def test_dynamodb_alone_is_a_queue() -> None:
    settings = load({**GOOD, **DYNAMODB, "SQLITE_PIPELINES_ENABLED": ""})
    assert (settings.email_outbox_table, settings.aws_region) == ("Outbox", "eu-west-1")
    assert (settings.aws_endpoint_url, settings.aws_access_key_id) == ("", "")
    assert (settings.dynamodb_interval, settings.dynamodb_sweep_every, settings.dynamodb_write_rate) == (2, 21600, 700)
    assert (settings.dynamodb_peer_consumer, settings.dynamodb_keep_accepted) == (False, False)
    assert (settings.duplicate_guard, settings.cutover_quiet) == (True, 86400)


@pytest.mark.parametrize(
    ("given", "url", "region"),
    [
        ({"AWS_BASE_ENDPOINT": "http://[::1]:8000/"}, "http://[::1]:8000/", "eu-west-1"),
        ({"AWS_ENDPOINT_URL": "https://vpce-1.example.com"}, "https://vpce-1.example.com", "eu-west-1"),
        ({"AWS_BASE_ENDPOINT": "http://db:1", "AWS_ENDPOINT_URL": "http://db:1"}, "http://db:1", "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "us-east-1"}, "", "eu-west-1"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-east-1"}, "", "us-east-1"),
        ({"AWS_REGION": "local"}, "", "local"),
    ],
)
def test_the_names_of_the_aws_tools_are_understood(given: dict[str, str], url: str, region: str) -> None:
    settings = load({**GOOD, **DYNAMODB, **given})
    assert (settings.aws_endpoint_url, settings.aws_region) == (url, region)


ENDPOINT = "must be http:// or https:// with a host and nothing behind it but a port"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"AWS_BASE_ENDPOINT": "localhost:8000"}, {"AWS_BASE_ENDPOINT": ENDPOINT}),
        ({"AWS_ENDPOINT_URL": "ftp://db"}, {"AWS_ENDPOINT_URL": ENDPOINT}),
        ({"AWS_BASE_ENDPOINT": "http://"}, {"AWS_BASE_ENDPOINT": ENDPOINT}),
        ({"AWS_BASE_ENDPOINT": "http://db:0"}, {"AWS_BASE_ENDPOINT": ENDPOINT}),
        ({"AWS_BASE_ENDPOINT": "http://db:port"}, {"AWS_BASE_ENDPOINT": ENDPOINT}),
        ({"AWS_BASE_ENDPOINT": "http://db/dynamodb"}, {"AWS_BASE_ENDPOINT": ENDPOINT}),
        ({"AWS_BASE_ENDPOINT": "http://db?CANARY"}, {"AWS_BASE_ENDPOINT": ENDPOINT}),
        ({"AWS_BASE_ENDPOINT": "http://me:CANARY@db"}, {"AWS_BASE_ENDPOINT": ENDPOINT}),
        (
            {"AWS_BASE_ENDPOINT": "http://a", "AWS_ENDPOINT_URL": "http://b"},
            {"AWS_BASE_ENDPOINT": "differs from AWS_ENDPOINT_URL: unset one of the two"},
        ),
        (
            {"AWS_REGION": "eu west"},
            {"AWS_REGION": "must be a region's name, like eu-west-1 (got 'eu west')"},
        ),
        (
            {"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu_west"},
            {"AWS_DEFAULT_REGION": "must be a region's name, like eu-west-1 (got 'eu_west')"},
        ),
        (
            {"AWS_ACCESS_KEY_ID": "AKIA"},
            {"AWS_SECRET_ACCESS_KEY": "is required when AWS_ACCESS_KEY_ID is set"},
        ),
        (
            {"AWS_SECRET_ACCESS_KEY": "CANARY"},
            {"AWS_ACCESS_KEY_ID": "is required when AWS_SECRET_ACCESS_KEY is set"},
        ),
        (
            {"AWS_SESSION_TOKEN": "CANARY"},
            {"AWS_ACCESS_KEY_ID": "is required when AWS_SESSION_TOKEN is set"},
        ),
        (
            {"MAILCULATOR_DYNAMODB_PEER_CONSUMER": "true"},
            {
                "EML_STORAGE_PATH": "is required when MAILCULATOR_DYNAMODB_PEER_CONSUMER is true: the older consumer "
                "prepares EML files"
            },
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_dynamodb_cannot_use_is_told_only_where_it_is_used(given: dict[str, str], found: dict[str, str]) -> None:
    assert problems(**{**DYNAMODB, **given}) == found
    assert load({**GOOD, **given}).sqlite_pipelines_enabled


def test_a_command_is_asked_only_for_what_it_uses() -> None:
    assert load({"SQLITE_PIPELINES_ENABLED": "1"}, needs={"store"}).sqlite_pipelines_enabled
    assert load({"SMTP_HOST": "relay", "SMTP_FROM": "a@example.com"}, needs={"smtp"}).smtp_host == "relay"
    assert set(problems(frozenset({"mysql"}), SMTP_HOST="")) == {"MYSQL_HOST", "MYSQL_USER", "MYSQL_DATABASE"}
    assert set(problems(frozenset({"dynamodb"}), SMTP_HOST="")) == {"EMAIL_OUTBOX_TABLE", "AWS_REGION"}
    assert set(problems(frozenset({"sqlite"}), SMTP_HOST="", SMTP_PORT="x")) == {"SMTP_PORT"}


def test_a_password_over_a_connection_without_tls_needs_to_be_allowed() -> None:
    plain = {"MAILCULATOR_SMTP_TLS": "none", "SMTP_USER": "u", "SMTP_PASS": "p"}
    assert set(problems(**plain)) == {"MAILCULATOR_SMTP_TLS"}
    for host in ("localhost", "127.0.0.9", "::1"):
        assert load({**GOOD, **plain, "SMTP_HOST": host}).smtp_host == host
    allowed = load({**GOOD, **plain, "MAILCULATOR_SMTP_ALLOW_PLAINTEXT_AUTH": "true"})
    assert "MAILCULATOR_SMTP_ALLOW_PLAINTEXT_AUTH" in {warning.variable for warning in warnings(allowed)}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"MYSQL_HOST": "db.example.com"}, ["MYSQL_TLS"]),
        ({"MYSQL_HOST": "10.0.0.7", "MYSQL_TLS": "false"}, ["MYSQL_TLS"]),
        ({"MYSQL_HOST": "10.0.0.7", "MYSQL_TLS": "true"}, []),
        ({"MYSQL_HOST": "localhost"}, []),
        ({"MYSQL_HOST": "::1"}, []),
        ({"MYSQL_HOST": "db.example.com", "MYSQL_PIPELINES_ENABLED": "false"}, []),
        ({"MYSQL_HOST": "localhost", "PIPELINE_CALLBACK_URL": "http://producer/cb?token=t"}, ["PIPELINE_CALLBACK_URL"]),
        ({"MYSQL_HOST": "localhost", "PIPELINE_CALLBACK_URL": "http://127.0.0.1:9000/cb"}, []),
        ({"MYSQL_HOST": "localhost", "PIPELINE_CALLBACK_URL": "HTTPS://producer/cb"}, []),
    ],
)
def test_what_crosses_the_network_unencrypted_is_warned_of(given: dict[str, str], told: list[str]) -> None:
    found = warnings(load({**SAFE, **MYSQL, "MYSQL_PASSWORD": "s", **given}))
    assert [warning.variable for warning in found] == told
    assert all("unencrypted" in warning.message and "token" not in warning.message for warning in found)


def test_what_is_unsafe_is_warned_of_by_name() -> None:
    assert warnings(load(SAFE)) == []
    risky = {"SMTP_ALLOW_INSECURE_TLS": "1", "MYSQL_TLS": "skip-verify", "MAILCULATOR_TIME_SCALE": "0.5"}
    assert [warning.variable for warning in warnings(load({**SAFE, **MYSQL, **risky}))] == [
        "MYSQL_TLS",
        "MYSQL_PASSWORD",
        "SMTP_ALLOW_INSECURE_TLS",
        "MAILCULATOR_TIME_SCALE",
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"AWS_BASE_ENDPOINT": "http://dynamodb:8000"}, ["AWS_BASE_ENDPOINT"]),
        ({"AWS_ENDPOINT_URL": "http://10.0.0.7:8000"}, ["AWS_BASE_ENDPOINT"]),
        ({"AWS_BASE_ENDPOINT": "http://127.0.0.1:8000"}, []),
        ({"AWS_BASE_ENDPOINT": "http://[::1]:8000"}, []),
        ({"AWS_BASE_ENDPOINT": "https://dynamodb:8000"}, []),
        ({"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"}, []),
        ({"MAILCULATOR_DUPLICATE_GUARD": "false"}, []),
        (
            {**MYSQL, "MYSQL_PASSWORD": "s", "MYSQL_TLS": "true", "MAILCULATOR_DUPLICATE_GUARD": "no"},
            ["MAILCULATOR_DUPLICATE_GUARD"],
        ),
    ],
)
def test_what_is_unsafe_about_dynamodb_is_warned_of(given: dict[str, str], told: list[str]) -> None:
    assert [warning.variable for warning in warnings(load({**SAFE, **DYNAMODB, **given}))] == told
    unused = {name: value for name, value in given.items() if not name.startswith("MYSQL")}
    assert warnings(load({**SAFE, **unused})) == []


def test_directories_and_authorities_that_are_there_pass(tmp_path: Path) -> None:
    pem = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(pem))
    where = {"ATTACHMENTS_BASE_PATH": str(tmp_path), "EML_STORAGE_PATH": str(tmp_path)}
    settings = load({**GOOD, **where, "MAILCULATOR_SMTP_CA_FILE": str(pem)})
    assert (settings.attachments_base_path, settings.smtp_ca_file) == (tmp_path, pem)


def test_values_that_are_normalised() -> None:
    settings = load(
        {
            **GOOD,
            "SMTP_FROM": "bounces@EXÄMPLE.com\r",
            "SMTP_PORT": " 2525 \r",
            "MAILCULATOR_ALLOWED_SENDER_DOMAINS": " Example.com , exämple.com,",
            "MAILCULATOR_LOG_LEVEL": "DEBUG",
        }
    )
    assert settings.smtp_from == "bounces@xn--exmple-cua.com"
    assert settings.message_id_domain == "xn--exmple-cua.com"
    assert settings.smtp_port == 2525
    assert settings.allowed_sender_domains == ("example.com", "xn--exmple-cua.com")
    assert settings.log_level == "debug"


# Secrets


@pytest.mark.parametrize(
    "password", ['a"b', "#x", "$HOME ${X}", "p@ss", "two\nlines\n", "100%s %(x)s", " blanks ", "è€"]
)
def test_a_secret_is_taken_as_it_is(password: str) -> None:  # bad input 43
    settings = load({**GOOD, **MYSQL, "MYSQL_PASSWORD": password, "SMTP_USER": "u", "SMTP_PASS": password})
    assert settings.mysql_password.get_secret_value() == password
    assert settings.smtp_pass.get_secret_value() == password


@pytest.mark.parametrize(
    ("content", "secret"), [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), ("a\n\n", "a\n")]
)
def test_a_secret_may_come_from_a_file(tmp_path: Path, content: str, secret: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    secrets = (
        "MYSQL_PASSWORD",
        "SMTP_PASS",
        "MAILCULATOR_CALLBACK_SECRET",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    )
    files = {f"{name}_FILE": str(path) for name in secrets}
    settings = load({**GOOD, **MYSQL, **DYNAMODB, **files, "SMTP_USER": "u", "AWS_ACCESS_KEY_ID": "AKIA"})
    for found in (
        settings.mysql_password,
        settings.smtp_pass,
        settings.callback_secret,
        settings.aws_secret_access_key,
        settings.aws_session_token,
    ):
        assert found.get_secret_value() == secret


def test_a_secret_given_twice_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("CANARY-FILE")
    found = problems(MAILCULATOR_CALLBACK_SECRET="CANARY-VALUE", MAILCULATOR_CALLBACK_SECRET_FILE=str(path))
    assert found == {
        "MAILCULATOR_CALLBACK_SECRET": "is given twice: unset it or MAILCULATOR_CALLBACK_SECRET_FILE",
    }


def test_a_file_of_bytes_is_a_problem_that_quotes_none_of_them(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"CANARY\xff")
    found = problems(MAILCULATOR_CALLBACK_SECRET_FILE=str(path))
    assert found == {
        "MAILCULATOR_CALLBACK_SECRET_FILE": "must name a readable file of UTF-8 text (not UTF-8)",
    }


def test_no_error_and_no_representation_holds_a_secret() -> None:
    secrets = {
        "MYSQL_PASSWORD": "CANARY-1",
        "SMTP_PASS": "CANARY-2",
        "MAILCULATOR_CALLBACK_SECRET": "CANARY-3",
        "MAILCULATOR_CALLBACK_HEADERS": '{"Authorization": "Bearer CANARY-4"}',
        "PIPELINE_CALLBACK_URL": "http://producer.example.com/callbacks?token=CANARY-5",
        "AWS_SECRET_ACCESS_KEY": "CANARY-6",
        "AWS_SESSION_TOKEN": "CANARY-7",
        "SMTP_USER": "u",
        "AWS_ACCESS_KEY_ID": "AKIA",
    }
    environ = {**GOOD, **MYSQL, **DYNAMODB, **secrets}
    settings = load(environ)
    shown = [repr(settings), str(settings), repr(redacted(settings, environ)), repr([settings])]
    broken = {**environ, "SMTP_PORT": "x", "MAILCULATOR_CALLBACK_HEADERS": '["CANARY-4"]', "SMTP_PASS": "CANARY\udcff"}
    with pytest.raises(ConfigError) as caught:
        load(broken)
    error = caught.value
    shown += [str(error), repr(error), "".join(traceback.format_exception(error))]
    assert error.__cause__ is None
    assert error.__context__ is None
    assert {"SMTP_PORT", "SMTP_PASS", "MAILCULATOR_CALLBACK_HEADERS"} <= {p.variable for p in error.problems}
    assert len(shown) == 7
    assert [text for text in shown if "CANARY" in text] == []


def test_redacted_says_where_each_value_came_from(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("CANARY")
    environ = {**GOOD, "MYSQL_PASSWORD_FILE": str(path), "MAILCULATOR_CALLBACK_SECRET": "CANARY"}
    shown = redacted(load(environ), environ)
    assert shown["MYSQL_PASSWORD"] == ("***", "file")
    assert shown["MAILCULATOR_CALLBACK_SECRET"] == ("***", "environment")
    assert shown["SMTP_PASS"] == ("", "default")
    assert shown["SMTP_PORT"] == ("587", "default")
    assert shown["PIPELINE_CALLBACK_URL"] == ("http://producer.example.com/callbacks", "environment")
    assert len(shown) == len(Settings.model_fields)


# Callback headers


@pytest.mark.parametrize(
    "value",
    [
        "X-A: b",
        '["X-A"]',
        "[]",
        '"x"',
        '{"X-A": 1}',
        '{"X-A": {"b": "c"}}',
        '{"X-A": "1", "x-a": "2"}',
        '{"X A": "1"}',
        '{"": "1"}',
        '{"X-A": "a\\r\\nX-B: c"}',
        '{"X-A": "è"}',
        '{"Content-Type": "text/plain"}',
        '{"Webhook-Id": "1"}',
        "[" * 100_000,
    ],
)
def test_callback_headers_that_would_break_the_request_are_refused(value: str) -> None:
    assert set(problems(MAILCULATOR_CALLBACK_HEADERS=value)) == {"MAILCULATOR_CALLBACK_HEADERS"}


def test_callback_headers_replace_the_default_as_a_whole() -> None:
    assert load({**GOOD, "MAILCULATOR_CALLBACK_HEADERS": "{}"}).callback_headers == {}
    assert load({**GOOD, "MAILCULATOR_CALLBACK_HEADERS": '{"X-A": "b c"}'}).callback_headers == {"X-A": "b c"}


# Names


def test_an_unknown_name_of_ours_is_reported_with_the_one_that_was_meant() -> None:
    environ = {
        **GOOD,
        "MAILCULATOR_ADMIN_TOKEN_FILE": "",
        "MAILCULATOR_LOG_LEVL": "info",
        "MAILCULATOR_ZZZ": "1",
        "MAILCULATOR_CALLBACK_SECRET_FILE": "",
        "MAILCULATOR_TEST_MARIADB_DSN": "",
        "MAILCULATOR_PORT_8080_TCP_ADDR": "10.0.0.1",
        "MAILCULATOR_SERVICE_HOST": "10.0.0.1",
        "SMTP_PASSWORD": "not ours to judge",
    }
    assert unknown_variables(environ) == [
        "MAILCULATOR_LOG_LEVL is not a setting of mailculator; did you mean MAILCULATOR_LOG_LEVEL?",
        "MAILCULATOR_ZZZ is not a setting of mailculator",
    ]


# Durations


def test_durations_follow_the_lease() -> None:
    timing = load({**GOOD, "MAILCULATOR_LEASE": "30", "MAILCULATOR_CALLBACK_GIVE_UP": "600"}).timing
    assert (timing.lease, timing.renew_every, timing.lease_margin, timing.callback_give_up) == (30, 10, 5, 600)
    assert timing.store_timeout <= timing.lease / 3


def test_durations_scale_together() -> None:
    settings = load({**GOOD, "MAILCULATOR_TIME_SCALE": "0.1"})
    assert settings.timing.lease == pytest.approx(9.0)
    assert settings.timing.relay_backoff.base == pytest.approx(3.0)
    assert (settings.pipeline_interval, settings.callback_timeout) == (1.0, 15.0)
