#!/usr/bin/env bash
# Says in one line what is missing on this machine. With VIDIMUS_INSTALL=1, and as root, it installs the system packages.
# Usage: setup.sh [stack]: with `stack`, what the distributed mode's servers need as well.
. "$(dirname "$0")/lib.sh"

[ "$(uname -sm)" = "Linux x86_64" ] || fail "this build takes its models' runtime for Linux x86_64; here is $(uname -sm)"

missing=()
printf 'int main(void) { return 0; }' | cc -x c -o /dev/null - 2>/dev/null || missing+=(gcc libc6-dev)
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || missing+=(python3)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
# What the Kafka client is built with, and what makes JPEG decoding fast.
command -v make >/dev/null || missing+=(make)
command -v pkg-config >/dev/null || missing+=(pkg-config)
[ -e /usr/include/openssl/ssl.h ] || missing+=(libssl-dev)
command -v nasm >/dev/null || missing+=(nasm)
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
if [ "${1:-}" = stack ]; then
    command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
    kafka_is_there || command -v mvn >/dev/null || missing+=(maven)
fi
rustup=""
command -v rustup >/dev/null || rustup="rustup, as https://rustup.rs says"

[ ${#missing[@]} -gt 0 ] || [ -n "$rustup" ] || exit 0

if [ ${#missing[@]} -gt 0 ] && [ "${VIDIMUS_INSTALL:-0}" = 1 ] && [ "$(id -u)" = 0 ]; then
    say "installing system packages: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    missing=()
fi
wanted=()
[ ${#missing[@]} -eq 0 ] || wanted+=("apt-get install -y ${missing[*]}")
[ -z "$rustup" ] || wanted+=("$rustup")
[ ${#wanted[@]} -eq 0 ] || fail "something is missing; install it and run again: $(printf '%s; ' "${wanted[@]}" | sed 's/; $//')"
