"""Benchmarks: one file a question, each runs by itself (`python -m bench.pipeline`) and with `--json FILE`. See docs/performance.md."""
