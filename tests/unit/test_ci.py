""".ci/run and tools/dynamodb_local.sh on a machine of stubs: what runs, in which order, and what is said otherwise."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.stub_machine import MAVEN, ROOT, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


BEFORE = ["make check", "make check-install", "make figures ARGS=--check"]
TESTS = "make test CONTRACT_ON=dynamodb-local"


def ci(machine: Machine, **environment: str) -> subprocess.CompletedProcess[str]:
    (machine.checkout / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", machine.checkout / ".ci/run")
    machine.log.touch()
    return subprocess.run(
        [machine.stubs / "bash", machine.checkout / ".ci/run"],
        env={"PATH": str(machine.stubs), "CALLS": str(machine.log), **environment},
        cwd=os.sep,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("status", [0, 1, 5], ids=["passes", "fails", "runs no test"])
def test_ci_checks_installs_and_ends_with_the_tests(machine: Machine, status: int) -> None:
    machine.stub("make", f'echo "CI=$CI in $PWD" >>"$CALLS"; if [ "$1" = test ]; then exit {status}; fi')
    machine.can_run_dynamodb_local()

    done = ci(machine)

    assert done.returncode == status
    assert machine.calls("make") == [*BEFORE, TESTS]
    assert machine.calls("CI=") == [f"CI=true in {machine.checkout}"] * 4


def test_ci_says_why_it_has_no_dynamodb_local_and_goes_on(machine: Machine) -> None:
    machine.stub("make")

    done = ci(machine)

    assert done.returncode == 0
    assert machine.calls("make") == [*BEFORE, "make test"]
    assert "there is no java" in done.stderr
    assert "moto alone" in done.stderr


def test_ci_uses_the_dynamodb_that_is_named(machine: Machine) -> None:
    machine.stub("make")

    done = ci(machine, DYNAMODB_TEST_ENDPOINT="http://127.0.0.1:8000")

    assert done.returncode == 0
    assert machine.calls("make") == [*BEFORE, TESTS]


def test_ci_fetches_dynamodb_local_while_it_checks(machine: Machine, tmp_path: Path) -> None:
    machine.can_run_dynamodb_local()
    fetched = tmp_path / "fetched"
    os.mkfifo(fetched)  # who reads waits for who writes
    machine.stub("mvn", f"{MAVEN}\necho >{fetched}")
    machine.stub("make", f'[ "$1" != check ] || read -r <{fetched}')

    done = ci(machine)

    assert done.returncode == 0
    assert machine.calls("make")[-1] == TESTS


@pytest.mark.parametrize("failing", [*BEFORE, TESTS])
def test_ci_fails_with_whatever_fails(machine: Machine, failing: str) -> None:
    machine.stub("make", f'[ "make $*" != "{failing}" ]')
    machine.can_run_dynamodb_local()

    assert ci(machine).returncode == 1
    assert machine.calls("make")[-1] == failing


# DynamoDB Local


def fetch(machine: Machine) -> subprocess.CompletedProcess[str]:
    machine.log.write_text("", encoding="utf-8")
    return subprocess.run(
        [machine.checkout / "tools/dynamodb_local.sh"],
        env={"PATH": str(machine.stubs), "STUBS": str(machine.stubs), "CALLS": str(machine.log)},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_dynamodb_local_is_fetched_once(machine: Machine) -> None:
    machine.can_run_dynamodb_local()

    first = fetch(machine)

    assert first.returncode == 0, first.stderr
    jars = Path(first.stdout.strip())
    assert jars.parent.parent == machine.checkout / ".cache"
    assert [jar.name for jar in jars.iterdir()] == ["some.jar"]
    (fetched,) = machine.calls("mvn")
    assert "--strict-checksums" in fetched
    assert "DynamoDBLocal</artifactId><version>2.6.1<" in (jars.parent / "pom.xml").read_text(encoding="utf-8")
    again = fetch(machine)
    assert (again.returncode, again.stdout, again.stderr, machine.calls("mvn")) == (0, first.stdout, "", [])


def test_a_fetch_that_fails_leaves_nothing_and_is_tried_again(machine: Machine) -> None:
    machine.can_run_dynamodb_local()
    machine.stub("mvn", "echo no route to host; exit 1")

    failed = fetch(machine)

    assert failed.returncode == 69
    assert "no route to host" in failed.stderr
    assert "Maven could not fetch it" in failed.stderr
    assert list((machine.checkout / ".cache").iterdir()) == []
    machine.can_run_dynamodb_local()
    assert fetch(machine).returncode == 0


@pytest.mark.parametrize(
    ("java", "maven", "why"),
    [
        (None, False, "there is no java"),
        ('echo "openjdk version \\"11.0.2\\" 2019-01-15" >&2', True, "needs Java 17 or later, and this is: openjdk"),
        ('echo "java version \\"1.8.0_292\\"" >&2', True, "needs Java 17 or later"),
        ("echo no memory >&2; exit 1", True, "java does not start: no memory"),
        ('echo "openjdk version \\"21\\" 2023-09-19" >&2', False, "there is no mvn"),
    ],
    ids=["no java", "java 11", "java 8", "broken java", "no maven"],
)
def test_what_dynamodb_local_lacks_is_said(machine: Machine, java: str | None, maven: bool, why: str) -> None:
    if java is not None:
        machine.stub("java", java)
    if maven:
        machine.stub("mvn")

    done = fetch(machine)

    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith("DynamoDB Local cannot run here: ")
    assert why in done.stderr
    assert "DYNAMODB_TEST_ENDPOINT" in done.stderr
    assert machine.calls("mvn") == []
