"""Which fixture modules every test may use, and the wall around them all."""

pytest_plugins = [
    "tests.fixtures.audit",
    "tests.fixtures.gateio_simulator",
    "tests.fixtures.postgres",
    "tests.fixtures.redis",
    "tests.fixtures.softhsm",
    "tests.fixtures.tls",
]
