#!/usr/bin/env bash
# Runs a Kafka cluster of 1 or 3 brokers on 127.0.0.1 until it is ended (SIGTERM or SIGINT ends the brokers too, at once). Usage:
#
#     kafka.sh DIRECTORY BROKERS FIRST_PORT [BROKER]
#
# Broker N, counted from 0, listens on FIRST_PORT + 2N, its controller on the port after it. Its data lies in
# DIRECTORY/broker-N and is taken up again where it is there; beside it lie its log, broker-N.log, and its process id, broker-N.pid.
# With KAFKA_UNTIL_INPUT_ENDS=1 it also ends when its standard input does: when whoever started it is gone; with
# KAFKA_REMOVE_AT_END=1 it then removes DIRECTORY. A broker that is killed is not started again: with BROKER, that one alone is run.
# KAFKA_OPTIONS is what each java is given (default: -Xms128m -Xmx384m), KAFKA_PROPERTIES a file whose settings come after those
# below, and KAFKA_FORMAT what formatting is told besides (users, where they are kept in the cluster).
. "$(dirname "$0")/../lib.sh"

[ $# -eq 3 ] || [ $# -eq 4 ] || fail "usage: kafka.sh DIRECTORY BROKERS FIRST_PORT [BROKER]"
directory="$1" brokers="$2" first_port="$3"
[ "$brokers" = 1 ] || [ "$brokers" = 3 ] || fail "a cluster of 1 or 3 brokers, not of $brokers"
first_broker="${4:-0}" last_broker="${4:-$((brokers - 1))}"
command -v java >/dev/null || fail "java is missing: apt-get install -y openjdk-17-jre-headless"
libs="$VIDIMUS_CACHE/stack/kafka/libs"
[ -e "$VIDIMUS_CACHE/stack/kafka/.stamp" ] || fail "Kafka's jars are missing: run scripts/stack/kafka_install.sh"

mkdir -p "$directory"
in_sync=$((brokers == 1 ? 1 : 2))
voters=""
for ((node = 0; node < brokers; node++)); do
    voters+="${voters:+,}$node@127.0.0.1:$((first_port + 2 * node + 1))"
done
# One name for the cluster, kept with its data: 16 random bytes, base64url without padding. It may begin with "-".
cluster="$directory/cluster"
[ -e "$cluster" ] || head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n' >"$cluster"

# A broker that is killed leaves no file elsewhere.
mkdir -p "$directory/tmp"
java_options=(-XX:-UsePerfData "-Djava.io.tmpdir=$directory/tmp" "-Dlog4j2.configurationFile=$directory/log4j2.properties")

cat >"$directory/log4j2.properties" <<'END'
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c: %m%n
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
END

properties() {
    local node="$1" port=$((first_port + 2 * $1))
    cat <<END
process.roles=broker,controller
node.id=$node
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$directory/broker-$node
offsets.topic.replication.factor=$brokers
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$brokers
transaction.state.log.min.isr=$in_sync
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$brokers
share.coordinator.state.topic.min.isr=$in_sync
default.replication.factor=$brokers
min.insync.replicas=$in_sync
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
END
    [ -z "${KAFKA_PROPERTIES:-}" ] || cat "$KAFKA_PROPERTIES"
}

end() {
    trap - TERM INT EXIT
    # Those that run: another process may have the number of one that ended.
    for pid in $(jobs -pr); do kill -9 "$pid" 2>/dev/null || true; done
    # Not to be told that they were killed.
    wait 2>/dev/null
    [ "${KAFKA_REMOVE_AT_END:-0}" != 1 ] || rm -rf "$directory"
}
trap 'end; exit 0' TERM INT
trap end EXIT

for ((node = first_broker; node <= last_broker; node++)); do
    file="$directory/broker-$node.properties"
    properties "$node" >"$file"
    if [ ! -e "$directory/broker-$node/meta.properties" ]; then
        # shellcheck disable=SC2086
        java -Xmx128m "${java_options[@]}" -cp "$libs/*" \
            kafka.tools.StorageTool format "--cluster-id=$(cat "$cluster")" -c "$file" ${KAFKA_FORMAT:-} >"$directory/broker-$node.log" 2>&1 ||
            fail "broker $node's storage cannot be formatted: $(tail -n 5 "$directory/broker-$node.log")"
    fi
    # shellcheck disable=SC2086
    java ${KAFKA_OPTIONS:--Xms128m -Xmx384m} "${java_options[@]}" -cp "$libs/*" \
        kafka.Kafka "$file" >>"$directory/broker-$node.log" 2>&1 </dev/null &
    printf '%s' "$!" >"$directory/broker-$node.pid"
done

if [ "${KAFKA_UNTIL_INPUT_ENDS:-0}" = 1 ]; then
    # In the background, so that a signal does not wait for it.
    (cat >/dev/null) <&0 &
    wait $! || true
else
    wait
fi
