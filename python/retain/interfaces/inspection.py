"""The commands that look inside: explain, stats, verify, audit, drain, config."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from retain.config import project_directory, read_settings
from retain.git.repository import locate
from retain.interfaces import replies
from retain.interfaces.commands import moment, read_filter, with_memory
from retain.model import from_us
from retain.project_file import read_project_file
from retain.retrieval.context import one_line

if TYPE_CHECKING:
    from retain.interfaces.cli import Output
    from retain.memory.drain import DrainReport
    from retain.memory.service import MemoryService


def explain(arguments: Namespace, out: Output) -> int:
    """Says what a recall would do, and why."""
    tree = read_filter(arguments.filter)
    answer = with_memory(
        arguments,
        lambda memory: memory.explain(
            " ".join(arguments.query), filter=tree, limit=arguments.limit, workspace=arguments.workspace
        ),
    )
    out.answer(answer, explanation_text(answer, out.paint))
    return replies.EXIT_OK


def stats(arguments: Namespace, out: Output) -> int:
    """Counts everything in the store, or what the model was shown and used."""
    if arguments.receipt:
        since = moment(arguments.since, "since")
        account = with_memory(
            arguments,
            lambda memory: memory.receipts.account(since=since, workspace=arguments.workspace),
        )
        out.answer(account, receipt_text(account, out.paint))
        return replies.EXIT_OK
    counts = with_memory(arguments, lambda memory: memory.stats())
    out.answer(counts, stats_text(counts, out.paint))
    return replies.EXIT_OK


def verify(arguments: Namespace, out: Output) -> int:
    """Checks the whole store and the spool; exit code 1 where anything is wrong."""
    if arguments.claims:
        from retain.interfaces.claims import listed

        return listed(arguments, out)
    lines: list[str] = []
    mended: dict[str, Any] = {}
    if arguments.reindex:
        count = with_memory(arguments, lambda memory: memory.keeping.reindex())
        lines.append(f"Indexed {count:,} memories anew")
    if arguments.mend:
        mended = {"mend": with_memory(arguments, _mend)}
        lines += _mended_text(mended["mend"], out.paint)
    report = with_memory(arguments, lambda memory: memory.verify())
    width = max(len(check["name"]) for check in report["checks"])
    for check in report["checks"]:
        verdict = out.paint.bad("damaged") if check["problems"] else out.paint.good("ok     ")
        looked_at = out.paint.dim(f"{check['checked']:,} checked")
        lines.append(f"{verdict}  {check['name'].ljust(width)}  {looked_at}")
        lines += [f"           {one_line(problem, 300)}" for problem in check["problems"]]
    lines.append(f"The store is {replies.at_rest(report['encryption'])}.")
    lines.append(
        "Everything is as it was stored."
        if report["ok"]
        else "Something is damaged: `retain verify --mend`, or for pages `retain restore --backup latest`."
    )
    out.answer({**report, **mended}, "\n".join(lines))
    return replies.EXIT_OK if report["ok"] else replies.EXIT_FAILED


async def _mend(memory: MemoryService) -> dict[str, Any]:
    done = await memory.keeping.mend()
    return {**done, "letters": await memory.letters.retry()}


def _mended_text(done: Mapping[str, Any], paint: replies.Paint) -> list[str]:
    letters = done["letters"]
    lines = [f"Mended {one} from a backup" for one in done["mended"]]
    lines += [f"{paint.bad('Set apart')} {one}: no backup has it whole" for one in done["set_apart"]]
    lines += [f"Mended {done['index_rows']:,} rows of the full-text index"] if done["index_rows"] else []
    if letters["digested"]:
        events = replies.counted(letters["digested"], "dead letter", "dead letters")
        lines.append(
            f"Digested {events}: {replies.counted(letters['memories'], 'new memory', 'new memories')}"
        )
    if letters["excluded"]:
        lines.append(f"Left out {letters['excluded']:,} that the rules of now keep out")
    if letters["left"]:
        events = replies.counted(letters["left"], "event", "events")
        lines.append(f"{paint.bad('Still not digested')}: {events}, kept in the store")
        lines += [
            f"           {replies.local_time(datetime.fromisoformat(one['received_at']))}  "
            f"{one_line(one['error'], 300) or 'nothing of it could be kept without a secret'}"
            for one in letters["reasons"]
        ]
    return lines


def audit(arguments: Namespace, out: Output) -> int:
    """Shows who changed what, when, and through which door."""
    since = moment(arguments.since, "since")
    found = with_memory(
        arguments,
        lambda memory: memory.audit.entries(subject=arguments.id, since=since, limit=arguments.limit),
    )
    paint, head = out.paint, found["head"]
    width = max((len(row["action"]) for row in found["entries"]), default=0)
    lines = [
        f"{row['number']:>7}  {replies.local_time(from_us(row['at_us']))}  {row['door']:<7} {row['actor']:<9} "
        f"{paint.bold(row['action'].ljust(width))}  {row['subject']}"
        for row in found["entries"]
    ] or [paint.dim("No row")]
    lines.append(paint.dim(f"Last row {head['number']:,}, hash {head['hash']}"))
    out.answer(found, "\n".join(lines))
    return replies.EXIT_OK


def drain(arguments: Namespace, out: Output) -> int:
    """Digests what waits in the spool, now."""

    async def run(memory: MemoryService) -> tuple[DrainReport, int]:
        return await memory.drain.run(), memory.drain.waiting_bytes()

    report, waiting = with_memory(arguments, run)
    redacted = sum(report.redacted.values())
    parts = [
        replies.counted(report.events, "event", "events"),
        replies.counted(report.memories, "new memory", "new memories"),
        f"{report.replayed:,} seen before" if report.replayed else "",
        f"{report.excluded:,} kept out by rules" if report.excluded else "",
        replies.counted(redacted, "secret left out", "secrets left out") if redacted else "",
        out.paint.bad(f"{report.dead:,} could not be digested") if report.dead else "",
        out.paint.bad(f"{replies.size(report.damaged_bytes)} damaged") if report.damaged_bytes else "",
        f"{replies.size(waiting)} still wait (another process drains)" if waiting else "",
    ]
    out.answer({**asdict(report), "waiting_bytes": waiting}, " · ".join(part for part in parts if part))
    return replies.EXIT_OK


def config(arguments: Namespace, out: Output) -> int:
    """Prints each setting and where it came from; or sets one, or takes it out of the file."""
    if arguments.action:
        from retain.interfaces import controls

        change = controls.config_set if arguments.action == "set" else controls.config_unset
        return change(arguments, out)
    _, sourced = read_settings(arguments.home)
    file = read_project_file(locate(str(project_directory())).root)
    value: dict[str, Any] = {
        item.name: {"value": item.value, "source": item.source, "doc": item.doc} for item in sourced
    }
    value["project_file"] = {"path": file.path, "given": dict(file.given), "problem": file.problem}
    paint = out.paint
    width = max(len(item.name) for item in sourced)
    lines = []
    for item in sourced:
        source = paint.dim(item.source) if item.source == "default" else paint.doubtful(item.source)
        lines.append(
            f"{paint.bold(item.name.ljust(width))}  {replies.shown(item.value).rjust(12)}  {source}  "
            f"{paint.dim('· ' + item.doc)}"
        )
    for name, given in file.given.items():
        lines.append(
            f"{paint.bold(name.ljust(width))}  {replies.shown(given).rjust(12)}  "
            f"{paint.doubtful(one_line(file.path, 200))}  {paint.dim('· can only take away')}"
        )
    if file.problem:
        lines.append(
            paint.bad(f"{one_line(file.path, 200)}: {one_line(file.problem, 300)}; nothing is captured here")
        )
    out.answer(value, replies.printable("\n".join(lines)) if not paint.on else "\n".join(lines))
    return replies.EXIT_OK


def stats_text(counts: Mapping[str, Any], paint: replies.Paint) -> str:
    """The counts of a store for people."""
    spool = counts["spool"]
    rows = [
        ("home", str(counts["home"])),
        ("version", f"retain {counts['version']}, SQLite {counts['sqlite']}"),
        ("size", replies.size(counts["bytes"])),
        ("at rest", replies.at_rest(counts["encryption"])),
        ("memories", _listed(counts["memories"])),
        ("kinds", _listed(counts["kinds"])),
        ("origins", _listed(counts.get("origins", {}))),
        ("sessions", f"{counts['sessions']:,}"),
        ("events", _listed(counts["events"])),
        ("kept out by rules", _listed(counts["excluded"])),
        ("expired", _listed(counts["expired"])),
        ("secrets left out", _listed(counts["redacted"])),
        ("dead letters", f"{counts['dead_letters']:,}"),
        ("spool", f"{replies.size(spool['waiting_bytes'])} waiting"),
        ("damaged files", f"{spool['damaged_files']:,}"),
        ("failed hooks", f"{spool['failures']:,}"),
    ]
    lines = [replies.table([(name, value) for name, value in rows if value], paint)]
    lines += ["", paint.bold("Workspaces")] if counts["workspaces"] else []
    for place in counts["workspaces"]:
        name = one_line(place["name"], 40)
        lines.append(f"  {place['memories']:>9,}  {name}  {paint.dim(one_line(place['root'], 120))}")
        lines.append(paint.dim(f"             {place['id']}"))
    return "\n".join(lines)


def receipt_text(account: Mapping[str, Any], paint: replies.Paint) -> str:
    """What the model was shown and what it used, for people."""
    shown, used = account["memories"], account["used"]
    share = f" ({100 * used / shown:.0f} %)" if shown else ""
    rows = [
        ("asked", f"{replies.counted(account['injections'], 'time', 'times')}"),
        ("said nothing", f"{account['abstained']:,}, because nothing fitted"),
        ("memories shown", f"{shown:,}, {replies.counted(account['tokens'], 'token', 'tokens')}"),
        ("used", f"{used:,}{share}" + (f": {_listed(account['used_by'])}" if used else "")),
        ("repeats prevented", f"{account['prevented_repeats']:,}"),
        ("withheld", replies.hidden_text(account["hidden"])),
    ]
    lines = [replies.table([(name, value) for name, value in rows if value], paint)]
    if account["doors"]:
        lines += ["", paint.bold("Doors")]
    for name, door in account["doors"].items():
        lines.append(
            f"  {name.ljust(16)}  {replies.counted(door['injections'], 'time', 'times')}, "
            f"{door['abstained']:,} silent, {replies.counted(door['tokens'], 'token', 'tokens')}"
        )
    return "\n".join(lines)


def explanation_text(answer: Mapping[str, Any], paint: replies.Paint) -> str:
    """Plan, estimates beside the truth, and the parts of each score, for people."""
    lines = [paint.bold("Query"), f"  {_complexity(answer['complexity'])}", "", paint.bold("Plan")]
    lines += _plan(answer["plan"])
    lines += _outlook(answer)
    lines += ["", paint.bold("Hits")]
    for hit in answer["hits"]:
        score = paint.good(f"{hit['score']:.2f}")
        lines.append(f"  {score}  {one_line(hit['title'], 100)}")
        parts = "  ".join(f"{name} {value:.3g}" for name, value in hit["parts"].items())
        lines.append(paint.dim(f"        {parts}"))
        lines.append(paint.dim(f"        {hit['id']}"))
    hidden = replies.hidden_text(answer["hidden"])
    told = [replies.counted(len(answer["hits"]), "hit", "hits"), replies.duration(answer["elapsed_us"])]
    lines.append(paint.dim(" · ".join([*told, *([f"withheld: {hidden}"] if hidden else [])])))
    return "\n".join(lines)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {one_line(name, 60)}" for name, count in counts.items() if count)


def _complexity(complexity: Mapping[str, Any]) -> str:
    conditions = replies.counted(complexity["conditions"], "condition", "conditions")
    words = replies.counted(complexity["words"], "word", "words")
    return f"{complexity['level']}: {words}, {conditions}, depth {complexity['depth']}"


def _plan(plan: Mapping[str, Any]) -> list[str]:
    """Each estimate as expected (min..max), beside what really happened."""
    truth = plan["truth"]
    really = f"really {replies.duration(truth['us'])}, planned in {replies.duration(truth['planning_us'])}"
    lines = [f"  {plan['name']}: {_interval(plan['cost_us'])} µs, {really}"]
    for step in plan["steps"]:
        seen = truth[f"rows.{step['operator']}"]
        happened = seen if isinstance(seen, str) else f"really {seen:,.0f}"
        lines.append(f"    {step['operator'].ljust(12)}  {_interval(step['rows'])} rows, {happened}")
    if meaning := truth.get("meaning"):
        near = replies.counted(meaning["candidates"], "memory", "memories")
        lines.append(f"    by meaning    {near}, filter {meaning['way']}, {replies.duration(meaning['us'])}")
    lines.append(f"  memories that fit the filter: {_interval(plan['rows'])}")
    lines += [f"  not taken: {name}, {replies.duration(cost)}" for name, cost in plan["rejected"].items()]
    return lines


def _outlook(answer: Mapping[str, Any]) -> list[str]:
    """What was expected before the words were counted, and what would be done now."""
    estimate, following = answer["estimate"], answer["next"]
    return [
        f"  before counting its words: {_interval(estimate['cost_us'])} µs, {_interval(estimate['bytes'])} bytes",
        f"  next time: {following['name']}, {_interval(following['cost_us'])} µs",
    ]


def _interval(values: Sequence[float]) -> str:
    low, expected, high = (max(0.0, value) for value in values)  # none is -0
    return f"{expected:,.0f} ({low:,.0f}..{high:,.0f})"
