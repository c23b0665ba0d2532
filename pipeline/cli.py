"""The command line: depthmask = python -m pipeline."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from depthmask.errors import RunError, UserError
from pipeline.recipes.loading import builtin_recipes, load_recipe
from pipeline.run.signals import STOPPED, say_stopped

if TYPE_CHECKING:  # commands import what they need: --help need not load Beam
    from pipeline.job import Job
    from transforms.depth.model import ModelChoice


# As pipeline.export has them; --help need not load it.
LAYOUT_NAMES = (
    *("folder", "webdataset", "monodepthmask", "living-room", "grey-gallery", "office"),
    "restaurant-mall",
)
# Arguments that are folders on any file system.
_FOLDERS = ("backgrounds", "foregrounds", "masks", "output", "dataset")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Gives the exit code: 0 is success, 1 a failed run or check, 2 something for the user to mend,
    130 interrupted.
    """
    parser = _parser()
    namespace, rest = parser.parse_known_args(arguments)
    if rest and namespace.command not in (_generate, _export):
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    namespace.beam_arguments = rest
    try:
        _check_paths(namespace)
        return int(namespace.command(namespace))
    except UserError as error:
        print(f"depthmask: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"depthmask: the run failed: {error}", file=sys.stderr)
        print("What is finished is kept: run the same command again to go on.", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"depthmask: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say_stopped()
        return STOPPED


def _check_paths(namespace: argparse.Namespace) -> None:
    """Raises UserError for a folder that is named on no file system."""
    values = (getattr(namespace, name, None) for name in _FOLDERS)
    remote = [value for value in values if isinstance(value, str) and "://" in value]
    if not remote:
        return
    from transforms.io.files import check_path

    for path in remote:
        try:
            check_path(path)
        except ValueError as error:
            raise UserError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="depthmask",
        description="Makes labelled datasets for depth estimation and foreground segmentation.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"depthmask {version('depthmask')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    samples = commands.add_parser("samples", help="draw sample inputs", allow_abbrev=False)
    samples.add_argument("directory", type=Path, metavar="DIR")
    samples.add_argument("--backgrounds", type=int, default=12, metavar="N")
    samples.add_argument("--foregrounds", type=int, default=12, metavar="N")
    samples.add_argument("--size", type=int, default=224, metavar="S", help="pixels")
    samples.add_argument("--seed", type=int, default=0, metavar="K")
    samples.set_defaults(command=_samples)

    generate = commands.add_parser(
        "generate",
        help="make a dataset",
        description="Makes a dataset. Beam's own options, such as --runner, can be given too.",
        allow_abbrev=False,
    )
    _add_inputs(generate)
    generate.add_argument(
        "--output", required=True, metavar="DIR", help="a new folder, or an unfinished run's"
    )
    generate.add_argument("--verbose", action="store_true", help="show Beam's own log")
    generate.add_argument(
        "--restart", action="store_true", help="delete what an earlier run made there, first"
    )
    generate.set_defaults(command=_generate)

    plan = commands.add_parser("plan", help="say what generate would make", allow_abbrev=False)
    _add_inputs(plan)
    plan.add_argument(
        "--examples-per-second",
        type=_above_zero,
        metavar="R",
        help="of one worker, as measured: adds worker-hours and what they cost",
    )
    plan.add_argument(
        "--price-per-hour", type=_above_zero, metavar="P", help="of one worker, in any currency"
    )
    plan.set_defaults(command=_plan)

    verify = commands.add_parser("verify", help="check a dataset", allow_abbrev=False)
    verify.add_argument("dataset", metavar="DIR")
    verify.add_argument(
        "--sample", type=positive, metavar="N", help="decode about N examples instead of all"
    )
    verify.add_argument(
        "--repair", action="store_true", help="first make again the shards that are damaged"
    )
    verify.add_argument(
        "--depth-model", metavar="MODEL", help="with --repair: the model that made the depth"
    )
    verify.set_defaults(command=_verify)

    sheet = commands.add_parser(
        "sheet", help="draw examples of a dataset into one picture", allow_abbrev=False
    )
    sheet.add_argument("dataset", metavar="DIR")
    sheet.add_argument("picture", type=Path, metavar="PNG")
    sheet.add_argument("--examples", type=positive, default=6, metavar="N")
    sheet.set_defaults(command=_sheet)

    gallery = commands.add_parser(
        "gallery", help="write a web page of examples and figures", allow_abbrev=False
    )
    gallery.add_argument("dataset", metavar="DIR")
    gallery.add_argument("page", type=Path, metavar="HTML")
    gallery.add_argument("--examples", type=positive, default=60, metavar="N")
    gallery.set_defaults(command=_gallery)

    export = commands.add_parser(
        "export",
        help="write a dataset as other training code expects it",
        description="Writes a finished dataset into a folder in another layout. Beam's own "
        "options, such as --runner, can be given too.",
        allow_abbrev=False,
    )
    export.add_argument("dataset", metavar="DIR")
    export.add_argument("output", metavar="DEST", help="a new folder, or an unfinished export's")
    export.add_argument(
        "--layout",
        required=True,
        choices=LAYOUT_NAMES,
        metavar="NAME",
        help=f"one of: {', '.join(LAYOUT_NAMES)}",
    )
    export.add_argument("--verbose", action="store_true", help="show Beam's own log")
    export.set_defaults(command=_export)
    return parser


def positive(text: str) -> int:
    """A whole number from 1 on, as an argument's type."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text}")
    return number


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text}")
    return number


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backgrounds", required=True, metavar="DIR")
    parser.add_argument("--foregrounds", required=True, metavar="DIR", help="cut-outs (RGBA)")
    parser.add_argument("--masks", metavar="DIR", help="mask files, named as the foregrounds")
    parser.add_argument(
        "--recipe",
        default="default",
        metavar="NAME|FILE",
        help=f"a YAML file, or one of: {', '.join(builtin_recipes())}",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="change a key of the recipe; can be given again",
    )
    parser.add_argument(
        "--depth-model",
        default="builtin",
        metavar="MODEL",
        help="builtin (small, for trying out), none, densedepth:FILE.h5, keras:FILE.keras (or a "
        "SavedModel folder) or onnx:FILE.onnx; files may be gs://…",
    )
    parser.add_argument(
        "--skip-bad-inputs",
        action="store_true",
        help="go on without bad pictures and record them in errors.jsonl",
    )


def _samples(arguments: argparse.Namespace) -> int:
    from pipeline.run.cores import usable_cores
    from pipeline.run.pool import WorkerPool
    from scenes import write_samples

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    try:
        with tqdm(unit="picture", disable=None) as bar, WorkerPool(usable_cores()) as pool:
            write_samples(
                arguments.directory,
                arguments.backgrounds,
                arguments.foregrounds,
                arguments.size,
                arguments.seed,
                progress=show,
                executor=pool,
            )
    except (ValueError, FileExistsError) as error:
        raise UserError(str(error)) from error
    print(f"backgrounds, foregrounds and depth are in {arguments.directory}")
    return 0


def _job(arguments: argparse.Namespace) -> Job:
    from pipeline.inputs.folders import InputFolders
    from pipeline.job import Job

    return Job(
        folders=InputFolders(arguments.backgrounds, arguments.foregrounds, arguments.masks),
        recipe=load_recipe(arguments.recipe, arguments.set),
        depth_model=_depth_model(arguments.depth_model),
        skip_bad_inputs=arguments.skip_bad_inputs,
    )


def _depth_model(text: str | None) -> ModelChoice | None:
    from transforms.depth.model import ModelChoice

    return None if text in (None, "none") else ModelChoice.parse(text)


def _generate(arguments: argparse.Namespace) -> int:
    from pipeline.generate import generate
    from pipeline.run.dataflow import check_for_dataflow, uses_dataflow
    from pipeline.run.options import pipeline_options

    job = _job(arguments)
    options = pipeline_options(arguments.beam_arguments, depth=job.depth_model is not None)
    if uses_dataflow(options):
        # The builtin model has no path: it is in the image.
        model = job.depth_model.path if job.depth_model else ""
        paths = {"--output": arguments.output, "--depth-model": model}
        check_for_dataflow(options, paths, depth=job.depth_model is not None)
    with _beam_log(arguments.verbose):
        left_out = generate(job, arguments.output, options, arguments.restart)
    return 1 if left_out else 0


@contextlib.contextmanager
def _beam_log(verbose: bool) -> Iterator[None]:
    """Keeps what Beam and its workers write to standard error in a file, which a failure names.

    One line of `RunError` says what they say in tracebacks, several times.
    """
    if verbose:
        logging.basicConfig()
        logging.getLogger().setLevel(logging.INFO)
        yield
        return
    terminal, inherited = sys.stderr, os.dup(2)
    with (
        tempfile.NamedTemporaryFile("w", prefix="depthmask-", suffix=".log", delete=False) as log,
        os.fdopen(os.dup(2), "w", buffering=1) as replacement,
    ):
        terminal.flush()
        # Python's own standard error stays what it was; the file descriptor is what workers get.
        if terminal is sys.__stderr__:
            sys.stderr = replacement
        os.dup2(log.fileno(), 2)
        threading.excepthook = lambda _: None  # Beam's threads, when a worker is gone
        try:
            yield
        except RunError as error:
            raise RunError(f"{error}\nBeam's log is in {log.name}") from error
        except BaseException:
            os.remove(log.name)
            raise
        else:
            # After a failure they may have more to say.
            threading.excepthook = threading.__excepthook__
            os.remove(log.name)
        finally:
            os.dup2(inherited, 2)
            os.close(inherited)
            sys.stderr = terminal


def _plan(arguments: argparse.Namespace) -> int:
    from pipeline.cost import Worker, estimate

    rate, price = arguments.examples_per_second, arguments.price_per_hour
    if (rate is None) != (price is None):
        raise UserError("give both --examples-per-second and --price-per-hour, or neither.")
    print(estimate(_job(arguments), Worker(rate, price) if rate else None))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from pipeline.dataset.verify import report, verify

    if arguments.repair:
        from pipeline.repair import repair
        from pipeline.run.options import pipeline_options

        model, options = _depth_model(arguments.depth_model), pipeline_options([])
        with _beam_log(verbose=False):
            made = repair(arguments.dataset, model, options)
        print(f"{made} {'shard was' if made == 1 else 'shards were'} made again")
    return 0 if report(verify(arguments.dataset, arguments.sample), arguments.sample) else 1


def _gallery(arguments: argparse.Namespace) -> int:
    from pipeline.view.gallery import write_gallery

    shown = write_gallery(arguments.dataset, arguments.page, arguments.examples)
    print(f"{shown} examples are shown in {arguments.page}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from pipeline.export.export import export
    from pipeline.run.dataflow import check_for_dataflow, uses_dataflow
    from pipeline.run.options import pipeline_options

    options = pipeline_options(arguments.beam_arguments)
    if uses_dataflow(options):
        paths = {"DIR": arguments.dataset, "DEST": arguments.output}
        check_for_dataflow(options, paths, depth=False)
    with _beam_log(arguments.verbose):
        export(arguments.dataset, arguments.output, arguments.layout, options)
    return 0


def _sheet(arguments: argparse.Namespace) -> int:
    from pipeline.view.sheet import write_sheet

    drawn = write_sheet(arguments.dataset, arguments.picture, arguments.examples)
    print(f"{drawn} examples are drawn in {arguments.picture}")
    return 0
