"""Virtual machines for tests (qemu), and the lab of two networks with such a machine in the gateway's place.

`machine` boots and cuts, `console` and `qmp` are its lines, `accelerator` says what runs it, `networks` lays its
cables, `seed` makes the small disk of its first boot, `secureshell` logs in, `gateway` plays the lab's scenarios.
"""
