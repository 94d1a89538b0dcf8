"""Mistakes that one line explains: of the person at the keyboard, or of the world around. Bugs are not among them."""

from pydantic import ValidationError


class UserError(Exception):
    """What went wrong and, where there is one, the way out; the command line prints it as one line and exits with 2."""


def first_problem(error: ValidationError) -> str:
    """The first thing a schema objects to, with its place. Never the whole text: that can be larger than memory."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]
