"""`streamer run`: what to stream, to which sinks, under supervision. docs/daemon.md.

config (the file's types) <- read (file and environment to a `Config`, every error at once) <- patterns (which streams a pattern means)
lanes (what each sink gets) <- service (streams, subscriptions, sinks at run time; reload by difference) <- health, metrics, http, notify
"""
