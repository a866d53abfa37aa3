"""`streamer exchanges`."""

import logging
from collections.abc import Iterable, Sequence

import click
import msgspec

from streamer.cli.common import command as new_command
from streamer.cli.common import note
from streamer.errors import BadFeed, UsageError, nearest
from streamer.registry import Exchange, built, listed, load, proof
from streamer.spec import Feed, Poll


class Row(Exchange, frozen=True):
    """An exchange and what its feed offers: `transport` is websocket, poll or both; `proof` tells by market what shows a lost update."""

    built: bool = False
    transport: str | None = None
    kinds: tuple[str, ...] = ()
    proof: dict[str, str] = msgspec.field(default_factory=dict)


@new_command("exchanges")
@click.option("--country", metavar="NAME", help="Only of this country, as the list writes it (Japan) or as its ISO code (JP).")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, one object for each exchange.")
def command(country: str | None, as_json: bool) -> None:
    """The 99 exchanges by country, with their status; for those built: transport, kinds, and what each can prove about gaps."""
    have = set(built())
    rows = [_row(e, e.id in have) for e in _of_country(listed(), country)]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=1))
        return
    for name, group in _by_country(rows, country):
        click.echo(name)
        for row in group:
            click.echo(f"  {_line(row)}")
    note(f"{len(rows)} exchanges, {sum(r.built for r in rows)} built")


def _of_country(exchanges: Sequence[Exchange], country: str | None) -> list[Exchange]:
    if country is None:
        return list(exchanges)
    hits = [e for e in exchanges if country.lower() in (c.lower() for c in e.countries + e.iso)]
    if not hits:
        known = {c for e in exchanges for c in e.countries + e.iso}
        names = ", ".join(sorted({c for e in exchanges for c in e.countries}))
        raise UsageError(f"no exchange of {country!r} on the list{nearest(country, known) or f'; it has {names}'}")
    return hits


def _row(exchange: Exchange, is_built: bool) -> Row:
    row = Row(**{f: getattr(exchange, f) for f in exchange.__struct_fields__}, built=is_built)
    if not is_built:
        return row
    try:
        feed = load(exchange.id)
    except BadFeed as e:
        logging.getLogger("streamer.cli").warning("%s", e)
        return row
    fields = {f: getattr(row, f) for f in row.__struct_fields__}
    return Row(**fields | {"transport": _transport(feed), "kinds": tuple(feed.kinds()), "proof": proof(feed)})


def _transport(feed: Feed) -> str:
    ways = {"poll" if isinstance(t, Poll) else "websocket" for t in feed.topics.values()}
    return "+".join(sorted(ways, reverse=True))


def _by_country(rows: Iterable[Row], only: str | None) -> list[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        for name, code in zip(row.countries, row.iso, strict=True) if row.countries else [("other packages", "")]:
            if only is None or only.lower() in (name.lower(), code.lower()):
                groups.setdefault(name if name == code or not code else f"{name} ({code})", []).append(row)
    return sorted(groups.items())


def _line(row: Row) -> str:
    head = f"{row.id:<22} {row.status:<8} {row.status_date or '':<11}"
    if not row.kinds:
        return f"{head}{row.status_reason}"
    proofs = ", ".join(f"{market} {what}" for market, what in row.proof.items())
    return f"{head}{row.transport}: {' '.join(row.kinds)}; gaps proved by: {proofs or 'none'}"
