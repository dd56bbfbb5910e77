"""The lab: an inside, the gateway with its two uplinks, and two outsides, as network namespaces of this host.

`topology` says what there is, `build` makes it and moves its cables, `servers` runs name servers and targets in it,
`capture` sees its packets, `scenario` plays what tests describe as data, `playground` gives it to an administrator.
"""
