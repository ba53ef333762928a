"""Values survive the way into an image and back, and are equal only to themselves."""

from __future__ import annotations

import json
import math
import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditcli import codec
from auditcli.model import Image, JsonValue

STORED = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals()
    | st.binary(min_size=1).map(codec.BrokenText)
)


def identical(left: object, right: object) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return struct.pack("d", left) == struct.pack("d", right) or (math.isnan(left) and math.isnan(right))
    if isinstance(left, Decimal) and isinstance(right, Decimal):
        return str(left) == str(right)
    return type(left) is type(right) and left == right


@pytest.mark.parametrize(("value", "text"), [vector[1:] for vector in codec.VECTORS], ids=[v[0] for v in codec.VECTORS])
def test_each_vector_is_written_and_read_as_it_says(value: object, text: str) -> None:
    assert codec.dump(codec.encode(value)) == text
    assert identical(codec.decode(json.loads(text)), value)


@given(STORED)
def test_a_stored_value_comes_back_from_its_image_bit_for_bit(value: object) -> None:
    text = codec.dump(codec.encode(value))

    assert identical(codec.decode(json.loads(text)), value)


@given(st.dictionaries(st.text(), STORED, max_size=5))
def test_the_fast_writer_of_images_writes_what_the_plain_one_does(row: dict[str, object]) -> None:
    plain = codec.dump({column: codec.encode(value) for column, value in row.items()})

    assert codec.image_writer(tuple(row))(list(row.values())) == plain


@given(STORED, STORED)
def test_two_values_are_the_same_only_where_their_images_are(left: object, right: object) -> None:
    one, other = codec.encode(left), codec.encode(right)

    assert codec.same(one, one)
    assert codec.same(one, other) == (codec.dump(one) == codec.dump(other))


@pytest.mark.parametrize("other", [1.0, True, "1", {"$decimal": "1"}, None])
def test_the_integer_one_is_no_other_one(other: JsonValue) -> None:
    assert not codec.same(1, other)


def test_an_unknown_type_is_refused_not_guessed() -> None:
    with pytest.raises(TypeError, match="complex"):
        codec.encode(1j)


def test_an_unknown_tag_is_refused_not_guessed() -> None:
    with pytest.raises(ValueError, match=r"\$later"):
        codec.decode({"$later": 1})


def test_a_long_value_that_an_update_left_alone_is_written_once() -> None:
    before: Image = {"id": 1, "body": "x" * 3000, "title": "a"}
    after: Image = {"id": 1, "body": "x" * 3000, "title": "b"}

    is_repeated = {column: codec.is_repeated(before[column], after[column]) for column in after}
    text = codec.image_writer(("id", "body", "title"))((1, codec.REPEATED, "b"))

    assert is_repeated == {"id": False, "body": True, "title": False}
    assert len(text) < 100
    assert codec.load_images(codec.dump(before), text) == (before, after)


def test_a_value_is_repeated_where_it_is_long_and_the_same() -> None:
    longest_short = "x" * (codec.SAME_OVER - 2)

    assert not codec.is_repeated(longest_short, longest_short)
    assert codec.is_repeated(longest_short + "x", longest_short + "x")
    assert not codec.is_repeated("y" * codec.SAME_OVER, "x" * codec.SAME_OVER)
    assert not codec.is_repeated("y", ["x"] * codec.SAME_OVER)


def test_an_image_and_none_are_never_the_same() -> None:
    assert not codec.same_image(None, {})
    assert not codec.same_image({}, None)
    assert codec.same_image(None, None)


def test_text_that_is_not_valid_is_tagged_with_its_bytes() -> None:
    broken = b"caf\xe9".decode("utf-8", "surrogateescape")
    before = f'{{"a":"{broken}","b":"é","c":1}}'
    after = f'{{"a":"{broken}","b":"{broken}","c":null}}'

    assert codec.load_images(before, after) == (
        {"a": {"$text": "636166e9"}, "b": "é", "c": 1},
        {"a": {"$text": "636166e9"}, "b": {"$text": "636166e9"}, "c": None},
    )
    old = {"a": {"$text": "636166e9"}, "b": "é", "c": 1}
    assert codec.load_images(before, '{"b":"é"}') == (old, {"b": "é"})
    assert codec.load_images('{"b":"é"}', before) == ({"b": "é"}, old)
    assert codec.load_images(before, None) == (old, None)
    assert codec.load_images(before, '{"a":{"$same":true},"c":2}') == (old, {"a": {"$text": "636166e9"}, "c": 2})
    assert codec.valid_row_id(broken) == '{"$text":"636166e9"}'
    assert [codec.valid_row_id(text) for text in (None, "cafe", "café")] == [None, "cafe", "café"]


