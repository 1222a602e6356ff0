"""Which runs to make, and what came of them: studies, spaces, samplers, stores, fronts.

Importing this package loads neither torch nor ray nor optuna.
"""
