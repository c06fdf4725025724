"""A machine of stubs, for the scripts of this checkout: nothing on its PATH does more than note that it was called."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REAL = ["bash", "env", "cat", "cp", "chmod", "cut", "dirname", "mkdir", "mktemp", "mv", "rm", "sha256sum", "true"]
FILES = [
    "pyproject.toml",
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-build.lock",
    "tools/bootstrap.sh",
    "tools/dynamodb_local.sh",
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
JAVA = 'echo "openjdk version \\"17.0.15\\" 2025-04-15" >&2'
MAVEN = """
for argument; do
  case $argument in -DoutputDirectory=*) mkdir -p "${argument#*=}"; echo >"${argument#*=}/some.jar" ;; esac
done
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

    def can_run_dynamodb_local(self) -> None:
        self.stub("java", JAVA)
        self.stub("mvn", MAVEN)

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
