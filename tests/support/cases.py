"""A list of named cases: each prints `ok NAME` or `FAILED NAME: why`, and the last line counts them."""

import argparse
import pathlib
import sys
import tempfile
import traceback

from support import program


class Failure(Exception):
    """A claim of a case that does not hold."""


def expect(condition, why):
    if not condition:
        raise Failure(why)


class Cases:
    """The cases of one script. A case is a function of a `Context`; its name says what it claims."""

    def __init__(self, description, **options):
        """`options`: further words of the command line, name -> help; a Context has them as `arguments.NAME`."""
        self._description = description
        self._options = options
        self._groups = {}

    def add(self, group, name, function):
        group_cases = self._groups.setdefault(group, {})
        if name in group_cases:
            raise ValueError(f"two cases are called {name}")
        group_cases[name] = function

    def case(self, group):
        """Decorator: the function's name, with dashes, is the name of the case."""
        def register(function):
            self.add(group, function.__name__.replace("_", "-"), function)
            return function
        return register

    def main(self):
        parser = argparse.ArgumentParser(description=self._description)
        program.add_arguments(parser)
        parser.add_argument("--ranks", type=int, default=1)
        for name, meaning in self._options.items():
            parser.add_argument(f"--{name.replace('_', '-')}", help=meaning)
        parser.add_argument("--group", choices=sorted(self._groups), help="only this group")
        parser.add_argument("--list", action="store_true", help="print the names and end")
        parser.add_argument("names", nargs="*", help="only these cases")
        arguments = parser.parse_args()
        chosen = self._choose(arguments.group, arguments.names)
        if arguments.list:
            print("\n".join(name for name, _ in chosen))
            return
        failed = sum(not _passes(name, function, arguments) for name, function in chosen)
        print(f"{len(chosen) - failed} passed, {failed} failed")
        sys.exit(1 if failed or not chosen else 0)

    def _choose(self, group, names):
        groups = [self._groups[group]] if group else list(self._groups.values())
        known = {name: function for cases in groups for name, function in cases.items()}
        unknown = [name for name in names if name not in known]
        if unknown:
            sys.exit(f"no such case: {', '.join(unknown)}")
        return [(name, known[name]) for name in (names or known)]


class Context:
    """What a case works with: the program, the number of ranks, an empty directory of its own."""

    def __init__(self, arguments, directory):
        self.arguments = arguments
        self.program = program.from_arguments(arguments)
        self.ranks = arguments.ranks
        self.directory = pathlib.Path(directory)

    def run(self, *arguments, **options):
        options.setdefault("ranks", self.ranks)
        options.setdefault("directory", self.directory)
        return self.program.run(arguments, **options)

    def run_well(self, *arguments, **options):
        """Runs and expects exit 0."""
        outcome = self.run(*arguments, **options)
        expect(outcome.code == 0 and not outcome.late, f"`{' '.join(map(str, arguments))}`: {outcome.describe()}")
        return outcome


def _passes(name, function, arguments):
    with tempfile.TemporaryDirectory(prefix="mpimerge-test-") as directory:
        try:
            function(Context(arguments, directory))
        except Failure as failure:
            print(f"FAILED {name}: {failure}", flush=True)
            return False
        except Exception as error:  # a case that cannot run is a failed case, and the others still run
            place = traceback.extract_tb(error.__traceback__)[-1]
            print(f"FAILED {name}: {type(error).__name__}: {error} ({place.name}, line {place.lineno})", flush=True)
            return False
    print(f"ok {name}", flush=True)
    return True
