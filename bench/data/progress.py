"""A line on standard error while something long goes on: how far, how fast, how long yet."""

import sys
import time


class Progress:
    """step(done) says where it is, at most every two seconds, and at the end."""

    def __init__(self, what, total, unit):
        self.what, self.total, self.unit = what, total, unit
        self.begin = self.said = time.monotonic()

    def step(self, done):
        now = time.monotonic()
        if now - self.said < 2 and done < self.total:
            return
        self.said = now
        rate = done / max(now - self.begin, 1e-3)
        left = (self.total - done) / rate if rate > 0 else 0
        print(f"{self.what}: {done} of {self.total} {self.unit}, {rate:.1f}/s, "
              f"{int(left) // 60}:{int(left) % 60:02d} to go", file=sys.stderr, flush=True)
