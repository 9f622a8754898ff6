"""The uplink: registers, beats, delivers the outbox, deregisters."""
