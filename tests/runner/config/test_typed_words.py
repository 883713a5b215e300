"""Words of the command line: what is spelled is read back, quotes keep texts, and hints can be typed as they stand."""

import json
import shlex
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.config import Request, declare
from thalweg.runner.config.words import override_text, parse_word
from thalweg.runner.study.ranges import looks_like_range
from thalweg.runner.study.study import expand

TEXTS = st.text(st.characters(blacklist_categories=["C", "Z"]) | st.just(" "), max_size=12) | st.sampled_from(
    [
        "False",
        "true",
        "null",
        "NULL",
        "nan",
        "-inf",
        "010",
        "1/3",
        "1e-3",
        "..",
        "a..b",
        "é",
        "aé",
        "",
        " x ",
        "a'b",
        'a"b',
    ]
)
SCALARS = TEXTS | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
VALUES = st.recursive(SCALARS | st.none(), lambda inner: st.lists(inner, max_size=4), max_leaves=8)


@settings(deadline=None)
@given(VALUES)
def test_what_is_spelled_is_read_back(value):
    read = parse_word(override_text("", "model.x", value))
    assert not read.is_sweep
    assert repr(read.value) == repr(value)


@settings(deadline=None, max_examples=60)
@given(st.text(st.sampled_from(string.punctuation + "aé1 ½"), min_size=1, max_size=8))
def test_the_quotes_that_a_hint_suggests_are_right(text):
    """A path with odd characters is taken, or the answer to it, pasted into a shell, is."""
    try:
        word = parse_word(f"dataset.path={text}")
    except ConfigError as error:
        command = (error.hint or "").partition("quotes: ")[2]
        if command:
            (again,) = shlex.split(command)
            assert parse_word(again).value == text
        return
    assert word.key == "dataset.path"


@pytest.mark.parametrize("text", ["Ümläut.csv", "a(b).csv", "a;b", "a&b", "x#y", "a<b>", "50% & more", "~/é"])
def test_odd_characters_in_a_text_are_answered_with_quotes(text):
    with pytest.raises(ConfigError) as raised:
        parse_word(f"tracker.project={text}")
    (again,) = shlex.split(raised.value.hint.partition("quotes: ")[2])
    assert parse_word(again).value == text


@pytest.mark.parametrize("word", ["tracker.entity=None", "+model.x=[1,None]", "+model.x=1,None"])
def test_a_none_that_is_not_null_is_asked_about(word):
    with pytest.raises(ConfigError, match="None is text") as raised:
        parse_word(word)
    assert raised.value.hint == "write null, or 'None' in quotes"


@pytest.mark.parametrize("word", ["optimizer.lr=0.1;0.2", "model.hidden=[8", "optimizer=é", "nope=é"])
def test_no_quotes_are_suggested_where_they_would_not_help(word):
    with pytest.raises(ConfigError) as raised:
        parse_word(word)
    assert "quotes" not in raised.value.hint


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("../data/points.npz", False), ("v1..v2", False), ("a..b", False), ("..", False), ("1..", False), ("..2", False),
     ("/x/../y", False), ("1..v2", False), ("0..2", True), ("1/256..8:x2", True), ("-1..1:5lin", True),
     ("1e-4..1:2/dec", True), (".1..1:+.1", True), ("1...3", True), ("1 .. 3", True), ("1..3:fast", True),
     ("2^-8", True), ("2**3", True), ("2026-01..2026-02", True)],
)  # fmt: skip
def test_a_range_has_numbers_on_both_sides(text, is_one):
    assert looks_like_range(text) is is_one


TARGET = ("dataset=target", "dataset._target_=torchvision.datasets.FakeData", "dataset.kind=classes")
ARGUMENTS = [
    ("+dataset.file=../data/points.npz", "../data/points.npz"),
    ("+dataset.tag=v1..v2", "v1..v2"),
    ("+dataset.tag='1..3'", "1..3"),
    ("+dataset.tag='010'", "010"),
    ("+dataset.tag='1/3'", "1/3"),
    ("+dataset.tag='True'", "True"),
    ("+dataset.tag=1/4", 0.25),
    ("+dataset.tag=010", 10),
    ("+dataset.tag=['False',True,'1',1,1/4,'1/4',null]", ["False", True, "1", 1, 0.25, "1/4", None]),
    ("+dataset={tag: '010'}", "010"),
    ("+dataset={tag: ['False', 'é']}", ["False", "é"]),
    ("+dataset.tag=null", None),
    ("+dataset.tag='None'", "None"),
]


