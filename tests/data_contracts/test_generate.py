"""What is committed is what the declarations say."""

import json
import subprocess
import sys
from pathlib import Path

from data_contracts.catalog import CONTRACTS
from data_contracts.generate import REPOSITORY, differing, documents, main, write
from data_contracts.suite import expectations


def test_the_committed_suites_and_dictionary_are_up_to_date() -> None:
    assert differing(REPOSITORY) == [], "run: python -m data_contracts.generate"


def test_a_changed_a_missing_and_a_left_over_file_are_found_and_put_right(tmp_path: Path) -> None:
    assert set(write(tmp_path)) == set(documents())
    assert main(["--check", "--root", str(tmp_path)]) == 0
    suites = tmp_path / "data_contracts/suites"
    (suites / "raw.json").write_text("{}")
    (suites / "alerts.json").unlink()
    (suites / "old.json").write_text("{}")
    assert {path.name for path in differing(tmp_path)} == {"raw.json", "alerts.json", "old.json"}
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert main(["--root", str(tmp_path)]) == 0
    assert differing(tmp_path) == []
    assert not (suites / "old.json").exists()


def test_the_command_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "data_contracts.generate", "--check"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_code_is_unique_within_its_suite_and_starts_with_a_column() -> None:
    for contract in CONTRACTS.values():
        codes = [rule.code for rule in expectations(contract)]
        assert len(codes) == len(set(codes))
        assert {code.split(".")[0] for code in codes} <= {*contract.schema.names, "key"}


def test_the_suite_is_plain_json() -> None:
    for contract in CONTRACTS.values():
        assert json.loads(json.dumps(contract.suite())) == contract.suite()


def test_the_dictionary_has_every_column_of_every_table() -> None:
    text = documents()[Path("docs/data_dictionary.md")]
    for contract in CONTRACTS.values():
        section = text.split(f"## {contract.name}\n")[1].split("\n## ")[0]
        for column in contract.schema.names:
            assert f"| `{column}` |" in section
