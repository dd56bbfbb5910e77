"""Split DNS without I/O: which zone a name belongs to, what is known of it, and how its name servers are asked.

Messages come in and go out as bytes; sockets, clocks and randomness come in by argument.
"""
