"""tme-sim: an agent-based in silico tumour microenvironment for cancer nanomedicine.

    state/       what exists          plain arrays: lattice fields, populations, vessels, body, ledger
    processes/   what happens         one mechanism per file; reads and writes only what it declares
    imaging/     what is seen         (to come)
    analysis/    what is concluded    numbers from states, compared with published ones
    views/       what is shown        (to come)

`tissues/` builds where it happens, `numerics/` is plain mathematics, `files/` reads and writes, `config/` composes and
validates, `simulation.py` is the loop and `runner.py` one run from configuration to folder.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
