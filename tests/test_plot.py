"""Pictures: what is drawn is what was computed, on axes in seconds, Hz and dB, for arrays of any library."""

import numpy as np
import pytest

import xp_istft as xi

matplotlib = pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")
matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402

from xp_istft import plot  # noqa: E402

RATE = 8000


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def drawn(ax):
    """The values of a picture, (rows, columns), and its edges."""
    mesh = ax.collections[0]
    times, hz = mesh.get_coordinates()[0, :, 0], mesh.get_coordinates()[:, 0, 1]
    return np.asarray(mesh.get_array()), times, hz


def tone(hz, n_samples=8000):
    return np.sin(2 * np.pi * hz * np.arange(n_samples) / RATE)


def test_a_tone_stands_at_its_frequency_and_a_click_at_its_time(xp):
    x = 1e-3 * tone(1000)
    x[4000] = 1.0
    X = xi.stft(xp.asarray(x), 256, hop_length=64)
    level, times, hz = drawn(plot.plot_spectrogram(X, sr=RATE, hop_length=64))
    column, row = level.max(axis=0).argmax(), level[:, 10].argmax()
    assert times[column] <= 0.5 <= times[column + 1] + 1e-9
    assert hz[row] <= 1000 <= hz[row + 1]
    assert level.max() == 0


def test_levels_are_decibels_of_the_reference():
    X = np.full((5, 3), 10.0)
    level, _, _ = drawn(plot.plot_spectrogram(X, sr=RATE, reference=1.0))
    np.testing.assert_allclose(level, 20)
    ax = plot.plot_spectrogram(np.zeros((5, 3)), sr=RATE, colorbar=False)
    assert np.isfinite(drawn(ax)[0]).all()
    assert ax.figure.axes == [ax]


def test_times_follow_the_placement_of_the_frames():
    X = np.ones((129, 9))
    for layout in ({}, {"center": False}, {"padding": "same"}):
        times = drawn(plot.plot_spectrogram(X, sr=RATE, **layout))[1]
        middles = xi.frame_times(9, 256, sr=RATE, **layout)
        np.testing.assert_allclose((times[1:] + times[:-1]) / 2, middles, atol=1e-12)


def test_long_spectra_keep_their_peaks():
    X = np.full((3, 10 * plot._COLUMNS + 7), 1e-3)
    X[1, 12345] = 1.0
    level, times, _ = drawn(plot.plot_spectrogram(X, sr=RATE))
    assert level.shape[1] <= plot._COLUMNS
    row, column = np.unravel_index(level.argmax(), level.shape)
    assert row == 1
    assert times[column] <= 12345 / RATE <= times[column + 1]


def test_any_frequencies():
    hz = np.geomspace(100, 1600, 5)
    ax = plot.plot_spectrogram(np.ones((5, 4)), sr=RATE, n_fft=512, frequencies=hz)
    assert ax.get_yscale() == "log"
    edges = drawn(ax)[2]
    np.testing.assert_allclose(np.sqrt(edges[1:] * edges[:-1]), hz)
    uneven = drawn(plot.plot_spectrogram(np.ones((3, 4)), sr=RATE, n_fft=512, frequencies=[100, 200, 500.0]))[2]
    np.testing.assert_allclose(uneven, [50, 150, 350, 650])
    one = plot.plot_spectrogram(np.ones((1, 4)), sr=RATE, n_fft=512, frequencies=[100])
    assert len(drawn(one)[2]) == 2


def test_what_cannot_be_drawn_is_an_error():
    with pytest.raises(ValueError, match="plot_spectrogram: X: need 2 dimensions"):
        plot.plot_spectrogram(np.ones((2, 5, 3)), sr=RATE)
    with pytest.raises(ValueError, match="plot_spectrogram: X: need 257 bins, got 5"):
        plot.plot_spectrogram(np.ones((5, 3)), sr=RATE, n_fft=512)
    with pytest.raises(TypeError, match="plot_spectrogram: n_fft: "):
        plot.plot_spectrogram(np.ones((5, 3)), sr=RATE, frequencies=np.arange(5))
    with pytest.raises(ValueError, match="plot_spectrogram: sr: "):
        plot.plot_spectrogram(np.ones((5, 3)), sr=0)
    with pytest.raises(TypeError, match="plot_windows: win_length: "):
        plot.plot_windows("hann", 64, sr=RATE)


def test_coverage_shades_what_is_not_determined():
    ax = plot.plot_coverage(10, 256, sr=RATE, center=False)
    determined, noise = xi.coverage(10, 256, center=False)
    np.testing.assert_allclose(ax.lines[0].get_ydata()[determined], 20 * np.log10(noise[determined]))
    assert len(ax.patches) == 1
    assert ax.patches[0].get_x() == pytest.approx(-0.5 / RATE)
    assert len(plot.plot_coverage(10, 256, sr=RATE).patches) == 0


def test_windows_overlap_and_gain():
    window = np.hanning(257)[:-1]
    ax = plot.plot_windows(window, 64, sr=RATE, synthesis_window=xi.dual_window(window, 64))
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_allclose(lines["analysis window"], window)
    np.testing.assert_allclose(lines["gain (least 1)"], 1, rtol=1e-12)
    np.testing.assert_allclose(lines["overlap (largest 1)"], 1, rtol=1e-12)
    half = plot.plot_windows("hann", 128, win_length=256, sr=RATE)
    gain = {line.get_label(): line.get_ydata() for line in half.lines}["gain (least 1)"]
    assert gain.max() == pytest.approx(2)  # of squared Hann windows, half overlapped
    assert not half.patches
    hole = plot.plot_windows("hann", 256, win_length=256, sr=RATE)
    assert len(hole.patches) == 1


def test_convergence_is_drawn_in_decibels_on_the_axes_given():
    ax = pyplot.figure().subplots()
    assert plot.plot_convergence([1.0, 0.1, 0.0], ax=ax) is ax
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0, -20, np.nan])
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 2, 3])
    assert ax.get_legend() is None
