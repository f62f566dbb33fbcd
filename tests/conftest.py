"""Which fixture modules every test may use, and how hypothesis runs on a busy machine."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.fixtures.postgres", "tests.fixtures.audit"]

# Time limits per example measure the neighbours' load, not our code.
settings.register_profile("portcullis", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("portcullis")
