"""Write what is derived from the declarations: the suites in `data_contracts/suites/` and `docs/data_dictionary.md`.

python -m data_contracts.generate            rewrite them
python -m data_contracts.generate --check    exit with 1 when one differs, and say which
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from data_contracts.catalog import CONTRACTS
from data_contracts.dictionary import dictionary
from data_contracts.labelled_check import LABELLED
from data_contracts.schema import Contract

REPOSITORY = Path(__file__).parents[1]


def documents() -> dict[Path, str]:
    """Every generated file, relative to the repository, and its text."""
    contracts = [*CONTRACTS.values(), *LABELLED.values()]
    found = {
        Path("data_contracts/suites") / f"{contract.name}.json": json.dumps(
            contract.suite(), indent=2, ensure_ascii=False
        )
        + "\n"
        for top in contracts
        for contract in _with_nested(top)
    }
    return found | {Path("docs/data_dictionary.md"): dictionary(contracts)}


def differing(root: Path) -> list[Path]:
    """The generated files under `root` that are missing, out of date, or no longer generated."""
    wanted = documents()
    stale = [
        p.relative_to(root)
        for p in sorted((root / "data_contracts/suites").glob("*.json"))
        if p.relative_to(root) not in wanted
    ]
    wrong = [
        p for p, text in wanted.items() if not (root / p).is_file() or (root / p).read_text(encoding="utf-8") != text
    ]
    return wrong + stale


def write(root: Path) -> list[Path]:
    """Rewrite what differs under `root`; returns what was written or removed."""
    changed, wanted = differing(root), documents()
    for path in changed:
        if path in wanted:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(wanted[path], encoding="utf-8")
        else:
            (root / path).unlink()
    return changed


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m data_contracts.generate", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 when a file differs")
    parser.add_argument(
        "--root", type=Path, default=REPOSITORY, help="the repository (default: the one this file is in)"
    )
    options = parser.parse_args(arguments)
    changed = differing(options.root) if options.check else write(options.root)
    for path in changed:
        sys.stdout.write(f"{'differs' if options.check else 'written'}: {path}\n")
    return 1 if options.check and changed else 0


def _with_nested(contract: Contract) -> Iterator[Contract]:
    yield contract
    yield from contract.nested_contracts.values()


if __name__ == "__main__":
    sys.exit(main())
