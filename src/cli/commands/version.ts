import { release } from 'node:os';
import { apiVersion } from '../client/client.ts';
import type { VersionBody } from '../client/types.ts';
import { defineCommand } from '../command.ts';
import { boolean, text } from '../flags.ts';
import { messageOf } from '../../lib/errors.ts';
import { isleVersion } from '../version.ts';

export const command = defineCommand({
  usage: '[OPTIONS]',
  examples: [{ run: "version --format '{{.Server.Version}}'", does: 'for scripts' }],
  flags: {
    format: text("'json', or a Go template", { short: 'f' }),
    short: boolean('One line, without asking the engine'),
  },
  args: [0, 0],
  async run({ client, out, err }, { flags }) {
    const version = isleVersion();
    if (flags.short) {
      out.line(`isle ${version}`);
      return 0;
    }
    const own = {
      Version: version,
      ApiVersion: apiVersion,
      DefaultAPIVersion: apiVersion,
      NodeVersion: process.version,
      Os: 'linux',
      Arch: process.arch === 'x64' ? 'amd64' : process.arch,
      KernelVersion: release(),
    };
    let server: VersionBody | undefined;
    let problem: unknown;
    try {
      server = await client.get<VersionBody>('/version');
    } catch (error) {
      problem = error;
    }
    if (flags.format !== undefined) {
      const both = { Client: own, Server: server };
      if (flags.format === 'json') out.line(JSON.stringify(both));
      else {
        const { compileTemplate } = await import('../template/template.ts');
        out.line(compileTemplate(flags.format)(both));
      }
    } else {
      const lines = [
        out.paint.bold('Command'),
        ` Version:      ${own.Version}`,
        ` API version:  ${own.ApiVersion}`,
        ` Node:         ${own.NodeVersion}`,
        ` OS/Arch:      ${own.Os}/${own.Arch}`,
      ];
      if (server)
        lines.push(
          '',
          out.paint.bold('Engine'),
          ` Version:      ${server.Version}`,
          ` API version:  ${server.ApiVersion}${server.MinAPIVersion ? ` (from ${server.MinAPIVersion})` : ''}`,
          ` OS/Arch:      ${server.Os}/${server.Arch}`,
          ...(server.KernelVersion ? [` Kernel:       ${server.KernelVersion}`] : []),
          ...(server.Components ?? [])
            .filter(({ Name }) => Name !== 'Engine' && Name !== 'Isle')
            .map(({ Name, Version }) => ` ${`${Name}:`.padEnd(13)} ${Version}`),
        );
      out.line(lines.join('\n'));
    }
    if (problem === undefined) return 0;
    err.line(`isle: ${messageOf(problem)}`);
    err.line('      start it: isle up');
    return 1;
  },
});
