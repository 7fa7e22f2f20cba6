"""A Keeper node's SCIM endpoint, with its quirks, latency and faults on demand."""
