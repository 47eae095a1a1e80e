"""Every error has a code of its own and says whether a retry can help."""

from __future__ import annotations

from retain import errors
from retain.errors import InvalidFilter, InvalidInput, RetainError, StoreBusy


def tree(root: type[RetainError]) -> list[type[RetainError]]:
    """The errors of the module; a door may have one of its own."""
    children = [child for child in root.__subclasses__() if child.__module__ == errors.__name__]
    return [root, *(error for child in children for error in tree(child))]


def test_no_two_errors_share_a_code_and_the_docstring_draws_them_all() -> None:
    everything = tree(RetainError)
    assert len({error.code for error in everything}) == len(everything)
    assert errors.__doc__ is not None
    for error in everything:
        assert f"{error.__name__} " in errors.__doc__ or error is RetainError


def test_an_error_keeps_its_hint() -> None:
    assert StoreBusy("busy", hint="wait").hint == "wait"
    assert (StoreBusy("busy").hint, StoreBusy.retryable, RetainError.retryable) == (None, True, False)


def test_an_invalid_input_names_field_and_limit() -> None:
    error = InvalidFilter("filter.kind", "too long", limit=3)
    assert isinstance(error, InvalidInput)
    assert (str(error), error.field, error.limit) == ("filter.kind: too long", "filter.kind", 3)
