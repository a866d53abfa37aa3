"""How the command ends when something went wrong: one line on stderr that names the remedy, and an exit code."""

import os
from contextlib import suppress
from typing import IO, Any

import click

from streamer.errors import StreamerError


def report(error: Exception, debug: bool) -> int:
    """Say it in one line (and as a traceback with `--debug`); the exit code. 2 usage, 69 unavailable, 1 otherwise, 130 Ctrl-C."""
    if isinstance(error, click.Abort):
        return 130
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    if debug:
        import traceback

        traceback.print_exception(error)
    line, code = _described(error)
    with suppress(BrokenPipeError):
        click.echo(f"streamer: error: {line}", err=True)
    return code


def _described(error: Exception) -> tuple[str, int]:
    if isinstance(error, StreamerError):
        return _one_line(error), error.exit_code
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else "streamer"
        return f"{error.format_message().rstrip('.')} (see {where} --help)", error.exit_code
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename + ': ' if isinstance(error.filename, str) else ''}{error.strerror}", 1
    return f"{type(error).__name__}: {_one_line(error)}; this is a bug of ours: please report it with what --debug shows", 1


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def silence(stream: IO[Any]) -> None:
    """Nobody reads this stream any more: what is left in its buffer must not raise when the interpreter ends."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
