"""The record of one trial: its state, outcome, rungs, confirmation runs, rejected points."""
