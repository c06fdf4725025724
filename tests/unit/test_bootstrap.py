"""tools/bootstrap.sh against a machine of stubs: what it calls, what it leaves alone, what it says when it may not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REAL = ["bash", "env", "cat", "cp", "chmod", "cut", "dirname", "mkdir", "rm", "sha256sum", "true"]
FILES = [
    "pyproject.toml",
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-build.lock",
    "tools/bootstrap.sh",
]

PYTHON = """
case "$*" in
  *version_info*3,\\ 11*) exit "${OLD_PYTHON:-0}" ;;
  *ensurepip*) [ ! -e "$STUBS/no-ensurepip" ] ;;
  *venv\\"*) echo python3.11-venv ;;
  --version) echo "Python 3.11.2" ;;
  "-m pip --version") ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0" "$3/bin/mailculator" ;;
  *"-m pip install"*) exit "${PIP_FAILS:-0}" ;;
esac
"""
APT_GET = """
case "$*" in
  *install*mariadb-server*) cp "$STUBS/stub" "$STUBS/mariadbd" ;;
  *install*postfix*) cp "$STUBS/stub" "$STUBS/smtp-sink" ;;
  *install*python3.11-venv*) rm "$STUBS/no-ensurepip" ;;
esac
"""


class Machine:
    """A PATH with nothing on it but stubs that note how they were called, and a checkout."""

    def __init__(self, directory: Path) -> None:
        self.stubs = directory / "bin"
        self.stubs.mkdir()
        self.checkout = directory / "checkout"
        (self.checkout / "tools").mkdir(parents=True)
        for name in FILES:
            shutil.copy(ROOT / name, self.checkout / name)
        self.log = directory / "calls"
        for name in REAL:
            (self.stubs / name).symlink_to(Path(shutil.which(name) or name).resolve())
        self.stub("stub")
        self.stub("python3", PYTHON)
        self.stub("apt-get", APT_GET)
        self.stub("debconf-set-selections", "cat >>$CALLS")
        self.stub("id", "echo 0", quiet=True)

    def stub(self, name: str, body: str = "", *, quiet: bool = False) -> None:
        path = self.stubs / name
        note = "" if quiet else 'echo "${0##*/} $*" >>"$CALLS"\n'
        path.write_text(f"#!{self.stubs}/bash\n{note}{body}\n", encoding="utf-8")
        path.chmod(0o755)

    def bootstrap(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("", encoding="utf-8")
        return subprocess.run(
            [self.checkout / "tools/bootstrap.sh", *arguments],
            env={"PATH": str(self.stubs), "STUBS": str(self.stubs), "CALLS": str(self.log), **environment},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def calls(self, what: str = "") -> list[str]:
        return [line for line in self.log.read_text(encoding="utf-8").splitlines() if what in line]


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
    ("program", "package"), [("mariadbd", "mariadb-server"), ("smtp-sink", "postfix")], ids=["mariadbd", "smtp-sink"]
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


@pytest.mark.parametrize("status", [0, 1, 5], ids=["passes", "fails", "runs no test"])
def test_ci_checks_installs_and_ends_with_the_tests(machine: Machine, status: int) -> None:
    (machine.checkout / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", machine.checkout / ".ci/run")
    machine.stub("make", f'echo "CI=$CI in $PWD" >>"$CALLS"; if [ "$1" = test ]; then exit {status}; fi')
    machine.log.touch()

    done = subprocess.run(
        [machine.stubs / "bash", machine.checkout / ".ci/run"],
        env={"PATH": str(machine.stubs), "CALLS": str(machine.log)},
        cwd=os.sep,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )

    assert done.returncode == status
    assert machine.calls("make") == ["make check", "make check-install", "make figures ARGS=--check", "make test"]
    assert machine.calls("CI=") == [f"CI=true in {machine.checkout}"] * 4
