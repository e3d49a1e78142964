/** How the hypervisors name their hardware, and what QEMU has of it. */

/** Of SCSI controllers, in the words of OVF's ResourceSubType, VMX's virtualDev and VirtualBox's types. */
export function scsiController(text: string | undefined): string | undefined {
  const word = (text ?? '').toLowerCase().replace(/[^a-z0-9]/g, '');
  if (word === '') return undefined;
  if (/^(virtualscsi|pvscsi|vmpvscsi)$/.test(word)) return 'pvscsi';
  if (/sas/.test(word)) return 'sas';
  if (/^buslogic$/.test(word)) return 'buslogic';
  if (/virtioscsi|virtio/.test(word)) return 'virtio-scsi';
  if (/megaraid|megasas/.test(word)) return 'megasas';
  return 'lsilogic';
}

/** QEMU's word for a network card's; undefined for one that has no like. */
export function nicModel(text: string | undefined): string | undefined {
  const word = (text ?? '').toLowerCase().replace(/[^a-z0-9]/g, '');
  if (word === '') return undefined;
  if (/virtio/.test(word)) return 'virtio';
  if (/e1000e|82574/.test(word)) return 'e1000e';
  if (/e1000|825(40|43|45)/.test(word)) return 'e1000';
  if (/^vmxnet3$/.test(word)) return 'vmxnet3';
  // The guests that know these find a PCnet card in the same place.
  if (/vmxnet|pcnet|am79c|vlance|flexible/.test(word)) return 'pcnet';
  if (/rtl8139|8139/.test(word)) return 'rtl8139';
  if (/ne2k|ne2000/.test(word)) return 'ne2k_pci';
  return undefined;
}
