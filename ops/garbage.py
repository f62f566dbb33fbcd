"""How often Python looks for garbage cycles in our processes: seldom."""

from __future__ import annotations

import gc


def collect_garbage_rarely() -> None:
    """Leave the imported code out of every collection, and look for cycles seldom.

    A fan-out makes hundreds of thousands of small objects that die by reference count. With
    Python's own thresholds the search for cycles among them took a third of a worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
