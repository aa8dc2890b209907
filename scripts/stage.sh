#!/usr/bin/env bash
# Runs one stage of a longer run: a header, the command, how long it took. Usage: stage.sh TITLE COMMAND…
set -uo pipefail

title="$1"
shift
printf '\n==> %s\n' "$title"
began="$SECONDS"
"$@"
result=$?
took="$((SECONDS - began)) s"
[ -z "${VIDIMUS_STAGES:-}" ] || printf '%6s  %s\n' "$took" "$title" >>"$VIDIMUS_STAGES"
if [ "$result" = 0 ]; then
    printf '<== %s: done in %s\n' "$title" "$took"
else
    printf '<== %s: FAILED (%s) after %s\n' "$title" "$result" "$took" >&2
fi
exit "$result"
