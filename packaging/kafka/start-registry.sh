#!/usr/bin/env bash
# A real Schema Registry (Apicurio, in memory) on this machine for tests and trials, out of Maven Central. Needs Java 17 and Maven.
#
#   start-registry.sh start|stop|status|env
#     start   fetches it once, and waits until it answers; does nothing when it runs already
#     stop    ends it; what was registered is forgotten
#     env     prints STREAMER_SCHEMA_REGISTRY=URL for the tests; its interface is Confluent's
#
# REGISTRY_PORT (18081), KAFKA_DIR (.kafka here).
# Exit codes: 0 done, 1 it did not start or is not running, 3 Java or Maven is missing, or it cannot be had.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=2.6.13.Final port=${REGISTRY_PORT:-18081} dir=${KAFKA_DIR:-$here/../../.kafka}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
home=$dir/registry-$version pid=$dir/registry-$port.pid log=$dir/registry-$port.log

# shellcheck source=service.sh
. "$here/service.sh"

fetch() {
    [ -f "$home/complete" ] && return
    maven_there
    echo "fetching the registry" >&2
    rm -rf "$home"
    mkdir -p "$home"
    (cd "$home" && mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -DoutputDirectory="$home" \
        -Dartifact="io.apicurio:apicurio-registry-app:$version:tar.gz:all" >&2) || lacking "the registry cannot be had from Maven"
    tar -xzf "$home"/*.tar.gz -C "$home"
    rm "$home"/*.tar.gz
    touch "$home/complete"
}

start() {
    running && listens && { echo "the registry runs on 127.0.0.1:$port"; return; }
    java_there
    fetch
    setsid java -XX:TieredStopAtLevel=1 -Xmx256m -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$port" \
        -jar "$home"/apicurio-registry-app-*-runner.jar >"$log" 2>&1 </dev/null &
    echo $! >"$pid"
    await "the registry"
}

case ${1:-start} in
    start) start ;;
    stop) end TERM ;;
    status) status ;;
    env) echo "STREAMER_SCHEMA_REGISTRY=http://127.0.0.1:$port/apis/ccompat/v7" ;;
    *) usage ;;
esac
