#!/usr/bin/env bash
# Lints packaging/ with whatever of the linters is installed; packaging/README.md says where each comes from. Nothing is installed or started.
# Exit codes: 0 no linter found anything wrong, 1 one did. What is missing is told, and is not an error.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
failed=0 work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

lint() { # what it looks at, command...
    local what=$1
    shift
    command -v "$1" >/dev/null || { echo "not run  $1: not installed ($what)"; return; }
    if "$@" >"$work/said" 2>&1; then echo "passed   $1: $what"; else echo "FAILED   $1: $what"; cat "$work/said"; failed=1; fi
}

lint "scripts" shellcheck -x -P kafka lint.sh kafka/start-kafka.sh kafka/start-registry.sh
lint "image" hadolint Containerfile
lint "YAML" yamllint --strict --config-data '{extends: default, rules: {line-length: {max: 200}, document-start: disable, braces: disable,
    comments: disable, comments-indentation: disable, truthy: disable}}' compose kubernetes prometheus
lint "alerts" promtool check rules prometheus/streamer.rules.yml
lint "alerts fire" promtool test rules prometheus/streamer.rules.test.yml
lint "Prometheus" promtool check config --syntax-only prometheus/prometheus.yml
lint "Kubernetes: it builds" kustomize build kubernetes --output "$work/kubernetes.yaml"
for version in 1.29 1.37; do
    [ -s "$work/kubernetes.yaml" ] && lint "Kubernetes $version" kubernetes-validate --strict --quiet -k "$version" "$work/kubernetes.yaml"
done
lint "Compose" compose-config compose/compose.yaml
lint "exposure of the unit at most 2.0" systemd-analyze security --offline=yes --no-pager --threshold=20 systemd/streamer.service
exit "$failed"
