#!/usr/bin/env bash
# Builds the fuzz targets and runs each for FUZZ_SECONDS, beginning with its corpus; says how many inputs each has seen.
# Ends with the first that found something, whose input is left in $VIDIMUS_CACHE/fuzz. Usage: fuzz.sh [TARGET…]
#
# The flags are cargo-fuzz's, without a sanitizer: of our own code all but one adapter's is safe Rust, so what there is to
# find are panics, overflows and broken properties. So the pinned toolchain serves, and cargo-fuzz is not needed (though
# `cargo +nightly fuzz run TARGET` works).
. "$(dirname "$0")/lib.sh"

seconds="${FUZZ_SECONDS:-60}"
host="x86_64-unknown-linux-gnu"
found="$VIDIMUS_CACHE/fuzz"
export CARGO_TARGET_DIR="$VIDIMUS_CACHE/fuzz-target"
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0"

# libFuzzer itself is C++.
command -v c++ >/dev/null || fail "a C++ compiler is missing: apt-get install -y g++"

cargo build --quiet --locked --release --target "$host" --manifest-path "$ROOT/fuzz/Cargo.toml"

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cd "$ROOT/fuzz/fuzz_targets" && ls *.rs | sed 's/\.rs$//')

# The largest input that is tried: of photos and records the interesting ones are small.
declare -A longest=([photo]=16384 [json]=4096 [sigv4]=4096 [log]=4096 [stored]=4096)

printf '%-8s %12s %10s %10s %8s\n' target inputs "a second" covered corpus
for target in "${targets[@]}"; do
    grown="$found/corpus/$target"
    log="$found/$target.log"
    mkdir -p "$grown" "$found/artifacts"
    if ! "$CARGO_TARGET_DIR/$host/release/$target" -max_total_time="$seconds" -max_len="${longest[$target]}" \
        -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 -artifact_prefix="$found/artifacts/$target-" \
        "$grown" "$ROOT/fuzz/corpus/$target" >"$log" 2>&1; then
        tail -40 "$log" >&2
        fail "$target found something: see $log"
    fi
    stat() { sed -n "s/^stat::$1: *//p" "$log"; }
    covered="$(grep -o 'cov: [0-9]*' "$log" | tail -1 | cut -d' ' -f2)"
    printf '%-8s %12s %10s %10s %8s\n' "$target" "$(stat number_of_executed_units)" "$(stat average_exec_per_sec)" \
        "$covered" "$(find "$grown" -type f | wc -l)"
done
