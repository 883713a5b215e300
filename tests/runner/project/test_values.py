"""What YAML means here: a table text -> value or sentence, and that nothing which can be read in two ways is read."""

import math
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.project.yaml import line_naming, line_of, load, parse

FILE = Path("mine.yaml")

READ = [
    ("", None),
    ("# only a comment\n", None),
    ("a: 12", {"a": 12}),
    ("a: -3", {"a": -3}),
    ("a: +3", {"a": 3}),
    ("a: 1_000", {"a": 1000}),
    ("a: 0", {"a": 0}),
    ("a: 0.0", {"a": 0.0}),
    ("a: 1e-3", {"a": 0.001}),
    ("a: 1E3", {"a": 1000.0}),
    ("a: .5", {"a": 0.5}),
    ("a: -.5e3", {"a": -500.0}),
    ("a: 1.", {"a": 1.0}),
    ("a: 1.e2", {"a": 100.0}),
    ("a: 1_0.2_5", {"a": 10.25}),
    ("a: true\nb: FALSE", {"a": True, "b": False}),
    ("a: null\nb: ~\nc:\nd: NULL", {"a": None, "b": None, "c": None, "d": None}),
    ("a: none", {"a": "none"}),
    ("a: 2020-01-01", {"a": "2020-01-01"}),
    ("a: 2020-01-01 10:00:00", {"a": "2020-01-01 10:00:00"}),
    ("a: 1/256..8:x2", {"a": "1/256..8:x2"}),
    ("a: 0..1:30lin", {"a": "0..1:30lin"}),
    ("a: 5%", {"a": "5%"}),
    ("a: y\nn: 3", {"a": "y", "n": 3}),
    ("a: =", {"a": "="}),
    ("a: '010'\nb: \"yes\"\nc: 'None'\nd: '1:30'", {"a": "010", "b": "yes", "c": "None", "d": "1:30"}),
    ("'on': 1\n'2': 2", {"on": 1, "2": 2}),
    ("a: |\n  yes\n", {"a": "yes\n"}),
    ("a.b: 1", {"a": {"b": 1}}),
    ("a.b.c: 1\na: {d: 2}\na.b.e: 3", {"a": {"b": {"c": 1, "e": 3}, "d": 2}}),
    ("a: {b.c: 1}", {"a": {"b": {"c": 1}}}),
    ("l: [{a.b: 1}]", {"l": [{"a": {"b": 1}}]}),
    ("study: {axes: {a.b: 1}, derive: {c.d: 2}, replicate: {e.f: 3}}",
     {"study": {"axes": {"a.b": 1}, "derive": {"c.d": 2}, "replicate": {"e.f": 3}}}),
    ("study.axes: {a.b: 1}", {"study": {"axes": {"a.b": 1}}}),
    ("study.axes.a.b: 1", {"study": {"axes": {"a.b": 1}}}),
    ("defaults: [{override /m@x.y: b}]", {"defaults": [{"override /m@x.y": "b"}]}),
    ("a: &a {x: 1, y.z: 2}\nb: {<<: *a, x: 3}", {"a": {"x": 1, "y": {"z": 2}}, "b": {"x": 3, "y": {"z": 2}}}),
    ("a: &a [1]\nb: *a", {"a": [1], "b": [1]}),
    ("b: {<<: [{x: 1}, {x: 2, y: 3}]}", {"b": {"x": 1, "y": 3}}),
    ("a: ???", {"a": "???"}),
    ("--- {a: 1}\n...", {"a": 1}),
    ("[1, 2]", [1, 2]),
]  # fmt: skip

REFUSED = [
    ("a: 010", "line 1: a is 010, which can be read in two ways"),
    ("a: -07", "a is -07"),
    ("a: 00", "a is 00"),
    ("a: 0x1F", "a is 0x1F"),
    ("a: 0o17", "a is 0o17"),
    ("a: 0b11", "a is 0b11"),
    ("a: 1_", "write each _ between two digits, or put it in quotes"),
    ("a: 1__0", "a is 1__0"),
    ("a: 1_.5", "a is 1_.5"),
    ("a: -.5_e3", "a is -.5_e3"),
    ("a: 1:30", "a is 1:30"),
    ("a: 1:30.5", "a is 1:30.5"),
    ("a: -190:20:30", "a is -190:20:30"),
    ("a: yes", "write true, or put it in quotes"),
    ("a: Off", "write false, or put it in quotes"),
    ("a: None", "write null, or put it in quotes"),
    ("a: inf", "write a finite number, or put it in quotes"),
    ("a: -.INF", "write a finite number, or put it in quotes"),
    ("a: NaN", "write a finite number, or put it in quotes"),
    ("a: 1e999", "which no number here can hold"),
    ("a: 1e-999", "which no number here can hold"),
    (f"a: {'9' * 400}", "which no number here can hold"),
    ("a:\n  - 1\n  - on", "line 3: a is on"),
    ("[yes]", "there is yes"),
    ("1: a", "the key 1 is not text"),
    ("true: a", "the key true is not text"),
    ("on: a", "the key on is not text"),
    ("no: a", "the key no is not text"),
    ("null: a", "the key null is not text"),
    ("~: a", "the key ~ is not text"),
    ("1e3: a", "the key 1e3 is not text"),
    ("010: a", "the key 010 is not text"),
    ("? \n: a", "the key is empty"),
    ("? [a]\n: b", "a key is a list or a section"),
    ("? {a: b}\n: c", "a key is a list or a section"),
    ("a: {<<: {1: 2}}", "the key 1 is not text"),
    ("a: 1\nb: 2\na: 3", "line 3: the key a is given twice"),
    ("a: 1\n'a': 3", "line 2: the key a is given twice"),
    ("a: {b: 1}\na.b: 2", "line 2: the key a.b is given twice"),
    ("a.b: 2\na: {b: 1}", "line 2: the key a is given twice"),
    ("a: 1\na.b: 2", "line 2: the key a.b is given twice"),
    ("a.b: 1\na:", "line 2: the key a is given twice"),
    ("a..b: 1", "the key 'a..b' has an empty part"),
    (".a: 1", "has an empty part"),
    ("a.: 1", "has an empty part"),
    ("a: !!float 1", "line 1: the tag !!float means nothing here"),
    ("a: !!str 1", "the tag !!str means nothing here"),
    ("a: ! 1", "the tag ! means nothing here"),
    ("a: !mine {b: 1}", "the tag !mine means nothing here"),
    ("!!map {a: 1}", "the tag !!map means nothing here"),
    ("a: 1\n---\nb: 2", "line 2: expected a single document"),
    ("a: [1", "cannot be read as YAML: line 1"),
    ("a: *b", "undefined alias 'b'"),
    ("<<: 3", "expected a mapping or list of mappings for merging"),
    ('a: "\\ud800"', "characters that are not text"),
    ('a: "x\\0y"', "characters that are not text"),
    ('"\\ud800": 1', "characters that are not text"),
    ("defaults: [b]\na: ???", "line 2: a is ???, and what other files say would count"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), READ)
