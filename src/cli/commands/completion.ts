import { defineCommand } from '../command.ts';
import { completionScripts } from '../completion/scripts.ts';
import { Failure } from '../failure.ts';

const shells = ['bash', 'zsh', 'fish'] as const;

export const command = defineCommand({
  usage: 'bash|zsh|fish',
  examples: [
    { run: 'completion bash > /etc/bash_completion.d/isle', does: 'for all users' },
    { run: 'completion fish > ~/.config/fish/completions/isle.fish', does: 'for you' },
    { run: 'completion zsh > "${fpath[1]}/_isle"', does: 'for you' },
  ],
  flags: {},
  args: [1, 1],
  complete: [shells],
  async run({ out }, { args: [shell = ''] }) {
    const known = shells.find((name) => name === shell);
    if (!known) throw new Failure(`no completion for "${shell}"`, { hint: `there are ${shells.join(', ')}` });
    out.write(completionScripts[known]);
  },
});
