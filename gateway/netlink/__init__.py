"""What the kernel knows of its interfaces, addresses and routes."""
