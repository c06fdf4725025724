"""tools/bootstrap.sh on a machine of stubs: what it calls, what it leaves alone, what it says when it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stub_machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_fresh_machine_gets_everything(machine: Machine) -> None:
    done = machine.bootstrap("dev", "mariadbd", "smtp-sink")

    assert done.returncode == 0, done.stderr
    assert "-m venv .venv" in "\n".join(machine.calls("python3"))
    locked, editable = machine.calls("pip install")
    assert "--require-hashes --only-binary :all: -r requirements-dev.lock" in locked
    assert "--no-deps --no-build-isolation --editable ." in editable
    apt = machine.calls("apt-get")
    assert [call.split()[-1] for call in apt] == ["update", "mariadb-server", "update", "postfix"]
    assert all("--no-install-recommends --no-remove" in call for call in apt if "install" in call)
    noted = machine.calls()
    answer = noted.index("postfix postfix/main_mailer_type select No configuration")
    assert answer < next(index for index, call in enumerate(noted) if call.endswith("--no-remove postfix"))


def test_the_demo_needs_no_system_package(machine: Machine) -> None:
    done = machine.bootstrap("run")

    assert done.returncode == 0, done.stderr
    assert machine.calls("apt-get") == []
    assert "-r requirements.lock -r requirements-build.lock" in machine.calls("pip install")[0]


@pytest.mark.parametrize("arguments", [("run",), ("dev", "mariadbd", "smtp-sink")])
def test_a_second_run_calls_nothing(machine: Machine, arguments: tuple[str, ...]) -> None:
    machine.bootstrap(*arguments)

    done = machine.bootstrap(*arguments)

    assert (done.returncode, done.stderr, machine.calls()) == (0, "", [])


def test_what_serves_the_tests_serves_the_demo(machine: Machine) -> None:
    machine.bootstrap("dev")

    done = machine.bootstrap("run")

    assert (done.returncode, machine.calls()) == (0, [])


@pytest.mark.parametrize("changed", ["requirements-dev.lock", "pyproject.toml"])
def test_a_changed_lock_is_installed_into_the_same_environment(machine: Machine, changed: str) -> None:
    machine.bootstrap("dev")
    with (machine.checkout / changed).open("a", encoding="utf-8") as file:
        file.write("# changed\n")

    done = machine.bootstrap("dev")

    assert done.returncode == 0, done.stderr
    assert len(machine.calls("pip install")) == 2
    assert machine.calls("-m venv") == []


def test_a_moved_checkout_gets_a_new_environment(machine: Machine) -> None:
    machine.bootstrap("dev")
    machine.checkout = machine.checkout.rename(machine.checkout.with_name("moved"))

    done = machine.bootstrap("dev")

    assert done.returncode == 0, done.stderr
    assert len(machine.calls("-m venv .venv")) == 1
    assert len(machine.calls("pip install")) == 2


def test_a_failed_installation_is_tried_again(machine: Machine) -> None:
    failed = machine.bootstrap("dev", PIP_FAILS="1")
    assert failed.returncode == 1
    assert "the installation of requirements-dev.lock into .venv failed" in failed.stderr

    done = machine.bootstrap("dev")

    assert done.returncode == 0
    assert len(machine.calls("pip install")) == 2


def test_debians_python_gets_its_venv(machine: Machine) -> None:
    (machine.stubs / "no-ensurepip").touch()

    done = machine.bootstrap("run")

    assert done.returncode == 0, done.stderr
    assert machine.calls("apt-get")[-1].endswith("python3.11-venv")


def test_a_user_with_sudo_installs_through_it(machine: Machine) -> None:
    machine.stub("id", "echo 1000", quiet=True)
    machine.stub("sudo", 'shift; exec "$@"')

    done = machine.bootstrap("dev", "mariadbd", "smtp-sink")

    assert done.returncode == 0, done.stderr
    through_sudo = machine.calls("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get")
    assert len(through_sudo) == 4
    assert len(machine.calls("apt-get")) == 8
    assert machine.calls("sudo -n debconf-set-selections") != []


@pytest.mark.parametrize(
    ("program", "package"),
    [
        ("mariadbd", "mariadb-server"),
        ("smtp-sink", "postfix"),
        ("faketime", "faketime"),
        ("promtool", "prometheus"),
        ("chromium", "chromium fonts-dejavu-core"),
    ],
    ids=["mariadbd", "smtp-sink", "faketime", "promtool", "chromium"],
)
@pytest.mark.parametrize("sudo", ["none", "wants a password"])
def test_a_user_who_may_not_is_told_what_to_run(machine: Machine, program: str, package: str, sudo: str) -> None:
    machine.stub("id", "echo 1000", quiet=True)
    if sudo != "none":
        machine.stub("sudo", "exit 1")

    done = machine.bootstrap("dev", program)

    assert done.returncode == 1
    assert f"apt-get update && apt-get install --no-install-recommends {package}" in done.stderr
    assert f"{program} is not on this machine, and I may not install it" in done.stderr
    assert machine.calls("apt-get") == []
    assert machine.calls("debconf") == []


def test_another_system_is_told_what_is_missing(machine: Machine) -> None:
    (machine.stubs / "apt-get").unlink()

    done = machine.bootstrap("dev", "mariadbd")

    assert done.returncode == 1
    assert "mariadbd is not on this machine; this is no Debian" in done.stderr


def test_a_failed_package_is_a_failure(machine: Machine) -> None:
    machine.stub("apt-get", "echo no such package; exit 100")

    done = machine.bootstrap("dev", "mariadbd")

    assert done.returncode == 1
    assert "no such package" in done.stderr
    assert "its installation failed" in done.stderr


def test_an_old_python_is_refused(machine: Machine) -> None:
    done = machine.bootstrap("run", OLD_PYTHON="1")

    assert done.returncode == 1
    assert "no Python 3.11 or later found" in done.stderr
    assert not (machine.checkout / ".venv").exists()
