"""The tree in the docstring is the tree; nearest names."""

import inspect
import re

import streamer.errors as errors
from streamer.errors import RateLimited, StreamerError, nearest


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    parents: list[tuple[int, str]] = []
    told: dict[str, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        m = re.match(r"([ |]*\+-- |)([A-Z]\w+)(?:  |$)", line)
        if m is None:
            continue
        depth = len(m[1])
        parents = [p for p in parents if p[0] < depth]
        told[m[2]] = parents[-1][1] if parents else "Exception"
        parents.append((depth, m[2]))
    real = {n: c.__bases__[0].__name__ for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, Exception)}
    assert told == real


def test_a_refusal_for_too_many_requests_is_a_failure_of_io() -> None:
    e = RateLimited("venue says 429", 12.5)
    assert (e.reason, e.retry_after, e.exit_code, str(e)) == ("rate_limited", 12.5, 69, "venue says 429")
    assert isinstance(e, StreamerError)


def test_nearest_names() -> None:
    assert nearest("binanse", ["binance", "binanceus", "kraken"]) == "; did you mean binance, binanceus?"
    assert nearest("btc/usdt", ["BTC/USDT", "ETH/BTC"]) == "; did you mean BTC/USDT?"
    assert nearest("zzz", ["binance"]) == ""
