"""The policy at work, as MP4 and GIF or in a window, with what the reward says of it."""
