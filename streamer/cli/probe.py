"""`streamer probe`."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from streamer.cli.common import command as new_command
from streamer.cli.common import note, run
from streamer.cli.live import bases, connection_options
from streamer.errors import IoFailure, NotReady

if TYPE_CHECKING:
    from streamer.types import Instrument
    from streamer.verdict import Book, Report, Seen, Skew

EXIT = {"pass": 0, "fail": 1, "unreachable": NotReady.exit_code}


@new_command("probe")
@click.argument("exchange")
@click.argument("symbol", required=False)
@click.option(
    "--duration", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True, metavar="S", help="Listen for S seconds."
)
@click.option("--json", "as_json", is_flag=True, help="The whole report as one JSON object.")
@connection_options
def command(exchange: str, symbol: str | None, duration: float, as_json: bool, transport: str, proxy: str | None, urls: Any) -> None:
    """Does an exchange do what is declared of it? Subscribe one symbol to everything, and tell what came.

    Without SYMBOL one liquid symbol is taken of each market and kind of instrument. Exit code 0: it passes; 1: it does not, for the
    reasons given; 69: it cannot be reached.
    """
    options = {"transport": transport, "proxy": proxy, "urls": bases(urls, {exchange})}
    found: list[Report] = []
    run(_probe(options, exchange, symbol, duration, as_json, found))
    if not found:
        return  # told to end before it was done
    report = found[0]
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=1))
    elif report.verdict == "unreachable":
        raise NotReady(f"{exchange} cannot be reached: {report.reasons[0] if report.reasons else 'nothing came'}")
    else:
        click.echo("\n".join(text(report)))
    click.get_current_context().exit(EXIT[report.verdict])


async def _probe(options: dict[str, Any], exchange: str, symbol: str | None, duration: float, as_json: bool, found: list[Any]) -> None:
    from streamer.probe import probe
    from streamer.streamer import Streamer
    from streamer.verdict import Report

    def begun(chosen: "Sequence[Instrument]") -> None:
        note(f"probing {exchange} for {duration:g} s: {', '.join(i.symbol for i in chosen)}")

    # without the cache: whether the list of instruments can be read is part of what is asked
    async with Streamer(**options, cache=None) as s:
        try:
            report = await probe(s, exchange, symbol, duration, begun)
        except IoFailure as e:
            if not as_json:
                raise
            report = Report(exchange=exchange, verdict="unreachable", reasons=[str(e)])
    report.where = options["urls"].get(exchange)
    found.append(report)


# the report as text


def text(report: "Report") -> Iterator[str]:
    """The lines of a report."""
    where = f" at {report.where}" if report.where else ""
    yield f"{report.exchange}{where}: {report.seconds:.1f} s, {report.connections} connections, {report.frames} frames"
    yield ""
    head = ("symbol", "kind", "market", "came", "first", "a second", "here after (least .. most)", "")
    yield from table([head, *(_stream(s) for s in report.streams)])
    if report.books:
        yield ""
        heads = ("book", "proved by", "live", "snapshots", "updates", "numbered", "checksums", "stale")
        yield from table([heads, *(_book(b) for b in report.books)])
    yield ""
    yield f"not understood: {_counts(report.bad)}"
    yield from (f"  {reason}: {sample}" for reason, sample in report.samples.items())
    yield f"not asked for: {_counts(report.unknown)}; ids not listed: {_counts(report.unknown_ids)}; reconnects: {report.reconnects}"
    yield from (f"note: {remark}" for remark in report.remarks)
    yield from _doubts(report)
    yield ""
    yield report.verdict.upper()
    yield from (f"  {reason}" for reason in report.reasons)


def _doubts(report: "Report") -> Iterator[str]:
    for title, seen in (("doubts that this bears on:", True), ("doubts that it says nothing about:", False)):
        doubts = [d for d in report.doubts if bool(d.seen) is seen]
        if doubts:
            yield ""
            yield title
        for doubt in doubts:
            yield f"  {doubt.where} {doubt.text}"
            yield from (f"    seen: {what}" for what in doubt.seen)


def _stream(s: "Seen") -> tuple[str, ...]:
    came = str(s.count) if s.count else {"quiet": "not seen"}.get(s.verdict, s.verdict.upper())
    first = "" if s.first is None else f"{s.first:.2f} s"
    return s.symbol, s.kind, s.market, came, first, f"{s.rate:.1f}" if s.count else "", _skew(s.skew), ascii(s.why)[1:-1]


def _skew(skew: "Skew | None") -> str:
    return "" if skew is None else f"{_span(skew.median)} ({_span(skew.least)} .. {_span(skew.most)})"


def _span(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if abs(seconds) < 10 else f"{seconds:.0f} s"


def _book(b: "Book") -> tuple[str, ...]:
    live = "never" if b.live_s is None else f"{b.live_s:.2f} s"
    numbered = "by connection" if b.numbers_lines else str(b.numbered) if "sequence" in b.proof else "-"
    summed = str(b.checksums) if "checksum" in b.proof else "-"
    return b.symbol, b.proof, live, str(b.snapshots), str(b.deltas), numbered, summed, _counts(b.stale)


def _counts(counts: Any) -> str:
    return ", ".join(f"{n} {ascii(name)[1:-1]}" for name, n in counts.items()) or "none"


def table(rows: "Sequence[Sequence[str]]") -> Iterator[str]:
    """Aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
