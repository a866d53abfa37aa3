"""One module an exchange: its facts, as `FEED`."""

OURS = "market-streamer"
"""What the registry looks for, to refuse a folder of the user's that shadows this package."""
