#!/usr/bin/env bash
# One real Apache Kafka broker (KRaft) on this machine for tests and trials, out of the jars on Maven Central. Needs Java 17 and Maven.
#
#   start-kafka.sh start|stop|kill|wipe|status|env
#     start   fetches the jars once, formats an empty log, and waits until the broker answers; does nothing when it runs already
#     stop    ends it in order;   kill   ends it at once, as a crash would;   what was written stays for the next start
#     wipe    stops it and deletes what was written
#     env     prints STREAMER_KAFKA=HOST:PORT for the tests
#
# KAFKA_VERSION (4.1.1; 3.9.1 works too), KAFKA_PORT (19092), KAFKA_DIR (.kafka here), KAFKA_HEAP (512m). The next four ports are taken, too:
#   +1 the controller
#   +2 SASL without TLS: PLAIN
#   +3 TLS that asks for a certificate: KAFKA_DIR/tls/client.p12
#   +4 SASL over TLS: SCRAM-SHA-512
# All on 127.0.0.1, for tests and trials: user "streamer", password "streamer-secret", also that of the .p12; the authority to trust is
# KAFKA_DIR/tls/ca.pem.
# Exit codes: 0 done, 1 it did not start or is not running, 3 Java or Maven is missing, or the jars cannot be had.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=${KAFKA_VERSION:-4.1.1} port=${KAFKA_PORT:-19092} dir=${KAFKA_DIR:-$here/../../.kafka}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
libs=$dir/libs-$version tls=$dir/tls data=$dir/data-$port pid=$dir/kafka-$port.pid log=$dir/kafka-$port.log conf=$dir/server-$port.properties

# shellcheck source=service.sh
. "$here/service.sh"

fetch() {
    [ -f "$libs/complete" ] && return
    maven_there
    echo "fetching Kafka $version" >&2
    rm -rf "$libs"
    # the plugin's version is pinned, so that the run is repeatable
    mvn -q -B -f "$here/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -Dkafka.version="$version" -DincludeScope=runtime -DoutputDirectory="$libs" >&2 || lacking "the jars of Kafka $version cannot be had from Maven"
    touch "$libs/complete"
}

certify() { # the broker and a client, each by itself; made once
    [ -d "$tls" ] && return
    new=$(mktemp -d "$dir/tls.XXXXXX")
    for who in broker client; do
        key=(-alias "$who" -keystore "$new/$who.p12" -storetype PKCS12 -storepass streamer-secret)
        keytool -genkeypair "${key[@]}" -keyalg EC -groupname secp256r1 -dname "CN=$who" -ext SAN=ip:127.0.0.1 -validity 3650
        keytool -exportcert "${key[@]}" -rfc -file "$new/$who.pem"
    done >"$log" 2>&1 || { tail -20 "$log" >&2; exit 1; }
    mv "$new/broker.pem" "$new/ca.pem"
    mv -T "$new" "$tls" 2>/dev/null || rm -rf "$new" # another start was faster
}

configure() {
    clients=PLAINTEXT://127.0.0.1:$port,SASL_PLAINTEXT://127.0.0.1:$((port + 2))
    clients=$clients,SSL://127.0.0.1:$((port + 3)),SASL_SSL://127.0.0.1:$((port + 4))
    cat >"$conf" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=CONTROLLER://127.0.0.1:$((port + 1)),$clients
advertised.listeners=$clients
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
listener.name.sasl_plaintext.sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.ssl.ssl.client.auth=required
ssl.keystore.type=PKCS12
ssl.keystore.location=$tls/broker.p12
ssl.keystore.password=streamer-secret
ssl.truststore.type=PEM
ssl.truststore.location=$tls/client.pem
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
    java_there
    fetch
    certify
    configure
    java=(java -XX:TieredStopAtLevel=1 "-Xmx${KAFKA_HEAP:-512m}" -Djava.awt.headless=true "-Dlog4j2.configurationFile=$here/log4j2.properties" -cp "$libs/*")
    if [ ! -f "$data/meta.properties" ]; then
        id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=')
        "${java[@]}" kafka.tools.StorageTool format --cluster-id="$id" -c "$conf" \
            --add-scram 'SCRAM-SHA-512=[name=streamer,password=streamer-secret]' >"$log" 2>&1 || { tail -20 "$log" >&2; exit 1; }
    fi
    setsid "${java[@]}" kafka.Kafka "$conf" >>"$log" 2>&1 </dev/null &
    echo $! >"$pid"
    await "Kafka $version"
}

case ${1:-start} in
    start) start ;;
    stop) end TERM ;;
    kill) end KILL ;;
    wipe) end TERM && rm -rf "$data" "$conf" "$log" ;;
    status) status ;;
    env) echo "STREAMER_KAFKA=127.0.0.1:$port" ;;
    *) usage ;;
esac
