# The commands of this project; `make help` lists them.
RECENT := import sys; sys.exit(sys.version_info < (3, 11))
# The distribution's Python before another one of PATH: it is built with profile-guided optimisation, which a self-built
# one often is not, and the data path gains a third from it. Only a new .venv asks for it.
PYTHON ?= $(shell /usr/bin/python3 -c '$(RECENT)' 2>/dev/null && echo /usr/bin/python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
# A .venv whose Python is gone, after an upgrade of the distribution, is made anew.
$(shell test -x $(BIN)/python || rm -rf $(VENV))
STARTER := build/run
DEBIAN_BASE := python3 python3-venv
DEBIAN_TEST := bind9-dnsutils chromium curl dante-server default-jdk-headless dnsmasq-base dnsperf dnsviz fish gcc \
	iproute2 knot-dnsutils ldnsutils libc-ares-dev libc6-dev man-db microsocks mmdebstrap musl-tools netbase nsd openssl \
	procps python3-pygraphviz systemd-container tmux zsh
DEBIAN_LAB := curl iproute2 nsd
# for `make deb`; that, for `make image` and `make box`
DEBIAN_DEB := debhelper dpkg-dev fakeroot gcc libc6-dev lintian python3-dev python3-venv
DEBIAN_IMAGE := $(DEBIAN_DEB) dosfstools e2fsprogs fdisk grub-common mmdebstrap mtools openssh-client qemu-utils
# What boots and visits them in the tests; libvirt with `make test-full` only.
DEBIAN_MACHINES := $(DEBIAN_IMAGE) nftables nmap openssh-server ovmf qemu-system-x86 vagrant vagrant-libvirt
DEBIAN_VAGRANT := dbus iptables libvirt-clients libvirt-daemon-system
LAB := build/lab

.PHONY: help run lab test test-full bench lint clean deb image box debian-test debian-full debian-lab debian-deb \
	debian-box debian-image

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 12

run: $(VENV)/.installed  ## sockd on 127.0.0.1:1080, names on 127.0.0.1:5353, in the foreground; needs no root
	@$(BIN)/python -m tests.support.starter $(STARTER)
	@exec $(BIN)/python -m tests.support.foreground $(BIN)/sockd -d -f $(STARTER)/gateway.toml

lab: debian-lab $(VENV)/.tested  ## root: sockd between two networks made of namespaces, and a prompt inside
	@exec $(BIN)/python -m tests.support.foreground $(BIN)/python -m tests.support.lab.playground $(LAB)

deb: $(VENV)/.installed debian-deb  ## the Debian package, into build/deb
	@$(BIN)/python -m image deb

image: $(VENV)/.installed debian-image  ## root: the appliance's disk, into build/image; KEY=file is the ssh key that signs it
	@$(BIN)/python -m image disk $(if $(KEY),--key $(KEY)) $(if $(INIT),--init $(INIT))

box: $(VENV)/.installed debian-image debian-box  ## root: the boxes for `vagrant up`, into build/box
	@$(BIN)/python -m image box

test: $(VENV)/.tested debian-test  ## everything that this machine allows, in minutes
	$(BIN)/pytest -m 'not full'

test-full: $(VENV)/.tested debian-test debian-full  ## that, and what takes longer, with other examples in each run
	$(BIN)/pytest --hypothesis-profile=hunt

bench: $(VENV)/.tested  ## side by side with danted, microsocks, dnsmasq, unbound; BENCH='dns --quick' and the like go to it
	$(BIN)/python -m tests.bench $(BENCH)

lint: $(VENV)/.tested  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## remove what these commands made
	rm -rf $(VENV) build .vagrant .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || sh tests/support/debian.sh required $(DEBIAN_BASE)
	@$(PYTHON) -c '$(RECENT)' || { echo '$(PYTHON) is no Python 3.11 or newer; name one: make PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.tested: pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.installed

debian-test:
	@sh tests/support/debian.sh wanted $(DEBIAN_TEST) $(DEBIAN_MACHINES)

debian-full:
	@sh tests/support/debian.sh wanted $(DEBIAN_VAGRANT)

debian-deb:
	@sh tests/support/debian.sh required $(DEBIAN_DEB)

# of its key the box has the public half
debian-box:
	@sh tests/support/debian.sh required vagrant

debian-image:
	@sh tests/support/debian.sh required $(DEBIAN_IMAGE)

debian-lab:
	@sh tests/support/debian.sh root $(DEBIAN_LAB)
