#!/bin/sh
# Runs as root in the tree that is being built. $1 is the folder that image/tree.py has filled: the roles, and what the
# appliance has beside them. $2 is where the parts of the boot loader go; the words after it are its packages.
set -eu
work=$1 loader=$2
shift 2
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 LC_ALL=C.UTF-8
export DEBIAN_FRONTEND=noninteractive ANSIBLE_HOME="$work/home" ANSIBLE_LOCAL_TEMP="$work/home/tmp"
export ANSIBLE_REMOTE_TEMP="$work/home/tmp" ANSIBLE_NOCOLOR=1 ANSIBLE_CONFIG="$work/ansible/ansible.cfg"
cd "$work"

echo "== the boot loader"
mkdir -p loader "$loader"
cd loader
# apt fetches as a user of its own.
chown _apt .
# grub-common has the copyright of the others.
apt-get -qq download grub-common "$@"
for package in *.deb; do
    dpkg-deb -x "$package" unpacked
done
for name in "$@"; do
    # shellcheck disable=SC2016  # dpkg-deb's words, not the shell's
    dpkg-deb --showformat='${Package}\t${Version}\t${Architecture}\t${Maintainer}\n' -W "$name"_*.deb >>"$loader/packages"
    mkdir -p "$loader/doc/$name"
    cp "unpacked/usr/share/doc/$name/copyright" "$loader/doc/$name/"
done
mkdir -p "$loader/i386-pc"
(cd unpacked/usr/lib/grub/i386-pc && cp ./*.mod ./*.img ./*.lst "$loader/i386-pc/")
cp unpacked/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed "$loader/grubx64.efi"
cp unpacked/usr/lib/shim/shimx64.efi.signed "$loader/shimx64.efi"
cd "$work"

echo "== the roles"
kept=yes
dpkg -s ansible-core >/dev/null 2>&1 || kept=no
[ $kept = yes ] || apt-get -qq install ansible-core
(cd ansible && ansible-playbook -c local -i localhost, -e "@$work/variables.json" image.yml)
[ $kept = yes ] || apt-get -qq --autoremove purge ansible-core

echo "== the appliance"
# What a folder of the tree has of owner and mode stays; what is laid over it is root's, and nobody else writes it.
tar -C appliance/files --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w -cf - . |
    tar -C / --keep-directory-symlink --no-overwrite-dir -xpf -
sh appliance/install.sh
