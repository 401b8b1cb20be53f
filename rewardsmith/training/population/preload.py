"""What the process that the environments' processes are forked from imports first, once for all.

Importing it has an effect: the process dies with its parent. The module `physics` names it to
`multiprocessing`; nothing else should import it.
"""

from __future__ import annotations

import os

from rewardsmith.reward.lockdown import die_with_parent

die_with_parent(os.getppid())  # before the rest, which takes seconds

import rewardsmith.tasks.fetch  # noqa: E402
import rewardsmith.training.population.physics  # noqa: E402, F401 - its children will need it
