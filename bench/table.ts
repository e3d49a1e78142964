import type { BenchEngine } from './engines.ts';

export interface Row {
  what: string;
  unit: string;
  values: Record<string, number>;
  ratios: Record<string, number>;
  promised: { atMost?: number; ratios?: Record<string, number> };
  missed: boolean;
}

/** Prints the rows as Markdown tables, ready for SPECIFICATION.md: one for those who were measured in the same things. */
export function printTables(rows: Row[], engines: BenchEngine[]): void {
  const main = engines.map(({ name }) => name);
  const groups = new Map<string, { names: string[]; rows: Row[] }>();
  for (const row of rows) {
    const measured = Object.keys(row.values);
    const names = measured.every((name) => main.includes(name)) ? main : measured;
    const group = groups.get(names.join()) ?? { names, rows: [] };
    group.rows.push(row);
    groups.set(names.join(), group);
  }
  for (const { names, rows: same } of groups.values()) printTable(same, names);
}

function printTable(rows: Row[], names: string[]): void {
  const peers = names.filter((name) => name !== 'isle');
  console.log(
    `| what | ${names.join(' | ')} | ${peers.map((name) => `against ${name}`).join(' | ')} | promise | kept |`,
  );
  console.log(`|${' --- |'.repeat(names.length + peers.length + 3)}`);
  for (const row of rows) {
    const values = names.map((name) => show(row.values[name], row.unit));
    const ratios = peers.map((name) =>
      row.ratios[name] === undefined ? '' : `${row.ratios[name].toFixed(1)}×`,
    );
    console.log(
      `| ${[row.what, ...values, ...ratios, promise(row), row.missed ? 'no' : 'yes'].join(' | ')} |`,
    );
  }
}

function show(value: number | undefined, unit: string): string {
  if (value === undefined || Number.isNaN(value)) return '';
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

function promise(row: Row): string {
  const parts = row.promised.atMost === undefined ? [] : [`≤ ${row.promised.atMost} ${row.unit}`];
  for (const [name, ratio] of Object.entries(row.promised.ratios ?? {}))
    parts.push(`${Number(ratio.toFixed(2))}× ${name}`);
  return parts.join(', ');
}
