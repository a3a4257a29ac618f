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
    t = xi.STFT(256, 64)
    level, times, hz = drawn(plot.plot_spectrogram(t.stft(xp.asarray(x)), t, sr=RATE))
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
    for t in (xi.STFT(256), xi.STFT(256, center=False), xi.STFT(256, 50, padding="same")):
        times = drawn(plot.plot_spectrogram(X, t, sr=RATE))[1]
        np.testing.assert_allclose((times[1:] + times[:-1]) / 2, t.frame_times(9, RATE), atol=1e-12)
    default = drawn(plot.plot_spectrogram(X, sr=RATE))[1]
    np.testing.assert_array_equal(default, drawn(plot.plot_spectrogram(X, xi.STFT(256), sr=RATE))[1])


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

    def picture(hz):
        t = xi.STFT(512, frequencies=xi.Frequencies(hz, sr=RATE))
        return plot.plot_spectrogram(np.ones((len(hz), 4)), t, sr=RATE)

    ax = picture(hz)
    assert ax.get_yscale() == "log"
    edges = drawn(ax)[2]
    np.testing.assert_allclose(np.sqrt(edges[1:] * edges[:-1]), hz)
    np.testing.assert_allclose(drawn(picture([100, 200, 500.0]))[2], [50, 150, 350, 650])
    assert len(drawn(picture([100]))[2]) == 2


def test_two_sided_bins_are_drawn_from_the_most_negative_frequency():
    t = xi.STFT(256, onesided=False)
    level, _, hz = drawn(plot.plot_spectrogram(t.stft(tone(1000) * (1 + 0j)), t, sr=RATE))
    assert (np.diff(hz) > 0).all()
    assert hz[0] < -3900
    assert hz[-1] > 3900
    row = level[: len(level) // 2, 10].argmax()
    assert hz[row] <= -1000 <= hz[row + 1]


def test_what_cannot_be_drawn_is_an_error():
    with pytest.raises(ValueError, match="plot_spectrogram: X: need 2 dimensions"):
        plot.plot_spectrogram(np.ones((2, 5, 3)), sr=RATE)
    with pytest.raises(ValueError, match="plot_spectrogram: X: need 257 bins for n_fft=512, got 5"):
        plot.plot_spectrogram(np.ones((5, 3)), xi.STFT(512), sr=RATE)
    with pytest.raises(ValueError, match="plot_spectrogram: n_fft: need >= 2, got 0"):
        plot.plot_spectrogram(np.ones((1, 3)), sr=RATE)
    with pytest.raises(ValueError, match="frequencies: need Frequencies or None, got a basis"):
        plot.plot_spectrogram(np.ones((5, 3)), xi.STFT(8, frequencies=np.ones((5, 8)) + 0j), sr=RATE)
    with pytest.raises(ValueError, match="sr: need None, or that of the frequencies"):
        plot.plot_spectrogram(np.ones((2, 3)), xi.STFT(8, frequencies=xi.Frequencies([1, 2.0], sr=RATE)), sr=2 * RATE)
    with pytest.raises(ValueError, match="plot_spectrogram: sr: "):
        plot.plot_spectrogram(np.ones((5, 3)), sr=0)
    for draw, more in ((plot.plot_windows, ()), (plot.plot_coverage, (9,))):
        with pytest.raises(TypeError, match=f"^{draw.__name__}: transform: need an STFT, got int"):
            draw(512, *more, sr=RATE)


def test_coverage_shades_what_is_not_determined():
    t = xi.STFT(256, center=False)
    ax = plot.plot_coverage(t, 10, sr=RATE)
    determined, noise = t.coverage(10)
    np.testing.assert_allclose(ax.lines[0].get_ydata()[determined], 20 * np.log10(noise[determined]))
    assert len(ax.patches) == 1
    assert ax.patches[0].get_x() == pytest.approx(-0.5 / RATE)
    assert len(plot.plot_coverage(xi.STFT(256), 10, sr=RATE).patches) == 0
    assert plot.plot_coverage(t, 10, sr=RATE, length=900).lines[0].get_ydata().size == 900


def test_windows_overlap_and_gain():
    window = np.hanning(257)[:-1]
    t = xi.STFT(256, 64, window=window, synthesis_window=xi.dual_window(window, 64))
    ax = plot.plot_windows(t, sr=RATE)
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_allclose(lines["analysis window"], window)
    np.testing.assert_allclose(lines["gain (least 1)"], 1, rtol=1e-12)
    np.testing.assert_allclose(lines["overlap (largest 1)"], 1, rtol=1e-12)
    half = plot.plot_windows(xi.STFT(256, 128), sr=RATE)
    gain = {line.get_label(): line.get_ydata() for line in half.lines}["gain (least 1)"]
    assert gain.max() == pytest.approx(2)  # of squared Hann windows, half overlapped
    assert not half.patches
    hole = plot.plot_windows(xi.STFT(256, 256), sr=RATE)
    assert len(hole.patches) == 1


def test_windows_are_drawn_without_the_zeros_around_them():
    ax = plot.plot_windows(xi.STFT(512, 64, 256), sr=RATE)
    for line, other in zip(ax.lines, plot.plot_windows(xi.STFT(256, 64), sr=RATE).lines, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), other.get_xydata())


def test_windows_that_are_followed_are_drawn_with_their_values():
    torch = pytest.importorskip("torch")
    window = torch.hann_window(256, dtype=torch.float64, requires_grad=True)
    t, same = xi.STFT(256, 64, window=window), xi.STFT(256, 64, window=window.detach().numpy())
    for draw, more in ((plot.plot_windows, ()), (plot.plot_coverage, (9,))):
        for line, other in zip(draw(t, *more, sr=RATE).lines, draw(same, *more, sr=RATE).lines, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), other.get_ydata())


def test_convergence_is_drawn_in_decibels_on_the_axes_given():
    ax = pyplot.figure().subplots()
    assert plot.plot_convergence([1.0, 0.1, 0.0], ax=ax) is ax
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0, -20, np.nan])
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 2, 3])
    assert ax.get_legend() is None
