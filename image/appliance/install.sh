#!/bin/sh
# Run in the tree's root after files/ was laid over it: users, modes, what starts at boot, the initramfs.
# It may be run again.
set -eu

id admin >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --comment "Administrator" admin
getent group sockd >/dev/null || groupadd --system sockd
usermod --append --groups adm,sockd admin
# Asks sockd for the console's page, and does nothing else.
id appliance >/dev/null 2>&1 ||
    useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin --groups sockd appliance
# No password fits; one for the console is the seed's to give.
usermod --lock root
usermod --password '*' admin

mkdir -p /state
[ -e /etc/mtab ] || [ -L /etc/mtab ] || ln -s ../proc/self/mounts /etc/mtab
chown root:root /state /etc/sudoers.d/admin
chmod 0755 /state
chmod 0440 /etc/sudoers.d/admin
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
python3 -m compileall -q /usr/lib/appliance
# It looks after snapshots of LVM, which is not here, and costs a slow boot a minute.
[ ! -x /lib/systemd/systemd ] || systemctl disable --quiet e2scrub_reap.service e2scrub_all.timer

for name in appliance-grow appliance-setup; do
    if [ -x /lib/systemd/systemd ]; then
        systemctl enable --quiet "$name.service"
    fi
    [ ! -e /etc/inittab ] || update-rc.d "$name" defaults
done
if [ -e /etc/inittab ]; then
    sed -i -e '/^[^#].*getty.* tty1$/d' -e '/^[^#].*getty.* ttyS0/d' -e '/appliance-console/d' /etc/inittab
    # init(8) takes 127 characters, so these options of agetty(8) are short: no clearing, no issue, no name asked for.
    cat >>/etc/inittab <<'LINES'
# The page of the console, and login(1) when Enter is pressed there: appliance-console, by appliance(7).
1:2345:respawn:/sbin/agetty -Jin -l /usr/sbin/appliance-console tty1 linux
S0:2345:respawn:/sbin/agetty -Jin -l /usr/sbin/appliance-console --keep-baud 115200,57600,38400,9600 ttyS0 vt220
LINES
fi
update-initramfs -u -k all
