#!/usr/bin/env bash
# Makes this checkout ready, once; a second call finds everything in place and returns at once.
#
#   tools/bootstrap.sh run|dev [PROGRAM…]
#
# run   what the service needs, from requirements.lock
# dev   what its tests and checks need too, from requirements-dev.lock
# PROGRAM  mariadbd, smtp-sink, faketime, promtool or chromium: installed through apt where PATH lacks it (the Makefile adds
#          /usr/sbin to PATH)
#
# PYTHON names the interpreter of the virtual environment (default: the first of python3, python3.14 … python3.11
# that is new enough).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly venv=.venv
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { printf 'mailculator: %s\n' "$*" >&2; }

fail() {
  say "$@"
  exit 1
}

# ---- Debian packages ----------------------------------------------------------------------------------------------

as_root=()

may_install() {
  command -v apt-get >/dev/null || return 1
  if [ "$(id -u)" -eq 0 ]; then
    return 0
  fi
  as_root=(sudo -n)
  command -v sudo >/dev/null && sudo -n true 2>/dev/null
}

# Says nothing unless it fails: dpkg's progress is nobody's concern.
apt() {
  local output
  output=$("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@" 2>&1) && return
  printf '%s\n' "$output" >&2
  return 1
}

# A brand-new machine has no package lists, a kept one old ones. Where they cannot be fetched, those at hand may do.
# --no-remove: a mail server or a MySQL that is there already stays; the installation fails instead.
apt_install() {
  apt update || true
  apt install -y --no-install-recommends --no-remove "$@"
}

# install_packages WHAT PACKAGE…: WHAT begins the sentence that is said where they cannot be installed.
install_packages() {
  local what=$1
  shift
  local by_hand="apt-get update && apt-get install --no-install-recommends $*"
  if ! may_install; then
    command -v apt-get >/dev/null || fail "$what; this is no Debian: install what Debian calls '$*', then run this again."
    fail "$what, and I may not install it: neither root nor sudo without a password. Run as root: $by_hand"
  fi
  say "$what: installing $*"
  apt_install "$@" || fail "$what, and its installation failed (see above). To try by hand, as root: $by_hand"
}

# A package that brings a service starts it. Nobody asked for one: the tests start their own, and end it.
stop_service() {
  [ -d /run/systemd/system ] || return 0
  "${as_root[@]}" systemctl disable --now "$1" >/dev/null 2>&1 || true
}

need_mariadbd() {
  command -v mariadbd >/dev/null && return
  install_packages "mariadbd is not on this machine" mariadb-server
  stop_service mariadb
}

need_smtp_sink() {
  command -v smtp-sink >/dev/null && return
  # Without this answer the package would set up a mail server of this machine's name.
  if may_install && command -v debconf-set-selections >/dev/null; then
    echo "postfix postfix/main_mailer_type select No configuration" | "${as_root[@]}" debconf-set-selections
  fi
  install_packages "Postfix's smtp-sink is not on this machine" postfix
  stop_service postfix
}

need_faketime() {
  command -v faketime >/dev/null || install_packages "faketime is not on this machine" faketime
}

need_promtool() {
  command -v promtool >/dev/null && return
  install_packages "Prometheus's promtool is not on this machine" prometheus
  stop_service prometheus
}

# With a font of its own: a machine without one shows boxes in place of letters.
need_chromium() {
  command -v chromium >/dev/null || install_packages "chromium is not on this machine" chromium fonts-dejavu-core
}

# ---- Python -------------------------------------------------------------------------------------------------------

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if is_new_enough "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  fail "no Python 3.11 or later found; install one (Debian: apt-get install python3-venv), or name it: make PYTHON=…"
}

make_venv() {
  local python
  python=$(find_python)
  # Debian ships venv without its heart, in a package of its own.
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    install_packages "$python has no ensurepip" \
      "$("$python" -c 'import sys; print(f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")')"
  fi
  say "making $venv with $("$python" --version 2>&1)"
  rm -rf "$venv"
  "$python" -m venv "$venv" || { rm -rf "$venv"; fail "$python -m venv $venv failed (see above)"; }
}

# A virtual environment holds absolute paths: one that moved with its checkout is made anew.
venv_is_usable() {
  [ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1 &&
    { [ ! -e "$venv/.root" ] || [ "$(cat "$venv/.root")" = "$PWD" ]; }
}

fingerprint() { { echo "$PWD"; cat pyproject.toml "$@"; } | sha256sum | cut -d' ' -f1; }

# Reads the stamp only, so that a second run costs milliseconds.
is_installed() {
  [ -x "$venv/bin/mailculator" ] && [ "$(cat "$venv/.stamp-$1" 2>/dev/null)" = "$2" ]
}

install_requirements() {
  local arguments=() file
  for file in "$@"; do arguments+=(-r "$file"); done
  # Wheels only: a source distribution would run its author's code while it is built.
  "$venv/bin/python" -m pip install --quiet --require-hashes --only-binary :all: "${arguments[@]}" &&
    "$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable . ||
    fail "the installation of $* into $venv failed (see above)"
}

need_environment() {
  local kind=$1
  shift
  local print
  print=$(fingerprint "$@")
  is_installed "$kind" "$print" && return
  venv_is_usable || make_venv
  say "installing $* into $venv"
  install_requirements "$@"
  echo "$PWD" >"$venv/.root"
  echo "$print" >"$venv/.stamp-$kind"
}

main() {
  local kind=${1:-}
  case $kind in
    # Whatever serves the tests serves the demo.
    run)
      is_installed dev "$(fingerprint requirements-dev.lock)" ||
        need_environment run requirements.lock requirements-build.lock
      ;;
    dev) need_environment dev requirements-dev.lock ;;
    *) fail "usage: tools/bootstrap.sh run|dev [mariadbd] [smtp-sink] [faketime] [promtool] [chromium]" ;;
  esac
  shift
  local program
  for program in "$@"; do
    case $program in
      mariadbd) need_mariadbd ;;
      smtp-sink) need_smtp_sink ;;
      faketime) need_faketime ;;
      promtool) need_promtool ;;
      chromium) need_chromium ;;
      *) fail "no package is known for $program" ;;
    esac
  done
}

main "$@"
