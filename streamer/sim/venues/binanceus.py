"""Binance.US: Binance spot's protocol. https://docs.binance.us/"""

from msgspec.structs import replace

from streamer.sim.venues.binance import VENUE as BINANCE

VENUE = replace(BINANCE, name="binanceus")
