"""What is done to the cluster: a random process is killed, or paused beyond its lease."""

import asyncio
import random
import signal
import time
from dataclasses import dataclass, field

from bench.chaos.cluster import Cluster, Member

#: One disturbance in so many is a pause.
PAUSE_ONE_IN = 6


@dataclass
class Disturbance:
    """Kills and pauses, drawn from a seed."""

    rng: random.Random
    kills_wanted: int
    #: Seconds from one disturbance to the next, at least and at most.
    interval_s: tuple[float, float]
    pause_s: float
    #: Unix time of each kill, and the process that it hit.
    kills: list[tuple[float, str, int]] = field(default_factory=list)
    pauses: int = 0

    async def run(self, cluster: Cluster) -> None:
        """Disturb until there were as many kills as wanted."""
        paused: set[asyncio.Task[None]] = set()
        while len(self.kills) < self.kills_wanted:
            await asyncio.sleep(self.rng.uniform(*self.interval_s))
            member = self.rng.choice(cluster.members)
            if self.rng.randrange(PAUSE_ONE_IN):
                self.kills.append((time.time(), member.name, member.pid))
                member.signal(signal.SIGKILL)
            else:
                self.pauses += 1
                paused.add(asyncio.create_task(self._pause(member)))
        await asyncio.gather(*paused)

    async def _pause(self, member: Member) -> None:
        """Stop a process and let it go on, if it has not been killed in between."""
        process = member.process
        process.send_signal(signal.SIGSTOP)
        member.is_paused = True
        await asyncio.sleep(self.pause_s)
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
        member.is_paused = False

    def count(self) -> dict[str, int]:
        """Kills by process."""
        names = [name for _, name, _ in self.kills]
        return {name: names.count(name) for name in sorted(set(names))}
