"""What clients say to HTX, and its answers."""

from typing import Any

import orjson

from streamer.sim.connection import Connection
from streamer.sim.venue import Channel, Payload
from streamer.sim.venues.htx.listed import family
from streamer.sim.venues.htx.told import DEPTH, INDEX, MBP, NOTICES, PUSHED, mbp_whole
from streamer.sim.write import ms, ms_text

BARS = {"1min": "1m", "5min": "5m", "15min": "15m", "30min": "30m", "60min": "1h", "4hour": "4h", "1day": "1d", "1week": "1w"}
SOCKETS = {
    "/ws": ("spot", "future"), "/feed": ("spot",), "/linear-swap-ws": ("linear",), "/swap-ws": ("swap",),
    "/ws_index": ("linear", "swap", "future"), "/linear-swap-notification": ("linear",), "/swap-notification": ("swap",),
    "/notification": ("future",),
}  # fmt: skip
"""Whose topics each path has. (Spot and futures are on different hosts.)"""
UNANSWERED = 4


def opened(c: Connection) -> None:
    c.mem["unanswered"] = 0
    c.every(5, ping)


def ping(c: Connection) -> None:
    if c.mem["unanswered"] >= UNANSWERED:
        c.close(1003, "ping check expired")
        return
    c.mem["unanswered"] += 1
    now = c.exchange.now()
    c.send({"op": "ping", "ts": ms_text(now)} if c.path.endswith("notification") else {"ping": ms(now)})


def channel_of(c: Connection, name: str) -> tuple[Channel | None, str, int | None]:
    """A channel of this path by what follows the id, with interval and depth."""
    head, _, rest = name.partition(".")
    if c.path == "/feed":
        return (MBP if name == "mbp.150" else None), "", 150
    if c.path == "/ws_index":
        return (INDEX.get(head) if rest in BARS else None), "", None
    if head == "depth":
        size = rest.removeprefix("size_").removesuffix(".high_freq")
        return (DEPTH if size in ("20", "150") else None), "", int(size) if size.isdecimal() else None
    return (PUSHED.get("kline") if rest in BARS else None, BARS.get(rest, ""), None) if head == "kline" else (PUSHED.get(name), "", None)


def heard(c: Connection, text: str) -> None:
    m = orjson.loads(text)
    if "pong" in m or m.get("op") == "pong":
        c.mem["unanswered"] = 0
    elif "op" in m:
        notices(c, m)
    elif "ping" not in m:  # which is not answered
        verb = next(v for v in ("sub", "unsub", "req") if v in m)
        key = m[verb]
        id, name = key.removeprefix("market.").split(".", 1)
        i = next((i for i in c.exchange.instruments if i.id == id and family(i) in SOCKETS[c.path]), None)
        channel, interval, levels = channel_of(c, name)
        end = {"id": m.get("id", ""), "ts": ms(c.exchange.now())}
        if i is None or channel is None or (channel is DEPTH and (m.get("data_type") != "incremental" or i.kind == "spot")):
            c.send({"status": "error", "err-code": "bad-request", "err-msg": f"invalid topic {key}"} | end)
        elif verb == "req":
            c.send({"rep": key, "status": "ok", "data": mbp_whole(i, c)} | end)
        elif verb == "sub":
            c.send({"status": "ok", "subbed": key} | end)
            c.subscribe(key, channel, i, interval=interval, depth=levels)
        else:
            c.send({"status": "ok", "unsubbed": key} | end)
            c.unsubscribe(key)


def notices(c: Connection, m: dict[str, Any]) -> None:
    key, end = m["topic"], {"cid": m.get("cid", ""), "topic": m["topic"], "ts": ms(c.exchange.now())}
    _, about, name = key.split(".")
    named = [i for i in c.exchange.instruments if family(i) in SOCKETS[c.path] and (i.base if c.path == "/notification" else i.id) == about]
    channel = NOTICES.get(name) if c.path.endswith("notification") else None
    if channel is None or not named:
        c.send({"op": m["op"], "err-code": 2014, "err-msg": "invalid topic"} | end)
        return
    c.send({"op": m["op"], "err-code": 0} | end)
    if m["op"] == "sub":
        c.subscribe(key, channel, *named)
    else:
        c.unsubscribe(key)


def confused(text: str) -> Payload:
    return {"status": "error", "id": "", "err-code": "bad-request", "err-msg": "not json, is not json string"}
