#!/usr/bin/env bash
# One real Apache Kafka broker (KRaft) on this machine for tests and trials, out of the jars on Maven Central. Needs Java 17 and Maven.
#
#   start-kafka.sh start|stop|kill|wipe|status|env
#     start   fetches the jars once, formats an empty log, and waits until the broker answers; does nothing when it runs already
#     stop    ends it in order;   kill   ends it at once, as a crash would;   what was written stays for the next start
#     wipe    stops it and deletes what was written
#     env     prints STREAMER_KAFKA=HOST:PORT for the tests
#
# KAFKA_VERSION (4.1.1; 3.9.1 works too), KAFKA_PORT (19092; the next two are taken too: controller, SASL), KAFKA_DIR (.kafka here),
# KAFKA_HEAP (512m). The SASL listener (PLAIN, user "streamer", password "streamer-secret") is there for the tests.
# Exit codes: 0 done, 1 it did not start or is not running, 3 Java or Maven is missing, or the jars cannot be had.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=${KAFKA_VERSION:-4.1.1} port=${KAFKA_PORT:-19092} dir=${KAFKA_DIR:-$here/../../.kafka}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
libs=$dir/libs-$version data=$dir/data-$port pid=$dir/kafka-$port.pid log=$dir/kafka-$port.log conf=$dir/server-$port.properties

running() { [ -s "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null; }
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }
lacking() { echo "start-kafka.sh: $1" >&2; exit 3; }

end() { # signal
    running || { rm -f "$pid"; return 0; }
    kill "-$1" "$(cat "$pid")"
    for _ in $(seq 300); do running || break; sleep 0.1; done
    running && { echo "start-kafka.sh: $(cat "$pid") does not end" >&2; exit 1; }
    rm -f "$pid"
}

fetch() {
    [ -f "$libs/complete" ] && return
    command -v mvn >/dev/null || lacking "Maven is missing; on Debian and Ubuntu: apt install maven"
    echo "fetching Kafka $version" >&2
    rm -rf "$libs"
    # the plugin's version is pinned, so that the run is repeatable
    mvn -q -B -f "$here/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -Dkafka.version="$version" -DincludeScope=runtime -DoutputDirectory="$libs" >&2 || lacking "the jars of Kafka $version cannot be had from Maven"
    touch "$libs/complete"
}

configure() {
    cat >"$conf" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1)),SASL_PLAINTEXT://127.0.0.1:$((port + 2))
advertised.listeners=PLAINTEXT://127.0.0.1:$port,SASL_PLAINTEXT://127.0.0.1:$((port + 2))
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_streamer="streamer-secret";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
log.dirs=$data
num.partitions=4
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.check.interval.ms=1000
log.segment.bytes=16777216
P
}

start() {
    running && listens && { echo "Kafka runs on 127.0.0.1:$port"; return; }
    command -v java >/dev/null || lacking "Java is missing; on Debian and Ubuntu: apt install openjdk-17-jre-headless"
    fetch
    configure
    java=(java -XX:TieredStopAtLevel=1 "-Xmx${KAFKA_HEAP:-512m}" -Djava.awt.headless=true "-Dlog4j2.configurationFile=$here/log4j2.properties" -cp "$libs/*")
    if [ ! -f "$data/meta.properties" ]; then
        id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=')
        "${java[@]}" kafka.tools.StorageTool format -t "$id" -c "$conf" >"$log" 2>&1 || { tail -20 "$log" >&2; exit 1; }
    fi
    setsid "${java[@]}" kafka.Kafka "$conf" >>"$log" 2>&1 </dev/null &
    echo $! >"$pid"
    for _ in $(seq 600); do
        listens && { echo "Kafka $version listens on 127.0.0.1:$port"; return; }
        running || break
        sleep 0.1
    done
    echo "start-kafka.sh: Kafka did not start; the end of $log:" >&2
    tail -20 "$log" >&2
    exit 1
}

case ${1:-start} in
    start) start ;;
    stop) end TERM ;;
    kill) end KILL ;;
    wipe) end TERM && rm -rf "$data" ;;
    status) if running && listens; then echo "running on 127.0.0.1:$port"; else echo "not running"; exit 1; fi ;;
    env) echo "STREAMER_KAFKA=127.0.0.1:$port" ;;
    *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
