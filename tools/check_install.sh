#!/usr/bin/env bash
# Proves that a plain `pip install .` works: no lock, a virtual environment of its own, run from outside the checkout,
# with the schema files in the package. The bounds in pyproject.toml are what this puts to the test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly source=$PWD
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$source/.venv/bin/python" -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet "$source"
"$scratch/venv/bin/pip" check

# Elsewhere, so that the checkout cannot stand in for what the package lacks.
cd "$scratch"
"$scratch/venv/bin/mailculator" version
packaged=$("$scratch/venv/bin/python" -c 'import mailculator, pathlib; print(pathlib.Path(mailculator.__file__).parent / "sql")')
diff --recursive "$source/sql" "$packaged"
[ -n "$(find "$packaged" -name '*.sql' -print -quit)" ] || { echo "the package has no schema files" >&2; exit 1; }
echo "pip install . works: $(find "$packaged" -name '*.sql' | wc -l) schema files in the package"
