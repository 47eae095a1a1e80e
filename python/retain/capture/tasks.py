"""What is to be done: to-do lists and tasks, told by a tool or by an event of their own."""

from __future__ import annotations

from collections.abc import Mapping

from retain.capture.fields import fields_of, items_of, text_of
from retain.capture.wording import bounded, one_line
from retain.model import Draft, Event

_TODO_MARKS: Mapping[str, str] = {"completed": "[x]", "in_progress": "[>]"}


def todo_write(event: Event, _root: str) -> tuple[Draft, ...]:
    """A to-do list: what is done, what is going on, what is left."""
    todos = [
        todo
        for todo in items_of(fields_of(event.payload, "tool_input"), "todos")
        if text_of(todo, "content").strip()
    ]
    if not todos:
        return ()
    states = [text_of(todo, "status") for todo in todos]
    lines = [
        f"{_TODO_MARKS.get(state, '[ ]')} {text_of(todo, 'content').strip()}"
        for todo, state in zip(todos, states, strict=True)
    ]
    now = next(
        (
            text_of(todo, "content")
            for todo, state in zip(todos, states, strict=True)
            if state == "in_progress"
        ),
        "",
    )
    done = states.count("completed")
    title = f"To do: {done} of {len(todos)} done" + (f"; now {now}" if now else "")
    extra = {"done": done, "total": len(todos)}
    return (
        Draft(
            kind="task",
            title=one_line(title),
            text=bounded("\n".join(lines)),
            origin="assistant",
            extra=extra,
        ),
    )


def task_create(event: Event, _root: str) -> tuple[Draft, ...]:
    """A task that the assistant made."""
    asked = fields_of(event.payload, "tool_input")
    made = fields_of(fields_of(event.payload, "tool_response"), "task")
    return _task(text_of(made, "id"), text_of(asked, "subject"), text_of(asked, "description"), "pending")


def task_update(event: Event, _root: str) -> tuple[Draft, ...]:
    """A task whose state or subject changed."""
    asked = fields_of(event.payload, "tool_input")
    status = text_of(asked, "status")
    number = text_of(asked, "taskId")
    subject = text_of(asked, "subject") or (f"task {number}" if number else "")
    return (
        _task(number, subject, text_of(asked, "description"), status)
        if status or text_of(asked, "subject")
        else ()
    )


def task_created(event: Event, _root: str) -> tuple[Draft, ...]:
    """A task, as the client tells of it."""
    return _told(event, "pending")


def task_completed(event: Event, _root: str) -> tuple[Draft, ...]:
    """A task that is done, as the client tells of it."""
    return _told(event, "completed")


def _told(event: Event, status: str) -> tuple[Draft, ...]:
    number, subject, description = (
        text_of(event.payload, name) for name in ("task_id", "task_subject", "task_description")
    )
    return _task(number, subject, description, status)


def _task(number: str, subject: str, description: str, status: str) -> tuple[Draft, ...]:
    """The same task told by its tool and by its event reads the same, so that the store merges them."""
    subject = subject.strip()
    if not subject:
        return ()
    state = status or "pending"
    text = f"{_TODO_MARKS.get(state, '[ ]')} {subject}\n{description}".strip()
    extra = {"task_id": number, "status": state}
    return (
        Draft(
            kind="task",
            title=one_line(f"Task {state}: {subject}"),
            text=bounded(text),
            origin="assistant",
            extra=extra,
        ),
    )
