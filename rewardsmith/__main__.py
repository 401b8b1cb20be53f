"""``python -m rewardsmith`` is ``python gen.py``, but for the commands of `rewardsmith.commands`."""

import sys

from rewardsmith import cli, commands

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in commands.COMMANDS:
        commands.main()
    else:
        cli.main()
