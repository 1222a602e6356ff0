"""The names of samplers and pruners in study files, and the modules that implement them.

The modules are imported when a study needs them. A new sampler or pruner needs one line here.
"""

SAMPLERS = dict.fromkeys(  # see search/samplers/sampler.py
    ("tpe", "nsga2", "nsga3", "gp", "qmc", "random"), "search.samplers.optuna_sampler"
)
SAMPLERS["auto"] = "search.samplers.gain"
SAMPLERS["grow"] = "search.samplers.grow"
SAMPLERS["gain"] = "search.samplers.gain"
# samplers that are told all operating points of a trial
FAMILIES = frozenset({"auto", "grow", "gain"})
PRUNERS = {"moasha": "search.pruners.moasha"}  # see search/pruners/pruner.py
