import { defineCommand } from '../command.ts';
import { DockerCredentials } from '../../lib/docker-credentials.ts';
import { toHost } from './login.ts';

export const command = defineCommand({
  usage: '[SERVER]',
  examples: [{ run: 'logout registry.example:5000', does: 'forget its credentials here' }],
  flags: {},
  args: [0, 1],
  async run({ out, env }, { args: [server] }) {
    const registry = toHost(server);
    const erased = await new DockerCredentials(env).erase(registry);
    out.line(erased ? `Removed login credentials for ${registry}` : `Not logged in to ${registry}`);
  },
});
