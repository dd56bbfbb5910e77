"""For all tests: limits on the time of hypothesis, or on that of its examples, would only measure how busy we are."""

from hypothesis import HealthCheck, settings

settings.register_profile("gateway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gateway")
