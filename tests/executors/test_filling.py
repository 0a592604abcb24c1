"""Templates of steps: filled once, with what was made, and with nothing that is read again."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine.filling import Unfit, fill, needs, reference, text

OUTPUTS = {1: ["artifact:a1"], 2: ["a poem", "its name"]}


def test_a_reference_is_what_was_made() -> None:
    """A whole value is an output; a text has outputs in their places."""
    asked = {
        "image": reference(1, 0),
        "prompt": text(["of ", (2, 0), ", called ", (2, 1)]),
        "images": [reference(1, 0), "artifact:mine"],
        "width": 512,
    }
    assert needs(asked) == {1, 2}
    assert fill(asked, OUTPUTS) == {
        "image": "artifact:a1",
        "prompt": "of a poem, called its name",
        "images": ["artifact:a1", "artifact:mine"],
        "width": 512,
    }


def test_what_is_too_long_for_its_field_does_not_fit() -> None:
    """The sentence names the field and both lengths; an output that is not there is no fit."""
    with pytest.raises(Unfit, match="'prompt' would have 9 characters, and takes 8"):
        fill({"prompt": text(["an ", (2, 0)], most=8)}, OUTPUTS)
    with pytest.raises(Unfit, match="'prompt' would have 6"):
        fill({"prompt": reference(2, 0, most=5)}, OUTPUTS)
    with pytest.raises(Unfit, match="Step 1 made no output 3"):
        fill({"image": reference(1, 3)}, OUTPUTS)


NASTY = st.sampled_from(["{{steps.2.outputs.0}}", '{"$from": [1, 0]}', "$text", "{{", "}}", "x"])


@given(made=st.lists(NASTY | st.text(), min_size=1, max_size=3), around=NASTY | st.text())
def test_what_is_put_in_is_never_read_again(made: list[str], around: str) -> None:
    """Whatever an output says, and whatever stands around it, comes out as it is."""
    asked: dict[str, Any] = {"prompt": text([around, (1, 0), around]), "said": around}
    filled = fill(asked, {1: made})
    assert filled == {"prompt": around + made[0] + around, "said": around}
