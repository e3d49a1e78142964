import { defineCommand } from '../command.ts';
import { imagePath } from '../image/path.ts';
import { splitReference } from '../image/pull.ts';

export const command = defineCommand({
  usage: 'SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]',
  examples: [{ run: 'tag app registry.example:5000/team/app:1', does: 'a further name for the same image' }],
  flags: {},
  args: [2, 2],
  complete: ['image'],
  async run({ client }, { args: [source = '', target = ''] }) {
    const { name, tag } = splitReference(target);
    await client.post(`${imagePath(source)}/tag`, { query: { repo: name, tag } });
  },
});
