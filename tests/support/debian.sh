#!/bin/sh
# Install the Debian packages that are missing: as root only, else say their names in one line.
# debian.sh required|wanted|root PACKAGE...   ("wanted" is not an error: the tests that need them skip and say so;
# "root" needs root even where nothing is missing)
need=$1
shift
if [ "$need" = root ] && [ "$(id -u)" -ne 0 ]; then
    echo "This needs root, for network namespaces: sudo make lab. It then installs what is missing of: $*" >&2
    exit 1
fi
command -v dpkg-query >/dev/null 2>&1 || exit 0
missing=
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -eq 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    { apt-get -q update && apt-get -q -y install --no-install-recommends $missing; } >&2 && {
        # its program is wanted, not a name server for this host
        case "$missing " in *" nsd "*) systemctl disable --quiet --now nsd 2>/dev/null ;; esac
        exit 0
    }
fi
echo "Debian packages are missing; install them as root: apt-get install$missing" >&2
[ "$need" = wanted ]
