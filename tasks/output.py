"""A directory that a person named for a result: what is theirs is never replaced, and the result is there whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from data_contracts.errors import Fatal


def refuse_to_overwrite(output: Path, *, mark: str, what: str) -> None:
    """Raise where `output` holds anything but an earlier result, which the file `mark` in it shows; `what` names one in the error."""
    free = not output.exists() or (output.is_dir() and not any(output.iterdir()))
    if not free and not (output / mark).is_file():
        raise Fatal(
            f"{output} is not empty and holds no {what}; allowed: a new or empty directory, or an earlier {what}"
        )


def copy_result(result: Path, output: Path, *, mark: str, what: str) -> None:
    """Put a copy of a result's directory at `output`, in the place of an earlier one."""
    from models.bundle import replace_directory

    output = output.absolute()
    refuse_to_overwrite(output, mark=mark, what=what)
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = output.with_name(f".{output.name}.{os.getpid()}.new")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        shutil.copytree(result, draft)
        replace_directory(output, draft)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
