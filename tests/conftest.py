"""For all tests: a time limit for each hypothesis example would only measure how busy the machine is."""

from hypothesis import settings

settings.register_profile("gateway", deadline=None)
settings.load_profile("gateway")
