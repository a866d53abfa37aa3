"""`streamer run`."""

import os
import sys
from pathlib import Path

import click

from streamer.cli.common import command as new_command


@new_command("run")
@click.option(
    "-c", "--config", "path", type=click.Path(dir_okay=False, path_type=Path), default=Path("streamer.toml"), show_default=True,
    metavar="FILE", help="What to stream, and where to.",
)  # fmt: skip
@click.option("--check", is_flag=True, help="Only say whether the file is right; every error at once.")
def command(path: Path, check: bool) -> None:
    """Stream to sinks (Kafka, files, stdout) as a daemon, until SIGTERM.

    SIGHUP reads the file again, SIGUSR1 logs the state of everything. docs/daemon.md, docs/config.md.
    """
    from streamer.daemon.checks import CHECKS
    from streamer.daemon.read import BadConfig, load

    try:
        loaded = load(path, os.environ, CHECKS)
    except BadConfig as e:
        for error in e.errors:
            click.echo(f"streamer: error: {error}", err=True)
        click.get_current_context().exit(e.exit_code)
    if check:
        for warning in loaded.warnings:
            click.echo(f"streamer: warning: {warning}", err=True)
        click.echo(f"{path}: all right")
        return
    _run(path, loaded)


def _run(path: Path, loaded: object) -> None:
    import asyncio

    import uvloop

    from streamer.daemon.logs import Logs
    from streamer.daemon.read import Loaded
    from streamer.daemon.supervisor import Supervisor

    assert isinstance(loaded, Loaded)  # noqa: S101
    logs = Logs()
    logs.configure(loaded.config.log.format, loaded.config.log.level)

    async def live() -> None:
        code = await Supervisor(path, loaded, os.environ, logs).run()
        logs.end()
        sys.stdout.flush()
        os._exit(code)  # a thread that looks up a name, or a sink's that hangs, must not hold up the end

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(live())
