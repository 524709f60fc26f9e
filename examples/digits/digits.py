"""Recognise handwritten digits: ordinary Python functions that know nothing of Runyard.

The heavy imports stand inside the functions, so that a launcher which only names them
starts at once.
"""

import json
from pathlib import Path


def prepare(out: Path, seed: int = 0) -> None:
    """Split the digits into training and test sets, and shift the training images by a pixel each way."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = digits.images / 16.0
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits.target, test_size=0.25, random_state=seed, stratify=digits.target
    )
    shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    augmented = np.concatenate([np.roll(train_x, shift, axis=(1, 2)) for shift in shifts])

    out.mkdir(parents=True, exist_ok=True)
    np.savez(
        out / "data.npz",
        train_x=augmented.reshape(len(augmented), -1),
        train_y=np.tile(train_y, len(shifts)),
        test_x=test_x.reshape(len(test_x), -1),
        test_y=test_y,
    )
    print(f"{len(train_y)} training images, {len(augmented)} with shifts, and {len(test_y)} for the test")


def train(out: Path, name: str, hidden: tuple[int, ...], epochs: int = 12, seed: int = 0) -> None:
    """Train one network and keep its test accuracy after every epoch and its final answers."""
    import numpy as np
    from sklearn.neural_network import MLPClassifier

    data = np.load(out / "data.npz")
    model = MLPClassifier(hidden, batch_size=16, random_state=seed)
    accuracy = []
    for epoch in range(1, epochs + 1):
        model.partial_fit(data["train_x"], data["train_y"], classes=range(10))
        accuracy.append(float(model.score(data["test_x"], data["test_y"])))
        print(f"epoch {epoch:2d}/{epochs}  loss {model.loss_:.4f}  test accuracy {accuracy[-1]:.2%}")

    answers = model.predict(data["test_x"]).tolist()
    (out / f"{name}.json").write_text(json.dumps({"name": name, "accuracy": accuracy, "answers": answers}))


def compare(out: Path, names: list[str]) -> None:
    """Rank the networks, and plot how they learned and what the best one still gets wrong."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    runs = [json.loads((out / f"{name}.json").read_text()) for name in names]
    runs.sort(key=lambda run: run["accuracy"][-1], reverse=True)
    for run in runs:
        print(f"{run['name']:<8} {run['accuracy'][-1]:.2%}")

    data, best = np.load(out / "data.npz"), runs[0]
    wrong = [i for i, answer in enumerate(best["answers"]) if answer != data["test_y"][i]][:12]

    figure = plt.figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[3, 2])
    axes = left.subplots()
    for run in runs:
        axes.plot(range(1, len(run["accuracy"]) + 1), run["accuracy"], marker="o", label=run["name"])
    axes.set(xlabel="epoch", ylabel="test accuracy", title="Handwritten digits")
    axes.legend()
    axes.grid(alpha=0.3)
    right.suptitle(f"{best['name']}: first mistakes (answer, truth)")
    for cell, i in zip(right.subplots(3, 4).flat, wrong + [None] * 12, strict=False):
        cell.axis("off")
        if i is not None:
            cell.imshow(data["test_x"][i].reshape(8, 8), cmap="gray_r")
            cell.set_title(f"{best['answers'][i]}, {data['test_y'][i]}", fontsize=9)
    figure.savefig(out / "digits.png", dpi=120)
