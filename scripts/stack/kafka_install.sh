#!/usr/bin/env bash
# Gets Apache Kafka's jars into $VIDIMUS_CACHE/stack/kafka/libs, for tests and `make stack`; every jar is checked by its hash.
. "$(dirname "$0")/../lib.sh"

require_program java openjdk-17-jre-headless

here="$ROOT/scripts/stack"
kafka="$VIDIMUS_CACHE/stack/kafka"
hold_cache
wanted="$(content_hash "$here/kafka.pom.xml" "$here/kafka.sha256")"
[ "$(cat "$kafka/.stamp" 2>/dev/null || true)" != "$wanted" ] || exit 0

require_program mvn maven
say "getting Apache Kafka into $kafka"
rm -rf "$kafka"
mkdir -p "$kafka"
mvn -B -q -Dstyle.color=never -f "$here/kafka.pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$kafka/libs"
(cd "$kafka/libs" && sha256sum --quiet --strict -c "$here/kafka.sha256") || fail "a jar of Kafka is not the one that was pinned"
extra="$(cd "$kafka/libs" && ls | grep -vxF -f <(sed 's/^[0-9a-f]* [ *]//' "$here/kafka.sha256") || true)"
[ -z "$extra" ] || fail "jars that are not pinned came with Kafka: $extra"
printf '%s' "$wanted" >"$kafka/.stamp"
