"""Run the README's training of torchvision's ResNet-50: DATASET, BATCH, STEPS, and the folder of our packages.

torchvision's environment runs it, with its own torch and torchvision. DALI and Freelight come from our packages.
"""

import json
import re
import site
import sys
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parents[3] / "README.md"


def readme_block() -> str:
    """Return the README's code that trains a ResNet-50."""
    blocks: list[str] = re.findall(
        r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    (found,) = [block for block in blocks if "resnet50" in block]
    return found


def run_block(block: str, dataset: Path, *, batch: int, steps: int) -> list[float]:
    """Run the block on `dataset` for `steps` steps and return the losses.

    Only the path, the batch size and the learning rate, in proportion to the batch size, are changed.
    """
    from torch.nn import functional

    losses: list[float] = []
    cross_entropy = functional.cross_entropy

    class Done(Exception):  # noqa: N818
        pass

    def noted(*arguments: Any, **settings: Any) -> Any:
        if len(losses) == steps:
            raise Done
        loss = cross_entropy(*arguments, **settings)
        losses.append(float(loss.detach()))
        return loss

    replaced = {
        '"DATASET"': repr(str(dataset)),
        "batch_size=256": f"batch_size={batch}",
        "lr=0.1": f"lr={0.1 * batch / 256}",
    }
    for given, ours in replaced.items():
        if block.count(given) != 1:
            raise ValueError(f"the README's block has {given} {block.count(given)} times, not once")
        block = block.replace(given, ours)
    functional.cross_entropy = noted
    try:
        exec(compile(block, str(README), "exec"), {"__name__": "__main__"})
    except Done:
        pass
    finally:
        functional.cross_entropy = cross_entropy
    return losses


def main() -> None:
    """Print the losses as JSON."""
    dataset, batch, steps, packages = sys.argv[1:]
    site.addsitedir(packages)  # after the environment's own packages
    print(json.dumps(run_block(readme_block(), Path(dataset), batch=int(batch), steps=int(steps))))


if __name__ == "__main__":
    main()
