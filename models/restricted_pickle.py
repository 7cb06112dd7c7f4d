"""Reads pickles as data: nothing that they name is imported, and nothing in them is called.

A pickle is a program for a small stack machine. Here the machine is our own and knows containers, numbers and texts;
what would import or call something goes to a table of a few names given by the caller, and is `INERT` where the table
has no such name. A checkpoint may so hold an optimiser, a scheduler or a closure beside its tensors and still be read.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping, Sized
from typing import Any, Protocol, runtime_checkable

from models.errors import CheckpointError

MOST_OPERATIONS = 2_000_000
"""Of one pickle; a checkpoint of a ResNet-152 with its optimiser has some 60,000. What is handed to a call counts too:
a few bytes can hand over the same long list again and again."""

MOST_INTEGER_KEY = 2**60
"""Above, Python's hash of an integer is its remainder by 2 ** 61 - 1, and keys can be made to share one."""

Call = Callable[..., Any]


class Inert:
    """What stands for anything that is not understood. There is one, `INERT`, which nothing calls, fills or changes."""

    def __repr__(self) -> str:
        return "INERT"


INERT = Inert()


class Source(Protocol):
    """Where a pickle is read from, such as an `io.BytesIO` or an `mmap`: reading never gives more than is there."""

    def read(self, size: int = ..., /) -> bytes: ...
    def readline(self) -> bytes: ...
    def tell(self) -> int: ...


@runtime_checkable
class Stateful(Protocol):
    """What `names` may give where the pickle sets an object's state after making it."""

    def set_state(self, state: Any, /) -> None: ...


class _Mark:
    """Where on the stack a container begins."""


MARK = _Mark()

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
NUMBERS = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"})
TEXTS = frozenset({"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"})
BYTES = frozenset({"STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"})
EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
IGNORED = frozenset({"PROTO", "FRAME", "STOP"})


def read_pickle(source: Source, names: Mapping[tuple[str, str], Any], stored: Call, *, strict: bool = False) -> Any:
    """The value of the pickle that begins at the source's position, which is left behind its end.

    Args:
        source: holds the pickle.
        names: (module, name) to what stands for it here; something that can be called is called with the arguments that
            the pickle would call the real one with.
        stored: called with the persistent id (any value) of an object that is kept outside the pickle.
        strict: refuse what would be inert or dropped, and keys that come twice, instead of reading on.

    Returns:
        Lists, tuples, dictionaries (with the keys of `is_cheap_key`; others are dropped), texts, bytes, numbers, None,
        what `names` and `stored` give, and `INERT` for all the rest. A container may hold itself.

    Raises:
        CheckpointError: it is cut off, no pickle, or longer than any checkpoint's; or not understood, where `strict`.
    """
    machine = _Machine(names, stored, strict)
    try:
        for operation, argument, _ in pickletools.genops(source):  # type: ignore[arg-type]
            machine.run(operation.name, argument)
        (value,) = machine.stack
    except CheckpointError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        raise CheckpointError(
            f"the file's pickle cannot be read: {error}",
            field="file",
            remedy="the file is cut off, damaged or made up; fetch it again from where it was published",
        ) from error
    return value


def is_cheap_key(key: Any) -> bool:
    """Whether a dictionary may have this key: its hash costs nothing, and others cannot be made to share it."""
    return isinstance(key, str) or (isinstance(key, int) and abs(key) < MOST_INTEGER_KEY)


