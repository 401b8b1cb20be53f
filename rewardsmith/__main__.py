"""``python -m rewardsmith`` is ``python gen.py``, unless a command or ``--help`` comes first."""

import sys

from rewardsmith import cli, commands

OWN = (*commands.COMMANDS, "--help", "-h", "--install-completion", "--show-completion")

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in OWN:
        commands.main()
    else:
        cli.main()
