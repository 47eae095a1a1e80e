"""Redaction: speed, load time, and what is found, beside detect-secrets where that is installed.

    python benches/redaction.py

Speed is in MB of UTF-8 a second of processor time, of one thread, over texts of 4 KiB: the standard library of this
Python as code, its reference manual and the documentation of this project as prose. Recall and false positives are on
the samples of gitleaks, on the memory-like texts of the tests, and on the two sets that were written blind. A figure
counts beside its peer of the same run.
"""

from __future__ import annotations

import base64
import json
import lzma
import pydoc_data.topics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "unit" / "capture"))

CHUNK_CHARS = 4_096
CODE_BYTES = 6_000_000
PROSE_BYTES = 3_000_000
ROUNDS = 5
SEEDS = (20261123, 1, 2, 3)


def chunks(paths: Iterator[Path], most: int) -> list[str]:
    """Texts of files in pieces, at most so many bytes."""
    found: list[str] = []
    size = 0
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        size += len(text.encode())
        found += [text[start : start + CHUNK_CHARS] for start in range(0, len(text), CHUNK_CHARS)]
        if size >= most:
            break
    return found


def best_s(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The shortest processor time of some rounds."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def samples() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Samples of gitleaks: rule and text, secrets and others."""
    text = "".join((ROOT / "tests/fixtures/gitleaks_samples.txt").read_text().split())
    known = json.loads(lzma.decompress(base64.b85decode(text)))
    return [tuple(one) for one in known["positive"]], [tuple(one) for one in known["negative"]]


def peer() -> Callable[[str], bool] | None:
    """Whether detect-secrets, as it is set by default, finds anything in a text; None where it is not installed."""
    try:
        from detect_secrets.core.scan import scan_file
        from detect_secrets.settings import default_settings
    except ImportError:
        return None

    def finds(text: str) -> bool:
        with default_settings(), tempfile.NamedTemporaryFile("w", suffix=".py") as file:
            file.write(text)
            file.flush()
            return next(iter(scan_file(file.name)), None) is not None

    return finds


def main() -> None:
    from retain._core import Redactor

    print(f"load: {best_s(Redactor) * 1e3:.1f} ms")
    redactor = Redactor()
    positives, negatives = samples()
    every = [text for _, text in positives]
    compiled = best_s(lambda: Redactor().redact_many(every), 1)
    print(f"load, compile what {len(every):,} samples need, and look through them: {compiled * 1e3:.0f} ms")

    manual = Path(pydoc_data.topics.__file__)
    library = Path(sysconfig.get_path("stdlib"))
    corpora = {
        "code": chunks(iter(sorted(library.rglob("*.py"))), CODE_BYTES),
        "prose": chunks(
            iter([*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), manual]), PROSE_BYTES
        ),
    }
    finds = peer()
    for name, texts in corpora.items():
        size = sum(len(text.encode()) for text in texts)
        took = best_s(lambda texts=texts: redactor.redact_many(texts))
        secrets = sum(count for one in redactor.redact_many(texts) if one for _, count in one[1])
        print(f"{name}: {size / took / 1e6:.0f} MB/s over {size / 1e6:.1f} MB; {secrets} found in it")
        if finds:
            few = texts[:50]
            took = best_s(lambda few=few: [finds(text) for text in few], 1)
            print(f"  detect-secrets: {sum(len(text.encode()) for text in few) / took / 1e6:.2f} MB/s")
    for size in (1 << 20, 1 << 21, 1 << 22):
        text = ("password = 'Zq8kP2vN5xW3' and more words of a sentence\n" * (size // 55))[:size]
        print(
            f"dense secrets, {size >> 20} MiB: {best_s(lambda text=text: redactor.redact(text), 2) * 1e3:.0f} ms"
        )

    told = [text for _, text in positives]
    own = [
        rule for rule, text in negatives if rule.replace("-", "_") in {one[0] for one in redactor.find(text)}
    ]
    quiet = [text for _, text in negatives]
    report("gitleaks' samples", lambda text: redactor.redact(text) is not None, told, quiet)
    print(f"  of these, flagged by the rule that the sample was written against: {len(own)}")
    import test_redact

    for seed in SEEDS:
        secret = list(test_redact.secrets(seed))
        left = sum(value in (redactor.redact(text) or (text,))[0] for _, text, value in secret)
        flagged = sum(redactor.redact(text) is not None for text in test_redact.benign(seed))
        print(
            f"memory-like texts, seed {seed}: {len(secret) - left} of {len(secret)} taken out, {flagged} of 300 false"
        )
    import redaction_blind
    import redaction_blind_late

    for blind in (redaction_blind, redaction_blind_late):
        print(f"{blind.__name__}:")
        redaction_blind.report(blind.SEED, list(blind.secrets(blind.SEED)), list(blind.others(blind.SEED)))
    if finds:
        report("detect-secrets: gitleaks' samples", finds, told[::6], quiet)
        texts = [text for _, text, _ in test_redact.secrets(SEEDS[0])]
        report("detect-secrets: memory-like texts", finds, texts, list(test_redact.benign(SEEDS[0])))


def report(name: str, finds: Callable[[str], bool], secrets: list[str], others: list[str]) -> None:
    """Prints recall and false positives."""
    found = sum(finds(text) for text in secrets)
    false = sum(finds(text) for text in others)
    print(
        f"{name}: {found} of {len(secrets)} found ({found / len(secrets):.4f}), {false} of {len(others)} false"
    )


if __name__ == "__main__":
    main()
