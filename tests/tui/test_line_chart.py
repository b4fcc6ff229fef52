from hypothesis import given
from hypothesis import strategies as st
from tuneforge_tui.widgets.line_chart import Canvas, plot

points = st.lists(
    st.tuples(
        st.floats(-1e6, 1e6, allow_nan=False),
        st.floats(-1e6, 1e6, allow_nan=False),
    ),
    min_size=1,
    max_size=50,
).map(sorted)


def dots(canvas: Canvas) -> set[tuple[int, int]]:
    """Return the (column, row) pairs of the set dots, row 0 on top, from the braille code."""
    bits = {(0, 0): 0, (0, 1): 1, (0, 2): 2, (1, 0): 3, (1, 1): 4, (1, 2): 5, (0, 3): 6, (1, 3): 7}
    return {
        (column * 2 + x, row * 4 + y)
        for row, cells in enumerate(canvas.cells)
        for column, cell in enumerate(cells)
        for (x, y), bit in bits.items()
        if cell >> bit & 1
    }


def test_a_falling_line_goes_from_the_top_left_to_the_bottom_right() -> None:
    canvas, low, high = plot({"a": [(0, 2.0), (9, 1.0)]}, columns=5, rows=3)
    found = dots(canvas)
    assert (low, high) == (1.0, 2.0)
    assert (0, 0) in found
    assert (9, 11) in found
    assert (0, 11) not in found


def test_a_spike_among_many_points_stays_visible() -> None:
    values = [(float(x), 1.0) for x in range(1000)]
    values[500] = (500.0, 9.0)
    canvas, _, _ = plot({"a": values}, columns=10, rows=4)
    assert any(y == 0 for _, y in dots(canvas))


def test_two_series_share_one_scale() -> None:
    canvas, low, high = plot({"a": [(0, 0.0)], "b": [(10, 5.0)]}, columns=4, rows=4)
    assert (low, high) == (0.0, 5.0)
    assert canvas.styles[3][0] == "a"
    assert canvas.styles[0][3] == "b"


def test_no_points_leave_the_canvas_blank() -> None:
    canvas, _, _ = plot({"a": []}, columns=4, rows=4)
    assert dots(canvas) == set()


@given(points, st.integers(1, 40), st.integers(1, 12))
def test_every_line_is_connected_and_inside(
    values: list[tuple[float, float]], columns: int, rows: int
) -> None:
    found = dots(plot({"a": values}, columns, rows)[0])
    assert found
    across = sorted({x for x, _ in found})
    assert across == list(range(across[0], across[-1] + 1))
    assert across[0] >= 0
    assert across[-1] < columns * 2
    assert all(0 <= y < rows * 4 for _, y in found)
