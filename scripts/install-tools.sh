#!/usr/bin/env bash
# Installs what the tests need and is missing, on Debian. Quick when nothing is. Needs root or sudo only to install.
#   scripts/install-tools.sh         everything `make test` uses
#   scripts/install-tools.sh build   only what a build needs (a C compiler, for SQLite)
#   scripts/install-tools.sh verify  everything and what `make verify` uses
#   scripts/install-tools.sh bench   only what `make bench` uses
#   scripts/install-tools.sh vm      only what `make vm` and `make vm-test` use
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=${1:-test}

say() { printf 'install-tools: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Cargo puts its binaries where a fresh shell may not look yet.
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

case $wanted in build | test | verify | bench | vm) ;; *) fail "unknown argument '$wanted' (build, test, verify, bench or vm)" ;; esac
have cargo || fail "cargo is missing: install Rust (https://rustup.rs), stable 1.95 or newer, then run this again"

missing=()
need() { have "$1" || missing+=("$2"); }
need cc gcc
need ar binutils
if [ ! -e /usr/include/stdlib.h ]; then missing+=(libc6-dev); fi
if [ "$wanted" = bench ]; then
    need etcd etcd-server
    need node nodejs
    need npm npm
    if [ ! -x /usr/sbin/mariadbd ]; then need mariadbd mariadb-server; fi
    need mariadb mariadb-client
elif [ "$wanted" = vm ]; then
    need mmdebstrap mmdebstrap
    need mcopy mtools
    if [ ! -x /usr/sbin/mkfs.vfat ]; then need mkfs.vfat dosfstools; fi
    if [ ! -x /usr/sbin/sfdisk ]; then need sfdisk fdisk; fi
    if [ ! -x /usr/sbin/mke2fs ]; then need mke2fs e2fsprogs; fi
    need mksquashfs squashfs-tools
    need grub-mkimage grub-common
    if [ ! -e /usr/lib/grub/i386-pc/boot.img ]; then missing+=(grub-pc-bin); fi
    need xz xz-utils
    need qemu-img qemu-utils
    need xmllint libxml2-utils
    need python3 python3
    if [ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ]; then missing+=(debian-archive-keyring); fi
elif [ "$wanted" != build ]; then
    # What vm/check looks with.
    need shellcheck shellcheck
    need xmllint libxml2-utils
    need systemd-analyze systemd
    need python3 python3
    need node nodejs
    need npm npm
    need chromium chromium
    # A server's programs are where a user's PATH may not look.
    if [ ! -x /usr/sbin/mariadbd ]; then need mariadbd mariadb-server; fi
    need mariadb-dump mariadb-client
fi

if [ ${#missing[@]} -gt 0 ]; then
    have apt-get || fail "missing: ${missing[*]} (named as on Debian); install them and run this again"
    if [ "$(id -u)" = 0 ]; then
        as_root=()
    elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        as_root=(sudo)
    else
        fail "missing: ${missing[*]}; run as root: apt-get install ${missing[*]}"
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    # A policy of 101 keeps Debian from starting services: tests start their own servers on their own folders.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        "${as_root[@]}" sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
        trap '"${as_root[@]}" rm -f $policy' EXIT
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

case $wanted in build | vm) exit 0 ;; esac

# The lockfile's packages are there exactly when npm's own record of them is newer than the lockfile.
npm_packages() {
    if [ ! "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ]; then
        say "fetching $2"
        npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund --silent
        touch "$1/node_modules/.package-lock.json"
    fi
}
npm_packages benches/node "what reads are compared with"

if [ "$wanted" = bench ]; then exit 0; fi

cargo_tool() {
    have "$1" && return
    say "building $1 $2 (once; takes some minutes)"
    cargo install --locked --quiet "$1" --version "$2"
}
cargo_tool cargo-nextest '^0.9'
if [ "$wanted" = verify ]; then cargo_tool cargo-deny '^0.20'; fi

npm_packages sim-tests/browser "the browser driver"
npm_packages sim-tests/realtime "Socket.IO clients of all generations"
