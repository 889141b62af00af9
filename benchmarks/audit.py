"""Time and memory of `cgap audit` on plain arrays of 100,000 and 1,000,000 steps of 7-D actions with given features.

    python benchmarks/audit.py [STEPS ...]

Expected with two cores and `--budget 2m`: 100,000 steps in at most 2 minutes and 4 GB, 1,000,000 in at most four times
that. Wall time, the processor time of all its processes, and the largest resident memory of one of them and of all
together (sampled five times a second).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FEATURES, LENGTH = 512, 200
MAIN = "from compression_gap.cli import main; raise SystemExit(main())"
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


def write(path, steps, seed=0):
    """Demonstrations whose smooth actions follow from a goal that the features show through noise."""
    rng = np.random.default_rng(seed)
    episodes = steps // LENGTH
    goal = np.repeat(rng.normal(size=(episodes, 1, 6)), LENGTH, axis=1)
    along = np.arange(LENGTH)[None, :, None] / LENGTH
    arm = goal * np.sin(3 * along) + 0.3 * np.sin(8 * along * goal) + 0.03 * rng.normal(size=goal.shape)
    switch = np.where(along < 0.5, -1.0, 1.0) + 0 * goal[..., :1]
    action = np.concatenate([arm, switch], axis=2).reshape(-1, 7).astype(np.float32)
    shown = np.concatenate([goal, along + 0 * goal[..., :1]], axis=2).reshape(-1, 7).astype(np.float32)
    features = np.tanh(shown @ rng.normal(size=(7, FEATURES)).astype(np.float32))
    features += 0.3 * rng.standard_normal(features.shape, dtype=np.float32)
    proprioception = np.cumsum(arm, axis=1).reshape(-1, 6).astype(np.float32)
    episode = np.repeat(np.arange(episodes), LENGTH)
    np.savez(path, action=action, episode=episode, features=features, proprioception=proprioception)


def family(root):
    """Process ids of a process and all below it."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, left = [], [root]
    while left:
        found.append(left.pop())
        left += children.get(found[-1], [])
    return found


def resident(pid):
    """Megabytes, without pages of files that are only mapped."""
    try:
        total, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
    except OSError:
        return 0.0
    return (int(total) - int(shared)) * PAGE_MB


def seconds(pid):
    """Of processor time that a process has had."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(command):
    """Wall seconds, processor seconds, and the largest megabytes of one and of all processes."""
    started, spent = time.monotonic(), {}
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    most_one = most_all = 0.0
    while process.poll() is None:
        found = family(process.pid)
        sizes = [resident(pid) for pid in found]
        most_one, most_all = max(most_one, *sizes), max(most_all, sum(sizes))
        spent |= {pid: max(spent.get(pid, 0.0), seconds(pid)) for pid in found}
        time.sleep(0.2)
    answer = json.loads(process.stdout.read())
    return time.monotonic() - started, sum(spent.values()), most_one, most_all, answer


for steps in map(int, sys.argv[1:] or ("100000", "1000000")):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steps.npz"
        write(path, steps)
        words = ["audit", str(path), "--budget", "2m", "--workers", "2", "--store", f"{folder}/store", "--json"]
        wall, cpu, one, all_, answer = measured([sys.executable, "-c", MAIN, *words])
    print(
        f"{steps:,} steps, {answer['chunks']:,} chunks, {answer['failed']} failed: {wall:.0f} s wall, {cpu:.0f} s of "
        f"processor, {one / 1000:.2f} GB in one process, {all_ / 1000:.2f} GB in all"
    )
