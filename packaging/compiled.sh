#!/bin/sh
# compiled.sh DIR: this tree once more in DIR, with the core of streamer compiled (see docs/performance.md). Needs a C compiler, and the
# registry for mypyc. Nothing is installed; in DIR `python -m streamer`, the tests and the benchmarks run as they do here.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
python=${PYTHON:-$root/.venv/bin/python}
case $root/ in "$out"/*) echo "$out holds the project itself: give another directory" >&2; exit 1 ;; esac
command -v cc >/dev/null || command -v gcc >/dev/null || { echo "no C compiler (cc, gcc) is here; on Debian and Ubuntu: apt install gcc" >&2; exit 1; }

find "$out" -mindepth 1 -delete
(cd "$root" && git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' _ |
    tar -cf - --null -T -) | tar -xf - -C "$out"
for peers in .venv .venv3 node_modules; do # what the benchmarks compare with
    [ ! -e "$root/bench/peers/$peers" ] || ln -s "$root/bench/peers/$peers" "$out/bench/peers/$peers"
done
HATCH_BUILD_HOOK_ENABLE_MYPYC=1 "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$out/wheel" "$out"
"$python" -m zipfile -e "$out"/wheel/*.whl "$out"
(cd "$out" && "$python" -c "import sys, streamer.book; sys.exit(streamer.book.__file__.endswith('.py'))") || { echo "$out: not compiled" >&2; exit 1; }
echo "compiled: $out"
