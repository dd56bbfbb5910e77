#!/bin/sh
# Install the Debian packages that are missing: as root only, else say their names in one line.
# debian.sh required|wanted PACKAGE...   ("wanted" is not an error: the tests that need them skip and say so)
need=$1
shift
command -v dpkg-query >/dev/null 2>&1 || exit 0
missing=
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -eq 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    { apt-get -q update && apt-get -q -y install --no-install-recommends $missing; } >&2 && exit 0
fi
echo "Debian packages are missing; install them as root: apt-get install$missing" >&2
[ "$need" = wanted ]
