"""Run every study and write the verdicts.

    uv run python experiments/run_all.py [variant=small] [--data DIR] [--workers N]

Rewrites verdicts.json and the table in README.md beside this file; misses stay in. Finished runs are not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tme_sim.analysis.targets import as_markdown
from tme_sim.study import read_study, run_study

HERE = Path(__file__).resolve().parent
START, END = "<!-- verdicts -->\n", "<!-- /verdicts -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", nargs="?", default="variant=full", choices=["variant=full", "variant=small"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    variant = options.variant.removeprefix("variant=")
    rows, failed = [], 0
    for path in sorted(HERE.glob("*/study.yaml")):
        done = run_study(read_study(path.parent.name, variant), data=options.data, workers=options.workers, say=print)
        rows += [row.as_dict() for row in done.rows]
        failed += done.failed
    (HERE / "verdicts.json").write_text(json.dumps({"variant": variant, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    readme = HERE / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(START)
    table = f"{START}Made by `run_all.py variant={variant}`.\n\n{as_markdown(rows)}{END}"
    readme.write_text(before + table + rest.split(END, 1)[1], encoding="utf-8")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
