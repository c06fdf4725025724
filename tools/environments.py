"""Python environments beneath .cache, for programs that shall not change what is locked, or what is measured."""

from __future__ import annotations

import hashlib
import subprocess
import venv
from pathlib import Path

CACHE = Path(__file__).resolve().parents[1] / ".cache"


def environment(name: str, requirements: Path, *options: str) -> Path:
    """The directory of an environment's programs; it is made first where there is none for these very requirements.

    Arguments:
        name: what the environment is for.
        requirements: a file as pip reads it.
        options: of `pip install`, beside that only wheels are taken: nothing is built here.

    Errors: subprocess.CalledProcessError when they cannot be installed.
    """
    home = CACHE / f"{name}-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    whole = home / ".whole"
    if not whole.exists():
        # In its place from the beginning: its programs name their interpreter by its path.
        venv.create(home, clear=True, with_pip=True)
        pip = [home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--only-binary", ":all:", *options, "-r", requirements], check=True)
        whole.touch()
    return home / "bin"
