from tests.fixtures.gateio_simulator import gateio, gateio_process

__all__ = ["gateio", "gateio_process"]
