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

KAFKA="$VIDIMUS_CACHE/stack/kafka"

# The stamp of Kafka's jars as they are pinned.
kafka_wanted() { content_hash "$ROOT/scripts/stack/kafka.pom.xml" "$ROOT/scripts/stack/kafka.sha256"; }

# Whether they are there.
kafka_is_there() { [ "$(cat "$KAFKA/.stamp" 2>/dev/null || true)" = "$(kafka_wanted)" ]; }
