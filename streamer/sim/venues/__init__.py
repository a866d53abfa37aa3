"""One module a venue: how it speaks, as `VENUE` (`streamer.sim.venue.Venue`)."""
