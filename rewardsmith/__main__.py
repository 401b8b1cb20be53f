"""``python -m rewardsmith`` is ``python gen.py``."""

from rewardsmith.cli import main

if __name__ == "__main__":
    main()
