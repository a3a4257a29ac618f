"""Forward and forward + backward on torch: ours against torch.istft / torch.stft and nnAudio, interleaved in one run.

    python benchmarks/torch_pair.py MACHINE [--device cpu] [--rounds 15] [--no-nnaudio]

Every round times each competitor once, in turn; the ratio of a round is theirs / ours, and the median of the ratios is
what counts (above 1: ours is faster). Writes benchmarks/results/torch-<device>-<machine>.md.
"""

import argparse
import statistics
import time
import warnings
from pathlib import Path

import torch

import xp_istft as xi

SIZES = {  # batch, samples, n_fft, hop
    "60 s at 44.1 kHz, 2048/512": (1, 60 * 44100, 2048, 512),
    "16 x 10 s at 16 kHz, 512/128": (16, 10 * 16000, 512, 128),
}
NNAUDIO_SECONDS = 4.0  # of one call, above which nnAudio is timed in fewer rounds


def competitors(batch, n_samples, n_fft, hop, device, with_nnaudio):
    """{map: {name: function of a fresh leaf}}, and the leaves."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, n_samples, generator=generator).to(device)
    window = torch.hann_window(n_fft, device=device)
    X = torch.stft(x, n_fft, hop, window=window, return_complex=True).contiguous()
    pairs = {
        "istft": {
            "ours": lambda X: xi.istft(X, hop_length=hop, length=n_samples),
            "torch": lambda X: torch.istft(X, n_fft, hop, window=window, length=n_samples),
        },
        "stft": {
            "ours": lambda x: xi.stft(x, n_fft, hop_length=hop, pad_mode="reflect"),
            "torch": lambda x: torch.stft(x, n_fft, hop, window=window, return_complex=True),
        },
    }
    leaves = {"istft": {"ours": X, "torch": X}, "stft": {"ours": x, "torch": x}}
    if with_nnaudio:
        from nnAudio.features.stft import STFT, iSTFT

        inverse = iSTFT(n_fft=n_fft, hop_length=hop, verbose=False).to(device)
        forward = STFT(n_fft=n_fft, hop_length=hop, verbose=False).to(device)
        pairs["istft"]["nnAudio"] = lambda X: inverse(X, onesided=True, length=n_samples)
        pairs["stft"]["nnAudio"] = forward
        leaves["istft"]["nnAudio"] = torch.view_as_real(X).contiguous()
        leaves["stft"]["nnAudio"] = x
    return pairs, leaves


def seconds(function, leaf, backward):
    """Wall time of one call, with its backward pass if asked for."""
    leaf = leaf.detach().requires_grad_(backward)
    synchronise = torch.cuda.synchronize if leaf.is_cuda else lambda: None
    synchronise()
    start = time.perf_counter()
    value = function(leaf)
    if backward:
        value.backward(torch.ones_like(value))
    synchronise()
    return time.perf_counter() - start


def measured(functions, leaves, backward, rounds):
    """Times of every round, competitors in turn; slow ones take part in the first rounds only."""
    times = {name: [] for name in functions}
    first = {name: seconds(function, leaves[name], backward) for name, function in functions.items()}  # warm-up
    for turn in range(rounds):
        for name, function in functions.items():
            if first[name] < NNAUDIO_SECONDS or turn < 3:
                times[name].append(seconds(function, leaves[name], backward))
    return times


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("machine", help="what the machine is called in the report, e.g. 'epyc-2-cores'")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--nnaudio", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = [
        f"# The pair on torch, {options.device}, {options.machine}",
        "",
        f"`python benchmarks/torch_pair.py {options.machine} --device {options.device} --rounds {options.rounds}`; "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32. Milliseconds are medians; a ratio is "
        "the median over rounds of theirs / ours, in brackets its quartiles. Above 1 ours is faster.",
        "",
        "| case | map | pass | ours ms | torch ms | torch / ours | nnAudio ms | nnAudio / ours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case, sizes in SIZES.items():
        pairs, leaves = competitors(*sizes, options.device, options.nnaudio)
        for name, functions in pairs.items():
            for backward in (False, True):
                with torch.set_grad_enabled(backward):
                    times = measured(functions, leaves[name], backward, options.rounds)
                row = [case, name, "forward + backward" if backward else "forward", f"{ms(times['ours']):.1f}"]
                for other in ("torch", "nnAudio"):
                    if other in times:
                        ratios = [a / b for a, b in zip(times[other], times["ours"], strict=False)]
                        low, _, high = statistics.quantiles(ratios, n=4)
                        row += [
                            f"{ms(times[other]):.1f}",
                            f"**{statistics.median(ratios):.2f}** [{low:.2f}, {high:.2f}]",
                        ]
                    else:
                        row += ["-", "-"]
                lines.append("| " + " | ".join(row) + " |")
                print(lines[-1], flush=True)
    report = Path(__file__).parent / "results" / f"torch-{options.device}-{options.machine}.md"
    report.parent.mkdir(exist_ok=True)
    report.write_text("\n".join(lines) + "\n")


def ms(times):
    return 1000 * statistics.median(times)


if __name__ == "__main__":
    main()
