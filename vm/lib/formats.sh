# The disk in the forms that virtual machines take. Sourced by vm/build.
# shellcheck shell=bash

# For real disks and for clouds, which have their own idea of a disk's size: no larger than it must be.
make_raw() {
    cp --sparse=always "$WORK/disk.raw" "$NAME.raw"
    # Quickly: what there is has been squashed already, and the rest is empty.
    xz --keep --force --threads=2 -1 "$NAME.raw"
    result "$(mib "$(size_of "$NAME.raw.xz")") as $(basename "$NAME").raw.xz"
}

make_qcow2() {
    qemu-img convert -f raw -O qcow2 -c -o compression_type=zlib,lazy_refcounts=off "$WORK/large.raw" "$NAME.qcow2"
    result "$(mib "$(size_of "$NAME.qcow2")")"
}

make_vmdk() {
    local at
    qemu-img convert -f raw -O vmdk -o subformat=streamOptimized,adapter_type=lsilogic "$WORK/large.raw" "$NAME.vmdk"
    # qemu-img draws the content id by lot.
    at=$(grep --only-matching --byte-offset --max-count=1 --text '^CID=[0-9a-f]*' "$NAME.vmdk" | head -n 1 | cut -d: -f1)
    printf 'CID=10095ee7' | dd of="$NAME.vmdk" bs=1 seek="$at" conv=notrunc status=none
    result "$(mib "$(size_of "$NAME.vmdk")")"
}

make_vhdx() {
    qemu-img convert -f raw -O vhdx -o subformat=dynamic,block_size=1M "$WORK/large.raw" "$NAME.vhdx"
    result "$(mib "$(on_disk "$NAME.vhdx")") on disk"
}

# An OVA is a tar with the description first.
make_ova() {
    local dir=$WORK/ova base
    base=$(basename "$NAME")
    [ -e "$NAME.vmdk" ] || make_vmdk
    mkdir -p "$dir"
    cp "$NAME.vmdk" "$dir/$base.vmdk"
    sed -e "s/@NAME@/$base/g" -e "s/@VMDK_BYTES@/$(size_of "$NAME.vmdk")/" \
        -e "s/@DISK_BYTES@/$(size_of "$WORK/large.raw")/" -e "s/@VERSION@/$VERSION/" "$VM/ovf/template.ovf" >"$dir/$base.ovf"
    "$VM/ovf/check" "$dir/$base.ovf"
    tar --create --format=ustar --owner=0 --group=0 --numeric-owner --mode=644 --mtime="@$SOURCE_DATE_EPOCH" \
        --file="$NAME.ova" --directory="$dir" "$base.ovf" "$base.vmdk"
    rm -r "$dir"
    result "$(mib "$(size_of "$NAME.ova")")"
}
