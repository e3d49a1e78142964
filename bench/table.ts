import type { BenchEngine } from './engines.ts';

export interface Row {
  what: string;
  unit: string;
  values: Record<string, number>;
  ratios: Record<string, number>;
  promised: { atMost?: number; ratios?: Record<string, number> };
  missed: boolean;
}

/** Prints the rows as a Markdown table, ready for SPECIFICATION.md. */
export function printTable(rows: Row[], engines: BenchEngine[]): void {
  const names = engines.map(({ name }) => name);
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
  for (const [name, ratio] of Object.entries(row.promised.ratios ?? {})) parts.push(`${ratio}× ${name}`);
  return parts.join(', ');
}
