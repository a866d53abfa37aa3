"""What the subcommands share: the options -v, -q and --debug, parameter types, and the running of a coroutine under signals."""

import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Settings:
    """What -v, -q and --debug asked for, before or behind the subcommand."""

    def __init__(self) -> None:
        self.verbosity = 0
        self.debug = False

    def configure_logging(self) -> None:
        """Logs of `streamer` to stderr; warnings only unless -v (info) or -vv (debug), errors only with -q."""
        import logging
        import time

        formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        handler = logging.StreamHandler()
        handler.setFormatter(formatter)
        logger = logging.getLogger("streamer")
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel({-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}.get(self.verbosity, logging.DEBUG))

    @property
    def quiet(self) -> bool:
        return self.verbosity < 0


def _louder(ctx: click.Context, param: click.Parameter, value: int) -> None:
    ctx.ensure_object(Settings).verbosity += value


def _quieter(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Settings).verbosity = -1


def _debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.ensure_object(Settings).debug |= value


def common_options(f: F) -> F:
    """-v, -q and --debug."""
    f = click.option("--debug", is_flag=True, expose_value=False, callback=_debug, help="Show tracebacks.")(f)
    f = click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_quieter, help="Errors only on stderr.")(f)
    return click.option("-v", "--verbose", count=True, expose_value=False, callback=_louder, help="More on stderr; twice for all.")(f)


class Command(click.Command):
    """A subcommand with the common options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        holder: Any = lambda: None  # noqa: E731  (click's decorators collect on a function)
        common_options(holder)
        self.params += reversed(holder.__click_params__)

    def invoke(self, ctx: click.Context) -> Any:
        ctx.ensure_object(Settings).configure_logging()
        return super().invoke(ctx)


command = partial(click.command, cls=Command)


def note(message: str) -> None:
    """A line for the user on stderr, unless -q."""
    if not click.get_current_context().ensure_object(Settings).quiet:
        click.echo(message, err=True)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end. SIGTERM ends it in order, like the end of its work; SIGINT in order too, with KeyboardInterrupt after."""
    import asyncio

    loop_factory = None
    if sys.platform != "win32":
        import uvloop

        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_until_terminated(work))


async def _until_terminated(work: Coroutine[Any, Any, None]) -> None:
    import asyncio
    import signal

    task = asyncio.ensure_future(work)
    with suppress(NotImplementedError, RuntimeError, ValueError):  # not on Windows, nor outside of the main thread
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        me = asyncio.current_task()
        if me is not None and me.cancelling():
            raise


def colored() -> bool:
    """Is stdout a terminal whose owner did not ask for NO_COLOR (https://no-color.org)?"""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
