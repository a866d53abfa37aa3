"""An asyncio real-time market data streamer."""
