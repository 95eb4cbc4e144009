"""The tree of errors: drawn as it is, whole by name, and met wherever a disk refuses."""

import re
from errno import ENOSPC

import pytest

from regen.core import errors
from regen.core.errors import BY_NAME, Failure, RegenError, StorageError, ValidationError, writes_to


def drawn_parents() -> dict[str, str | None]:
    """Each class in the docstring's tree with the class it hangs on."""
    path: list[str] = []
    parents: dict[str, str | None] = {}
    for line in errors.__doc__.splitlines():
        if found := re.match(r"([│├└─ ]*)([A-Z]\w+Error)\b", line):
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            parents[found[2]] = path[depth - 1] if depth else None
    return parents


def every_subclass(kind: type) -> set[type]:
    return {kind}.union(*(every_subclass(sub) for sub in kind.__subclasses__()))


def test_the_drawn_tree_names_every_class() -> None:
    assert set(drawn_parents()) == set(BY_NAME)


def test_the_drawn_tree_hangs_each_class_on_its_base() -> None:
    actual = {name: kind.__base__.__name__ for name, kind in BY_NAME.items() if kind is not RegenError}

    assert drawn_parents() == {"RegenError": None, **actual}


def test_every_error_is_found_by_its_name() -> None:
    assert set(BY_NAME.values()) == {kind for kind in every_subclass(RegenError) if kind.__module__ == errors.__name__}
    assert all(name == kind.__name__ for name, kind in BY_NAME.items())


def test_a_failure_tells_where_what_was_wanted_and_what_was_met() -> None:
    assert str(Failure(3, "dtype uint8", "float32")) == "row 3: wanted dtype uint8, got float32"
    assert str(Failure(None, "a row", "none")) == "the whole set: wanted a row, got none"


def test_a_validation_error_holds_its_failures() -> None:
    failure = Failure(3, "dtype uint8", "float32")

    error = ValidationError("1 check failed", (failure,))

    assert str(error) == "1 check failed"
    assert error.failures == (failure,)


def refuse(number: int) -> None:
    with writes_to("a.txt"):
        raise OSError(number, "no")


def test_a_refused_write_names_what_was_to_be_written_and_keeps_its_cause() -> None:
    with pytest.raises(StorageError, match=r"cannot write a\.txt: the disk is full") as caught:
        refuse(ENOSPC)
    assert isinstance(caught.value.__cause__, OSError)


def test_an_error_that_is_no_refusal_passes() -> None:
    def fail() -> None:
        with writes_to("a.txt"):
            raise KeyError("key")

    with pytest.raises(KeyError, match="key"):
        fail()
