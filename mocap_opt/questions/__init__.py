"""Questions that take many solves: the longest prompt; trade-offs of counts, layouts and throughput."""
