"""Where the bottleneck is, how sure that is, and what an upgrade buys."""
