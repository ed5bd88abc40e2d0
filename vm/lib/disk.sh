# The disk: partitions, boot loaders for BIOS and UEFI, the root in slot A, an empty data partition. Sourced by vm/build.
# shellcheck shell=bash

# LBA of the first sector of each partition, 512 bytes each.
BIOS_AT=2048
ESP_AT=$((BIOS_AT + BIOS_MIB * 2048))
ROOT_A_AT=$((ESP_AT + ESP_MIB * 2048))
ROOT_B_AT=$((ROOT_A_AT + ROOT_MIB * 2048))
DATA_AT=$((ROOT_B_AT + ROOT_MIB * 2048))

# put FILE LBA: into the disk, leaving holes where there is nothing.
put() { dd if="$1" of="$WORK/disk.raw" bs=64K oflag=seek_bytes seek=$(($2 * 512)) conv=notrunc,sparse status=none; }

# patch FILE OFFSET BYTES: a little-endian number of 8 bytes.
patch_u64() {
    local number=$3 bytes='' at
    for at in 0 1 2 3 4 5 6 7; do bytes+=$(printf '\\x%02x' $((number >> (8 * at) & 255))); done
    printf '%b' "$bytes" | dd of="$1" bs=1 seek=$(($2)) conv=notrunc status=none
}

# The data partition as it is made, MiB; it grows to what the disk has when the machine starts. And what GPT wants at the end.
DATA_MIB=128
END_MIB=1

make_table() {
    rm -f "$WORK/disk.raw"
    truncate --size=$(((DATA_AT / 2048 + DATA_MIB + END_MIB) << 20)) "$WORK/disk.raw"
    sfdisk --quiet "$WORK/disk.raw" <<TABLE
label: gpt
label-id: $UUID_DISK
start=$BIOS_AT, size=$((BIOS_MIB * 2048)), type=21686148-6449-6E6F-744E-656564454649, uuid=$UUID_BIOS, name=bios
start=$ESP_AT, size=$((ESP_MIB * 2048)), type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=$UUID_ESP, name=esp
start=$ROOT_A_AT, size=$((ROOT_MIB * 2048)), type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=$UUID_ROOT_A, name=root-a
start=$ROOT_B_AT, size=$((ROOT_MIB * 2048)), type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=$UUID_ROOT_B, name=root-b
start=$DATA_AT, size=$((DATA_MIB * 2048)), type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=$UUID_DATA, name=data
TABLE
}

# GRUB for BIOS: its first 440 bytes stand before the table and name the sector of the rest, which names its own.
make_bios_loader() {
    local from=/usr/lib/grub/i386-pc core=$WORK/boot/core.img first=$WORK/boot/first.img
    printf 'search --no-floppy --label %s --set root\nconfigfile /boot/grub/grub.cfg\n' "$ESP_LABEL" >"$WORK/boot/early.cfg"
    grub-mkimage -O i386-pc -o "$core" -p /boot/grub -c "$WORK/boot/early.cfg" \
        biosdisk part_gpt fat normal linux search search_label configfile echo test halt reboot
    [ "$(size_of "$core")" -le $((BIOS_MIB << 20)) ] || fail "GRUB for BIOS is larger than its partition"
    head -c 440 "$from/boot.img" >"$first"
    patch_u64 "$first" 0x5c $BIOS_AT
    patch_u64 "$core" 0x1f4 $((BIOS_AT + 1))
    put "$core" $BIOS_AT
    dd if="$first" of="$WORK/disk.raw" conv=notrunc status=none
}

# The boot partition: what both firmwares start, and the file that people write their join string into.
make_esp() {
    local esp=$WORK/esp.img stage=$WORK/esp
    mkdir -p "$stage"/EFI/BOOT "$stage"/EFI/debian "$stage"/boot/grub "$stage"/a
    cp "$WORK/boot/shimx64.efi" "$stage/EFI/BOOT/BOOTX64.EFI"
    cp "$WORK/boot/grubx64.efi" "$stage/EFI/BOOT/grubx64.efi"
    printf 'search --no-floppy --label %s --set root\nconfigfile /boot/grub/grub.cfg\n' "$ESP_LABEL" >"$stage/EFI/debian/grub.cfg"
    sed "s/@ROOT_A@/$UUID_ROOT_A/" "$VM/boot/grub.cfg" >"$stage/boot/grub/grub.cfg"
    cp "$WORK/boot/vmlinuz" "$WORK/boot/initrd" "$stage/a/"
    # Windows' editor shows one line for a file without carriage returns.
    sed 's/$/\r/' "$VM/boot/loop-peer.txt" >"$stage/loop-peer.txt"
    find "$stage" -exec touch --date="@$SOURCE_DATE_EPOCH" {} +
    truncate --size="${ESP_MIB}M" "$esp"
    mkfs.vfat --invariant -i "$ESP_SERIAL" -n "$ESP_LABEL" -F 32 "$esp"
    ( cd "$stage" && TZ=UTC mcopy -s -m -i "$esp" loop-peer.txt EFI a boot :: )
    put "$esp" $ESP_AT
}

make_data() {
    local data=$WORK/data.img
    truncate --size="${DATA_MIB}M" "$data"
    E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH mke2fs -q -t ext4 -L data -U "$UUID_DATA_FS" -m 1 \
        -E hash_seed="$UUID_DATA_FS",lazy_itable_init=1,lazy_journal_init=1,resize=32T "$data"
    put "$data" $DATA_AT
}

make_disk() {
    make_table
    make_bios_loader
    make_esp
    put "$WORK/root.sqfs" $ROOT_A_AT
    make_data
    # What a virtual machine is given: the same, and room.
    cp --sparse=always "$WORK/disk.raw" "$WORK/large.raw"
    truncate --size="$DISK_SIZE" "$WORK/large.raw"
    sfdisk --quiet --relocate gpt-bak-std "$WORK/large.raw"
    result "$(mib "$(on_disk "$WORK/disk.raw")")"
}
