"""For all tests: how hypothesis works.

The examples of a test are the same in each run, so that a commit that passed passes again; ``make test-full`` draws
others each time (the profile ``hunt``). Limits on the time of hypothesis, or on that of its examples, would only
measure how busy we are.
"""

from hypothesis import HealthCheck, settings

COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("gateway", COMMON, derandomize=True)
settings.register_profile("hunt", COMMON, derandomize=False)
settings.load_profile("gateway")
