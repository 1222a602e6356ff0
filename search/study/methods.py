"""The names of samplers and pruners in study files, and the modules that implement them.

The modules are imported when a study needs them. A new sampler or pruner needs one line here.
"""

SAMPLERS = dict.fromkeys(  # see search/samplers/sampler.py
    ("tpe", "nsga2", "nsga3", "gp", "qmc", "random", "auto"), "search.samplers.optuna_sampler"
)
SAMPLERS["grow"] = "search.samplers.grow"
SAMPLERS["gain"] = "search.samplers.gain"
FAMILIES = frozenset({"grow", "gain"})  # samplers that are told all operating points of a trial
PRUNERS = {"moasha": "search.pruners.moasha"}  # see search/pruners/pruner.py
