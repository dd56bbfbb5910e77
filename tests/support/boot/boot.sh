#!/bin/sh
# boot.sh INIT TREE OWN PACKAGE VENV SPACE PREPARE: boot a Debian tree with INIT, "systemd" or "sysvinit", as its first
# process. Called in a mount namespace of its own, for sysvinit also in new pid, ipc, uts and net namespaces.
#
# OWN is an empty folder with the sub-folder files, which are laid over the tree. With a sub-folder kept beside it, what
# the machine writes stays there, and the next boot of the same OWN finds it; else it is gone with the machine. PACKAGE
# and VENV are shown read-only under /usr/local/lib/sockd, unless they are empty words; PREPARE is a shell command that
# runs in the tree before the boot; SPACE names a network namespace. What is mounted is overlayfs, tmpfs, proc and the
# like only: whatever an init system unmounts or remounts at its end, no file system of the host is concerned.
set -eu
init=$1 tree=$2 own=$3 package=$4 venv=$5 space=$6 prepare=$7
memory=$own/kept root=$own/root

if [ ! -d "$memory" ]; then
    memory=$own/memory
    mkdir "$memory"
    mount -t tmpfs -o mode=0755 tmpfs "$memory"
fi
mkdir -p "$root" "$memory/upper" "$memory/work" "$memory/empty"
cp -a "$own/files/." "$memory/upper/"
mount -t overlay -o "lowerdir=$tree,upperdir=$memory/upper,workdir=$memory/work" tree "$root"
show() {
    [ -n "$1" ] || return 0
    mkdir -p "$root/usr/local/lib/sockd/$2"
    # An overlay of lower folders only is read-only; it takes two of them.
    mount -t overlay -o "lowerdir=$1:$memory/empty" "$2" "$root/usr/local/lib/sockd/$2"
}
show "$package" gateway
show "$venv" venv
chroot "$root" /bin/sh -euc "$prepare"

if [ "$init" = systemd ]; then
    export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
    # Landlock is not among what systemd-nspawn lets its guests call; a real machine has it.
    exec systemd-nspawn --quiet --directory="$root" --machine="$space" --register=no --keep-unit \
        --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" \
        --network-namespace-path="/run/netns/$space" --capability=CAP_NET_ADMIN \
        --resolv-conf=off --timezone=off --link-journal=no --console=pipe --boot
fi

cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=0755 tmpfs run
mkdir run/lock
mount -t tmpfs -o mode=0755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 0666 "dev/${node%:*}" c 1 "${node#*:}"
done
mknod -m 0666 dev/tty c 5 0
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
: >dev/console
# Clock, modules and settings of the kernel are those of the host, but for what belongs to the network namespace.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw proc/sys/net
[ ! -e proc/sysrq-trigger ] || mount --bind dev/null proc/sysrq-trigger
pivot_root . mnt
umount -l /mnt
exec env container=namespaces setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio \
    /sbin/init 2 <dev/null >dev/console 2>&1
