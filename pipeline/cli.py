"""The command line: depthmask = python -m pipeline.

A command is a class, named in `COMMANDS`. It imports what it needs only when it is asked for: help,
and the refusal of a wrong argument, need neither Beam nor TensorFlow.
"""

from __future__ import annotations

import abc
import argparse
import contextlib
import json
import logging
import os
import sys
import tempfile
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from depthmask.errors import RunError, UserError
from depthmask.manifest import ERRORS
from pipeline.processes.signals import STOPPED, interrupted, say_stopped

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.request import Request


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Returns the exit code: 0 is success, 1 a failed run or check, 2 something for the user to
    correct, 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser(arguments)
    namespace, rest = parser.parse_known_args(arguments)
    command: Command = namespace.command
    if rest and not command.takes_beam_options:
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    namespace.beam_options = rest
    with _messages_shown():
        try:
            return command.run(namespace)
        except (Exception, KeyboardInterrupt) as error:
            return _exit_code(error)


def _exit_code(error: BaseException) -> int:
    """Tells the user what ended a command; returns its exit code. Raises what is a bug."""
    if interrupted() or isinstance(error, KeyboardInterrupt):
        say_stopped()
        return STOPPED
    if not isinstance(error, UserError | RunError | OSError):
        raise error
    failed = "the run failed: " if isinstance(error, RunError) else ""
    print(f"depthmask: {failed}{error}", file=sys.stderr)
    if failed:
        print("What is finished is kept: run the same command again to go on.", file=sys.stderr)
    return 2 if isinstance(error, UserError) else 1


