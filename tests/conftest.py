"""Which fixture modules every test may use."""

pytest_plugins = [
    "tests.fixtures.gateio_simulator",
    "tests.fixtures.postgres",
    "tests.fixtures.redis",
    "tests.fixtures.tls",
]
