"""Who causes what the nodes cost: a node's price in shares, the shares of all nodes as a bill, the bill in a sample."""