def arguments(*words):
    members = expand(declare(Request((*TARGET, *words))).study)
    return [dict(member.trial.config.dataset.arguments).get("tag") for member in members]


@pytest.mark.parametrize(("word", "value"), ARGUMENTS, ids=[word for word, _ in ARGUMENTS])
def test_an_argument_is_what_was_typed(word, value):
    members = expand(declare(Request((*TARGET, word))).study)
    (given_value,) = [value for _, value in members[0].trial.config.dataset.arguments]
    assert len(members) == 1
    assert repr(given_value) == repr(tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("+dataset.tag=../a,../b", ["../a", "../b"]),
        ("+dataset.tag='1..2','3'", ["1..2", "3"]),
        ("+dataset.tag=1..3", [1, 2, 3]),
        ("+dataset.tag=null,1..2", [None, 1, 2]),
        ("+dataset.tag=1/2,2", [0.5, 2.0]),
        ("+dataset.tag=null,1,.5", [None, 1.0, 0.5]),
    ],
)
def test_a_swept_argument_is_what_was_typed(word, values):
    assert repr(arguments(word)) == repr(values)


@pytest.mark.parametrize(("typed", "text"), [("../a", "../a"), ("'1..3'", "1..3")])
def test_use_takes_a_text_with_dots(tmp_path, typed, text):
    (tmp_path / "study").mkdir()
    use = json.dumps([*TARGET, f"+dataset.tag={typed}"])
    (tmp_path / "study/mine.yaml").write_text(f"# @package _global_\nstudy: {{blocks: [{{name: a, use: {use}}}]}}\n")
    (member,) = expand(declare(Request(("mine",), str(tmp_path))).study)
    assert dict(member.trial.config.dataset.arguments)["tag"] == text


class TestNull:
    """A key that may be null may be it on the command line, alone or swept, whatever the default dataset's bounds."""

    @pytest.fixture(autouse=True)
    def table(self, tmp_path):
        rows = "".join(f"{i / 40},{i % 3}\n" for i in range(40))
        (tmp_path / "points.csv").write_text("a,y\n" + rows)
        self.words = ("dataset=table", f"dataset.path='{tmp_path}/points.csv'")

    def sizes(self, word):
        members = expand(declare(Request((*self.words, word))).study)
        return [member.trial.config.dataset.train_size for member in members]

    @pytest.mark.parametrize(
        ("typed", "sizes"), [("null", [None]), ("null,10", [None, 10]), ("5..6,null", [5, 6, None])]
    )
    def test_train_size(self, typed, sizes):
        assert self.sizes(f"dataset.train_size={typed}") == sizes

    def test_the_order_of_values_does_not_name_a_sweep(self):
        typed = [(*self.words, f"dataset.train_size={values}") for values in ("null,10", "10,null")]
        assert len({declare(Request(words)).study.name for words in typed}) == 1

    @pytest.mark.parametrize(
        "word", ["dataset=digits", "optimizer.lr=null", "optimizer.lr=null,0.1", "seed=null", "budget.steps=null,3"]
    )
    def test_elsewhere_null_is_refused(self, word):
        more = ("dataset.train_size=null",) if word == "dataset=digits" else ()
        with pytest.raises(ConfigError, match="null"):
            declare(Request((word, *more)))


@pytest.mark.parametrize("name", ["1e3", "true", "007", "1.50", "2026", "x1e-400"])
def test_a_study_has_the_name_that_was_typed(name):
    assert declare(Request((f"study.name={name}", f"study.question={name}"))).study.name == name
    assert declare(Request((f"study.name={name}", f"study.question={name}"))).study.question == name


@pytest.mark.parametrize("word", ["optimizer.lr=0e-400", "optimizer.lr=1e-300", "study.question='1e-400'"])
def test_a_number_that_is_0_is_taken(word):
    assert declare(Request((word,))).study.size == 1
