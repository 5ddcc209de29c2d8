"""The program: stages, targets and the records they share."""
