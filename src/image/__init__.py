"""The parts of stage 3 that src/images.py puts together."""
