"""What a process of the agent is: how it lives and dies, who it is, what it tells the others."""
