#!/usr/bin/env bash
# Gets Apache Kafka's jars into $VIDIMUS_CACHE/stack/kafka/libs, for tests and `make stack`; every jar is checked by its hash.
. "$(dirname "$0")/../lib.sh"

"$ROOT/scripts/setup.sh" stack

here="$ROOT/scripts/stack"
hold_cache
! kafka_is_there || exit 0

say "getting Apache Kafka into $KAFKA"
rm -rf "$KAFKA"
mkdir -p "$KAFKA"
mvn -B -q -Dstyle.color=never -f "$here/kafka.pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$KAFKA/libs"
(cd "$KAFKA/libs" && sha256sum --quiet --strict -c "$here/kafka.sha256") || fail "a jar of Kafka is not the one that was pinned"
extra="$(cd "$KAFKA/libs" && ls | grep -vxF -f <(sed 's/^[0-9a-f]* [ *]//' "$here/kafka.sha256") || true)"
[ -z "$extra" ] || fail "jars that are not pinned came with Kafka: $extra"
printf '%s' "$(kafka_wanted)" >"$KAFKA/.stamp"
