# The root file system: Debian's packages, the programs, the settings of vm/root; then squashed. Sourced by vm/build.
# shellcheck shell=bash

# A tar of the root; kernel, initial file system and boot loaders beside it.
make_root() {
    local packages suite=bookworm
    packages=$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$VM/$VARIANT/packages" | paste -sd,)
    mkdir -p "$WORK/boot"
    # The initial file system is made once, when all that belongs into it is there.
    INITRD=No mmdebstrap --variant=essential --format=tar --skip=cleanup/apt --include="$packages" \
        --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --customize-hook="$VM/lib/customize \"\$1\" '$WORK' '$PEER' '$CONSOLE'" \
        "$suite" "$WORK/root.tar" \
        "deb $MIRROR $suite main" "deb $MIRROR $suite-updates main" "deb $SECURITY_MIRROR $suite-security main"
    result "$(mib "$(size_of "$WORK/root.tar")"), $(wc -l <"$WORK/manifest") packages"
}

squash_root() {
    # It takes its times from the environment or from its options, not from both.
    env --unset=SOURCE_DATE_EPOCH mksquashfs - "$WORK/root.sqfs" -tar -comp xz -Xbcj x86 -b 1M -no-progress -noappend \
        -mkfs-time "$SOURCE_DATE_EPOCH" -all-time "$SOURCE_DATE_EPOCH" <"$WORK/root.tar"
    local size
    size=$(size_of "$WORK/root.sqfs")
    [ "$size" -le $((ROOT_MIB << 20)) ] || fail "the root has $(mib "$size"), more than its slot of $ROOT_MIB MiB"
    rm "$WORK/root.tar"
    result "$(mib "$size")"
}
