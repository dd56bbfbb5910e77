"""``make lab``: the lab for a person, with a running gateway and a prompt inside."""
