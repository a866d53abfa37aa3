"""The configuration file: every error at once and by its path, the environment above it, secrets never in it."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.daemon.checks import CHECKS, address
from streamer.daemon.config import Config
from streamer.daemon.credentials import Secret, is_secret
from streamer.daemon.read import BadConfig, load
from streamer.errors import UsageError

GOOD = """
[[streams]]
match = ["binance:*/USDT"]
sinks = ["out"]
[sinks.out]
type = "stdout"
"""


def read(tmp_path: Path, text: str, **environ: str) -> Config:
    path = tmp_path / "s.toml"
    path.write_text(text)
    return load(path, environ, CHECKS).config


def errors(tmp_path: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(BadConfig) as caught:
        read(tmp_path, text, **environ)
    assert caught.value.exit_code == 78
    return [e.removeprefix(f"{tmp_path}/s.toml: ") for e in caught.value.errors]


def test_defaults(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD)
    assert config.http.listen == "127.0.0.1:9464"
    assert (config.streams[0].kinds, config.streams[0].policy) == (["trade"], "drop_oldest")
    assert (config.ready.stale_s, config.ready.share, config.shutdown.deadline_s) == (5.0, 1.0, 10.0)


def test_equal_files_are_equal(tmp_path: Path) -> None:
    """What a reload compares."""
    assert read(tmp_path, GOOD) == read(tmp_path, GOOD + "[log]\nlevel = 'info'\n")
    assert read(tmp_path, GOOD) != read(tmp_path, GOOD + "[log]\nlevel = 'debug'\n")


ONE_WRONG = [
    ("[htp]", "htp: there is no such key; did you mean http?"),
    ("[http]\nlisten = 1", "http.listen: expected text, got a whole number"),
    ("http = 3", "http: expected a table, got a number"),
    ("[http]\nlisten = 'localhost'", "http.listen: 'localhost' is not HOST:PORT, like 127.0.0.1:9464 or [::1]:9464"),
    ("[ready]\nshare = 0.0", "ready.share: expected a number > 0.0"),
    ("[ready]\nshare = nan", "ready.share: "),
    ("[shutdown]\ndeadline_s = -1", "shutdown.deadline_s: expected a number >= 0.1"),
    ("[log]\nformat = 'yaml'", "log.format: 'yaml' is none of json, text"),
    ("[exchanges.binanse]", "exchanges.binanse: there is no exchange 'binanse'; did you mean binance"),
    ("[exchanges.binance]\nurl = 'http://example.com'", "exchanges.binance.url: the url given for binance is not encrypted"),
    ("[exchanges.binance]\nurl = 'file:///etc'", "exchanges.binance.url: the url given for binance is 'file:///etc'"),
    ("[network]\nproxy = 'ftp://x'", "network.proxy: proxy: 'ftp' proxies are not supported"),
    ("[network]\nproxy = 'http://a:b@x'", "network.proxy: a password does not belong into this file: write proxy_env"),
    ("[network]\nproxy = 'http://x'\nproxy_env = 'P'", "network.proxy_env: proxy is given too: one of them is enough"),
    ("[sinks.x]\npath = 'a'", "sinks.x.type: is missing"),
    ("[sinks.x]\ntype = 'fils'", "sinks.x: unknown sink 'fils'; did you mean files?"),
    ("[sinks.x]\ntype = 'files'", "sinks.x.path: is missing"),
    ("[sinks.x]\ntype = 'files'\npath = '/x/y'\nrotate = 3", "sinks.x.rotate: there is no such key; did you mean rotate_s"),
    ("[sinks.x]\ntype = 'files'\npath = '/x/y'\nrotate_s = 'a'", "sinks.x.rotate_s: expected a whole number, got text"),
    ("[sinks.x]\ntype = 'stdout'\nspool = 1", "sinks.x.spool: expected a table, got a number"),
    (
        "[sinks.x]\ntype = 'stdout'\n[sinks.x.spool]\npath = '/x'\nmax_bytes = 1",
        "sinks.x.spool.max_bytes: expected a whole number >= 65536",
    ),
    (
        "[sinks.x]\ntype = 'stdout'\n[sinks.x.spool]\npath = '/x'\nfsink = 1",
        "sinks.x.spool.fsink: there is no such key; did you mean fsync",
    ),
]


@pytest.mark.parametrize(("more", "told"), ONE_WRONG)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, more: str, told: str) -> None:
    (only,) = errors(tmp_path, (more + "\n" + GOOD) if "=" in more and "[" not in more else GOOD + more)
    assert only.startswith(told)


STREAMS_WRONG = [
    ("match = []", "match: is empty; name at least one"),
    ("match = 'binance:BTC/USDT'", "match: expected a list, got text"),
    ("match = ['binanc:*']", "match[0]: there is no exchange 'binanc'; did you mean binance"),
    ("match = ['x*:BTC/USD']", "match[0]: there is no exchange 'x*'"),
    ("match = ['BTC/USDT']", "match[0]: stream 'BTC/USDT' is not exchange:symbol"),
    ("match = ['binance:BTCUSDT']", "match[0]: symbol 'BTCUSDT' is not like BTC/USDT"),
    ("match = ['binance:BTC /*']", "match[0]: 'binance:BTC /*' is not like binance:*/USDT"),
    ("sinks = ['ot']", "sinks[0]: there is no [sinks.ot]; did you mean out?"),
    ("kinds = ['trade', 'boook']", "kinds[1]: 'boook' is none of trade, book"),
    ("kinds = ['funding']", "kinds[0]: none of binance has funding; there is "),
    ("kinds = ['candle']\ninterval = '7m'", "interval: none of binance has candles of '7m'; there are 1s"),
    ("policy = 'conflate'", "policy: conflate would lose trades"),
    ("policy = 'disconnect'", "policy: 'disconnect' is none of drop_oldest, drop_newest, conflate"),
    ("depth = 0", "depth: expected a whole number >= 1"),
    ("exclude = ['x']", "exclude[0]: stream 'x' is not exchange:symbol"),
]


@pytest.mark.parametrize(("line", "told"), STREAMS_WRONG)
def test_what_is_wrong_with_a_group(tmp_path: Path, line: str, told: str) -> None:
    keys = {"match": "['binance:*/USDT']", "sinks": "['out']"}
    group = "".join(f"{k} = {v}\n" for k, v in keys.items() if not line.startswith(k)) + line
    (only,) = errors(tmp_path, f"[[streams]]\n{group}\n[sinks.out]\ntype = 'stdout'\n")
    assert only.startswith(f"streams[0].{told}")


def test_every_error_at_once(tmp_path: Path) -> None:
    """One bad file, all that is in the lists above."""
    groups = "".join(f"[[streams]]\nmatch = ['binanc:*']\nsinks = ['out']\ndepth = {n}\n" for n in (0, -1))
    found = errors(tmp_path, groups + "[sinks.out]\ntype='stdout'\nx=1\n[http]\nlisten=''\nport=1\n[lug]\n", STREAMER__LOG__LEVEL="x")
    groups_of = [f"streams[{n}].{key}" for n in (0, 1) for key in ("depth", "match[0]")]
    assert [e.partition(": ")[0] for e in found] == [*groups_of, "sinks.out.x", "http.port", "log.level", "lug"]


def test_files_that_are_none(tmp_path: Path) -> None:
    (bad,) = errors(tmp_path, "x = 1\ny = = 2")
    assert bad.startswith("not TOML: ")
    assert "line 2" in bad
    (tmp_path / "s.toml").write_bytes(b"\xff")
    with pytest.raises(BadConfig, match="not TOML: 'utf-8' codec"):
        load(tmp_path / "s.toml", {}, CHECKS)
    with pytest.raises(BadConfig, match="Is a directory"):
        load(tmp_path, {}, CHECKS)
    (deep,) = errors(tmp_path, "x = " + "[" * 5000)
    assert deep.startswith("not TOML: ")


def test_the_environment_stands_above_the_file(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        GOOD,
        STREAMER__HTTP__LISTEN="0.0.0.0:80",
        STREAMER__READY__SHARE="0.5",
        STREAMER__READY__SINKS="false",
        STREAMER__STREAMS__0__KINDS='["book"]',
        STREAMER__STREAMS__0__DEPTH="50",
        STREAMER__STREAMS__0__MATCH__0="kraken:BTC/USD",
        STREAMER__EXCHANGES__KRAKEN__URL="http://127.0.0.1:9000/kraken",
        STREAMER__SINKS__OUT__SPOOL__PATH="/spool",
        STREAMER_RECORDINGS="is none of ours",
    )
    assert (config.http.listen, config.ready.share, config.ready.sinks) == ("0.0.0.0:80", 0.5, False)
    assert (config.streams[0].kinds, config.streams[0].depth, config.streams[0].match) == (["book"], 50, ["kraken:BTC/USD"])
    assert config.exchanges["kraken"].url == "http://127.0.0.1:9000/kraken"
    assert config.sinks["out"].spool is not None


def test_what_is_wrong_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    found = errors(
        tmp_path, GOOD, STREAMER__HTP__LISTEN="x", STREAMER__READY__SHARE="much", STREAMER__STREAMS__7__DEPTH="1", STREAMER__LOG="json"
    )
    assert sorted(found) == [
        "STREAMER__STREAMS__7__DEPTH leads nowhere: the file has nothing there that it could replace",
        "htp: there is no such key; did you mean http? (from STREAMER__HTP__LISTEN)",
        "log: expected a table, got text (from STREAMER__LOG)",
        "ready.share: expected a number, got text (from STREAMER__READY__SHARE)",
    ]


def test_options_of_a_sink_from_the_environment(tmp_path: Path) -> None:
    text = GOOD.replace("stdout", "files") + 'path = "/x/y.ndjson"\n'
    options = read(tmp_path, text, STREAMER__SINKS__OUT__ROTATE_S="60", STREAMER__SINKS__OUT__FSYNC="true").sinks["out"].options
    assert (options.rotate_s, options.fsync) == (60, True)


KAFKA = """
[[streams]]
match = ["binance:*/USDT"]
sinks = ["kafka"]
[sinks.kafka]
type = "kafka"
servers = "localhost:9092"
security = "sasl_ssl"
sasl_user = "u"
"""


@pytest.fixture
def kafka() -> str:
    pytest.importorskip("confluent_kafka")
    return KAFKA


def test_a_secret_is_never_in_the_file(tmp_path: Path, kafka: str) -> None:
    found = errors(tmp_path, kafka + 'sasl_password = "S3CR3T"\n')
    assert found == ['sinks.kafka.sasl_password: a secret does not belong into this file: write sasl_password_env = "VARIABLE" or '
                     'sasl_password_file = "/path"']  # fmt: skip


def test_a_secret_comes_from_a_variable_or_a_file(tmp_path: Path, kafka: str) -> None:
    config = read(tmp_path, kafka + 'sasl_password_env = "P"\n', P="S3CR3T")
    assert config.sinks["kafka"].options.sasl_password == "S3CR3T"
    assert "S3CR3T" not in repr(config)
    secret = tmp_path / "secret"
    secret.write_text("T0P\nand a comment\n")
    secret.chmod(0o644)
    path = tmp_path / "s.toml"
    path.write_text(kafka + f'sasl_password_file = "{secret}"\n')
    loaded = load(path, {}, CHECKS)
    assert loaded.config.sinks["kafka"].options.sasl_password == "T0P"
    assert loaded.warnings == [f"{path}: sinks.kafka: {secret} may be read by everybody on this machine: chmod o-r"]
    secret.chmod(0o600)
    assert load(path, {}, CHECKS).warnings == []
    assert load(path, {}, CHECKS).config == loaded.config
    secret.write_text("N3W")
    assert load(path, {}, CHECKS).config != loaded.config, "a reload sees that the password is another"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('sasl_password_env = "NOT_SET"', "sinks.kafka.sasl_password_env: the environment has no NOT_SET"),
        ('sasl_password_file = "/not/there"', "sinks.kafka.sasl_password_file: /not/there cannot be read: No such file"),
        ('sasl_password_file = "/dev/null"', "sinks.kafka.sasl_password_file: /dev/null is empty"),
        ('sasl_password_env = "HOME"\nsasl_password_file = "/x"', "sinks.kafka.sasl_password_file: sasl_password is given twice"),
    ],
)
def test_a_secret_that_is_not_there(tmp_path: Path, kafka: str, line: str, told: str) -> None:
    found = errors(tmp_path, f"{kafka}{line}\n", HOME="x")
    assert any(e.startswith(told) for e in found), found


def test_what_is_taken_for_a_secret() -> None:
    assert [
        k for k in ("password", "sasl_password", "sasl.password", "api_key", "token", "schema_registry_user_info") if not is_secret(k)
    ] == []
    assert [k for k in ("key", "path", "ssl_key", "tokens_per_s", "passwords") if is_secret(k)] == []
    assert (repr([Secret("x")]), str(Secret("x"))) == (["'***'"].__str__().replace('"', ""), "x")


@pytest.mark.parametrize(
    ("text", "means"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:80", ("::1", 80)), ("localhost:0", ("localhost", 0)), ("", None)],
)
def test_addresses(text: str, means: tuple[str, int] | None) -> None:
    assert address(text) == means


@pytest.mark.parametrize("text", ["x", ":80", "x:", "x:70000", "x:-1", "x:٨٠"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(UsageError):
        address(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["match", "sinks", "kinds", "type", "path", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams=VALUES, sinks=VALUES, http=VALUES, ready=VALUES)
def test_any_shape_is_told_and_never_raises_anything_else(
    tmp_path: Path, streams: object, sinks: object, http: object, ready: object
) -> None:
    """Whatever a document holds: a configuration, or `BadConfig`."""
    document = {k: v for k, v in {"streams": streams, "sinks": sinks, "http": http, "ready": ready}.items() if v is not None}
    path = tmp_path / "s.toml"
    path.write_text("".join(f"{k} = {toml(v)}\n" for k, v in document.items()))
    told: list[str] = []
    try:
        load(path, {}, CHECKS)
    except BadConfig as e:
        told = e.errors
    assert all("\n" not in x for x in told)


def toml(value: object) -> str:
    """A value as TOML writes it in a line."""
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08X}" if not 0xD800 <= ord(c) < 0xE000 else "?" for c in value) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
    return repr(value)
