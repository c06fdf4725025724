"""What is shipped: the lock files, the wheel, the image, the compose file and the papers beside them."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from mailculator import __version__
from mailculator.config import Settings, load

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["requirements.lock", "requirements-build.lock", "requirements-dev.lock", "requirements-audit.lock"]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# ---- lock files -----------------------------------------------------------------------------------------------------


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(name: str) -> dict[str, str]:
    return {normal(package): version for package, version in re.findall(r"^([\w.-]+)==(\S+)", read(name), re.MULTILINE)}


def declared(requirements: list[Any]) -> set[str]:
    return {normal(re.split(r"[<>=!~;\[ ]", each)[0]) for each in requirements if isinstance(each, str)}


PROJECT = tomllib.loads(read("pyproject.toml"))


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_hashes_and_none_names_a_host(name: str) -> None:
    blocks = re.split(r"\n(?=[\w.-]+==)", read(name))[1:]
    assert [block.partition(" ")[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in read(name)


@pytest.mark.parametrize(
    ("name", "requirements"),
    [
        ("requirements.lock", PROJECT["project"]["dependencies"]),
        ("requirements-build.lock", PROJECT["build-system"]["requires"] + PROJECT["dependency-groups"]["build"]),
        ("requirements-dev.lock", PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]),
        ("requirements-audit.lock", PROJECT["dependency-groups"]["audit"]),
    ],
)
def test_a_lock_covers_what_is_declared(name: str, requirements: list[Any]) -> None:
    assert declared(requirements) - set(locked(name)) == set()


def test_the_locks_agree() -> None:
    everything = locked("requirements-dev.lock")
    for name in ("requirements.lock", "requirements-build.lock"):
        assert {(package, version, everything.get(package)) for package, version in locked(name).items()} == {
            (package, version, version) for package, version in locked(name).items()
        }


def test_pymysql_stays_where_aiomysql_works() -> None:
    """PyMySQL 1.2.1 and later break aiomysql 0.3: bytes parameters first, then its import."""
    assert "PyMySQL>=1.1.1,<1.2.1" in PROJECT["project"]["dependencies"]
    assert locked("requirements.lock")["pymysql"] in {"1.1.1", "1.1.2", "1.2.0"}


def test_aioboto3_alone_says_which_driver_goes_with_it() -> None:
    """aiobotocore pins botocore, and aioboto3 pins aiobotocore: a bound of ours beside theirs could only clash."""
    named = declared(PROJECT["project"]["dependencies"])
    assert "aioboto3" in named
    assert not named & {"aiobotocore", "boto3", "botocore"}
    assert {"aioboto3", "aiobotocore", "botocore"} <= set(locked("requirements.lock"))


def test_every_run_time_dependency_has_its_reason() -> None:
    reasons = set(re.findall(r"^- \*\*([\w.-]+)\*\*: \S", read("docs/decisions.md"), re.MULTILINE))
    assert declared(PROJECT["project"]["dependencies"]) == {normal(name) for name in reasons}


# ---- the wheel ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return next(directory.glob("*.whl"))


def test_the_wheel_carries_the_package_and_its_schema(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    schema = {f"mailculator/{path.relative_to(ROOT)}" for path in (ROOT / "sql").rglob("*.sql")}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "mailculator").rglob("*.py")}
    page = {str(path.relative_to(ROOT)) for path in (ROOT / "mailculator" / "web" / "static").iterdir()}

    assert {name.split("/")[2] for name in schema} == {"mariadb", "sqlite"}
    assert "mailculator/web/static/index.html" in page
    assert (schema | modules | page | {"mailculator/py.typed"}) - names == set()
    assert {name.partition("/")[0] for name in names} == {"mailculator", f"mailculator-{__version__}.dist-info"}
    assert f"mailculator-{__version__}.dist-info/licenses/LICENSE" in names


# ---- the image ------------------------------------------------------------------------------------------------------

INSTRUCTION = re.compile(r"^([A-Z]+) +(.*)$")


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", read("Dockerfile"), flags=re.MULTILINE).replace("\\\n", " ")
    return [match.groups() for line in text.splitlines() if (match := INSTRUCTION.match(line))]  # type: ignore[misc]


def final_stage() -> dict[str, str]:
    lines = instructions()
    start = max(index for index, (word, _) in enumerate(lines) if word == "FROM")
    return dict(lines[start:])


def test_the_image_runs_as_nobody_and_stops_on_a_signal() -> None:
    stage = final_stage()
    assert stage["USER"] == "10001:10001"
    assert json.loads(stage["ENTRYPOINT"]) == ["mailculator"]
    assert json.loads(stage["CMD"]) == ["run"]
    assert stage["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(stage["HEALTHCHECK"].partition("CMD ")[2]) == ["mailculator", "healthcheck"]
    ports = [str(Settings.model_fields[name].default) for name in ("http_port", "admin_port")]
    assert (stage["EXPOSE"].split(), stage["VOLUME"]) == (ports, "/data")
    assert stage["ARG"] == "REVISION=unknown"
    assert ("ARG", f"VERSION={__version__}") in instructions()


def test_the_image_takes_wheels_with_their_hashes_only() -> None:
    commands = [command.strip() for word, line in instructions() if word == "RUN" for command in line.split("&&")]
    installs = [command.partition(" install ")[2] for command in commands if " -m pip " in command]
    assert len(installs) == 3
    assert [each for each in installs if "--require-hashes --only-binary :all:" not in each] == [
        "--no-deps --no-index /wheels/*.whl"
    ]


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    copied = {
        name for word, line in instructions() if word == "COPY" and "--from" not in line for name in line.split()[:-1]
    }
    lines = [line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied


# ---- docker compose -------------------------------------------------------------------------------------------------

COMPOSE: dict[str, Any] = yaml.safe_load(read("docker-compose.yml"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"].startswith("mailculator:"))
# The keys of the Compose specification that are used here: a misspelt one is ignored by no engine, but refused.
SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "entrypoint", "environment", "healthcheck", "image", "ports",
    "read_only", "restart", "security_opt", "stop_grace_period", "tmpfs", "ulimits", "volumes",
}  # fmt: skip


def test_the_stage_is_complete() -> None:
    assert set(SERVICES) == {"mailculator", "schema", "mariadb", "dynamodb", "mailpit", "callbacks"}
    assert OURS == ["callbacks", "mailculator", "schema"]
    assert {key for key in COMPOSE if not key.startswith("x-")} == {"name", "services", "volumes"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_well_formed(name: str) -> None:
    service = SERVICES[name]
    assert set(service) - SERVICE_KEYS == set()
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"])
    assert "profiles" not in service
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:")
    for volume in service.get("volumes", []):
        source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", volume).split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"schema"}))
def test_a_service_says_how_it_is(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_waited_for_can_happen(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        if wait["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert wait["condition"] == "service_completed_successfully"
            assert SERVICES[other]["restart"].startswith("on-failure")


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["image"] == f"mailculator:{__version__}"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"][0].startswith("/tmp:")
    assert [volume for volume in service.get("volumes", []) if not volume.endswith((":ro", ":/data"))] == []


@pytest.mark.parametrize("name", OURS)
def test_every_setting_is_one(name: str) -> None:
    known = {str(field.alias) for field in Settings.model_fields.values()}
    given = SERVICES[name].get("environment", {})
    assert set(given) - known - {f"{variable}_FILE" for variable in known} == set()
    assert all(isinstance(value, str) for value in given.values())


def test_the_service_finds_what_the_stage_offers() -> None:
    given = SERVICES["mailculator"]["environment"]
    assert {given["MYSQL_HOST"], given["SMTP_HOST"]} <= set(SERVICES["mailculator"]["depends_on"])
    callbacks = urlsplit(given["PIPELINE_CALLBACK_URL"])
    receiver = SERVICES[str(callbacks.hostname)]
    assert receiver["command"] == [str(callbacks.port)]
    assert importlib.util.find_spec(receiver["entrypoint"][2]) is not None
    assert given["MYSQL_DATABASE"] == SERVICES["mariadb"]["environment"]["MARIADB_DATABASE"]


@pytest.mark.parametrize("name", ["mailculator", "schema"])
def test_dynamodb_is_one_switch_away(name: str) -> None:
    given = SERVICES[name]["environment"]
    endpoint = urlsplit(given["AWS_BASE_ENDPOINT"])
    assert SERVICES[name]["depends_on"][str(endpoint.hostname)] == {"condition": "service_healthy"}
    assert SERVICES[str(endpoint.hostname)]["ports"] == [f"127.0.0.1:{endpoint.port}:{endpoint.port}"]
    assert given["DYNAMODB_PIPELINES_ENABLED"] == "${DYNAMODB_PIPELINES_ENABLED:-false}"
    switched = {**given, "DYNAMODB_PIPELINES_ENABLED": "true", "MYSQL_PIPELINES_ENABLED": "false"}
    assert load(switched, needs={"store"}).email_outbox_table == given["EMAIL_OUTBOX_TABLE"]


def test_the_service_may_not_change_tables() -> None:
    script = read("deploy/compose/mariadb/10-service-user.sql")
    given, schema = SERVICES["mailculator"]["environment"], SERVICES["schema"]["environment"]
    user = f"'{given['MYSQL_USER']}'@'%'"
    assert f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{given['MYSQL_PASSWORD']}';" in script
    assert f"GRANT SELECT, INSERT, UPDATE, DELETE ON {given['MYSQL_DATABASE']}.* TO {user};" in script
    server = SERVICES["mariadb"]["environment"]
    assert (schema["MYSQL_USER"], schema["MYSQL_PASSWORD"]) == (server["MARIADB_USER"], server["MARIADB_PASSWORD"])


def test_a_stop_ends_before_the_engine_kills() -> None:
    grace = float(SERVICES["mailculator"]["stop_grace_period"].removesuffix("s"))
    assert grace >= Settings.model_fields["shutdown_grace"].default + 10


# ---- the papers -----------------------------------------------------------------------------------------------------


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## \[([^\]]+)\]", read("CHANGELOG.md"), re.MULTILINE)
    assert versions[versions[0] == "Unreleased"] == __version__


def test_the_makefile_offers_what_the_papers_name() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", read("CONTRIBUTING.md") + read("README.md")))
    assert {"run", "test", "check"} <= named <= targets
