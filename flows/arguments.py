"""What a person types, made into what the command line's library reads."""

from __future__ import annotations

from collections.abc import Sequence

LISTS = {
    "finetune": ("--train", "--auxiliary"),
    "search": ("--train", "--auxiliary", "--space"),
    "adapt": ("--texts", "--except"),
    "distil": ("--train", "--auxiliary", "--teacher", "--unlabelled"),
    "compress": ("--train",),
    "combine": ("--model",),
}


def spread(arguments: Sequence[str]) -> list[str]:
    """Repeat a flag that takes several values before each: `--train A B` becomes `--train A --train B`, up to the next flag."""
    spread_out: list[str] = []
    flags = LISTS.get(arguments[0], ()) if arguments else ()
    flag, taken = "", 0
    for position, argument in enumerate(arguments):
        if argument == "--":
            return [*spread_out, *arguments[position:]]
        if argument.startswith("-"):
            name, given, _ = argument.partition("=")
            flag, taken = (name if name in flags else ""), len(given)
        elif flag:
            if taken:
                spread_out.append(flag)
            taken += 1
        spread_out.append(argument)
    return spread_out


def value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """What a flag is given, before the command line's library has read it: `--settings F` or `--settings=F`."""
    for position, argument in enumerate(arguments):
        name, given, value = argument.partition("=")
        if name == flag:
            return value if given else next(iter(arguments[position + 1 :]), None)
    return None
