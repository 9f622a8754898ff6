"""An embedded Central Server: the client API of SPEC section 3 over real sockets, with a memory and faults."""
