import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failure } from '../failure.ts';

/** Lets the user change a text in the editor of their environment, again and again until `use` takes it. */
export async function inEditor(
  text: string,
  env: NodeJS.ProcessEnv,
  use: (edited: string) => Promise<void>,
  again: (problem: unknown) => Promise<boolean>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'isle-edit-'));
  const file = join(directory, 'machine.yaml');
  try {
    writeFileSync(file, text, { mode: 0o600 });
    for (;;) {
      runEditor(file, env);
      try {
        return await use(readFileSync(file, 'utf8'));
      } catch (error) {
        if (!(await again(error))) throw error;
      }
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** VISUAL and EDITOR may hold words: `code --wait`. */
function runEditor(file: string, env: NodeJS.ProcessEnv): void {
  const editor = env.VISUAL || env.EDITOR;
  const commands = editor ? [editor] : ['sensible-editor', 'nano', 'vi'];
  for (const command of commands) {
    const { status, error } = spawnSync('/bin/sh', ['-c', `exec ${command} "$1"`, command, file], {
      stdio: 'inherit',
      env,
    });
    if (error) throw new Failure(`cannot start ${command}: ${error.message}`, { cause: error });
    if (status === 0) return;
    if (editor || status !== 127)
      throw new Failure(`the editor ${command} ended with ${status ?? 'a signal'}; nothing was changed`);
  }
  throw new Failure('there is no editor', { hint: 'set EDITOR, or use the flags: isle help vm edit' });
}
