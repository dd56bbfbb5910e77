"""Bastions: plain Debian machines in the place of the lab's gateway, and Ansible, which comes to them from the inside.

`host` makes such a machine, `controller` runs playbooks for it, `playing` reads what they printed. None of them knows
the roles.
"""
