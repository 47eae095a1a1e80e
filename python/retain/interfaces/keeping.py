"""The commands on the store as a whole: backup, restore, unforget, erase."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from retain.config import read_settings, session_id
from retain.interfaces import replies
from retain.interfaces.commands import with_memory
from retain.storage.audit import Author

if TYPE_CHECKING:
    from retain.interfaces.cli import Output


def backup(arguments: Namespace, out: Output) -> int:
    """Makes a backup, or lists and checks those that are there; exit code 1 where one is damaged."""
    if not (arguments.list or arguments.check):
        made = with_memory(arguments, lambda memory: memory.keeping.backup())
        dropped = replies.counted(len(made["dropped"]), "older one dropped", "older ones dropped")
        said = f"{out.paint.good('Backed up')} and checked: {_line(made)}"
        out.answer(made, said + (f" · {dropped}" if made["dropped"] else ""))
        return replies.EXIT_OK
    found = with_memory(arguments, lambda memory: memory.keeping.backups(check=arguments.check))
    lines = [_line(one) for one in found["backups"]] or [out.paint.dim("No backup")]
    lines += [out.paint.bad(problem) for problem in found["problems"]]
    if arguments.check and not found["problems"]:
        lines.append(out.paint.good("Every chunk is what was backed up."))
    out.answer(found, "\n".join(lines))
    return replies.EXIT_FAILED if found["problems"] else replies.EXIT_OK


def restore(arguments: Namespace, out: Output) -> int:
    """Goes back to a moment, or puts a backup in the place of the store."""
    if arguments.backup is not None:
        from retain.memory.keeping import restore_backup
        from retain.memory.opening import speaking

        author = Author(door="cli", actor=speaking("user"), session=session_id() or "")
        done = restore_backup(read_settings(arguments.home)[0], arguments.backup, author)
        said = f"{out.paint.good('Restored')} {_line(done)}\nThe store before it: {done['set_aside']}; of what came "
        said += f"later {done['salvaged']:,} memories were saved, {done['unreadable']:,} could not be read"
        out.answer(done, said)
        return replies.EXIT_OK
    done = with_memory(arguments, lambda memory: memory.keeping.restore(arguments.at))
    counts = ", ".join(f"{done[name]:,} now {name}" for name in ("active", "superseded", "forgotten"))
    moment = replies.local_time(datetime.fromisoformat(done["at"]), seconds=True)
    said = f"{out.paint.good('As it was at')} {moment}: {counts}"
    out.answer(done, f"{said}\nTo undo it: retain restore --at with the moment before this one.")
    return replies.EXIT_OK


def unforget(arguments: Namespace, out: Output) -> int:
    """Brings a forgotten memory back."""
    with_memory(arguments, lambda memory: memory.keeping.unforget(arguments.id))
    wanted = arguments.id.strip().lower()
    out.answer({"active": wanted}, f"{out.paint.good('Active again')}: {wanted}")
    return replies.EXIT_OK


def erase(arguments: Namespace, out: Output) -> int:
    """Erases forgotten memories for good; exit code 1 where a file still holds the text of one."""
    done = with_memory(arguments, lambda memory: memory.keeping.erase(arguments.id or None))
    proof = done["proof"]
    count = replies.counted(len(done["erased"]), "memory", "memories")
    lines = [
        f"{out.paint.good('Erased')} {count}, and from "
        + replies.counted(done["backups_rewritten"], "backup", "backups"),
        f"Searched {proof['files']:,} files, {replies.size(proof['bytes'])}, for their texts: "
        + (out.paint.bad(f"still in {', '.join(proof['found_in'])}") if proof["found_in"] else "in none"),
    ]
    lines += [
        out.paint.doubtful(f"There was no memory {one} any more.")
        for one in dict.fromkeys(given.strip().lower() for given in arguments.id)
        if one not in done["erased"]
    ]
    if not done["log_emptied"]:
        lines.append(
            out.paint.doubtful("A session still reads the write-ahead log: run it again when it ends.")
        )
    if not done["caches_emptied"]:
        lines.append(out.paint.doubtful(replies.CACHE_AWAY))
    out.answer(done, "\n".join(lines))
    whole = not proof["found_in"] and done["log_emptied"] and done["caches_emptied"]
    return replies.EXIT_OK if whole else replies.EXIT_FAILED


def _line(one: Mapping[str, Any]) -> str:
    return f"{one['backup']}  {replies.size(one['bytes'])}, {replies.size(one['new_bytes'])} new"