def test_a_scaled_number_that_an_update_left_alone_is_read_as_the_plain_number() -> None:
    before = codec.dump({"a": {"$float": f"1.5{codec.SCALE}2"}, "b": 1})

    assert codec.load_images(before, '{"a":{"$same":true},"b":2}') == ({"a": 6.0, "b": 1}, {"a": 6.0, "b": 2})
    assert codec.load_images(before, '{"a":0.5,"b":2}') == ({"a": 6.0, "b": 1}, {"a": 0.5, "b": 2})
    assert codec.load_images(before, None) == ({"a": 6.0, "b": 1}, None)
    assert codec.decode({"$float": "2.5"}) == 2.5


@pytest.mark.parametrize(
    ("left", "right", "are_same"),
    [
        ([1, "a"], [1, "a"], True),
        ([1], [1, 1], False),
        ([1, 1], [1], False),
        ([1], [1.0], False),
        ([[1]], [[True]], False),
        ({"a": [1]}, {"a": [1]}, True),
        ({"a": [1]}, {"a": [1.0]}, False),
        ({}, [], False),
        ([], {}, False),
        ([], None, False),
        (1.5, "1.5", False),
        (0.0, -0.0, False),
        (True, True, True),
        (True, False, False),
        (None, None, True),
    ],
)
def test_values_are_the_same_part_by_part(left: JsonValue, right: JsonValue, are_same: bool) -> None:
    assert codec.same(left, right) is are_same
    assert codec.same(right, left) is are_same


def test_columns_differ_also_where_one_image_lacks_them() -> None:
    left: Image = {"a": 1, "b": 2, "c": 3}
    right: Image = {"b": 2, "c": 4, "d": 5}

    assert sorted(codec.differing_columns(left, right)) == ["a", "c", "d"]


def test_a_shortened_key_is_known_by_its_beginning() -> None:
    words = (None, "a", codec.look_up_key("k" * 300))

    assert [codec.is_shortened(word) for word in words] == [False, False, True]


def test_a_number_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN is no JSON"):
        codec.parse('{"a":NaN}')


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_named(value: float) -> None:
    name = {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")

    assert codec.encode(value) == {"$float": name}


def test_an_image_is_joined_from_values_in_the_databases_words() -> None:
    join = codec.json_joiner(("a%", 'b"c', "d", "e"))

    assert join(["[1]", '"x"', None, 2.5]) == '{"a%":[1],"b\\"c":"x","d":null,"e":2.5}'


def test_text_that_looks_like_the_sign_for_sameness_stays_text() -> None:
    before: Image = {"body": "y"}
    after: Image = {"body": '{"$same": true}'}

    assert codec.load_images(codec.dump(before), codec.dump(after)) == (before, after)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([42], "42"),
        (["abc/d"], "abc/d"),
        ([1, "a,b"], '[1,"a,b"]'),
        ([1.5], "1.5"),
        ([{"$hex": "00ff"}], '{"$hex":"00ff"}'),
        ([None], "null"),
    ],
)
def test_a_row_id_is_the_keys_canonical_text(values: list[JsonValue], text: str) -> None:
    assert codec.row_id(values) == text


def test_of_a_key_too_long_for_the_log_the_beginning_is_held_so_that_no_write_fails() -> None:
    longest = "k" * codec.ROW_ID_LIMIT

    assert codec.look_up_key(longest) == longest
    assert codec.look_up_key(longest + "k") == "long:" + "k" * 250
    assert codec.look_up_key("\u00e9" * 128) == "long:" + "\u00e9" * 128
    assert codec.look_up_key("a\0" + longest) == "long:a"
    assert len(codec.look_up_key(longest + "k")) == codec.ROW_ID_LIMIT


@pytest.mark.parametrize(
    ("text", "number"),
    [("1.25e10*2^-900", 1.25e10 * 2.0**-900), ("1.0*2^-1074", 5e-324), ("1.0*2^1023", 2.0**1023), ("-3.0*2^-2", -0.75)],
)
def test_a_double_that_a_database_could_only_write_scaled_is_read_as_the_plain_number(text: str, number: float) -> None:
    after = codec.dump({"a": {"$float": text}, "b": f"text with {codec.SCALE}", "c": {"$float": "Infinity"}})

    _, image = codec.load_images(None, after)

    assert image == {"a": number, "b": f"text with {codec.SCALE}", "c": {"$float": "Infinity"}}
    assert codec.decode({"$float": text}) == number
