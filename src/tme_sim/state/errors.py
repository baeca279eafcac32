"""Errors that speak to the user: one clear sentence, never a traceback."""

from __future__ import annotations


class InputError(ValueError):
    """The user's input is wrong: names the field, the value and what is allowed. The command line exits with code 2."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        shown = "" if value is None else f" {value}"
        super().__init__(f"{field}{shown}: {allowed}")


class InputErrors(ValueError):
    """Several input errors found in one pass, listed together, each of them once."""

    def __init__(self, errors: list[InputError]) -> None:
        self.errors = list({str(error): error for error in errors}.values())
        super().__init__("\n".join(str(error) for error in self.errors))


class ModelError(RuntimeError):
    """A run failed inside the model (a ledger that does not balance, a value that is not finite). Exit code 1."""
