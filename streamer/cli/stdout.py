"""Standard output without waiting for it; the sink of that name writes in the same way."""

from streamer.sinks.stdout import Stdout as Stdout
