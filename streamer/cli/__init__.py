"""The command `streamer`: one module a subcommand, imported when it is called, so that `streamer --help` answers at once."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from streamer.cli.common import Settings, common_options
from streamer.cli.failures import report, silence

COMMANDS = {
    "exchanges": "The 99 exchanges by country, and what is built.",
    "symbols": "What an exchange trades.",
    "stream": "Live ticks of one or more symbols.",
    "run": "Stream to Kafka, files or stdout as a daemon.",
    "record": "Write what the exchanges send to a file.",
    "replay": "Push recordings through the same way as live frames.",
    "probe": "Does an exchange do what is declared of it?",
    "sim": "Serve simulated exchanges on this machine.",
    "demo": "Watch four simulated exchanges; needs no network.",
}


class Streamer(click.Group):
    """The group. Knows its commands by name only, and turns every end into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"streamer.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from streamer.errors import nearest

            ctx.fail(f"no command {args[0]!r}" + (nearest(args[0], COMMANDS) or f"; one of {', '.join(COMMANDS)}"))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Click's own endings are louder than wanted: a blank line on Ctrl-C, exit code 1 when the reader of a pipe went away."""
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            silence(sys.stdout)
            ctx.exit(130)
        except BrokenPipeError:
            silence(sys.stdout)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> Any:  # type: ignore[override]
        settings = Settings()
        try:
            code = super().main(args, prog_name or "streamer", **(extra | {"standalone_mode": False, "obj": settings}))
        except Exception as e:  # noqa: BLE001  the last line of defence: one line for the user instead of a traceback
            code = report(e, settings.debug)
        sys.exit(code if isinstance(code, int) else 0)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"streamer {version('market-streamer')}")
        except PackageNotFoundError:
            click.echo("streamer (run from its sources, not installed)")
        ctx.exit()


@click.group("streamer", cls=Streamer, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@common_options
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version.")
def cli() -> None:
    """Real-time market data of many exchanges, in one form.

    A stream is named exchange:symbol, like binance:BTC/USDT. Data goes to stdout, everything else to stderr.
    """


def main() -> None:
    """The entry point."""
    cli.main(prog_name="streamer")
