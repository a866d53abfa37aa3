#!/usr/bin/env bash
# Run a command with a real Kafka and Schema Registry beside it, and end them after it:  with-kafka.sh make test
# On free ports of its own, so that neither one you have started nor another run is touched. What cannot be had here (no Java, no
# Maven) is left out with a message; the tests that want it are then skipped.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

base=$((20000 + $$ % 500 * 20)) # below the ports that the system gives away; tests take some of the twenty, too
while listens "$base" || listens $((base + 5)) || listens $((base + 10)) || listens $((base + 15)); do base=$((base + 20)); done
export KAFKA_PORT=$base REGISTRY_PORT=$((base + 15))
trap '"$here/start-registry.sh" stop; "$here/start-kafka.sh" wipe' EXIT

for which in kafka registry; do
    "$here/start-$which.sh" start
    case $? in
        0) export "$("$here/start-$which.sh" env)" ;;
        3) echo "with-kafka.sh: going on without it; tests that want it are skipped" >&2 ;;
        *) exit 1 ;;
    esac
done
"$@"
