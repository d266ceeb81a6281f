"""Triton's interpreter as the tests run it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from unittest import mock

from aed_nerfstudio.backends import interpreted


@contextmanager
def quick() -> Iterator[None]:
    """Spares the interpreter most of its time, where it is on.

    - It puts its own functions in the place of the language's when a kernel begins, and looks through the language for
      them once more whenever a function within it is called, where most often all are in place already.
    - With each sum and product of integers it computes whether they overflow, and asserts nothing of that: assertions
      are for `debug`.
    - Each shape writes its type's name, which nothing reads.
    """
    if not interpreted():
        yield
        return
    from triton import language
    from triton.language.core import tuple_type
    from triton.runtime.interpreter import InterpretedFunction, interpreter_builder

    places, call = (language, language.core), InterpretedFunction.__call__

    def quicker(function: InterpretedFunction, *arguments, **named):
        seen = [place for place in places if any(place is value for value in function.fn.__globals__.values())]
        if any(language.core.is_builtin(place.load) for place in seen):
            return call(function, *arguments, **named)
        return function.rewrite()(*arguments, **named)

    def nameless(kind: tuple_type, types: Sequence, fields: Sequence[str] | None = None) -> None:
        kind.types, kind.fields, kind.name = types, fields or [""] * len(types), ""

    with ExitStack() as changes:
        changes.enter_context(mock.patch.object(InterpretedFunction, "__call__", quicker))
        changes.enter_context(mock.patch.object(tuple_type, "__init__", nameless))
        options = interpreter_builder.options
        assert not options.debug
        changes.callback(object.__setattr__, options, "sanitize_overflow", options.sanitize_overflow)
        object.__setattr__(options, "sanitize_overflow", False)
        yield