class _Machine:
    """The stack and the memory of one pickle."""

    def __init__(self, names: Mapping[tuple[str, str], Any], stored: Call, strict: bool) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self.names = names
        self.stored = stored
        self.strict = strict
        self.operations = 0

    def run(self, name: str, argument: Any) -> None:
        """Do one operation, named as `pickletools` names it."""
        self._count(1)
        stack = self.stack
        if name in NUMBERS or name in TEXTS or name in BYTES:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name in TUPLES:
            stack.append(tuple(self._pop(TUPLES[name])))
        elif name == "MARK":
            stack.append(MARK)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memory[self._place(argument)] = stack[-1]
        elif name == "MEMOIZE":
            self.memory[len(self.memory)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memory[self._place(argument)])
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            self._marked()
        elif name not in IGNORED:
            self._compose(name, argument)

    def _compose(self, name: str, argument: Any) -> None:
        """The operations that put values together, or would import, call or change an object."""
        stack = self.stack
        match name:
            case "LIST":
                stack.append(self._marked())
            case "TUPLE":
                stack.append(tuple(self._marked()))
            case "DICT":
                items = self._marked()
                stack.append({})
                self._set(items)
            case "EMPTY_SET":
                stack.append(self._inert("it makes a set"))
            case "FROZENSET" | "OBJ" | "INST":
                self._marked()
                stack.append(self._inert(f"it makes something by {name}"))
            case "APPEND":
                self._extend(self._pop(1))
            case "APPENDS":
                self._extend(self._marked())
            case "SETITEM":
                self._set(self._pop(2))
            case "SETITEMS":
                self._set(self._marked())
            case "ADDITEMS":
                self._marked()
            case "GLOBAL":
                module, _, attribute = argument.partition(" ")
                stack.append(self._named(module, attribute))
            case "STACK_GLOBAL":
                module, attribute = self._pop(2)
                stack.append(self._named(module, attribute))
            case "REDUCE" | "NEWOBJ":
                function, arguments = self._pop(2)
                stack.append(self._call(function, arguments))
            case "NEWOBJ_EX":
                function, arguments, _ = self._pop(3)
                stack.append(self._call(function, arguments))
            case "BUILD":
                (state,) = self._pop(1)
                if isinstance(stack[-1], Stateful):
                    stack[-1].set_state(state)
                else:  # no attribute of what is read here matters
                    self._inert("it sets the state of something")
            case "PERSID":
                stack.append(self.stored(argument))
            case "BINPERSID":
                stack.append(self.stored(*self._pop(1)))
            case "EXT1" | "EXT2" | "EXT4":
                stack.append(self._inert(f"{name} names what is registered elsewhere"))
            case _:
                raise ValueError(f"operation {name} has no place in a checkpoint")

    def _count(self, operations: int) -> None:
        self.operations += operations
        if self.operations > MOST_OPERATIONS:
            raise CheckpointError(
                f"the file's pickle has more than {MOST_OPERATIONS:,} operations, more than any checkpoint needs",
                field="file",
            )

    def _place(self, argument: Any) -> int:
        place = int(argument)
        if not 0 <= place < MOST_INTEGER_KEY:
            raise ValueError("it remembers something under an absurd number")
        return place

    def _inert(self, reason: str) -> Inert:
        """What stands for something that is not understood; raises ValueError where all must be."""
        if self.strict:
            raise ValueError(reason)
        return INERT

    def _named(self, module: Any, attribute: Any) -> Any:
        if not isinstance(module, str) or not isinstance(attribute, str):
            return self._inert("it asks for something whose name is no text")
        if (module, attribute) in self.names:
            return self.names[module, attribute]
        return self._inert(f"it asks for {module[:60]}.{attribute[:60]}")

    def _call(self, function: Any, arguments: Any) -> Any:
        if callable(function) and isinstance(arguments, tuple):
            self._count(sum(len(value) for value in arguments if isinstance(value, Sized)))
            return function(*arguments)
        return self._inert("it calls what is no function")

    def _extend(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)
        else:
            self._inert("it appends to what is no list")

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            self._inert("it sets items of what is no dictionary")
        else:
            pairs = zip(items[::2], items[1::2], strict=True)
            for key, value in pairs:
                if not is_cheap_key(key):  # the hash of nested tuples which share parts takes for ever
                    self._inert("a key is neither a text nor a number of common size")
                    continue
                if self.strict and key in target:
                    raise ValueError(f"the key {str(key)[:20]} comes twice")
                target[key] = value

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) < count or any(value is MARK for value in self.stack[-count:]):
            raise ValueError("an operation lacks its operands")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def _marked(self) -> list[Any]:
        """Everything above the last mark; both are taken off."""
        values: list[Any] = []
        while (value := self.stack.pop()) is not MARK:
            values.append(value)
        return values[::-1]
