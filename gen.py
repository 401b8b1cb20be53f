"""Design a reward function for a Gymnasium environment: ``python gen.py --help``."""

from rewardsmith.cli import main

if __name__ == "__main__":
    main()
