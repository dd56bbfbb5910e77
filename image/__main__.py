"""``python -m image deb|disk|box``: build a product, and print the paths of what was made, one a line.

Ends with status 1 and one line on standard error when something is missing or fails, with 2 for a wrong command line.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from image import box, package, release, tree
from image.run import ROOT, VERSION, BuildError

BUILD = ROOT / "build"


def make_deb(arguments: argparse.Namespace) -> Iterable[Path]:
    """The Debian package."""
    yield package.build(arguments.out, version=arguments.version)


def make_disk(arguments: argparse.Namespace) -> Iterable[Path]:
    """The appliance's disk, raw and qcow2, the list of what is in it, and signed checksums of them all."""
    return release.build(arguments.out, package.build(BUILD / "deb"), init=arguments.init, key=arguments.key)


def make_box(arguments: argparse.Namespace) -> Iterable[Path]:
    """The boxes of the Vagrant lab."""
    return box.build(arguments.out)


PRODUCTS: Mapping[str, tuple[Callable[[argparse.Namespace], Iterable[Path]], str]] = MappingProxyType(
    {"deb": (make_deb, "deb"), "disk": (make_disk, "image"), "box": (make_box, "box")}
)
"""What is built, by the word that asks for it, and the folder under build/ where it goes."""


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m image", description="Build what users of the gateway install.")
    products = parser.add_subparsers(dest="product", required=True, metavar="PRODUCT")
    parsers = {}
    for name, (make, folder) in PRODUCTS.items():
        parsers[name] = products.add_parser(name, help=(make.__doc__ or "").splitlines()[0].rstrip("."))
        parsers[name].add_argument(
            "--out", type=Path, default=BUILD / folder, help=f"the folder for it (default: build/{folder})"
        )
    parsers["deb"].add_argument("--version", default=VERSION, help="another version than that of the source")
    parsers["disk"].add_argument("--init", choices=tree.INITS, default="systemd", help="what starts the appliance")
    parsers["disk"].add_argument("--key", type=Path, help="the ssh key that signs; else one is made beside the disk")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    chosen = make_parser().parse_args(arguments)
    make, _ = PRODUCTS[chosen.product]
    try:
        for path in make(chosen):
            print(path)
    except BuildError as error:
        print(f"{chosen.product}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
