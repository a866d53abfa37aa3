#!/usr/bin/env bash
# Run a command with a real Kafka and Schema Registry beside it, and end them after it:  with-kafka.sh make test
# On ports of its own (KAFKA_PORT 19192, REGISTRY_PORT 18181), so that one you have started is not touched. What cannot
# be had here (no Java, no Maven) is left out with a message; the tests that want it are then skipped.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export KAFKA_PORT=${KAFKA_PORT:-19192} REGISTRY_PORT=${REGISTRY_PORT:-18181}
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
