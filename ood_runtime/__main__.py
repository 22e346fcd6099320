"""``python -m ood_runtime`` is ``ood-runtime``."""

from ood_runtime.cli import main

if __name__ == "__main__":
    main()