def test_what_can_be_read_in_one_way_is_read_so(text, expected):
    found = parse(text, FILE)
    assert found == expected
    assert repr(found) == repr(expected)  # 1 is not 1.0, nor true


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_what_can_be_read_in_two_ways_is_refused_with_its_line(text, said):
    with pytest.raises(ConfigError) as raised:
        parse(text, FILE)
    sentence = f"{raised.value.message} | {raised.value.hint}"
    assert sentence.startswith("mine.yaml")
    assert said in sentence
    assert sentence.isprintable()


def test_a_file_that_is_laid_over_others_cannot_leave_a_value_open():
    with pytest.raises(ConfigError, match=r"mine\.yaml, line 2: b is \?\?\?"):
        parse("a:\n  b: '???'", FILE, changes=True)


WORDS = st.text(st.sampled_from("0123456789.:_+-eExobinfNaytrus~?%/ "), min_size=1, max_size=8).map(str.strip)


@given(WORDS)
def test_a_number_is_read_as_python_reads_it(word):
    try:
        found = parse(f"a: {word}", FILE)
    except ConfigError:
        return
    value = found.get("a") if isinstance(found, dict) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        assert value == float(word.replace("_", ""))
        assert math.isfinite(value)


@given(WORDS)
def test_what_yaml_1_1_reads_as_something_else_is_not_read_as_text(word):
    try:
        usual = yaml.safe_load(f"a: {word}")
        ours = parse(f"a: {word}", FILE)
    except (ConfigError, yaml.YAMLError, ValueError):
        return
    value = usual["a"] if isinstance(usual, dict) else usual
    if isinstance(value, bool | int | float):
        assert ours["a"] == value


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"])))
def test_quotes_make_text_of_anything(text):
    written = "a: '" + text.replace("'", "''") + "'"
    try:
        usual = yaml.safe_load(written)
    except yaml.YAMLError:
        return
    if text != "???":
        assert parse(written, FILE) == usual


@given(st.lists(st.from_regex(r"[a-d](\.[a-d]){0,3}", fullmatch=True), unique=True, max_size=6))
def test_dotted_keys_are_nested_whole_or_refused(keys):
    text = "\n".join(f"{key}: {i}" for i, key in enumerate(keys))
    if any(b.startswith(f"{a}.") for a in keys for b in keys):
        with pytest.raises(ConfigError, match="is given twice"):
            parse(text, FILE)
        return
    found = parse(text, FILE) or {}
    for i, key in enumerate(keys):
        node = found
        for part in key.split("."):
            node = node[part]
        assert node == i


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("a: 1".encode("utf-16"), "is not UTF-8 text"),
        ("a: 1".encode("utf-32"), "is not UTF-8 text"),
        (b"a: \xff", "is not UTF-8 text"),
        (b"a: \x07", "cannot be read as YAML"),
    ],
)
def test_a_file_that_is_no_utf_8_text_is_one_sentence(tmp_path, raw, said):
    (tmp_path / "a.yaml").write_bytes(raw)
    with pytest.raises(ConfigError, match=re.escape(said)):
        load(tmp_path / "a.yaml")


def test_the_mark_of_an_encoding_is_no_part_of_a_file(tmp_path):
    (tmp_path / "a.yaml").write_bytes("a: é".encode("utf-8-sig"))
    assert load(tmp_path / "a.yaml") == {"a": "é"}


def test_lines_are_found_by_key_and_by_option(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("# sgd\ndefaults:\n  - override /optimizer: sgd\nlr: 1\nb:\n  c: 2\n")
    assert (line_of(file, "optimizer.lr"), line_of(file, "x.b.c"), line_of(file, "d")) == (4, 6, None)
    assert (line_naming(file, "sgd"), line_naming(file, "sg")) == (3, None)
