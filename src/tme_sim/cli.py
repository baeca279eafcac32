"""The command line (thin): parses, calls, prints; every error of the user's is one line on standard error and exit code 2."""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import tme_sim
from tme_sim.state.errors import InputError, InputErrors, ModelError

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
LISTS = ("runs", "experiments", "nanoparticles", "tissues", "processes", "readouts", "drugs", "protocols")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `tme-sim`; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        return _handle(["run", "-m", *given[1:]] if given[:1] == ["sweep"] else given)
    except (InputError, InputErrors) as error:
        return _complain(error.errors if isinstance(error, InputErrors) else [error], debug, WRONG_INPUT)
    except ModelError as error:
        return _complain([error], debug, FAILED)
    except BrokenPipeError:  # who read the output has seen enough, as in `tme-sim list runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        return _complain([OSError(f"the system refused to read or write{place}: {error.strerror or error}")], debug, FAILED)
    except MemoryError as error:
        return _complain([MemoryError(f"memory: there is too little of it; tme-sim plan says how much ({error})")], debug, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


def _handle(given: Sequence[str]) -> int:
    options, more = parser().parse_known_args(given)
    if not hasattr(options, "handle"):
        parser().print_help()
        return DONE
    _take_words(options, more)
    if getattr(options, "threads", None):
        # numba takes its ceiling from the environment when it is imported, and --threads may exceed the cores
        os.environ.setdefault("NUMBA_NUM_THREADS", str(max(options.threads, os.cpu_count() or 1)))
    # BLAS would start a team for matrices of a few rows, and its sums depend on how many there are
    for library in ("OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    module, _, function = options.handle.partition(":")  # loaded only now, so that --help is quick
    return int(getattr(import_module(f"tme_sim.commands.{module}"), function)(options))


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, as all others are told."""

    def error(self, message: str) -> NoReturn:
        """Raise it as InputError, with the nearest spelling of a choice."""
        from tme_sim.config.keys import choice_of

        if found := re.fullmatch(r"argument (\S+): invalid choice: '?(.*?)'? \(choose from (.*)\)", message):
            choices = [name.strip(" '") for name in found[3].split(",")]
            raise InputError(found[1].lower(), found[2], choice_of(found[2], choices))
        if found := re.fullmatch(r"argument (\S+): (.*)", message):
            raise InputError(found[1].partition("/")[0], None, found[2])
        if found := re.fullmatch(r"the following arguments are required: ([^,]+).*", message):
            raise InputError(self.prog, None, f"needs {found[1]}; {self.prog} --help")
        raise InputError(self.prog, None, message)


def parser() -> argparse.ArgumentParser:
    """The commands and flags of interface.md that this version has."""
    top = _Parser(
        prog="tme-sim",
        allow_abbrev=False,
        description="An agent-based in silico tumour microenvironment for cancer nanomedicine.",
        epilog="key=value changes the science, --flag changes how the command behaves. Start with: tme-sim run quick",
    )
    top.add_argument("--version", action="version", version=f"tme-sim {tme_sim.__version__}")
    commands = top.add_subparsers(metavar="COMMAND")
    _add_runs(commands)
    _add_looks(commands)
    _add_questions(commands)
    return top


def _add_runs(commands: argparse._SubParsersAction[_Parser]) -> None:
    """What simulates, or says what simulating would cost."""
    run = _command(commands, "run", "simulate: one run, or with -m a sweep over key=a,b,c", "run:run")
    _what(run)
    _compose(run)
    _machine(run)
    run.add_argument("-m", "--multirun", action="store_true", help="sweep over comma lists (also: tme-sim sweep …)")
    run.add_argument("--out", type=Path, metavar="DIR", help="folder of the run (default: runs/<name>/<date>-<time>-<hash>)")
    run.add_argument("--resume", metavar="RUN", help="go on with an interrupted run")
    run.add_argument("--quiet", action="store_true", help="no progress, no closing table")
    run.add_argument("--launcher", choices=["local"], default="local", help="where a sweep runs")
    run.add_argument("--workers", type=_positive, metavar="N", help="runs of a sweep at a time")
    run.add_argument("--retry", action="store_true", help="in a sweep, run failed jobs again")
    plan = _command(commands, "plan", "what a run, or with -m a sweep, would be and cost; nothing is run", "run:plan")
    _what(plan)
    _compose(plan)
    _machine(plan)
    plan.add_argument("-m", "--multirun", action="store_true", help="plan a sweep over comma lists")
    plan.add_argument("--workers", type=_positive, metavar="N", help="runs of a sweep at a time")
    study = _command(commands, "study", "arms and replicates of an experiment, and its verdict", "results:study")
    _what(study, "NAME | study.yaml [variant=small]")
    _machine(study)
    study.add_argument("--out", type=Path, metavar="DIR", help="folder of the study (default: studies/<name>-<variant>)")
    study.add_argument("--workers", type=_positive, default=1, metavar="N", help="runs at a time")
    study.add_argument("--retry", action="store_true", help="run failed runs again")
    study.add_argument("--quiet", action="store_true", help="only the verdict")


def _add_looks(commands: argparse._SubParsersAction[_Parser]) -> None:
    """What is made of runs."""
    image = _command(commands, "image", "what instruments show of a run: images, their numbers, a gallery", "imaging:image")
    image.add_argument("run", metavar="RUN")
    image.add_argument("what", nargs="*", metavar="READOUT | readouts.NAME.KEY=value", help="instruments and their settings")
    image.add_argument("--all", action="store_true", help="every instrument that can see the run, in one gallery")
    image.add_argument("--time", metavar="T", help="recorded times such as 24h or 1h,24h; all; last (default)")
    image.add_argument(
        "--format", default="nifti", metavar="F", help="nifti (default), ome-zarr, ome-tiff, dicom; several with commas"
    )
    image.add_argument("--data", type=Path, metavar="DIR", help="folder that holds data-set folders, for label maps of a body")
    view = _command(commands, "view", "look at a run: a window, or with --screenshot a picture", "results:view")
    view.add_argument("run", metavar="RUN")
    view.add_argument("--screenshot", type=Path, metavar="F", help="write a picture instead of opening a window")
    view.add_argument(
        "--layers", metavar="a,b", help="vessels, gaps, particles, macrophages, neutrophils, monocytes, t_cells, tumor_cells"
    )
    view.add_argument("--slice", metavar="z=50%", help="a plane of carrier concentration")
    view.add_argument("--time", metavar="T", help="a recorded time such as 12h (default: the last)")
    compare = _command(
        commands, "compare", "a run beside another run, an experiment's targets, or measured data", "results:compare"
    )
    compare.add_argument("run", metavar="RUN")
    compare.add_argument("other", metavar="RUN2 | DATASET | EXPERIMENT", help="DATASET: a folder with dataset.yaml")
    compare.add_argument("--json", action="store_true", help="as JSON")
    compare.add_argument("--data", type=Path, metavar="DIR", help="folder that holds data-set folders")
    export = _command(commands, "export", "a run's tables as CSV", "results:export")
    export.add_argument("run", metavar="RUN")
    export.add_argument("--csv", type=Path, required=True, metavar="DIR", help="folder for the CSV files")


def _add_questions(commands: argparse._SubParsersAction[_Parser]) -> None:
    """What there is, what it means, and whether it works."""
    listing = _command(commands, "list", "what there is to choose from", "catalogue:show_list")
    listing.add_argument("kind", choices=LISTS)
    explain = _command(commands, "explain", "a key's value, unit, range, meaning, source and readers", "catalogue:explain")
    explain.add_argument("key", metavar="KEY")
    _what(explain)
    _compose(explain)
    _command(commands, "doctor", "check this installation and machine", "catalogue:doctor")


def _take_words(options: argparse.Namespace, more: Sequence[str]) -> None:
    """Words that stand behind a flag: argparse hands them back instead of adding them to those before it."""
    flags = [word for word in more if word.startswith("-")]
    if flags or (more and not hasattr(options, "what")):
        raise InputError((flags or list(more))[0], None, "is unknown here; tme-sim COMMAND --help lists what there is")
    if more:
        options.what = [*options.what, *more]


def _command(commands: argparse._SubParsersAction[_Parser], name: str, text: str, handle: str) -> argparse.ArgumentParser:
    made = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    made.set_defaults(handle=handle)
    return made


def _what(command: argparse.ArgumentParser, metavar: str = "NAME | FILE.yaml | key=value") -> None:
    command.add_argument("what", nargs="*", metavar=metavar, help="an experiment and overrides")


def _compose(command: argparse.ArgumentParser) -> None:
    command.add_argument("--from", dest="from_run", metavar="RUN", help="start from the configuration of an earlier run")
    command.add_argument(
        "--extension", action="append", default=[], metavar="MODULE", help="Python module with kinds of your own"
    )


def _machine(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", type=Path, metavar="DIR", help="folder that holds data-set folders")
    command.add_argument("--threads", type=_positive, metavar="N", help="threads of the kernels (default: all cores)")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, not {text}")
    return int(text)


def _complain(errors: Sequence[Exception], debug: bool, code: int) -> int:
    if debug:
        traceback.print_exc()
    for error in errors:
        print(f"tme-sim: error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
