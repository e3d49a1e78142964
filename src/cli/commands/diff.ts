import { defineCommand } from '../command.ts';
import { containerPath } from '../each-name.ts';
import { harmless } from '../terminal/paint.ts';

export const command = defineCommand({
  usage: 'CONTAINER',
  about: 'A is added, C changed, D deleted.',
  examples: [{ run: 'diff web', does: 'what it wrote outside of volumes' }],
  flags: {},
  args: [1, 1],
  complete: ['container'],
  async run({ client, out }, { args: [name = ''] }) {
    const changes = await client.get<{ Kind: number; Path: string }[] | null>(
      `${containerPath(name)}/changes`,
    );
    const styles = [out.paint.yellow, out.paint.green, out.paint.red];
    for (const { Kind, Path } of changes ?? []) {
      const letter = 'CAD'[Kind] ?? '?';
      out.line(`${(styles[Kind] ?? String)(letter)} ${out.isTerminal ? harmless(Path) : Path}`);
    }
  },
});
