"""What the kernel knows of its interfaces, addresses and routes, and what it should know."""
