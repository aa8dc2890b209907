#!/usr/bin/env bash
# Makes the Python environment of the demo, the tests and the downloads: pinned versions, checked hashes. Nothing of
# it is needed to run the service.
. "$(dirname "$0")/lib.sh"

hold_cache
requirements="$ROOT/scripts/requirements.txt"
stamp="$VENV/.stamp"
wanted="$(content_hash "$requirements") $(python3 --version)"
[ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ] || exit 0

say "installing Python packages into $VENV"
"$VENV/bin/python" -m pip --version >/dev/null 2>&1 || python3 -m venv --clear "$VENV"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$requirements"
printf '%s' "$wanted" >"$stamp"
