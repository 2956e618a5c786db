"""Run other people's tests of an OCI runtime against `dosirak runtime`; status 1 says that one fails whose failure is
not known.

    run.py [runtime-tools|runc|crun] [--origin URL] [--runtime PROGRAM] [FILE…]

Without a name all three, half an hour. FILEs are files of the suite's tests, all of them unless named. `--origin` says
where the sources are cloned from, with {owner} and {name} in it (or DOSIRAK_CONFORMANCE_ORIGIN); `--runtime` tries
another one, as a control. Status 77: they can't be had here. Needs root.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from conformance.results import compare, known, read  # noqa: E402
from conformance.sources import BUILD, NotToBeHad  # noqa: E402
from conformance.suites import SUITES  # noqa: E402

NOT_TO_BE_HAD = 77


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", nargs="?", choices=sorted(SUITES))
    parser.add_argument("files", nargs="*")
    parser.add_argument(
        "--origin", default=os.environ.get("DOSIRAK_CONFORMANCE_ORIGIN", "https://github.com/{owner}/{name}")
    )
    parser.add_argument("--runtime", type=Path, default=Path(sys.executable).parent / "dosirak-runtime")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which ends the tests, too
    names = [options.suite] if options.suite else list(SUITES)
    return max(_one(name, options.files, options.origin, options.runtime) for name in names)


def _one(name: str, files: list[str], origin: str, runtime: Path) -> int:
    suite = SUITES[name]
    try:
        tree = suite.source.fetch(origin)
        suite.build(tree)
    except NotToBeHad as error:
        print(f"{name}: not to be had here: {error}", file=sys.stderr)
        return NOT_TO_BE_HAD
    expected = known(HERE / "expected" / f"{name}.txt")
    results = []
    for test in files or suite.tests(tree):
        said = list(read(test, suite.run(tree, test, runtime, BUILD / "logs" / name / f"{test}.log")))
        for result in said:
            if result.status == "failed":
                reason = (
                    f"  (known: {expected[result.name]})"
                    if result.status == "failed" and result.name in expected
                    else ""
                )
                print(f"{result.status:8}{result.name}{reason}", flush=True)
        print(f"{'':8}{test}: {sum(result.status == 'ok' for result in said)} of {len(said)} ok", flush=True)
        results += said
    difference = compare(results, expected)
    for title, found in (
        ("fails, and was not known to", difference.new),
        ("passes now: take it off the list", difference.passed),
    ):
        for line in found:
            print(f"{title}: {line}")
    count = {status: sum(result.status == status for result in results) for status in ("ok", "failed", "skipped")}
    told = f"{count['ok']} passed, {count['failed']} failed, {count['skipped']} skipped"
    print(f"{name}: {told}; {len(difference.new)} failures are not known")
    return int(bool(difference.new))


if __name__ == "__main__":
    sys.exit(main())
