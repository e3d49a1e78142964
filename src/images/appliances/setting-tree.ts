import type { Xml } from './xml.ts';

/** Hyper-V's settings: the same tree in its old XML and in its binary files. */
export interface SettingTree {
  name: string;
  value: string | undefined;
  children: SettingTree[];
}

export function xmlTree(xml: Xml): SettingTree {
  return { name: xml.name, value: xml.text || undefined, children: xml.children().map(xmlTree) };
}

export function nodeAt(tree: SettingTree, ...path: string[]): SettingTree | undefined {
  return path.reduce<SettingTree | undefined>(
    (at, name) => at?.children.find((each) => each.name.toLowerCase() === name.toLowerCase()),
    tree,
  );
}

export function valueAt(tree: SettingTree, ...path: string[]): string | undefined {
  return nodeAt(tree, ...path)?.value;
}
