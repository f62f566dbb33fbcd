"""How many logins a person has had in the last 24 hours: a file of times that outlives the keeper."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from tenancy.clock import Clock

DAY = timedelta(days=1)


class Logins:
    """Counted before each one, so that one that fails counts too."""

    def __init__(self, path: Path, clock: Clock, most: int) -> None:
        self._path, self._clock, self._most = path, clock, most

    def _times(self) -> list[datetime]:
        if not self._path.exists():
            return []
        day_ago = self._clock.now() - DAY
        times = [datetime.fromisoformat(line) for line in self._path.read_text().split()]
        return [at for at in times if at > day_ago]

    def wait_s(self) -> float:
        """Seconds until one more is allowed; 0: now."""
        times = self._times()
        if len(times) < self._most:
            return 0.0
        return max(0.0, (times[-self._most] + DAY - self._clock.now()).total_seconds())

    def count(self) -> None:
        """One begins. Raises OSError."""
        lines = [at.isoformat() for at in [*self._times(), self._clock.now()]]
        fresh = self._path.with_suffix(".new")
        fresh.write_text("\n".join(lines) + "\n")
        fresh.replace(self._path)