def _parser(arguments: Sequence[str]) -> ArgumentParser:
    parser = ArgumentParser(
        prog="depthmask",
        description="Makes labelled datasets for depth estimation and foreground segmentation.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"depthmask {version('depthmask')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        described = commands.add_parser(
            name, help=command.help, description=command.description, allow_abbrev=False
        )
        described.set_defaults(command=command)
        if name in arguments:  # what others take need not be known
            command.add_arguments(described)
    return parser


class _Lines(logging.Handler):
    """Shows messages as plain lines on what is standard error at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


@contextlib.contextmanager
def _messages_shown() -> Iterator[None]:
    """Shows what depthmask logs, apart from what Beam logs."""
    log, lines = logging.getLogger("depthmask"), _Lines()
    level, propagate = log.level, log.propagate
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(lines)
        log.setLevel(level)
        log.propagate = propagate


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
        # Beam would make one itself, for what is standard error then.
        handler = logging.StreamHandler(log)
        logging.getLogger().addHandler(handler)
        threading.excepthook = lambda _: None  # Beam's threads, when a worker is gone
        handler = logging.StreamHandler(log)  # else this process's own go to the terminal
        logging.getLogger().addHandler(handler)
        try:
            yield
        except RunError as error:
            raise RunError(f"{error}\nBeam's log is in {log.name}") from error
        except BaseException:
            os.remove(log.name)
            raise
        else:
            os.remove(log.name)
        finally:
            logging.getLogger().removeHandler(handler)
            threading.excepthook = threading.__excepthook__
            logging.getLogger().removeHandler(handler)
            os.dup2(inherited, 2)
            os.close(inherited)
            sys.stderr = terminal


class Command(abc.ABC):
    """A command: what it takes, and what it does."""

    help: ClassVar[str]
    description: ClassVar[str | None] = None
    takes_beam_options: ClassVar[bool] = False

    @abc.abstractmethod
    def add_arguments(self, parser: ArgumentParser) -> None:
        """Says what the command takes."""

    @abc.abstractmethod
    def run(self, arguments: Namespace) -> int:
        """Does it; returns the exit code."""


class Samples(Command):
    """depthmask samples"""

    help = "draw sample inputs"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=_local_path, metavar="DIR")
        parser.add_argument("--backgrounds", type=int, default=12, metavar="N")
        parser.add_argument("--foregrounds", type=int, default=12, metavar="N")
        parser.add_argument("--size", type=int, default=224, metavar="S", help="pixels")
        parser.add_argument("--seed", type=int, default=0, metavar="K")

    def run(self, arguments: Namespace) -> int:
        from tqdm import tqdm

        from pipeline.processes.cores import usable_cores
        from pipeline.processes.pool import WorkerPool
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


class Generate(Command):
    """depthmask generate"""

    help = "make a dataset"
    description = "Makes a dataset. Beam's own options, such as --runner, can be given too."
    takes_beam_options = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        _add_generate(parser, output_needed=True)

    def run(self, arguments: Namespace) -> int:
        request = _request(arguments)
        from pipeline.generate import generate

        with _beam_log(arguments.verbose):
            made = generate(request, arguments.output, arguments.beam_options, arguments.restart)
        return 1 if _print_dataset(made) else 0


class Plan(Command):
    """depthmask plan"""

    help = "say what generate would make"
    description = (
        "Says what generate would make, and makes nothing. It takes all that generate takes, so "
        "that a command can be tried by changing one word."
    )
    takes_beam_options = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        _add_generate(parser, output_needed=False)
        parser.add_argument(
            "--examples-per-second",
            type=_above_zero,
            metavar="R",
            help="of one worker, as measured: adds worker-hours and what they cost",
        )
        parser.add_argument(
            "--price-per-hour", type=_above_zero, metavar="P", help="of one worker, in any currency"
        )

    def run(self, arguments: Namespace) -> int:
        rate, price = arguments.examples_per_second, arguments.price_per_hour
        if (rate is None) != (price is None):
            raise UserError("give both --examples-per-second and --price-per-hour, or neither.")
        request = _request(arguments)
        from pipeline.cost import Worker, estimate

        model, output = request.depth_model, arguments.output
        if arguments.beam_options:
            from pipeline.run.options import pipeline_options

            paths = {"--output": output or "", "--depth-model": model.path if model else ""}
            pipeline_options(arguments.beam_options, paths, depth=model is not None)
        if output:
            from pipeline.run import Workspace
            from transforms.io.files import checked_path

            Workspace(checked_path(output)).state()  # refuses somebody else's folder
        print(estimate(request, Worker(rate, price) if rate else None))
        return 0


class Verify(Command):
    """depthmask verify"""

    help = "check a dataset"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("dataset", metavar="DIR")
        parser.add_argument(
            "--sample", type=positive, metavar="N", help="decode about N examples instead of all"
        )
        parser.add_argument(
            "--repair", action="store_true", help="first make again the shards that are damaged"
        )
        parser.add_argument(
            "--depth-model",
            metavar="MODEL",
            help="the model that made the depth: some of it is estimated again",
        )

    def run(self, arguments: Namespace) -> int:
        from pipeline.verify import StatisticsCheck, verify_dataset, write_decoded

        dataset, model = arguments.dataset, arguments.depth_model
        if arguments.repair:
            from pipeline.repair import repair

            with _beam_log(verbose=False):
                made = len(repair(dataset, model).shards)
            print(f"{made} {'shard was' if made == 1 else 'shards were'} made again")
        checks = []
        for check in verify_dataset(dataset, arguments.sample, model):
            print(check, flush=True)
            checks.append(check)
        good = not any(check.problems for check in checks)
        looked_at = "dataset" if arguments.sample is None else "sample"
        print(f"The {looked_at} is right." if good else "The dataset is NOT right.")
        if good and isinstance(checks[-1], StatisticsCheck):
            print(write_decoded(dataset, checks[-1]))
        return 0 if good else 1


class Evaluate(Command):
    """depthmask evaluate"""

    help = "score a depth model on a dataset of true depth"
    description = (
        "Compares a model's depth with that of a dataset made with --background-depths: over all "
        "pixels, within masks and at their edges, by the definitions of Eigen et al. 2014."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        from pipeline.request import DEFAULT_MODEL
        from transforms.depth import USAGE

        parser.add_argument("dataset", metavar="DIR")
        parser.add_argument(
            "--depth-model", default=DEFAULT_MODEL, metavar="MODEL", help=f"one of: {USAGE}"
        )
        parser.add_argument("--examples", type=positive, default=1000, metavar="N")
        _add_settings(parser)

    def run(self, arguments: Namespace) -> int:
        from pipeline.evaluate import evaluate

        print(
            evaluate(
                arguments.dataset,
                arguments.depth_model,
                settings=arguments.set,
                examples=arguments.examples,
            )
        )
        return 0


class Sheet(Command):
    """depthmask sheet"""

    help = "draw examples of a dataset into one picture"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("dataset", metavar="DIR")
        parser.add_argument("picture", type=_local_path, metavar="PNG")
        parser.add_argument("--examples", type=positive, default=6, metavar="N")
        parser.add_argument(
            "--beside", metavar="DIR", help="the same dataset with other depth, to show that too"
        )

    def run(self, arguments: Namespace) -> int:
        from pipeline.view import write_sheet

        drawn = write_sheet(
            arguments.dataset, arguments.picture, arguments.examples, arguments.beside
        )
        print(f"{drawn} examples are drawn in {arguments.picture}")
        return 0


class Gallery(Command):
    """depthmask gallery"""

    help = "write a web page of examples and figures"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("dataset", metavar="DIR")
        parser.add_argument("page", type=_local_path, metavar="HTML")
        parser.add_argument("--examples", type=positive, default=60, metavar="N")

    def run(self, arguments: Namespace) -> int:
        from pipeline.view import write_gallery

        shown = write_gallery(arguments.dataset, arguments.page, arguments.examples)
        print(f"{shown} examples are shown in {arguments.page}")
        return 0


class Export(Command):
    """depthmask export"""

    help = "write a dataset as other training code expects it"
    description = (
        "Writes a finished dataset into a folder in another layout. Beam's own options, such as "
        "--runner, can be given too."
    )
    takes_beam_options = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        from pipeline.export import LAYOUTS

        parser.add_argument("dataset", metavar="DIR")
        parser.add_argument(
            "output", metavar="DEST", help="a new folder, or an unfinished export's"
        )
        parser.add_argument(
            "--layout",
            required=True,
            choices=LAYOUTS,
            metavar="NAME",
            help=f"one of: {', '.join(LAYOUTS)}",
        )
        _add_verbose(parser)

    def run(self, arguments: Namespace) -> int:
        from pipeline.export import export_dataset

        with _beam_log(arguments.verbose):
            made = export_dataset(
                arguments.dataset, arguments.output, arguments.layout, arguments.beam_options
            )
        print(made)
        return 0


class Card(Command):
    """depthmask card"""

    help = "write README.md and croissant.json anew, from publish.yaml"
    description = (
        "Writes README.md and croissant.json of a finished dataset or export anew, with what the "
        "publish.yaml in its folder says: title, creators, licence, citation, sources, uses …"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", metavar="DIR", help="a dataset or an export")

    def run(self, arguments: Namespace) -> int:
        from pipeline.card import write_card

        print(write_card(arguments.directory))
        return 0


class Convert(Command):
    """depthmask convert"""

    help = "write a depth model of transformers as ONNX"
    description = (
        "Writes a depth model of Hugging Face's transformers as ONNX, for --depth-model onnx:OUT. "
        "Needs torch: pip install 'depthmask[torch]'."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", metavar="transformers:DIR", help="a local folder of the Hub's")
        parser.add_argument("output", metavar="OUT", help="a new folder")
        parser.add_argument(
            "--canvas",
            type=_size,
            default="224x224",
            metavar="WxH",
            help="the size of the datasets' pictures: what the model sees has their shape",
        )

    def run(self, arguments: Namespace) -> int:
        from pipeline.convert import convert
        from transforms.depth import PictureSize

        width, height = arguments.canvas
        made = convert(arguments.model, arguments.output, PictureSize(width=width, height=height))
        print(f"{made.folder} sees pictures at {made.input}.")
        print(f"Its values differ from torch's by at most {made.difference:.1g} of the largest.")
        print(f"Its licence: {made.licence or 'not said; give --depth-model-licence'}")
        if made.output is None:
            print("Its files do not say what its values mean: set depth.model.output.")
        print(f"Use it:   depthmask generate --depth-model onnx:{made.folder} ...")
        return 0


class Schema(Command):
    """depthmask schema"""

    help = "print the JSON schema of recipes, for editors"
    description = (
        "Prints the JSON schema of recipe files. Editors that heed a file's first line "
        "'# yaml-language-server: $schema=FILE' complete and explain its keys by it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        pass

    def run(self, arguments: Namespace) -> int:
        from pipeline.recipes import recipe_schema

        print(json.dumps(recipe_schema(), indent=2))
        return 0


class Completion(Command):
    """depthmask completion"""

    help = "print what a shell completes this command by"
    description = (
        'Prints a script for a shell. bash and zsh: eval "$(depthmask completion bash)"; fish: '
        "depthmask completion fish | source."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("shell", choices=("bash", "zsh", "fish"))

    def run(self, arguments: Namespace) -> int:
        from pipeline.completion import completion_script

        print(completion_script(_parser(list(COMMANDS)), arguments.shell))
        return 0


COMMANDS: dict[str, Command] = {
    "samples": Samples(),
    "generate": Generate(),
    "plan": Plan(),
    "verify": Verify(),
    "evaluate": Evaluate(),
    "sheet": Sheet(),
    "gallery": Gallery(),
    "export": Export(),
    "card": Card(),
    "convert": Convert(),
    "schema": Schema(),
    "completion": Completion(),
}


# What several commands take or print


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


def _local_path(text: str) -> Path:
    return Path(text).expanduser()


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = map(int, text.split("x"))
    except ValueError:
        width = height = 0
    if not (8 <= width <= 8192 and 8 <= height <= 8192):
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT of 8 to 8192 pixels, not {text}")
    return width, height


def _add_verbose(parser: ArgumentParser) -> None:
    parser.add_argument("--verbose", action="store_true", help="show Beam's own log")


def _add_generate(parser: ArgumentParser, output_needed: bool) -> None:
    """What `generate` takes."""
    _add_request(parser)
    parser.add_argument(
        "--output",
        required=output_needed,
        metavar="DIR",
        help="a new folder, or an unfinished run's",
    )
    parser.add_argument(
        "--restart", action="store_true", help="delete what an earlier run made there, first"
    )
    _add_verbose(parser)


def _add_request(parser: ArgumentParser) -> None:
    from pipeline.inputs import SAME_NAME
    from pipeline.recipes import builtin_recipes
    from pipeline.request import DEFAULT_MODEL, DEFAULT_RECIPE
    from transforms.depth import USAGE

    parser.add_argument("--backgrounds", required=True, metavar="DIR")
    parser.add_argument("--foregrounds", required=True, metavar="DIR", help="cut-outs (RGBA)")
    parser.add_argument("--masks", metavar="DIR", help="mask files, named as the foregrounds")
    parser.add_argument(
        "--mask-name",
        default=SAME_NAME,
        metavar="PATTERN",
        help="how mask files are named if otherwise: 'mask_{name}', 'mask{number}'",
    )
    parser.add_argument(
        "--background-depths",
        metavar="DIR",
        help="measured depth, named as the backgrounds: PNG, TIFF, .npy, .npz",
    )
    parser.add_argument(
        "--recipe",
        default=DEFAULT_RECIPE,
        metavar="NAME|FILE",
        help=f"a YAML file, or one of: {', '.join(builtin_recipes())}",
    )
    _add_settings(parser)
    parser.add_argument(
        "--depth-model",
        default=DEFAULT_MODEL,
        metavar="MODEL",
        help=f"one of: {USAGE}; files may be gs://…",
    )
    parser.add_argument(
        "--depth-model-licence",
        metavar="NAME",
        help="of the model's weights, for the dataset's card, where its files do not say it",
    )
    parser.add_argument(
        "--skip-bad-inputs",
        action="store_true",
        help="go on without bad pictures and record them in errors.jsonl",
    )


def _add_settings(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="change a key of the recipe; can be given again",
    )


def _request(arguments: Namespace) -> Request:
    from pipeline.request import Request

    return Request.of(
        arguments.backgrounds,
        arguments.foregrounds,
        masks=arguments.masks,
        mask_name=arguments.mask_name,
        background_depths=arguments.background_depths,
        recipe=arguments.recipe,
        settings=arguments.set,
        depth_model=arguments.depth_model,
        depth_model_licence=arguments.depth_model_licence,
        skip_bad_inputs=arguments.skip_bad_inputs,
    )


def _print_dataset(dataset: Dataset) -> int:
    """Prints what a finished dataset holds; returns the number of examples that were left out."""
    from pipeline.plan import shards_text
    from pipeline.run import size_text

    manifest = dataset.manifest
    for split, examples in manifest.splits.items():
        shards = manifest.shards_of(split)
        size = size_text(sum(shard.bytes for shard in shards))
        print(f"{split}: {examples:,} examples, {size} in {shards_text(len(shards))}")
    print(f"{'':18}{'mean':37}std")
    for kind, moments in manifest.tally.moments.items():
        mean, std = (
            " ".join(f"{value:.6f}" for value in values) for values in (moments.mean, moments.std)
        )
        print(f"{kind.replace('_', ' '):18}{mean:37}{std}")
    empty = manifest.tally.empty_masks
    if empty:
        print(f"{empty:,} masks are empty: nothing is seen of their foregrounds")
    print(f"The dataset is in {dataset.path}")
    print(f"See it:   depthmask gallery {dataset.path} gallery.html")
    print(f"Check it: depthmask verify {dataset.path}")
    left_out = len(manifest.tally.left_out)
    if left_out:
        print(f"{left_out:,} examples were left out; see {dataset.file(ERRORS)}")
    return left_out
