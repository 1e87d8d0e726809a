from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

import mari_onnx
from mari_onnx.cli import parser as cli_parser
from mari_onnx.cli.parser import make_parser

VERBS = ("optimize", "explain", "verify", "bench", "rules")
HEAVY = ("onnx", "numpy", "onnxruntime", "networkx", "rich", "sympy", "onnx_graphsurgeon")


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["optimize", "--help"], []])
def test_help_imports_nothing_heavy(args):
    code = (
        "import sys; from mari_onnx.cli import main; status = main(sys.argv[2:]);"
        "print([name for name in sys.argv[1].split(',') if name in sys.modules], status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(HEAVY), *args], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"[] {0 if args else 2}"


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_examples(cli, verb):
    done = cli(verb, "--help")
    assert done.status == 0
    assert "example" in done.out
    assert f"mari-onnx {verb}" in done.out.split("example", 1)[1]


def test_version(cli):
    assert cli("--version").out == f"mari-onnx {mari_onnx.__version__}\n"


def test_no_arguments_show_the_help_and_fail(cli):
    done = cli()
    assert (done.status, done.out) == (2, "")
    assert "optimize" in done.err


@pytest.mark.parametrize(
    "args",
    [
        ["nothing"],
        ["optimize"],
        ["optimize", "a", "b", "--unknown"],
        ["optimize", "a", "b", "--batch", "0"],
        ["optimize", "a", "b", "--batch", "1,x"],
        ["optimize", "a", "b", "--seeds", "0"],
        ["optimize", "a", "b", "--rtol", "-1"],
        ["optimize", "a", "b", "--atol", "nan"],
        ["optimize", "a", "b", "--external-data", "burn"],
        ["verify", "a"],
        ["bench"],
        ["bench", "a", "b", "c"],
        ["bench", "a", "--candidates", "0"],
        ["bench", "a", "--threads", "1,x"],
        ["bench", "a", "--seconds", "0"],
        ["bench", "a", "--optimize-for", "0"],
        ["rules", "a"],
    ],
)
def test_wrong_usage_is_status_2(cli, args):
    done = cli(*args)
    assert done.status == 2
    assert done.out == ""
    assert "usage" in done.err
    assert "Traceback" not in done.err


def test_inputs_without_commas_are_told_of_them(cli):
    done = cli("explain", "in.onnx", "--user", "a", "b")
    assert done.status == 2
    assert "unrecognized arguments: b; several inputs go with commas: --user a,b" in done.err
    assert "commas" not in cli("explain", "in.onnx", "b").err


@pytest.mark.parametrize(
    ("words", "document", "sizes"),
    [
        ("--json in.onnx out.onnx", "-", None),
        ("in.onnx --json out.onnx", "-", None),
        ("in.onnx out.onnx --json", "-", None),
        ("--json - in.onnx out.onnx", "-", None),
        ("--json told.json in.onnx out.onnx", "told.json", None),
        ("in.onnx out.onnx --json=told", "told", None),
        ("--tune in.onnx out.onnx", None, ()),
        ("in.onnx --tune out.onnx", None, ()),
        ("in.onnx out.onnx --tune", None, ()),
        ("--tune 1,64 in.onnx out.onnx", None, (1, 64)),
        ("in.onnx out.onnx --tune=8", None, (8,)),
        ("--tune --json in.onnx out.onnx", "-", ()),
        ("--json --tune 8 -- in.onnx out.onnx", "-", (8,)),
    ],
)
def test_an_option_that_goes_without_a_value_takes_no_model(words, document, sizes):
    args = make_parser().parse_args(["optimize", *words.split()])
    assert (args.input, args.output, args.json, args.tune) == ("in.onnx", "out.onnx", document, sizes)


@pytest.mark.parametrize("words", ["in.onnx --user u out.onnx", "--user u in.onnx out.onnx", "in.onnx -v out.onnx -q"])
def test_models_may_stand_anywhere(words):
    args = make_parser().parse_args(["optimize", *words.split()])
    assert (args.input, args.output) == ("in.onnx", "out.onnx")


def test_words_behind_two_dashes_are_no_options():
    args = make_parser().parse_args(["optimize", "--", "--json", "a.json"])
    assert (args.input, args.output, args.json) == ("--json", "a.json", None)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (
            "in.onnx out.onnx --json told.txt",
            "unrecognized arguments: told.txt; a document goes to a file with --json=FILE",
        ),
        ("in.onnx out.onnx --tune all", "unrecognized arguments: all; numbers of candidates go as in --tune=1,64,512"),
        (
            "in.onnx told -o out.onnx --json",
            "'told' and 'out.onnx' are two; a document goes to a file with --json=FILE",
        ),
        ("in.onnx --user a b", "unrecognized arguments: b; several inputs go with commas: --user a,b"),
        ("in.onnx --json", "name one file to write: mari-onnx optimize IN OUT"),
    ],
)
def test_a_word_left_over_is_told_what_it_may_have_been(cli, tmp_path, monkeypatch, words, hint):
    monkeypatch.chdir(tmp_path)
    done = cli("optimize", *words.split())
    assert done.status == 2
    assert done.err.rstrip().endswith(hint)
    assert list(tmp_path.iterdir()) == []


def test_help_shows_optional_values_with_the_sign_that_they_can_always_have(cli):
    assert "--json[=FILE] " in cli("explain", "--help").out
    assert "--tune[=B[,B]] " in cli("optimize", "--help").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("in.onnx out.onnx -q", "say what to do with it first: mari-onnx optimize in.onnx out.onnx -q"),
        ("explain in.onnx --users u", "unrecognized arguments: --users u; did you mean --user?"),
        ("optimize in.onnx out.onnx --no-benchmarks", "--no-benchmarks; did you mean --no-benchmark?"),
        ("verify a b --seed=3", "--seed=3; did you mean --seeds?"),
        ("--json rules", "unrecognized arguments: --json"),
        ("rules --verbose", "unrecognized arguments: --verbose"),
    ],
)
def test_errors_are_told_behind_one_line_of_usage(cli, words, said):
    done = cli(*words.split())
    usage, error = done.err.splitlines()
    assert usage.startswith("usage: mari-onnx ")
    assert error.endswith(said)


EXAMPLES = {
    line.strip()
    for text in vars(cli_parser).values()
    if isinstance(text, str)
    for line in text.splitlines()
    if line.startswith("  mari-onnx ")
}


@pytest.mark.parametrize("example", sorted(EXAMPLES))
def test_examples_can_be_typed(example):
    typed = shlex.split(re.split(r" {3,}| \| ", example)[0])
    assert typed[0] == "mari-onnx"
    args = make_parser().parse_args(typed[1:])
    assert args.verb == typed[1]


def test_every_option_says_what_it_does():
    (verbs,) = (a for a in make_parser()._actions if hasattr(a, "choices") and a.choices)
    for name, parser in verbs.choices.items():
        for action in parser._actions:
            assert action.help, f"{name}: {action.option_strings or action.dest}"
