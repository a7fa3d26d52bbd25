from forecast.datasets.learnt_from import Source, merged_sources


def test_scenes_of_one_store_are_joined() -> None:
    first, again = {"a": Source("f", ["2", "1"])}, {"a": Source("f", ["4", "1"])}
    found = merged_sources(first, {"b": Source("g", ["3"])}, again)
    assert found == {"a": Source("f", ["1", "2", "4"]), "b": Source("g", ["3"])}
    assert first["a"].scenes == ["2", "1"], "the parts stay as they are"


def test_a_store_made_of_another_source_since_is_another_one() -> None:
    first, second = {"a": Source("f" * 9, ["1"])}, {"a": Source("g" * 9, ["1"])}
    expected = {"a": Source("f" * 9, ["1"]), "a (gggggggg)": Source("g" * 9, ["1"])}
    assert merged_sources(first, second, second) == expected
