"""What the service is made of, and what is known against it: `make sbom` and `make audit`.

The programs that know how come from requirements-audit.lock, into an environment of their own: what reads the locks
shall not change what they lock.

`audit` ends with 1 only where a list of vulnerabilities was asked and knows one. Where none could be asked it says so,
and ends with 0: no change is the worse for want of a network.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.environments import environment

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements-audit.lock"
SBOM = ROOT / "dist" / "mailculator.cdx.json"


def say(*lines: str) -> None:
    """On standard error."""
    for line in lines:
        print(f"mailculator: {line}", file=sys.stderr)


def programs() -> Path:
    """The directory of the programs, which are installed first where the lock is another.

    Errors: subprocess.CalledProcessError when they cannot be.
    """
    return environment("supply-chain", LOCK, "--require-hashes")


def judged(answer: str) -> tuple[int, list[str]]:
    """The exit code, and what is to be said, of what pip-audit wrote as JSON.

    Errors: ValueError when it is none, as where the list of vulnerabilities could not be reached.
    """
    packages: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    known = [_known(one, vulnerability) for one in packages for vulnerability in one.get("vulns", ())]
    # A mirror of the index that keeps no such list leaves all out, and pip-audit calls that well.
    left_out = [f"{one['name']} was not audited: {one['skip_reason']}" for one in packages if "skip_reason" in one]
    asked = f"{len(packages) - len(left_out)} of {len(packages)} locked packages were audited"
    return (1 if known else 0), [*known, *left_out, f"{asked}, {len(known) or 'no'} known vulnerabilities"]


def _known(package: dict[str, Any], vulnerability: dict[str, Any]) -> str:
    names = ", ".join([vulnerability["id"], *vulnerability.get("aliases", ())])
    mended = ", ".join(vulnerability["fix_versions"]) or "no version yet"
    return f"{package['name']} {package['version']}: {names}; mended in {mended}"


def audit(bin_: Path, arguments: Sequence[str]) -> int:
    """Ask about every package of every lock."""
    locks = [word for lock in sorted(ROOT.glob("requirements*.lock")) for word in ("-r", str(lock))]
    # --disable-pip takes the locks at their word, and refuses what has no hash. PyPI has its own list from OSV.
    how = ["--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off", "-s", "osv"]
    done = subprocess.run([bin_ / "pip-audit", *how, *locks, *arguments], capture_output=True, text=True, check=False)
    try:
        code, lines = judged(done.stdout)
    except ValueError:
        _, _, words = done.stderr.rstrip().rpartition("\n")
        code, lines = 0, [f"NOTHING was audited, for no list of vulnerabilities answered: {words}"]
    say(*lines)
    return code


def sbom(bin_: Path) -> int:
    """Write the bill of materials: each package that the image installs, with its version and its hashes."""
    SBOM.parent.mkdir(exist_ok=True)
    how = ["--pyproject", "pyproject.toml", "--output-reproducible", "--of", "JSON", "-o", SBOM]
    # It warns that it does not know which package wants which: a lock does not say.
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore::UserWarning"}
    subprocess.run([bin_ / "cyclonedx-py", "requirements", "requirements.lock", *how], cwd=ROOT, env=quiet, check=True)
    say(f"{SBOM.relative_to(ROOT)} has {len(json.loads(SBOM.read_text(encoding='utf-8'))['components'])} packages")
    return 0


def main(task: str, *arguments: str) -> int:
    """Carry out what make asks for."""
    try:
        found = programs()
    except subprocess.CalledProcessError:
        say(f"NOTHING was done: {LOCK.name} could not be installed (see above)")
        return 0 if task == "audit" else 1
    return audit(found, arguments) if task == "audit" else sbom(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
