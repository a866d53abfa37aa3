"""The command as a whole: laziness, one-line failures, exit codes, signals, pipes, and that its page of docs knows all of it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from streamer.cli import COMMANDS, cli
from streamer.errors import NotReady

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "streamer"]


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli, args, catch_exceptions=False)


def popen(*args: str, **kwargs: object) -> "subprocess.Popen[str]":
    return subprocess.Popen([*COMMAND, *args], cwd=ROOT, text=True, stdout=-1, stderr=-1, **kwargs)  # type: ignore[call-overload,no-any-return]  # noqa: S603


def test_help_answers_in_150_ms() -> None:
    def once() -> float:
        began = time.perf_counter()
        subprocess.run([*COMMAND, "--help"], cwd=ROOT, check=True, capture_output=True)  # noqa: S603
        return time.perf_counter() - began

    assert min(once() for _ in range(5)) < 0.15


def test_help_names_every_command_and_imports_none() -> None:
    code = "import sys; from streamer.cli import cli\ntry: cli.main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
    text, modules = done.stdout.rsplit("\n", 2)[0], done.stdout.rsplit("\n", 2)[1].split()
    assert all(re.search(rf"^  {name} ", text, re.MULTILINE) for name in COMMANDS)
    ours = {m for m in modules if m.startswith("streamer")}
    assert ours == {"streamer", "streamer.cli", "streamer.cli.common", "streamer.cli.failures", "streamer.errors"}
    assert not {"asyncio", "msgspec", "aiohttp", "picows", "rich"} & set(modules)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_the_common_options(name: str) -> None:
    result = invoke(name, "--help")
    assert result.exit_code == 0
    for option in ("--verbose", "--quiet", "--debug"):
        assert option in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_the_docs_mention_every_command_with_an_example_and_every_option(name: str) -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    section = re.search(rf"^## `streamer {name}[^\n]*\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert section, f"docs/cli.md has no section `streamer {name}`"
    assert re.search(rf"^    (.*\| )?streamer {name}\b", section[1], re.MULTILINE), "no example"
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    options = [o for p in command.params for o in p.opts if isinstance(p, click.Option)]
    common = {"-v", "--verbose", "-q", "--quiet", "--debug"}
    missing = [o for o in options if f"`{o}" not in (page if o in common else section[1])]
    assert not missing, f"docs/cli.md does not say what {missing} of `streamer {name}` do"


def test_the_docs_have_no_command_or_option_that_is_not_there() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    assert set(re.findall(r"^## `streamer (\w+)", page, re.MULTILINE)) == set(COMMANDS)
    known = {o for name in COMMANDS for p in _params(name) for o in p.opts} | {"--help", "--version", "-h"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page)) <= known


def _params(name: str) -> list[click.Parameter]:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command.params


def test_version() -> None:
    result = invoke("--version")
    assert result.exit_code == 0
    assert re.fullmatch(r"streamer (\d+\.\d+\.\d+\S*|\(run from its sources, not installed\))\n", result.output)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["exchange"], "streamer: error: no command 'exchange'; did you mean exchanges? (see streamer --help)\n"),
        (["exchanges", "--cuntry", "JP"],
         "streamer: error: No such option '--cuntry'. Did you mean '--country'? (see streamer exchanges --help)\n"),
        (["stream"], "streamer: error: Missing argument 'EXCHANGE:SYMBOL...' (see streamer stream --help)\n"),
        (["stream", "binanc:BTC/USDT"], "streamer: error: unknown exchange 'binanc'; did you mean binance, binanceus, binanceusdm?\n"),
        (["stream", "binance"], "streamer: error: stream 'binance' is not exchange:symbol, like binance:BTC/USDT\n"),
        (["stream", "binance:BTC/USDT", "--kinds", "trads"],
         "streamer: error: Invalid value for '--kinds': no kind 'trads'; did you mean trade? (see streamer stream --help)\n"),
        (["stream", "binance:BTC/USDT", "--limit", "0"],
         "streamer: error: Invalid value for '--limit': 0 is not in the range x>=1 (see streamer stream --help)\n"),
        (["stream", "binance:BTC/USDT", "--url", "okx=http://127.0.0.1:9"],
         "streamer: error: --url is for 'okx', but what is asked for is of binance\n"),
        (["stream", "binance:BTC/USDT", "--url", "9000"],
         "streamer: error: Invalid value for '--url': '9000' is not like binance=http://127.0.0.1:9000/binance"
         " (see streamer stream --help)\n"),
        (["replay", "no-such-file"],
         "streamer: error: Invalid value for 'FILE...': File 'no-such-file' does not exist (see streamer replay --help)\n"),
        (["exchanges", "--country", "Japn"], "streamer: error: no exchange of 'Japn' on the list; did you mean Japan, JP?\n"),
    ],
)  # fmt: skip
def test_a_usage_error_is_one_line_with_the_remedy_and_exit_code_2(args: list[str], said: str) -> None:
    result = invoke(*args)
    assert (result.stderr, result.stdout, result.exit_code) == (said, "", 2)


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, *args: str) -> Result:
    """`streamer exchanges` whose work raises `error`."""

    def broken() -> tuple[str, ...]:
        raise error

    monkeypatch.setattr("streamer.cli.exchanges.built", broken)
    return invoke(*args, "exchanges")


def test_errors_of_ours_carry_their_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    result = failing(monkeypatch, NotReady("not live after 1 s:\n  binance"))
    assert (result.stderr, result.exit_code) == ("streamer: error: not live after 1 s: binance\n", 69)


def test_errors_of_the_system_name_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    result = failing(monkeypatch, PermissionError(13, "Permission denied", "/root/x"))
    assert (result.stderr, result.exit_code) == ("streamer: error: /root/x: Permission denied\n", 1)


def test_a_bug_is_one_line_too_unless_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    result = failing(monkeypatch, ZeroDivisionError("division by zero"))
    assert result.stderr.startswith("streamer: error: ZeroDivisionError: division by zero; this is a bug of ours")
    assert (result.stderr.count("\n"), result.exit_code) == (1, 1)
    result = failing(monkeypatch, ZeroDivisionError("division by zero"), "--debug")
    assert result.stderr.startswith("Traceback (most recent call last)")
    assert result.exit_code == 1


def test_ctrl_c_is_130_and_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    result = failing(monkeypatch, KeyboardInterrupt())
    assert (result.output, result.exit_code) == ("", 130)


def test_no_arguments_show_the_help_as_a_usage_error() -> None:
    result = invoke()
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


def test_a_pipe_whose_reader_went_away_is_silent() -> None:
    process = popen("exchanges", "-q")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(10) == 0
    process.stderr.close()


WAITING = """
import asyncio, sys
from streamer.cli import cli, common, exchanges
async def work():
    print("ready", flush=True)
    try: await asyncio.sleep(30)
    finally: print("cleaned", flush=True)
exchanges._of_country = lambda *a: common.run(work()) or []
cli.main(["exchanges", "--json"])
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signals_end_a_command_in_order(sent: signal.Signals, code: int) -> None:
    with subprocess.Popen([sys.executable, "-c", WAITING], cwd=ROOT, text=True, stdout=-1, stderr=-1) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, sent)
        assert process.stdout.readline() == "cleaned\n"
        assert process.wait(10) == code
        assert process.stderr.read() == ""


def test_verbosity_sets_the_level_of_the_log_before_and_behind_the_command() -> None:
    import logging

    levels = []
    for args in (["exchanges"], ["-v", "exchanges"], ["exchanges", "-v"], ["-v", "exchanges", "-v"], ["exchanges", "-q"]):
        assert invoke(*args, "--country", "JP").exit_code == 0
        levels.append(logging.getLogger("streamer").level)
    assert levels == [logging.WARNING, logging.INFO, logging.INFO, logging.DEBUG, logging.ERROR]
