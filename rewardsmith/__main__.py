"""``python -m rewardsmith`` is ``python gen.py``, unless its first word is a command."""

import sys

from rewardsmith import cli, commands

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in commands.COMMANDS:
        commands.main()
    else:
        cli.main()
