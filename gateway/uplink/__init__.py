"""The uplinks of the gateway: what is known of each, and whether it can be used. No I/O."""
