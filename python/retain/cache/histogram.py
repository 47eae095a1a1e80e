"""Latencies in fixed buckets: a few hundred bytes, no allocation a sample, quantiles within an eighth."""

from __future__ import annotations

from array import array

BITS = 3
"""Each power of two is split into 2**BITS buckets."""

_BUCKETS = 64 << BITS


class Histogram:
    """Counts nanoseconds in buckets that grow with their value; one histogram a thread or loop."""

    __slots__ = ("_counts", "samples")

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * _BUCKETS))
        self.samples = 0

    def add(self, ns: int) -> None:
        """Counts one sample."""
        shift = max(ns.bit_length() - BITS - 1, 0)
        self._counts[min((shift << BITS) + (ns >> shift), _BUCKETS - 1)] += 1
        self.samples += 1

    def quantile_us(self, share: float) -> float:
        """The upper bound of the bucket that holds this share of the samples, in microseconds; 0 if empty."""
        wanted = share * self.samples
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return _upper(bucket) / 1_000
        return 0.0

    def summary(self) -> dict[str, float]:
        """``samples``, and p50, p95 and p99 in microseconds."""
        return {
            "samples": self.samples,
            "p50_us": self.quantile_us(0.50),
            "p95_us": self.quantile_us(0.95),
            "p99_us": self.quantile_us(0.99),
        }


def _upper(bucket: int) -> int:
    shift = max((bucket >> BITS) - 1, 0)
    return ((bucket - (shift << BITS)) + 1) << shift
