"""A side of the benchmark as a process: requests and replies are JSON lines on stdin and stdout.

    {"work": "cg", "case": "line", "repeat": 1}  ->  {"seconds": [0.31], "answer": ".../sigpy_cg_line.npy", "inner": 1}
    {"work": "about"}                            ->  {"versions": {...}, "works": [...]}

The first request for a work prepares it and runs it unclocked (compilation); later ones only run. One clocked run may
hold `inner` executions, so that short works are not lost in the clock; "seconds" is already per execution.
Standard library and numpy only: every side's environment has these.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

Run = Callable[[], Any]  # does the work once and returns its finished answer (device work waited for)
Prepare = Callable[[Mapping[str, np.ndarray], str], Run]



def versions(*names: str) -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def serve(
    side: str,
    works: dict[str, Prepare],
    packages: tuple[str, ...],
    to_numpy: Callable[[str, Any], np.ndarray] = lambda work, answer: np.asarray(answer),
    inner: Mapping[str, int] | None = None,
) -> None:
    """Answer requests until stdin closes. argv: PROBLEM.npz FOLDER-FOR-ANSWERS.

    to_numpy(work, answer) brings the answer into the layout of the problem; inner[work] runs make one clocked run.
    """
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a package prints must not land between the replies
    with np.load(sys.argv[1]) as stored:
        problem = {name: stored[name] for name in stored.files}
    folder, ready = sys.argv[2], {}

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        work, case = request["work"], request.get("case", "")
        if work == "about":
            return {"versions": versions(*packages), "works": sorted(works)}
        if work not in works:
            return {"absent": f"{side} has no {work}"}
        reply: dict[str, Any] = {"inner": (inner or {}).get(work, 1)}
        if (work, case) not in ready:
            begin = time.perf_counter()
            run = works[work](problem, case)
            path = os.path.join(folder, f"{side}_{work}_{case}.npy")
            np.save(path, to_numpy(work, run()))
            run()  # a second pass: some loops compile their second iteration's types anew
            ready[work, case] = run, path
            reply["first"] = time.perf_counter() - begin
        run, reply["answer"] = ready[work, case]
        reply["seconds"] = []
        for _ in range(request.get("repeat", 1)):
            begin = time.perf_counter()
            for _ in range(reply["inner"]):
                run()
            reply["seconds"].append((time.perf_counter() - begin) / reply["inner"])
        return reply

    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:  # the parent decides; a side must not take the others' run down
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)
