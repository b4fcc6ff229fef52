"""What counts as a training that has gone wrong."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneforge.worker.divergence import MULTIPLE, STRIKES, Divergence


def problems(losses, watch=None):
    watch = watch or Divergence()
    return [watch(loss) for loss in losses]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_counts_at_once(loss):
    assert problems([1.0, loss])[-1].startswith("the loss is")


def test_an_explosion_counts_after_three_steps():
    told = problems([2.0, 2.1, 1.9, 9.0, 30.0, 90.0])
    assert told[:5] == [""] * 5
    assert "above 8 for 3 steps" in told[5]


def test_an_explosion_at_the_second_step_counts():
    assert problems([4.0, 100.0, 100.0, 100.0])[-1]


def test_a_model_that_says_nothing_any_more_counts():
    watch = Divergence()
    told = [watch(*step) for step in [(3.0, 2.0), (5.8, 0.0), (5.8, 0.0), (5.8, 0.0)]]
    assert told[:3] == [""] * 3
    assert "gradient is zero" in told[3]
    assert watch(2.0, math.nan) == "the gradient norm is nan"


def test_a_loss_that_is_satisfied_has_no_gradient_and_is_fine():
    watch = Divergence()
    assert not any(watch(*step) for step in [(1.0, 2.0), *[(0.0, 0.0)] * 10])


def test_single_bad_batches_do_not_count():
    assert not any(problems([2.0, 50.0, 2.0, 50.0, 50.0, 2.0] * 10))


def test_small_losses_never_explode():
    assert not any(problems([0.01, 0.9, 0.9, 0.9, 0.9]))


def test_coming_back_to_the_beginning_is_no_explosion():
    assert not any(problems([3.0, *[0.05] * 100, *[3.0] * 10]))


@given(st.lists(st.floats(0, 20), min_size=1, max_size=120), st.integers(0, 119))
def test_a_watch_restored_between_strikes_sees_what_an_unbroken_one_sees(losses, cut):
    unbroken = Divergence()
    before = problems(losses[:cut], unbroken)
    if unbroken._strikes or any(before):
        return
    restored = Divergence(unbroken.seen if cut else ())
    assert problems(losses[cut:], restored) == problems(losses[cut:], unbroken)


@given(st.lists(st.floats(0.5, 1.0), min_size=1, max_size=60))
def test_losses_within_the_multiple_never_count(losses):
    assert not any(problems([loss * MULTIPLE / 2 for loss in losses] * STRIKES))
