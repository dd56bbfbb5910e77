"""What runs in the appliance beside the gateway: growth of the disk, first setup by a seed, the console's page.

It is started by /usr/sbin/appliance-*, with Debian's own Python and its standard library only: when the gateway's
packages are broken, this must still say so. It knows nothing of the package ``gateway`` but what its programs print.
"""
