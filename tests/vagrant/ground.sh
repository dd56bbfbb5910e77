#!/bin/sh
# ground.sh FOLDER: run libvirt for one test, as the first process of pid, mount and network namespaces of its own.
#
# Its sockets, settings, images and logs are in FOLDER, its bridges and packet filters in the network namespace: nothing
# of it is seen outside, and all of it is gone when this process is. It ends when it is killed.
set -eu
folder=$1
mount -t proc proc /proc
# Bridges are found in /sys too, which has those of the namespace in which it is mounted; the control groups stay.
mkdir -p "$folder/cgroup"
mount --rbind /sys/fs/cgroup "$folder/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$folder/cgroup" /sys/fs/cgroup
ip link set lo up
for place in /run /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /etc/libvirt; do
    own=$folder/$(echo "${place#/}" | tr / -)
    mkdir -p "$own" "$place"
    # Settings are those of the host, but for its machines and networks.
    [ "$place" != /etc/libvirt ] || cp -a /etc/libvirt/. "$own/"
    mount --bind "$own" "$place"
done
rm -rf /etc/libvirt/qemu /etc/libvirt/storage
mkdir -p /run/lock /run/libvirt /run/dbus /var/lib/libvirt/images
chmod 0711 /var/lib/libvirt /var/lib/libvirt/images
dbus-daemon --system --nofork --nopidfile &
virtlogd &
libvirtd &
# The shell waits for whatever process is left without a parent here, too.
while :; do wait; sleep 1; done
