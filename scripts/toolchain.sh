#!/usr/bin/env bash
# Installs the Rust toolchain that rust-toolchain.toml pins, by name: rustup may have been told not to do so by itself.
. "$(dirname "$0")/lib.sh"

channel="$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$ROOT/rust-toolchain.toml")"
[ -n "$channel" ] || fail "rust-toolchain.toml names no channel"

if ! command -v rustup >/dev/null; then
    fail "rustup is missing: install it as https://rustup.rs says, then run again"
fi

components() { rustup component list --installed --toolchain "$channel" 2>/dev/null; }

installed="$(components || true)"
for component in cargo clippy rustfmt; do
    if ! grep -q "^$component" <<<"$installed"; then
        say "installing Rust $channel"
        rustup toolchain install "$channel" --profile minimal --component clippy --component rustfmt --no-self-update
        exit 0
    fi
done
