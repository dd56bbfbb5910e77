"""How what users get is built: the Debian package, the appliance's disk, the Vagrant boxes.

``python -m image deb|disk|box``, or ``make deb``, ``make image``, ``make box``. Each module is one product or one step
of it, and runs the programs of Debian that are made for that step. None of this is installed with the gateway.
"""
