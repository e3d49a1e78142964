/**
 * What the helper's init does, in busybox's shell: finds the guest's root among the disks, sees that it can boot from virtio,
 * and changes what named its old hardware. Says `isle:STEP …` while it works, `isle:CHANGED …` for each change, and last
 * `isle:DONE` or `isle:CANNOT …`. `/refit/nics` has the addresses of the cards, in order.
 *
 * What is on the disks is a stranger's: everything here runs in a machine that has nothing but them.
 */
export const refitScript = String.raw`#!/bin/busybox sh
export PATH=/bin LC_ALL=C
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo 0 >/proc/sys/kernel/printk
while read -r module; do insmod "/modules/$module" 2>/dev/null; done </modules/list
R=/root

leave() {
  say "$@"
  cd /
  sync
  for place in $MOUNTED $R/run $R/tmp $R/dev $R/sys $R/proc; do umount "$place" 2>/dev/null; done
  umount $R 2>/dev/null || mount -o remount,ro $R 2>/dev/null
  sync
  reboot -f
}
say() { echo "isle:$*"; }
cannot() { leave "CANNOT $*"; }

mount_any() { # device place options
  for type in ext4 xfs btrfs; do mount -t $type -o "$3" "$1" "$2" 2>/dev/null && return 0; done
  return 1
}
is_root() { [ -e $R/etc/fstab ] && [ -e $R/etc/os-release -o -L $R/etc/os-release -o -e $R/etc/debian_version -o -e $R/etc/redhat-release ] && [ -d $R/lib/modules -o -d $R/usr/lib/modules ]; }
hex_at() { dd if="$1" bs=1 skip="$2" count="$3" 2>/dev/null | od -An -v -tx1 | tr -d ' \n'; }
# Of ext2 to ext4, XFS, btrfs and swap.
uuid_of() {
  case $(hex_at "$1" 1080 2)/$(hex_at "$1" 0 4)/$(hex_at "$1" 65600 8)/$(hex_at "$1" 4086 10) in
  53ef/*) at=1128 ;;
  */58465342/*) at=32 ;;
  */5f42485266535f4d/*) at=65568 ;;
  */53574150535041434532) at=1036 ;;
  *) return ;;
  esac
  hex_at "$1" $at 16 | sed 's/^\(.\{8\}\)\(.\{4\}\)\(.\{4\}\)\(.\{4\}\)\(.\{12\}\)$/\1-\2-\3-\4-\5/'
}

say STEP looking for its root file system
for try in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; sleep 1; done
ROOT=
SUBVOLUME=
for device in /dev/vd[a-z][0-9] /dev/vd[a-z][0-9][0-9] /dev/vd[a-z]; do
  [ -b "$device" ] || continue
  mount_any "$device" $R ro || continue
  if is_root; then ROOT=$device; break; fi
  for volume in @ root @rootfs; do
    [ -d "$R/$volume/etc" ] || continue
    umount $R
    mount -t btrfs -o "ro,subvol=$volume" "$device" $R 2>/dev/null || continue
    if is_root; then ROOT=$device; SUBVOLUME=$volume; break 2; fi
  done
  umount $R 2>/dev/null
done
if [ -z "$ROOT" ]; then
  for device in /dev/vd[a-z][0-9]* /dev/vd[a-z]; do
    [ -b "$device" ] || continue
    magic=$(dd if="$device" bs=512 count=2 2>/dev/null | tr -cd 'A-Za-z0-9' | head -c 64)
    case $magic in
    *LABELONE*) cannot its disks are volumes of LVM, which are not read here ;;
    LUKS*) cannot its disks are encrypted ;;
    esac
  done
  cannot no root file system of a Linux was found on its disks
fi
mount -o remount,rw $R 2>/dev/null || cannot its root file system cannot be written

# The rest of it, where its fstab says.
device_of() {
  case $1 in
  UUID=* | LABEL=*) findfs "$(echo "$1" | tr -d '"')" 2>/dev/null ;;
  /dev/[sh]d[a-z]* | /dev/vd[a-z]*) echo "/dev/vd$(echo "$1" | cut -c8-)" ;;
  /dev/xvd[a-z]*) echo "/dev/vd$(echo "$1" | cut -c9-)" ;;
  esac
}
MOUNTED=
for place in /boot /usr /var /boot/efi; do
  spec=$(awk -v place=$place '$1 !~ /^#/ && $2 == place { print $1; exit }' $R/etc/fstab)
  [ -n "$spec" ] || continue
  device=$(device_of "$spec")
  [ -b "$device" ] || cannot "its $place is on $spec, which was not found"
  options=$(awk -v place=$place '$2 == place { print $4; exit }' $R/etc/fstab | tr , '\n' | grep '^subvol=')
  [ -n "$options" ] && options=,$options
  [ "$place" = /boot/efi ] && mount -t vfat -o ro "$device" $R/boot/efi 2>/dev/null && MOUNTED="$R$place $MOUNTED" && continue
  [ "$place" = /boot/efi ] && continue
  mount_any "$device" "$R$place" "rw$options" || mount_any "$device" "$R$place" rw || cannot "its $place cannot be mounted"
  MOUNTED="$R$place $MOUNTED"
done

# Its kernels, newest first, and whether they have the drivers.
KERNELS=
for kernel in $R/boot/vmlinuz-*; do
  version=$(basename "$kernel" | cut -c9-)
  [ -d "$R/lib/modules/$version" ] && KERNELS="$KERNELS$version
"
done
KERNELS=$(echo "$KERNELS" | grep . | grep -v rescue | sort -rV | head -n 2)
[ -n "$KERNELS" ] || cannot no kernel with modules was found in its /boot
newest=$(echo "$KERNELS" | head -n 1)
has_driver() {
  find "$R/lib/modules/$1" -name "$2.ko*" 2>/dev/null | grep -q . || grep -q "/$2.ko" "$R/lib/modules/$1/modules.builtin" 2>/dev/null
}
has_driver "$newest" virtio_blk || cannot "its kernel $newest has no drivers for virtio"

say STEP naming file systems by their UUIDs
# Every name that a partition could have had, and what it is for good.
for device in /dev/vd[a-z][0-9] /dev/vd[a-z][0-9][0-9]; do
  [ -b "$device" ] || continue
  uuid=$(uuid_of "$device")
  [ -n "$uuid" ] || continue
  rest=$(echo "$device" | cut -c8-)
  for old in sd hd xvd; do
    echo "s#^/dev/$old$rest\([[:space:]]\)#UUID=$uuid\1#" >>/tmp/fstab.sed
    echo "s#\(root\|resume\)=/dev/$old$rest\($\|[^0-9]\)#\1=UUID=$uuid\2#g" >>/tmp/boot.sed
  done
done
echo 's#/dev/\(sd\|hd\|xvd\)\([a-z]\)\($\|[^a-z0-9]\)#/dev/vd\2\3#' >/tmp/map.sed
change() { # script file
  [ -f "$R$2" ] && [ -f "$1" ] || return
  sed -f "$1" "$R$2" >/tmp/new 2>/dev/null || return
  cmp -s /tmp/new "$R$2" && return
  [ -e "$R$2.before-virtio" ] || cp -p "$R$2" "$R$2.before-virtio"
  cat /tmp/new >"$R$2" && say CHANGED "$2"
}
change /tmp/fstab.sed /etc/fstab
for file in /boot/grub/grub.cfg /boot/grub2/grub.cfg /boot/grub/menu.lst /boot/grub/grub.conf /etc/default/grub /etc/kernel/cmdline /boot/extlinux/extlinux.conf /boot/extlinux.conf; do
  [ -L "$R$file" ] || change /tmp/boot.sed $file
done
for file in "$R"/boot/loader/entries/*.conf; do [ -f "$file" ] && change /tmp/boot.sed "$(echo "$file" | cut -c6-)"; done
for file in /boot/grub/device.map /boot/grub2/device.map; do change /tmp/map.sed $file; done

say STEP keeping the names of its network cards
names() {
  cat $R/etc/network/interfaces $R/etc/network/interfaces.d/* 2>/dev/null | awk '$1 == "iface" { print $2 }'
  cat $R/etc/netplan/*.yaml 2>/dev/null | sed -n 's/^ \{2,8\}\(e[a-z0-9]*\):.*/\1/p'
  ls $R/etc/sysconfig/network-scripts $R/etc/sysconfig/network 2>/dev/null | sed -n 's/^ifcfg-\(e[a-z0-9]*\)$/\1/p'
  cat $R/etc/NetworkManager/system-connections/* 2>/dev/null | sed -n 's/^interface-name=\(.*\)/\1/p'
  cat $R/etc/systemd/network/*.network 2>/dev/null | sed -n 's/^Name=\(e[a-z0-9]*\)$/\1/p'
}
names | grep -E '^(eth[0-9]+|en[opsx][a-z0-9]+|ens?[0-9a-z]+)$' | awk '!seen[$0]++' | head -n 16 >/tmp/names
while read -r address <&3 && read -r name <&4; do
  if [ -d $R/lib/systemd -o -d $R/usr/lib/systemd ]; then
    mkdir -p $R/etc/systemd/network
    file=/etc/systemd/network/10-isle-$name.link
    printf '# Its name on the hypervisor that it came from.\n[Match]\nMACAddress=%s\n\n[Link]\nName=%s\n' "$address" "$name" >"$R$file" && say CHANGED "$file"
  else
    mkdir -p $R/etc/udev/rules.d
    file=/etc/udev/rules.d/70-persistent-net.rules
    printf 'SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="%s", NAME="%s"\n' "$address" "$name" >>"$R$file" && say CHANGED "$file"
  fi
done 3</refit/nics 4</tmp/names

# Its initramfs, made by its own tools.
mount -t proc proc $R/proc
mount -t sysfs sys $R/sys
mount --bind /dev $R/dev
mount -t tmpfs tmp $R/tmp
[ -d $R/run ] && mount -t tmpfs run $R/run
inside() { chroot $R /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C "$@" </dev/null 2>/tmp/said; }
tool() { [ -x "$R/usr/sbin/$1" -o -x "$R/usr/bin/$1" -o -x "$R/sbin/$1" -o -x "$R/bin/$1" ]; }
image_of() {
  for image in "/boot/initrd.img-$1" "/boot/initramfs-$1.img" "/boot/initrd-$1"; do [ -e "$R$image" ] && echo "$image" && return; done
}
lists() { # version image
  if tool lsinitramfs; then inside lsinitramfs "$2"; elif tool lsinitrd; then inside lsinitrd "$2"; fi | grep -q 'virtio_blk\.ko'
}
drivers='virtio_pci virtio_blk virtio_scsi virtio_net'
for version in $KERNELS; do
  grep -q '/virtio_blk.ko' "$R/lib/modules/$version/modules.builtin" 2>/dev/null && continue
  image=$(image_of "$version")
  say STEP looking into the initramfs of $version
  [ -n "$image" ] && lists "$version" "$image" && continue
  say STEP making the initramfs of $version anew
  if tool update-initramfs; then
    for driver in $drivers; do grep -qx $driver $R/etc/initramfs-tools/modules 2>/dev/null || echo $driver >>$R/etc/initramfs-tools/modules; done
    inside update-initramfs -u -k "$version" >/tmp/out || failed=$version
  elif tool dracut; then
    mkdir -p $R/etc/dracut.conf.d
    echo "add_drivers+=\" $drivers \"" >$R/etc/dracut.conf.d/isle-virtio.conf
    [ -n "$image" ] || image=/boot/initramfs-$version.img
    inside dracut -f "$image" "$version" >/tmp/out || failed=$version
  else
    failed=$version
  fi
  if [ "$failed" = "$version" ]; then
    [ "$version" = "$newest" ] && cannot "the initramfs of its kernel $version has no drivers for virtio, and could not be made anew"
    continue
  fi
  say CHANGED "$(image_of "$version")"
done
if grep -qE '^SELINUX=(enforcing|permissive)' $R/etc/selinux/config 2>/dev/null; then
  touch $R/.autorelabel && say CHANGED /.autorelabel
fi
leave DONE
`;
