import type { WaitAnswer } from '../client/types.ts';
import { defineCommand } from '../command.ts';
import { containerPath, eachName } from '../each-name.ts';
import { Failure } from '../failure.ts';

export const command = defineCommand({
  usage: 'CONTAINER [CONTAINER...]',
  examples: [{ run: 'wait job', does: 'its exit code, once it ends' }],
  flags: {},
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['running'],
  run(context, { args }) {
    const wait = async (name: string) => {
      const answer = await context.client.post<WaitAnswer>(`${containerPath(name)}/wait`);
      if (answer.Error?.Message) throw new Failure(answer.Error.Message);
      return String(answer.StatusCode);
    };
    return eachName(context, args, wait, 'waiting for');
  },
});
