"""Hit ratios of W-TinyLFU away from the size and the seeds that its constants were chosen at.

    python benches/hit_ratios.py [--sizes 1000,3000,30000,100000] [--seed 5] [--json FILE]

The six traces of ``traces.py`` at each size, drawn with another seed than theirs; each run of Python hashes strings
anew, so that each run samples other keys. Beside LRU, theine and moka-py where they are installed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import traces
from l1_cache import Contestant, contestants, replay
from measuring import Figure, arguments, at_least, publish

SIZES = "1000,3000,30000,100000"
PEERS = ("lru", "theine", "moka")


def at_size(entries: int, seed: int, field: Mapping[str, Contestant]) -> list[Figure]:
    """Each trace beside the best peer, and the means of all."""
    lines, means = [], dict.fromkeys(field, 0.0)
    for name in traces.TRACES:
        keys = traces.keys_of(name, entries, seed)
        ratios = {who: replay(face, keys, who == "theine", entries)[0] for who, face in field.items()}
        for who, ratio in ratios.items():
            means[who] += ratio / len(traces.TRACES)
        ours = ratios.pop("wtinylfu")
        best = max(ratios, key=lambda who: ratios[who])
        lines.append(at_least(f"hits on {name}, {entries:,} entries", ours, "%", ratios[best] - 2,
                              beside=f"{best} {ratios[best]:.1f}"))  # fmt: skip
    ours = means.pop("wtinylfu")
    best = max(means, key=lambda who: means[who])
    beside = f"{best} {means[best]:.1f}"
    return [*lines, at_least(f"hits, mean at {entries:,} entries", ours, "%", means[best], beside=beside)]


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--seed", type=int, default=5)
    asked = parser.parse_args()
    field = {name: face for name, face in contestants().items() if name in ("wtinylfu", *PEERS)}
    sizes = [int(size) for size in asked.sizes.split(",")]
    figures = [figure for size in sizes for figure in at_size(size, asked.seed, field)]
    return publish(figures, {"sizes": sizes, "seed": asked.seed}, asked.json)


if __name__ == "__main__":
    sys.exit(main())
