"""One module an exchange or family: wire types and the pure functions from messages to ticks, as `NORMALIZE`."""

OURS = "market-streamer"
"""What the registry looks for, to refuse a folder of the user's that shadows this package."""
