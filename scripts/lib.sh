# What the scripts share. Sourced, not run.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export VIDIMUS_CACHE="${VIDIMUS_CACHE:-$HOME/.cache/vidimus}"
VENV="$VIDIMUS_CACHE/venv"
ASSETS="$VIDIMUS_CACHE/assets"

# Where rustup puts its programs, in case the shell's profile has not been read again.
case ":$PATH:" in
    *":$HOME/.cargo/bin:"*) ;;
    *) export PATH="$HOME/.cargo/bin:$PATH" ;;
esac

# One line for a person.
say() { printf '%s\n' "$*"; }

# One line for a person, and the end.
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Holds the cache until the script ends, so that two runs do not write the same files.
hold_cache() {
    mkdir -p "$VIDIMUS_CACHE"
    exec 9>"$VIDIMUS_CACHE/.lock"
    flock 9
}

# The hash of the named files' content: what a stamp compares.
content_hash() { cat "$@" | sha256sum | cut -d' ' -f1; }

# Fails in one line where the program is missing. With VIDIMUS_INSTALL=1, and as root, it installs the named package instead.
require_program() {
    ! command -v "$1" >/dev/null || return 0
    [ "${VIDIMUS_INSTALL:-0}" = 1 ] && [ "$(id -u)" = 0 ] || fail "$1 is missing: apt-get install -y $2"
    say "installing $2"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null
}
