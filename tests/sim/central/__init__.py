"""An embedded Central Server: the client API over real sockets, with a memory and faults."""
