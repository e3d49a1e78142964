import type { Context } from './context.ts';
import { usageError } from './failure.ts';
import type { AnyFlag } from './flags.ts';
import { aliases, commands, findCommand, groups, secondWords } from './registry.ts';
import type { Paint } from './terminal/paint.ts';

/** Help for all, for a group of commands, or for one. */
export async function printHelp({ out }: Context, words: readonly string[]): Promise<void> {
  const [first] = words;
  if (first === undefined) out.write(overview(out.paint));
  else if (words.length === 1 && Object.hasOwn(groups, first)) out.write(groupHelp(first, out.paint));
  else {
    const found = findCommand(words);
    if (!found) throw usageError(`unknown command: ${words.join(' ')}`, 'see: isle help');
    out.write(await commandHelp(found.name, out.paint, out.columns));
  }
}

const headings = [
  'Containers',
  'Virtual machines',
  'Images',
  'Volumes and networks',
  'Engine',
  'Other',
] as const;

function overview(paint: Paint): string {
  const lines = [
    `${paint.bold('isle')} runs containers and virtual machines. Flags mean what Docker's and virt-install's mean.`,
    '',
    paint.bold('Try'),
    `  isle up                                   start the engine`,
    `  isle run -it --rm debian bash             a shell in a fresh Debian`,
    `  isle run -d --name web -p 8080:80 nginx   a web server`,
    `  isle ps                                   what runs`,
    `  isle vm create deb --image FILE --ssh-key KEY   a virtual machine of a cloud image`,
    '',
  ];
  for (const group of headings) {
    lines.push(paint.bold(group));
    const all = Object.entries(commands).filter(([, entry]) => entry.group === group && !entry.hidden);
    const listed = all.filter(([, entry]) => !entry.rare);
    for (const [name, entry] of listed) lines.push(`  ${name.padEnd(20)} ${entry.summary}`);
    if (listed.length < all.length)
      lines.push(`  ${paint.dim(`and ${all.length - listed.length} more: isle help vm`)}`);
    lines.push('');
  }
  lines.push(
    paint.bold('Before the command'),
    '  --host, -H ADDRESS   The engine (default: $ISLE_HOST, $ISLE_SOCKET, /run/isle/docker.sock)',
    '  --color WHEN         auto, always or never',
    '  --version, -v        The version, short',
    '',
    `${paint.bold('isle help COMMAND')} says more, with examples.`,
    '',
  );
  return lines.join('\n');
}

function groupHelp(group: string, paint: Paint): string {
  const lines = [`${paint.bold(`isle ${group}`)}: ${groups[group]!.toLowerCase()}`, ''];
  // Another word for a command of the group is said by that command's own help.
  const words = secondWords(group)
    .map((word) => ({ word, found: findCommand([group, word]) }))
    .filter(
      ({ word, found }) =>
        found && (found.name === `${group} ${word}` || !found.name.startsWith(`${group} `)),
    )
    .sort((a, b) => (a.word < b.word ? -1 : 1));
  const width = Math.max(12, ...words.map(({ word }) => word.length));
  for (const { word, found } of words) lines.push(`  ${word.padEnd(width)} ${found?.entry.summary}`);
  return `${lines.join('\n')}\n\n${paint.bold(`isle help ${group} COMMAND`)} says more, with examples.\n`;
}

/** One command's help: what it does, examples, flags. */
export async function commandHelp(name: string, paint: Paint, columns = 100): Promise<string> {
  const entry = commands[name]!;
  const { command } = await entry.load();
  const lines = [`${paint.bold(`isle ${name}`)}: ${entry.summary}`, ''];
  if (command.examples.length > 0) {
    lines.push(paint.bold('Examples'));
    for (const { run, does } of command.examples) lines.push(`  ${paint.dim(`# ${does}`)}`, `  isle ${run}`);
    lines.push('');
  }
  lines.push(paint.bold('Usage'), `  isle ${name} ${command.usage}`, '');
  if (command.about) lines.push(...wrap(command.about, columns, 0), '');
  const others = Object.entries(aliases).filter(([, target]) => target === name);
  if (others.length > 0) lines.push(`Also: ${others.map(([alias]) => `isle ${alias}`).join(', ')}`, '');
  const flags = Object.entries(command.flags).filter(([, flag]) => !flag.hidden);
  if (flags.length > 0) {
    lines.push(paint.bold('Flags'));
    const spelled = flags.map(([flagName, flag]) => spell(flagName, flag));
    const width = Math.min(32, Math.max(...spelled.map((text) => text.length)));
    for (const [at, [, flag]] of flags.entries()) {
      const [first = '', ...rest] = wrap(flag.help, columns, width + 4);
      const start = spelled[at]!;
      if (start.length <= width) lines.push(`  ${start.padEnd(width)}  ${first}`);
      else lines.push(`  ${start}`, `  ${' '.repeat(width)}  ${first}`);
      for (const line of rest) lines.push(`  ${' '.repeat(width)}  ${line}`);
    }
    lines.push('');
  }
  return lines.join('\n');
}

function spell(name: string, flag: AnyFlag): string {
  const short = flag.short === undefined ? '    ' : `-${flag.short}, `;
  const value = flag.value === undefined ? '' : ` ${flag.value}`;
  return `${short}--${name}${value}`;
}

function wrap(text: string, columns: number, indent: number): string[] {
  const room = Math.max(30, Math.min(columns, 110) - indent);
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > room) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines;
}
