#!/usr/bin/env bash
# Rotel, the receiver of traces in tests: gets the program out of a pinned package, checked by its hash.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

place="$VIDIMUS_CACHE/stack/rotel"
requirement="$ROOT/scripts/stack/rotel.txt"
wanted="$(content_hash "$requirement")"
[ "$(cat "$place/.stamp" 2>/dev/null || true)" != "$wanted" ] || exit 0
"$ROOT/scripts/venv.sh"
hold_cache
say "getting Rotel into $place"
mkdir -p "$place"
# The wheel is only unpacked, so Python and platform are fixed here, whatever runs this.
"$VENV/bin/python" -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary=:all: \
    --implementation cp --python-version 3.11 --abi cp311 --platform manylinux_2_34_x86_64 \
    --dest "$place/package" -r "$requirement"
"$VENV/bin/python" - "$place" <<'PYTHON'
import pathlib, sys, zipfile

place = pathlib.Path(sys.argv[1])
[wheel] = place.glob("package/rotel-*.whl")
with zipfile.ZipFile(wheel) as files:
    (place / "rotel-agent.new").write_bytes(files.read("rotel/rotel-agent"))
(place / "rotel-agent.new").chmod(0o755)
(place / "rotel-agent.new").rename(place / "rotel-agent")
wheel.unlink()
PYTHON
printf '%s' "$wanted" >"$place/.stamp"
